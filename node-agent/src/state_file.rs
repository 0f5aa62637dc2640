//! The files of the state directory: each is there whole or not at all, and for the agent alone.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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
