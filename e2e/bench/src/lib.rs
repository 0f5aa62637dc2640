//! Measures the agent's kernel layer: against the same messages replayed, against iproute2, and against the Go library
//! that Cilium uses. Everything is measured in one run on one kernel, so that ratios mean something.
//!
//! `bench` starts itself where ESP is (`in-kernel`), `bench-memory` counts what the layer holds, `bench-pure` runs the
//! parts without a kernel, for callgrind.

pub mod agent;
pub mod floor;
pub mod measure;
pub mod others;
pub mod pure;
pub mod report;
pub mod samples;
pub mod world;
