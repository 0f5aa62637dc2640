//! The file that remembers which keys are worn out.

use std::path::{Path, PathBuf};

use esplanade_diff::{BadRecord, Wear};
use esplanade_seal::KeyPair;

use crate::state_file::{BootFile, FileError, salt};

/// The file's name in the state directory. Its first line is the boot that it was written in.
pub const FILE: &str = "worn-keys";

/// Why it isn't known which keys are worn out.
#[derive(Debug, thiserror::Error)]
pub enum WearError {
    /// The file can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no record.
    #[error(
        "{path}: {source}. Remove it if no IpsecSA has a lifetime; else give those new keys, then remove it"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: BadRecord,
    },
}

/// Keeps the record of worn out keys in a file; or nowhere, in tests.
#[derive(Debug, Default)]
pub struct Record(BootFile);

/// What was recorded in `directory`, and where to go on. What is recorded of keys can't be checked against guesses by
/// those who lack the sealing key.
///
/// # Errors
/// There is a record, and it can't be read.
pub fn load(directory: &Path, keys: &KeyPair, boot_id: &str) -> Result<(Wear, Record), WearError> {
    let path = directory.join(FILE);
    let (lines, file) = BootFile::load(&path, boot_id)?;
    // What was installed before a boot is gone in any case.
    let kept: String = match lines.of_this_boot {
        true => lines.text,
        false => lines
            .text
            .lines()
            .filter(|line| !line.ends_with(" installed"))
            .map(|line| format!("{line}\n"))
            .collect(),
    };
    let salt = salt("esplanade worn keys", keys);
    match Wear::read(salt, &kept) {
        Ok(wear) => Ok((wear, Record(file))),
        Err(source) => Err(WearError::Malformed { path, source }),
    }
}

impl Record {
    /// Replaces what is recorded. Should that fail, a key that wears out is forgotten with this process: it is told.
    pub fn write(&self, lines: &str) {
        if let Err(error) = self.0.write(lines) {
            tracing::error!(%error, "which keys are worn out can't be recorded");
        }
    }
}

#[cfg(test)]
mod tests;
