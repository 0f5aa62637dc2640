//! The project's own checks and generators: `cargo xtask --help`.
#![allow(clippy::print_stdout, clippy::print_stderr)] // what it prints is its result

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser};

mod crds;
mod generated;
mod kernels;
mod manifests;
mod purity;

/// The project's own checks and generators.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Command {
    /// Fail when a pure crate has async, a clock, a socket, a file, randomness of its own or a client.
    Purity,
    /// Write the CRD manifests from the API types: crds/manifests, charts/esplanade/crds.
    Crds(Generator),
    /// Write what the suites' kernels can do: docs/kernels.md. Boots each of them.
    Kernels(Generator),
    /// Write the plain manifests from the chart: deploy/esplanade.yaml.
    Manifests(Generator),
}

#[derive(Args)]
struct Generator {
    /// Write nothing; fail when a file is out of date.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    match run(&Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `main() -> Result`: what went wrong is the project's, and a backtrace of this program says nothing of it.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    let root = workspace_root()?;
    match command {
        Command::Purity => purity::check(&root),
        Command::Crds(generator) => crds::run(&root, generator.check),
        Command::Kernels(generator) => kernels::run(&root, generator.check),
        Command::Manifests(generator) => manifests::run(&root, generator.check),
    }
}

/// The workspace's folder: the parent of this crate's.
fn workspace_root() -> anyhow::Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("xtask has no parent folder")?.to_path_buf())
}
