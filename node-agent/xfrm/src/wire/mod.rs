//! The typed model and NETLINK_XFRM messages, to and fro. Pure.
//!
//! netlink-packet-xfrm knows the structures. Its message parsers panic on a body shorter than the fixed header, so
//! headers and attributes are parsed one by one here, after a look at the length. Its structures print keys in Debug
//! and don't wipe them: none of them leaves this module, and what held
//! them is wiped.

mod address;
pub(crate) mod allocate;
mod attributes;
pub mod batch;
mod crypto;
mod event;
mod glance;
mod iptfs;
mod mark;
mod migrate;
mod observe;
mod policy;
pub mod probe;
pub mod replay;
pub(crate) mod replay_state;
pub mod reply;
mod request;
mod sa;
mod selector;
pub mod shown;
pub mod spd;

pub use esplanade_model::{PolicyRecord, SaRecord};
pub use event::decode as decode_event;
pub use glance::Glancer;
pub use observe::{Decode, Dumped, Observer, decode_state};
pub use request::{Request, encode};

#[cfg(test)]
pub(crate) mod tests;
mod word;
