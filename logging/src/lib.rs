//! Logs: one line an event on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, ParseError};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What a program is asked about its logs, among its other arguments.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(skip)]
pub struct Args {
    /// How log lines look. What is logged is up to $RUST_LOG.
    #[arg(long, value_enum, default_value = "text")]
    pub log_format: Format,
}

/// Crates that log requests and answers when they are asked to log much: those may hold keys.
const QUIET: [&str; 6] = ["kube_client", "hyper", "hyper_util", "h2", "rustls", "tower"];

/// Starts logging, filtered by `RUST_LOG` (default: info).
///
/// # Errors
/// `RUST_LOG` can't be read.
pub fn init(format: Format) -> Result<(), ParseError> {
    let mut filter = match std::env::var("RUST_LOG") {
        Ok(text) => EnvFilter::try_new(text)?,
        Err(_) => EnvFilter::new("info"),
    };
    for name in QUIET {
        filter = filter.add_directive(format!("{name}=error").parse::<Directive>()?);
    }
    // Says of each failed request that it failed, which whoever made the request says better.
    filter = filter.add_directive("kube_client::client::builder=off".parse::<Directive>()?);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        Format::Json => lines.json().init(),
    }
    Ok(())
}
