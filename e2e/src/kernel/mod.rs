//! Finding a kernel with ESP, and running things on it.
//!
//! [`find`] prefers the running kernel; where that has no ESP, User-Mode Linux with the host's files as its root
//! file system (read-only). [`CHOICE`] asks for another: a cloud kernel of some Debian suite, in QEMU with the same
//! root file system.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

pub mod boot;
pub mod command;
pub mod debian;
mod initramfs;
mod modules;
pub mod native;
pub mod probe;
mod qemu;
mod uml;

/// Set in the environment to the name of a Debian suite, it has everything run on that suite's cloud kernel; set to
/// [`UML`], in User-Mode Linux also where the running kernel has ESP.
pub const CHOICE: &str = "LAB_KERNEL";
/// [`CHOICE`] of User-Mode Linux.
pub const UML: &str = "uml";

/// Everything is to run on a kernel that has all there is: what it lacks is a fault.
pub fn has_everything() -> bool {
    std::env::var(CHOICE).is_ok_and(|choice| choice.ends_with(debian::WITH_MODULES))
}

/// A kernel with ESP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kernel {
    /// The one this process runs on.
    Native,
    /// One that is booted.
    Booted(Bootable),
}

impl Kernel {
    /// How many times as long as on the machine's own processor one may have to wait: QEMU emulates its.
    pub(crate) fn patience(&self) -> u32 {
        match self {
            Self::Native | Self::Booted(Bootable::Uml(_)) => 1,
            Self::Booted(Bootable::Qemu(_)) => 4,
        }
    }
}

/// A kernel that can be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootable {
    /// User-Mode Linux: this executable.
    Uml(PathBuf),
    /// In QEMU.
    Qemu(debian::Image),
}

/// Finds a kernel with ESP: the one that [`CHOICE`] asks for; else the running one if it has ESP; else User-Mode
/// Linux.
///
/// # Errors
/// None is there; the message says what to install.
pub fn find() -> Result<Kernel> {
    if std::env::var_os(CHOICE).is_none() && probe::running_kernel_has_esp()? {
        return Ok(Kernel::Native);
    }
    find_bootable()
}

/// Finds a kernel with ESP that is booted for whoever asks: the one that [`CHOICE`] asks for, else User-Mode Linux.
///
/// # Errors
/// None is there; the message says what to install.
pub fn find_bootable() -> Result<Kernel> {
    match std::env::var(CHOICE) {
        Ok(uml) if uml == UML => user_mode_linux("linux.uml isn't in PATH"),
        Ok(suite) => Ok(Kernel::Booted(Bootable::Qemu(debian::image(&suite)?))),
        Err(std::env::VarError::NotPresent) => {
            user_mode_linux("the running kernel won't do, and linux.uml isn't in PATH")
        }
        Err(error) => Err(error).context(CHOICE),
    }
}

fn user_mode_linux(without: &str) -> Result<Kernel> {
    match which("linux.uml") {
        Some(path) => Ok(Kernel::Booted(Bootable::Uml(path))),
        None => bail!("{without}: install Debian's package user-mode-linux"),
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

/// A line of shell for a booted kernel that makes a folder of the host visible unless it is already: it may lie below
/// the guest's own tmpfs. The folder's name is quoted already.
pub(crate) fn show_folder(folder: &str) -> String {
    format!("[ -d {folder} ] || {{ mkdir -p {folder}; mount --bind /run/host{folder} {folder}; }}\n")
}

/// The file a shell in `cwd` would run for this name.
fn which_in(program: &std::ffi::OsStr, cwd: &std::path::Path) -> Result<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    if program.as_bytes().contains(&b'/') {
        return Ok(cwd.join(program));
    }
    program.to_str().and_then(which).with_context(|| format!("{} isn't in PATH", program.display()))
}
