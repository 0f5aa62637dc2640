//! User-Mode Linux.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::boot::{Boot, concat};
use crate::process::Supervised;

/// Where Debian's package has the modules.
const MODULES: &str = "/usr/lib/uml/modules";

/// Starts the kernel.
pub(super) fn start(boot: &Boot<'_>, kernel: &Path) -> Result<Vec<Supervised>> {
    let console = std::fs::File::create(boot.console()).context("making the console's file")?;
    let mut command = Command::new(kernel);
    command
        .arg(format!("mem={}M", boot.memory))
        .args([
            "rootfstype=hostfs",
            "rootflags=/",
            "ro",
            "quiet",
            "con=null",
            "con0=null,fd:1",
            "umid=kernel",
        ])
        .arg(concat("uml_dir=", boot.dir))
        .arg(concat("init=", &boot.init()))
        .args(boot.facts("hostfs", Path::new(MODULES)));
    if let Some(tap) = boot.tap {
        command.arg(format!("vec0:transport=tap,ifname={tap},depth=64"));
    }
    command.current_dir(boot.dir).stdin(Stdio::null()).stderr(console.try_clone()?).stdout(console);
    Ok(vec![Supervised::spawn("User-Mode Linux", command)?])
}
