//! The machine: what is told of it, and what of the process is kept from others.

use std::fs;
use std::io;

use esplanade_crds::Kernel;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

/// The kernel's boot id (`/proc/sys/kernel/random/boot_id`).
///
/// # Errors
/// There is no `/proc`.
pub fn boot_id() -> io::Result<String> {
    line("/proc/sys/kernel/random/boot_id")
}

/// The kernel's release (`uname -r`).
///
/// # Errors
/// There is no `/proc`.
pub fn kernel() -> io::Result<Kernel> {
    Ok(Kernel { release: line("/proc/sys/kernel/osrelease")?, capabilities: Vec::new() })
}

fn line(path: &str) -> io::Result<String> {
    let text = fs::read_to_string(path);
    text.map(|text| text.trim().to_owned()).map_err(|e| io::Error::new(e.kind(), format!("{path}: {e}")))
}

/// Keeps the process's memory, which has keys in it, from core dumps and from other processes of the same user.
///
/// # Errors
/// The kernel refused.
pub fn keep_memory_private() -> nix::Result<()> {
    prctl::set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)
}
