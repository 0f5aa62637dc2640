//! A lab.
pub mod addresses;
mod topology;
