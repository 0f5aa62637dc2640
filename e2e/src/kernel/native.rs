//! The running kernel as the kernel with ESP.

use std::ffi::OsString;
use std::process::Command;

/// The command in a fresh network namespace of the running kernel, as its root, with the loopback interface up.
pub fn command(program: &[OsString]) -> Command {
    let mut command = super::unshare_net();
    command.args(["--", "sh", "-c", r#"ip link set lo up && exec "$@""#, "sh"]).args(program);
    command
}
