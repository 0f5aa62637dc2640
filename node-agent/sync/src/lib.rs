//! Pure: what the kernel is known to hold, and what is to be done about it, only where something changed.
//!
//! An [`Engine`] is told of three things: what is wanted, what others did ([`Event`]), and what was read ([`Reader`]). It
//! says what is to be read next ([`Engine::begin`]) and which operations lead on ([`Engine::plan`]). Where nothing changed
//! it has nothing to do, however much the kernel holds.
//!
//! What it knows is only a reason not to look. Before an SA or a policy is changed or replaced it is read; what was
//! written is read back; what an event is about is read, whatever the event says; and now and then everything is read, to
//! find what no event told of.
//!
//! [`Event`]: esplanade_model::Event
//! [`Reader`]: esplanade_model::Reader

mod changes;
mod engine;
mod indexes;
mod known;
mod moves;
mod named;
mod plan;
mod problems;
mod reading;
mod senders;
mod settle;
mod table;
mod thresholds;
mod to_read;
mod want;

pub use engine::{Engine, Losses};
pub use moves::Moves;
pub use plan::{Name, Ops, Plan};
pub use thresholds::{Lengths, MANY, Setting, setting};
pub use to_read::ToRead;
