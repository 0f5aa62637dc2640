//! What a command that ran to its end left behind.

use std::os::unix::process::ExitStatusExt;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// The end of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "the command may have failed: ok() turns that into an error"]
pub struct Outcome {
    /// The command, quoted as for a shell.
    pub command: String,
    /// Exit code; 128 + n after signal n.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Outcome {
    /// From what the standard library or tokio return.
    pub fn new(command: &[impl AsRef<str>], output: &std::process::Output) -> Self {
        Self {
            command: shell_words::join(command),
            code: code(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Whether the exit code is 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.code == 0
    }

    /// The command's stdout.
    ///
    /// # Errors
    /// The command failed: the message has what it wrote.
    pub fn ok(self) -> Result<String> {
        if self.success() {
            return Ok(self.stdout);
        }
        let said = [self.stdout.trim(), self.stderr.trim()].join("\n");
        bail!("`{}` failed with {}: {}", self.command, self.code, said.trim())
    }
}

/// Exit code; 128 + n after signal n.
#[must_use]
pub fn code(status: std::process::ExitStatus) -> i32 {
    status.code().or(status.signal().map(|n| 128 + n)).unwrap_or(255)
}
