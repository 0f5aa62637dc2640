//! Finding a kernel with ESP, and running things on it.
//!
//! [`find`] prefers the running kernel; where that has no ESP, User-Mode Linux with the host's files as its root
//! file system (read-only).

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

pub mod command;
pub mod native;
pub mod probe;
pub mod uml;

/// A kernel with ESP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kernel {
    /// The one this process runs on.
    Native,
    /// User-Mode Linux: this executable.
    Uml(PathBuf),
}

/// Finds a kernel with ESP: the running one if it has it, else User-Mode Linux.
///
/// # Errors
/// Neither is there; the message says what to install.
pub fn find() -> Result<Kernel> {
    if probe::running_kernel_has_esp()? {
        return Ok(Kernel::Native);
    }
    match which("linux.uml") {
        Some(path) => Ok(Kernel::Uml(path)),
        None => bail!(
            "the running kernel has no ESP and linux.uml isn't in PATH: install Debian's package user-mode-linux"
        ),
    }
}

/// The first executable file of that name in `PATH` (and in the system's folders for administrators).
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok())
}

/// `unshare` with a fresh network namespace; without root, in a user namespace of its own as its root.
pub(crate) fn unshare_net() -> Command {
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
}

/// A fresh folder for one kernel or lab, removed when dropped.
pub fn temp_dir() -> Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("esplanade-lab-").tempdir().context("making the lab's folder")
}

/// A line of shell for User-Mode Linux that makes a folder of the host visible, read-only, unless it is already:
/// it may lie below the guest's own tmpfs. The folder's name is quoted already.
pub(crate) fn show_folder(folder: &str) -> String {
    format!("[ -d {folder} ] || {{ mkdir -p {folder}; mount -t hostfs -o ro,{folder} hostfs {folder}; }}\n")
}

/// The file a shell in `cwd` would run for this name.
fn which_in(program: &std::ffi::OsStr, cwd: &std::path::Path) -> Result<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    if program.as_bytes().contains(&b'/') {
        return Ok(cwd.join(program));
    }
    program.to_str().and_then(which).with_context(|| format!("{} isn't in PATH", program.display()))
}
