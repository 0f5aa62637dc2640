//! What is said of each object.

mod agents;
mod conditions;
mod policy;
mod resource_version;
mod sa;

pub(crate) use policy::{Context, policy};
pub(crate) use sa::sa;
