//! What a rebooted node drops until its agent has been told what to protect: what it protected before. Its kernel comes up
//! empty, and pods may run before the agent has reached the API server.
//!
//! The policies are recorded on a disk, closed: one that protects blocks. They have the names of the agent's own, which
//! become those again once it is told. There is no key in the record.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use esplanade_diff::Memory;
use esplanade_expand::uncovered;
use esplanade_model::{Action, Direction, Policy, Wanted};
use esplanade_sync::Engine;
use esplanade_xfrm::wire::Observer;
use esplanade_xfrm::{Databases, KernelError};
use sha2::{Digest, Sha256};

use crate::pass::{self, read_everything};
use crate::state_file::{FileError, replace};

mod line;

/// The file's name in the directory: JSON, a policy a line.
pub const FILE: &str = "policies-at-boot";

/// Why what was protected isn't dropped.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The record can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no record.
    #[error("{path}, line {line}: {source}. Remove the file if another program wrote it")]
    Malformed {
        /// The record.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Why.
        source: line::BadLine,
    },
    /// The kernel could not be asked.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The kernel refused some.
    #[error("the kernel refused {refused} of {all} policies, one of them with: {message}")]
    Refused {
        /// How many.
        refused: usize,
        /// Of how many.
        all: usize,
        /// What the kernel said.
        message: String,
    },
}

/// Writes the record; to no file where there is no directory for it.
#[derive(Debug, Default)]
pub struct Record {
    path: Option<PathBuf>,
    /// Of what was written last.
    written: Option<[u8; 32]>,
}

impl Record {
    /// In this directory, which is made if need be.
    ///
    /// # Errors
    /// It can't be made.
    pub fn in_directory(directory: &Path) -> Result<Self, FileError> {
        fs::create_dir_all(directory).map_err(FileError::at("making", directory))?;
        Ok(Self { path: Some(directory.join(FILE)), written: None })
    }

    /// Records these policies, before the kernel has them. Should that fail, a reboot closes what was recorded before.
    pub(crate) fn note(&mut self, policies: &[(String, Policy)]) {
        let Some(path) = &self.path else { return };
        let text: String =
            policies.iter().filter_map(|(_, policy)| closed(policy)).map(line::write).collect();
        let digest = Sha256::digest(&text).into();
        if self.written == Some(digest) {
            return;
        }
        match replace(path, text.as_bytes()) {
            Ok(()) => self.written = Some(digest),
            Err(error) => tracing::error!(%error, "what a reboot is to drop can't be recorded"),
        }
    }
}

/// What stands for the policy until there are keys; nothing where clear text arrives by it anyway.
fn closed(policy: &Policy) -> Option<Policy> {
    let open = policy.direction != Direction::Out && policy.templates.iter().all(|one| one.optional);
    let action = match policy.templates.as_slice() {
        [] => policy.action,
        _ if open => return None,
        _ => Action::Block,
    };
    // Interfaces have other numbers after a boot.
    let lasts = policy.selector.interface_index == 0;
    lasts.then(|| Policy { action, templates: Vec::new(), ..policy.clone() })
}

/// Has the kernel drop what the record in `directory` says, where there is one and the kernel has no policy of ours: how many
/// policies that took. The API server's connections with these addresses pass.
///
/// # Errors
/// Something of it may not be dropped.
pub fn close(
    kernel: &mut dyn Databases,
    directory: &Path,
    api_server: &BTreeSet<SocketAddr>,
) -> Result<usize, CloseError> {
    let policies = read(&directory.join(FILE))?;
    let Some(first) = policies.first() else { return Ok(0) };
    // Where only the agent has started anew, one of them tells it: everything is read anyway once that knows what is wanted.
    let mut there = Observer::default();
    kernel.look_up(&[], &[first.key()], &mut there)?;
    if !there.finish().policies.is_empty() {
        return Ok(0);
    }
    let mut engine = Engine::new(Memory::default());
    read_everything(kernel, &mut engine)?;
    if engine.counts().policies > 0 {
        return Ok(0);
    }
    let named = |policy| (String::new(), policy);
    let policies: Vec<_> = policies.into_iter().map(named).collect();
    let exempt = uncovered(api_server, &policies).into_iter().map(named);
    let policies: Vec<_> = exempt.chain(policies).collect();
    let all = policies.len();
    engine.want(Wanted { policies, ..Wanted::default() });
    let outcome = pass::pass(kernel, "", &mut engine, false)?;
    match outcome.problems.first() {
        None => Ok(all),
        Some(problem) => Err(CloseError::Refused {
            refused: outcome.problems.len(),
            all,
            message: problem.message.clone(),
        }),
    }
}

fn read(path: &Path) -> Result<Vec<Policy>, CloseError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FileError::at("reading", path)(error).into()),
    };
    let malformed =
        |at: usize| move |source| CloseError::Malformed { path: path.to_owned(), line: at + 1, source };
    text.lines().enumerate().map(|(at, text)| line::read(text).map_err(malformed(at))).collect()
}

#[cfg(test)]
mod tests;
