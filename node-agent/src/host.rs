//! The machine: what is told of it.

use std::fs;
use std::io;

use esplanade_crds::Kernel;

use crate::disturbance::{Dropped, counters};

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

/// Milliseconds since the machine was booted, those in which it was suspended counted (CLOCK_BOOTTIME, `/proc/uptime`).
///
/// # Errors
/// There is no `/proc`.
pub fn since_boot() -> io::Result<u64> {
    let text = line("/proc/uptime")?;
    let seconds = text.split_whitespace().next().and_then(|text| text.parse::<f64>().ok());
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "/proc/uptime has no number");
    // Never negative, and far from the largest.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    seconds.map(|seconds| (seconds * 1000.0) as u64).ok_or_else(bad)
}

/// Packets that the kernel has dropped, by its own names; of the network namespace of the thread that asks
/// (`net/xfrm/xfrm_proc.c`).
///
/// # Errors
/// The kernel has no such counters (CONFIG_XFRM_STATISTICS).
pub(crate) fn dropped() -> io::Result<Dropped> {
    fs::read_to_string("/proc/thread-self/net/xfrm_stat").map(|text| counters(&text))
}

fn line(path: &str) -> io::Result<String> {
    let text = fs::read_to_string(path);
    text.map(|text| text.trim().to_owned()).map_err(|e| io::Error::new(e.kind(), format!("{path}: {e}")))
}
