//! `in-kernel COMMAND…`: runs a command as root in a fresh network namespace of a kernel with ESP.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use esplanade_e2e::kernel;
use tokio::signal::unix::{SignalKind, signal};

/// Runs a command as root in a fresh network namespace of a kernel with ESP: the running one, or User-Mode Linux.
///
/// Output is passed on as it comes; the exit status, the current folder and the environment are kept; stdin is
/// empty. In User-Mode Linux the host's files are read-only, /tmp and /run are the command's own.
#[derive(Parser)]
struct Args {
    /// Memory of User-Mode Linux in MiB, taken from the host as it is used.
    #[arg(long, default_value_t = 1024)]
    memory: u32,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => esplanade_e2e::report_failure(&error),
    }
}

async fn run(args: &Args) -> Result<u8> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let kernel = kernel::find()?;
    let mut running = kernel::command::start(&kernel, &args.command, args.memory)?;
    Ok(tokio::select! {
        code = running.wait() => code?,
        _ = terminate.recv() => 128 + 15,
        _ = interrupt.recv() => 128 + 2,
    })
}
