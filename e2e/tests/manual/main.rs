//! Manual keys from end to end: manifests applied with kubectl, the real operator and agents under the chart's rights,
//! a real kernel, the wire captured.

mod actions;
mod all_traffic;
mod allocated;
mod automatic;
mod beet;
mod cluster;
mod compression;
mod cpus;
mod default_action;
mod errors;
mod example;
mod faults;
mod forgotten;
mod handover;
mod hidden;
mod icmp;
mod interfaces;
mod iptfs;
mod lacking;
mod lifetimes;
mod marks;
mod metrics;
mod moves;
mod nat;
mod offload;
mod on_demand;
mod overlay;
mod packets;
mod path_mtu;
mod ppk;
mod scenarios;
mod selectors;
mod udp;
mod variants;
mod wire;
