//! The file that remembers which keys SAs have, where the kernel doesn't show them.

use std::path::Path;

use esplanade_diff::Hidden;
use esplanade_seal::KeyPair;

use crate::state_file::{BootFile, FileError, salt};

/// The file's name in the state directory. Its first line is the boot that it was written in. There is none where the kernel
/// shows keys.
pub const FILE: &str = "hidden-keys";

/// Keeps the record in a file; or nowhere, in tests.
#[derive(Debug, Default)]
pub struct Record(BootFile);

/// What was recorded in `directory` in this boot, and where to go on. What is recorded of keys can't be checked against
/// guesses by those who lack the sealing key, which is made anew with each boot.
///
/// # Errors
/// There is a record, and it can't be read.
pub fn load(directory: &Path, keys: &KeyPair, boot_id: &str) -> Result<(Hidden, Record), FileError> {
    let (lines, file) = BootFile::load(&directory.join(FILE), boot_id)?;
    let salt = salt("esplanade hidden keys", keys);
    Ok((Hidden::read(salt, lines.of_this_boot()), Record(file)))
}

impl Record {
    /// Replaces what is recorded. Should that fail, the next process replaces SAs that it doesn't know: it is told.
    pub fn write(&self, lines: &str) {
        if let Err(error) = self.0.write(lines) {
            tracing::error!(%error, "which keys SAs have can't be recorded");
        }
    }
}

#[cfg(test)]
mod tests;
