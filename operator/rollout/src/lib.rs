//! What the operator decides step by step, from what nodes report: which of a node's keys its peers have acknowledged
//! ([`acknowledge`]), and how far a policy is switched on at each node ([`next`]), also while an edit replaces one
//! revision of it by another ([`replaced`]).
//!
//! Both look at everything at once and remember nothing: the step before is in the objects. The caller promises what the
//! model checker assumes: it decides from objects that include its own last writes, and each write goes through only if
//! the object is still as it was looked at (`resourceVersion`).

mod acknowledge;
mod phase;
mod revisions;

pub use acknowledge::{Acknowledged, Listener, acknowledge};
pub use phase::{Level, Participant, complete, next};
pub use revisions::{is_going, leave, replaced, switched_off};
