//! The keying and phase protocol under a model checker and in simulation.
//!
//! [`world::World`] is a cluster in one value: API objects, agents, kernels, an operator. What decides in it is the code
//! that runs on nodes ([`esplanade_keying::node::Node`]) and in the operator ([`esplanade_rollout`]); the world only
//! carries their outputs out, one at a time and in every order. [`check`] looks at all orders within bounds,
//! [`simulate`] at some of them in large clusters, [`timed`] at days in which keys age and clocks differ. [`Mutation`] breaks one rule at a time, to see that it is noticed.

pub mod check;
pub mod scenario;
mod shrink;
pub mod simulate;
pub mod timed;
pub mod world;

pub use scenario::{Mutation, Scenario};
