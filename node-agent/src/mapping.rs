//! Where senders behind address translations are now, and the file that remembers it.

use std::net::SocketAddr;
use std::path::Path;

use esplanade_crds::IpsecNodeStateSpec;
use esplanade_expand::{Expansion, Followed, Mappings, followed};
use esplanade_model::SaId;

use crate::state_file::{BootFile, FileError};

/// The file's name in the state directory. Its first line is the boot that it was written in. There is none while all senders
/// are where it is written.
pub const FILE: &str = "mappings";

/// Senders that are followed.
#[derive(Debug, Default)]
pub struct Senders {
    mappings: Mappings,
    followed: Followed,
    file: BootFile,
}

impl Senders {
    /// What was recorded in `directory` in this boot.
    ///
    /// # Errors
    /// There is a record, and it can't be read.
    pub fn load(directory: &Path, boot_id: &str) -> Result<Self, FileError> {
        let (lines, file) = BootFile::load(&directory.join(FILE), boot_id)?;
        Ok(Self { mappings: Mappings::read(lines.of_this_boot()), followed: Followed::new(), file })
    }

    /// A packet came through the SA from there. Whether something else is wanted by it.
    pub(crate) fn came_from(&mut self, id: SaId, now: SocketAddr) -> bool {
        let moved = self.mappings.moved(&self.followed, id, now);
        if moved {
            tracing::info!("what comes through the {id} comes from {now} now: what goes there is sent there");
            self.record();
        }
        moved
    }

    /// Changes what is made of a node's desired state to where the senders are.
    pub(crate) fn follow(&mut self, node: &str, spec: &IpsecNodeStateSpec, expansion: &mut Expansion) {
        self.followed = followed(node, spec);
        if self.mappings.keep(&self.followed) {
            self.record();
        }
        self.mappings.follow(expansion);
    }

    /// Should that fail, the next process learns them anew.
    fn record(&self) {
        if let Err(error) = self.file.write(&self.mappings.text()) {
            tracing::error!(%error, "where senders are now can't be recorded");
        }
    }
}
