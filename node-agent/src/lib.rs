//! The node agent: keeps the kernel's XFRM databases at the node's desired state.
//!
//! What decides is in `esplanade-expand`, `esplanade-diff` and `esplanade-sync`. This crate moves data: watches at the API server
//! ([`watch`]) fill [`desired`]; [`schedule`] says when a [`pass`] over the kernel is due; one thread ([`worker`]) makes
//! it; what it came to becomes the [`status`], which [`report`] writes. [`agent`] ties them together. [`show`] is for people: what
//! the kernel has and tells.

pub mod agent;
pub mod api_server;
pub mod boot;
pub mod desired;
pub mod disturbance;
pub mod hidden;
pub mod host;
pub mod keying;
pub mod mapping;
pub mod metrics;
pub mod notices;
pub mod numbers;
mod offload;
pub mod pass;
pub mod ports;
pub mod publish;
pub mod report;
pub mod schedule;
pub mod sealing_key;
pub mod settings;
pub mod show;
mod spis;
pub mod state_file;
pub mod status;
mod told;
pub mod watch;
pub mod wear;
pub mod worker;
