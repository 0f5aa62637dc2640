//! The controller: cluster objects to one desired state per node.
//!
//! What to write is decided by `esplanade-plan`; this crate watches, writes the differences and sees to it that one of
//! several operators does so at a time.

pub mod controller;
pub mod lease;
pub mod metrics;
