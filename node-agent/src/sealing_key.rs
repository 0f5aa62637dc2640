//! The key pair that manual keys are sealed to. It lives in a file that only the agent can read; a restarted agent goes
//! on with it, and a new one is made where there is none.

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use esplanade_seal::KeyPair;
use zeroize::Zeroizing;

use crate::state_file::{self, FileError};

/// The file's name in the state directory. It holds the private half, 32 bytes.
pub const FILE: &str = "sealing-key";
const LENGTH: usize = 32;

/// Why there is no sealing key.
#[derive(Debug, thiserror::Error)]
pub enum SealingKeyError {
    /// A file or directory can't be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no key.
    #[error("{0} isn't 32 bytes long: it is no sealing key. Remove it, and a new key is made")]
    Length(PathBuf),
    /// Others may have read the key.
    #[error("{path} can be read by others (mode {mode:04o}). Remove it, and a new key is made")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// The key pair in `directory`; a new one if there is none. The directory is made if need be.
///
/// # Errors
/// The file or the directory can't be used.
pub fn load_or_make(directory: &Path) -> Result<KeyPair, SealingKeyError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory).map_err(FileError::at("making", directory))?;
    let path = directory.join(FILE);
    match File::open(&path) {
        Ok(file) => load(&path, file),
        Err(error) if error.kind() == ErrorKind::NotFound => make(&path),
        Err(error) => Err(FileError::at("opening", &path)(error).into()),
    }
}

fn load(path: &Path, mut file: File) -> Result<KeyPair, SealingKeyError> {
    let metadata = file.metadata().map_err(FileError::at("looking at", path))?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SealingKeyError::Exposed { path: path.to_owned(), mode });
    }
    if metadata.len() != LENGTH as u64 {
        return Err(SealingKeyError::Length(path.to_owned()));
    }
    let mut bytes = Zeroizing::new([0; LENGTH]);
    file.read_exact(bytes.as_mut_slice()).map_err(FileError::at("reading", path))?;
    Ok(KeyPair::from_bytes(&bytes))
}

fn make(path: &Path) -> Result<KeyPair, SealingKeyError> {
    let pair = KeyPair::generate(&mut rand::rng());
    state_file::replace(path, pair.to_bytes().as_slice())?;
    Ok(pair)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::{FILE, SealingKeyError, load_or_make};

    fn mode(path: &std::path::Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn made_once_for_its_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("deep/state");
        let first = load_or_make(&directory).unwrap();
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join(FILE)), 0o600);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "no leftovers");
        let again = load_or_make(&directory).unwrap();
        assert_eq!(again.public(), first.public());
        fs::remove_file(directory.join(FILE)).unwrap();
        assert_ne!(load_or_make(&directory).unwrap().public(), first.public());
    }

    #[test]
    fn an_unfinished_one_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("sealing-key.new"), [1; 7]).unwrap();
        let first = load_or_make(directory.path()).unwrap();
        assert_eq!(load_or_make(directory.path()).unwrap().public(), first.public());
    }

    #[test]
    fn what_is_no_key_or_no_secret_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        fs::write(&path, [1; 31]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = load_or_make(directory.path()).unwrap_err();
        assert!(matches!(error, SealingKeyError::Length(_)), "{error}");
        fs::write(&path, [1; 32]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = load_or_make(directory.path()).unwrap_err();
        assert!(error.to_string().contains("(mode 0640)"), "{error}");
    }
}
