//! Others in the same network namespace: strongSwan, libreswan and hand-made SAs and policies. Theirs stay as they are,
//! ours come back whatever they do, and no sequence number is used twice.

mod beside;
#[allow(dead_code)] // The suite of manual keys uses more of it.
#[path = "../manual/cluster.rs"]
mod cluster;
mod conflicts;
mod daemon;
mod hand_made;
mod healing;
mod libreswan;
mod numbers;
mod strongswan;
mod theirs;
#[allow(dead_code)] // The suite of manual keys uses more of it.
#[path = "../manual/wire.rs"]
mod wire;
