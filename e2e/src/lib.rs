//! The lab: a control plane, a kernel with ESP, nodes as network namespaces.
//!
//! How it works and how to debug it: `docs/testing.md`.

pub mod capture;
pub mod controlplane;
pub mod debian;
pub mod guest;
pub mod isolation;
pub mod kernel;
pub mod lab;
pub mod logs;
pub mod outcome;
pub mod packages;
pub mod process;
pub mod programs;
mod sys;

/// Prints why a program of the lab failed, cause after cause, and returns the exit code for it.
#[allow(clippy::print_stderr)]
pub fn report_failure(error: &anyhow::Error) -> std::process::ExitCode {
    eprintln!("error: {error:#}");
    std::process::ExitCode::FAILURE
}
