//! The file that remembers which keys are worn out.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use esplanade_diff::{BadRecord, Memory, Wear};
use esplanade_seal::KeyPair;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::state_file::{self, FileError};

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
pub struct Record(Option<(PathBuf, String)>);

/// What was recorded in `directory`, and where to go on. What is recorded of keys can't be checked against guesses by
/// those who lack the sealing key.
///
/// # Errors
/// There is a record, and it can't be read.
pub fn load(directory: &Path, keys: &KeyPair, boot_id: &str) -> Result<(Memory, Record), WearError> {
    let path = directory.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(FileError::at("reading", &path)(error).into()),
    };
    let (boot, lines) = text.split_once('\n').unwrap_or_default();
    // What was installed before a boot is gone in any case.
    let kept: String = match boot == boot_id {
        true => lines.to_owned(),
        false => lines
            .lines()
            .filter(|line| !line.ends_with(" installed"))
            .map(|line| format!("{line}\n"))
            .collect(),
    };
    let mut hasher = Sha256::new_with_prefix("esplanade worn keys");
    hasher.update(keys.to_bytes().as_slice());
    let salt = Zeroizing::new(hasher.finalize().into());
    match Wear::read(salt, &kept) {
        Ok(wear) => Ok((Memory::new(wear), Record(Some((path, boot_id.to_owned()))))),
        Err(source) => Err(WearError::Malformed { path, source }),
    }
}

impl Record {
    /// Replaces what is recorded. Should that fail, a key that wears out is forgotten with this process: it is told.
    pub fn write(&self, lines: &str) {
        let Some((path, boot_id)) = &self.0 else { return };
        if let Err(error) = state_file::replace(path, format!("{boot_id}\n{lines}").as_bytes()) {
            tracing::error!(%error, "which keys are worn out can't be recorded");
        }
    }
}

#[cfg(test)]
mod tests;
