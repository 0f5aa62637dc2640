//! The files of the state directory: each is there whole or not at all, but for lines at its end, and for the agent alone.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use esplanade_seal::KeyPair;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// A file or directory can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{step} {path}: {source}")]
pub struct FileError {
    step: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// What was tried, and with what.
    pub(crate) fn at(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { step, path, source }
    }
}

/// A file of text whose first line is the boot that it was written in; or none, in tests.
#[derive(Debug, Default)]
pub(crate) struct BootFile(Option<(PathBuf, String)>);

/// What such a file says, after its first line.
pub(crate) struct Lines {
    /// Nothing where there is no file.
    pub(crate) text: String,
    /// It was written in this boot.
    pub(crate) of_this_boot: bool,
    /// There is a file without a first line: nobody knows when it was written.
    pub(crate) is_cut_short: bool,
}

impl BootFile {
    /// What is recorded, and where to go on.
    ///
    /// # Errors
    /// There is a file, and it can't be read.
    pub(crate) fn load(path: &Path, boot_id: &str) -> Result<(Lines, Self), FileError> {
        let (text, there) = match fs::read_to_string(path) {
            Ok(text) => (text, true),
            Err(error) if error.kind() == ErrorKind::NotFound => (String::new(), false),
            Err(error) => return Err(FileError::at("reading", path)(error)),
        };
        let (boot, lines) = text.split_once('\n').unwrap_or_default();
        let (of_this_boot, is_cut_short) = (boot == boot_id, there && boot.is_empty());
        let lines = Lines { text: lines.to_owned(), of_this_boot, is_cut_short };
        Ok((lines, Self::at(path, boot_id)))
    }

    /// Goes on here, whatever is there.
    pub(crate) fn at(path: &Path, boot_id: &str) -> Self {
        Self(Some((path.to_owned(), boot_id.to_owned())))
    }

    /// Replaces what is recorded.
    ///
    /// # Errors
    /// It can't be written. What was there is there still.
    pub(crate) fn write(&self, lines: &str) -> Result<(), FileError> {
        match &self.0 {
            Some((path, boot_id)) => replace(path, format!("{boot_id}\n{lines}").as_bytes()),
            None => Ok(()),
        }
    }

    /// Writes lines behind what is recorded.
    ///
    /// # Errors
    /// There is no file, or it can't be written. Some of the lines may be there, and a part of the next.
    pub(crate) fn append(&self, lines: &str) -> Result<(), FileError> {
        let Some((path, _)) = &self.0 else { return Ok(()) };
        let write = || {
            let mut file = OpenOptions::new().append(true).open(path)?;
            file.write_all(lines.as_bytes())?;
            file.sync_all()
        };
        write().map_err(FileError::at("appending to", path))
    }
}

impl Lines {
    /// What was written in this boot.
    pub(crate) fn of_this_boot(&self) -> &str {
        if self.of_this_boot { &self.text } else { "" }
    }
}

/// The secret that a record of this purpose is salted with: what it says of keys can't be checked against guesses by those who
/// lack the sealing key.
pub(crate) fn salt(purpose: &str, keys: &KeyPair) -> Zeroizing<[u8; 32]> {
    let mut hasher = Sha256::new_with_prefix(purpose);
    hasher.update(keys.to_bytes().as_slice());
    Zeroizing::new(hasher.finalize().into())
}

/// Puts a file with these bytes in the place of what is there.
///
/// # Errors
/// It can't be written. What was there is there still.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let unfinished = path.with_extension("new");
    match fs::remove_file(&unfinished) {
        // Left by an agent that ended in between.
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(FileError::at("removing", &unfinished)(error)),
    }
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(FileError::at("writing", &unfinished))?;
    fs::rename(&unfinished, path).map_err(FileError::at("putting in place", path))
}
