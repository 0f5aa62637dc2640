//! Modules that Debian's cloud kernels lack: IPTFS, and netdevsim, a network card without hardware that can be given
//! work. Built once from Debian's source of the same kernel.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::debian::depmod;
use crate::debian::run;
use crate::debian::suite::Suite;

const SCRIPT: &str = include_str!("modules.sh");

/// A copy of the unpacked kernel `plain` with these modules, in `cache`; made unless it is there. One process at a time.
///
/// # Errors
/// The suite has no source of just this kernel, or a build fails: the message has its words.
pub(super) fn added(packages: &Suite, plain: &Path, version: &str, release: &str) -> Result<PathBuf> {
    let cache = plain.parent().context("the cache")?;
    let digest: String = Sha256::digest(SCRIPT).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let folder = cache.join(format!("{version}+modules-{digest}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let temporary = tempfile::Builder::new().prefix("building-").tempdir_in(cache).context("a folder")?;
    let [debs, work, root] = ["debs", "work", "root"].map(|name| temporary.path().join(name));
    for folder in [&debs, &work] {
        std::fs::create_dir(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let series: Vec<&str> = release.split('.').take(2).collect();
    let source = format!("linux-source-{}", series.join("."));
    let there = packages.version(&source)?;
    ensure!(there == version, "{source} is of version {there}, the kernel of {version}: try again later");
    packages.download(&[source, format!("linux-headers-{release}")], &debs)?;
    // Links: nothing in them changes, and files that are made anew get names of their own.
    run(Command::new("cp").args(["-al"]).arg(plain).arg(&root))?;
    let modules = root.join("usr/lib/modules").join(release);
    let extra = modules.join("extra");
    std::fs::create_dir(&extra).with_context(|| format!("making {}", extra.display()))?;
    let mut script = Command::new("sh");
    script.args(["-c", SCRIPT, "modules.sh", release]).arg(modules.join("config")).args([&debs, &extra]);
    run(script.current_dir(&work)).context("building modules")?;
    depmod(&root, release)?;
    std::fs::rename(&root, &folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}
