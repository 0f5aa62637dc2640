//! Logs: one line an event on standard error.

use std::error::Error;
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

/// An error and its causes in one line, each once: some say their cause themselves, for where only they are shown.
pub fn in_words<'a>(causes: impl IntoIterator<Item = &'a (dyn Error + 'static)>) -> String {
    let mut words = String::new();
    for cause in causes {
        let cause = cause.to_string();
        if words.is_empty() {
            words = cause;
        } else if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::io;

    use super::in_words;

    #[test]
    fn a_cause_is_said_once() {
        let cause = io::Error::other("no such file");
        let says_it = io::Error::other("reading key-ring: no such file");
        let starting = io::Error::other("starting");
        let chain: [&(dyn Error + 'static); 3] = [&starting, &says_it, &cause];
        assert_eq!(in_words(chain), "starting: reading key-ring: no such file");
        let chain: [&(dyn Error + 'static); 2] = [&starting, &cause];
        assert_eq!(in_words(chain), "starting: no such file");
    }
}
