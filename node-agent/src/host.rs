//! The machine: what is told of it.

use std::fs;
use std::io;

use esplanade_crds::Kernel;

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
