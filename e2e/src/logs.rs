//! Log files of the lab's processes.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};

/// A fresh file, and a second handle to it for stderr.
pub fn create(path: &Path) -> Result<(File, File)> {
    let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    let second = file.try_clone().with_context(|| format!("making {}", path.display()))?;
    Ok((file, second))
}

/// The last lines of a log, with its path above; says so when it can't be read.
#[must_use]
pub fn tail(path: &Path, lines: usize) -> String {
    match std::fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            format!("--- {} (its end)\n{}", path.display(), last_lines(&text, lines))
        }
        Err(error) => format!("--- {}: {error}", path.display()),
    }
}

/// The last lines of a text.
#[must_use]
pub fn last_lines(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
