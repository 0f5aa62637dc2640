//! The key ring's file.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use esplanade_keying::{NodeUid, Ring};
use zeroize::Zeroizing;

use crate::state_file::{self, FileError};

/// The file's name in the state directory. Its first line is the boot that it was written in: a node that was rebooted
/// has new keys, wherever the directory is.
pub(super) const FILE: &str = "key-ring";

/// Where the ring is kept.
#[derive(Debug)]
pub(super) struct RingFile {
    path: PathBuf,
    boot_id: String,
}

impl RingFile {
    pub(super) fn new(directory: &Path, boot_id: &str) -> Self {
        Self { path: directory.join(FILE), boot_id: boot_id.to_owned() }
    }

    /// There is one.
    pub(super) fn is_there(&self) -> bool {
        self.path.exists()
    }

    /// The ring of this Node; an empty one where there is none that can be used, and why is logged.
    pub(super) fn load(&self, node: NodeUid) -> Ring {
        let empty = Ring { node, keys: Vec::new() };
        let bytes = match self.read() {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return empty,
            Err(error) => {
                tracing::error!(%error, "the key ring can't be read: making new keys");
                return empty;
            }
        };
        let Some(ring) = bytes.strip_prefix(format!("{}\n", self.boot_id).as_bytes()) else {
            tracing::info!("the key ring is of an earlier boot: making new keys");
            return empty;
        };
        let (ring, error) = Ring::restore(node, ring);
        if let Some(error) = error {
            tracing::error!(%error, "the key ring can't be used: making new keys");
        }
        ring
    }

    fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FileError::at("opening", &self.path)(error)),
        };
        let metadata = file.metadata().map_err(FileError::at("looking at", &self.path))?;
        if metadata.mode() & 0o077 != 0 {
            let exposed = std::io::Error::other("others can read it");
            return Err(FileError::at("trusting", &self.path)(exposed));
        }
        // Room for all of it, so that no copy of a key is left behind by growing.
        let room = usize::try_from(metadata.len()).unwrap_or_default() + 1;
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        file.read_to_end(&mut bytes).map_err(FileError::at("reading", &self.path))?;
        Ok(Some(bytes))
    }

    /// Replaces it.
    pub(super) fn save(&self, ring: &Ring) -> Result<(), FileError> {
        let ring = ring.encode();
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.boot_id.len() + 1 + ring.len()));
        bytes.extend_from_slice(self.boot_id.as_bytes());
        bytes.push(b'\n');
        bytes.extend_from_slice(&ring);
        state_file::replace(&self.path, &bytes)
    }

    /// Removes it.
    pub(super) fn forget(&self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::error!(%error, "the key ring can't be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use esplanade_keying::{KeyPair, NodeUid, Record, Ring, Stage, Time};

    use super::{FILE, RingFile};

    fn ring() -> Ring {
        let pair = KeyPair::from_bytes(&[7; 32]);
        let (id, created, rotate) = (pair.id(), Time(5), Time(9));
        let record = Record { id, created, rotate, stage: Stage::Published, made: Default::default() };
        Ring { node: NodeUid::of("a"), keys: vec![(pair, record)] }
    }

    #[test]
    fn it_outlives_the_agent_and_not_the_boot_the_node_or_the_eyes_of_others() {
        let directory = tempfile::tempdir().unwrap();
        let file = RingFile::new(directory.path(), "boot-1");
        assert!(!file.is_there());
        assert!(file.load(NodeUid::of("a")).keys.is_empty());
        file.save(&ring()).unwrap();
        let path = directory.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(file.load(NodeUid::of("a")), ring());
        assert!(file.load(NodeUid::of("b")).keys.is_empty());
        assert!(RingFile::new(directory.path(), "boot-2").load(NodeUid::of("a")).keys.is_empty());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(file.load(NodeUid::of("a")).keys.is_empty());
    }
}
