//! The file that remembers how far senders with the keys of IpsecSAs have come.

use std::path::{Path, PathBuf};

use esplanade_diff::{BadRecord, Numbers, Writing};
use esplanade_seal::KeyPair;

use crate::state_file::{BootFile, FileError, salt};

/// The file's name in the state directory. Its first line is the boot that it was written in.
pub const FILE: &str = "sequence-numbers";

/// Why it isn't known how far senders have come.
#[derive(Debug, thiserror::Error)]
pub enum NumbersError {
    /// The file can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no record.
    #[error(
        "{path}: {source}. Give the IpsecSAs that this node sends with new keys, then remove it; or remove it if there are none"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: BadRecord,
    },
}

/// Keeps the record in a file; or nowhere, in tests.
#[derive(Debug, Default)]
pub struct Record(BootFile);

/// What was recorded in `directory` in this boot, and where to go on. What is recorded of keys can't be checked against
/// guesses by those who lack the sealing key.
///
/// # Errors
/// There is a record, and it can't be read.
pub fn load(directory: &Path, keys: &KeyPair, boot_id: &str) -> Result<(Numbers, Record), NumbersError> {
    let path = directory.join(FILE);
    let (lines, file) = BootFile::load(&path, boot_id)?;
    let malformed = |source| NumbersError::Malformed { path: path.clone(), source };
    if lines.is_cut_short {
        return Err(malformed(BadRecord::FIRST_LINE));
    }
    let salt = salt("esplanade sequence numbers", keys);
    let numbers = Numbers::read(salt, lines.of_this_boot()).map_err(malformed)?;
    Ok((numbers, Record(file)))
}

impl Record {
    /// Writes to the record.
    ///
    /// # Errors
    /// It can't be written. What was there is there still; at its end, there may be something of the lines to append.
    pub(crate) fn write(&self, writing: &Writing) -> Result<(), FileError> {
        match writing {
            Writing::Append(lines) => self.0.append(lines),
            Writing::Replace(lines) => self.0.write(lines),
        }
    }
}

#[cfg(test)]
mod tests;
