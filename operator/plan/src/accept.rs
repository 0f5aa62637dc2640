//! Validation of one object by itself: what it asks for, in types, or why it can't be had.
//!
//! The API server enforces most of these rules. They are checked again because stored objects may be older
//! than the rules.

mod algorithm;
mod automatic;
mod endpoints;
mod intent;
mod lifetime;
pub(crate) mod mark;
mod policy;
mod sa;
mod selector;
mod traffic;

pub(crate) use intent::{Age, End, Endpoints, KeyUse, PolicyIntent, Protect, SaIntent};
pub(crate) use policy::{policy, revision_with_ppk};
pub(crate) use sa::sa;

use esplanade_crds::conditions::reason;

use crate::finding::Finding;

/// Fields that ask for something this version can't do, all in one message.
fn not_implemented(fields: &[String]) -> Result<(), Finding> {
    if fields.is_empty() {
        return Ok(());
    }
    Err(Finding::new(reason::NOT_IMPLEMENTED, format!("not implemented yet: {}", fields.join("; "))))
}

fn invalid(message: impl Into<String>) -> Finding {
    Finding::new(reason::INVALID, message)
}

/// `Err` with that message if the rule is broken.
fn rule(holds: bool, message: &str) -> Result<(), Finding> {
    if holds { Ok(()) } else { Err(invalid(message)) }
}
