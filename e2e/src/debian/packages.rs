//! Debian packages, unpacked below .lab/debian instead of installed: what can't be installed beside each other, and what
//! shouldn't start on the machine of whoever runs the tests.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{checked, run, unpack};
use crate::controlplane::binaries::workspace;

/// What is there already, and isn't unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// The machine's own packages.
    Installed,
    /// Nothing: the packages are to be a system of their own.
    Nothing,
}

/// The folder with `packages` and what they need that isn't there. Several processes may call it at once: one downloads,
/// the others wait.
///
/// # Errors
/// apt-get doesn't know the packages or can't download them: the message has its words.
pub fn unpacked(packages: &[&str], beside: Beside) -> Result<PathBuf> {
    let cache = workspace().join(".lab/debian");
    std::fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    let lock = File::create(cache.join("lock")).context("making a lock file")?;
    lock.lock().context("waiting for another download of packages")?;
    let mut found = folder(&cache, packages, beside)?;
    if found.is_dir() {
        return Ok(found);
    }
    let temporary = match download(&cache, packages, beside) {
        Ok(temporary) => temporary,
        // The mirror has newer ones than the machine's lists.
        Err(_) => {
            update()?;
            found = folder(&cache, packages, beside)?;
            download(&cache, packages, beside)?
        }
    };
    let root = temporary.path().join("root");
    unpack(temporary.path(), &root)?;
    if !found.is_dir() {
        std::fs::rename(&root, &found).with_context(|| format!("making {}", found.display()))?;
    }
    Ok(found)
}

/// Where these packages are, or will be.
fn folder(cache: &Path, packages: &[&str], beside: Beside) -> Result<PathBuf> {
    let files = listed(packages, beside)?;
    let digest: String = Sha256::digest(&files).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(cache.join(format!("{}-{digest}", packages[0])))
}

fn download(cache: &Path, packages: &[&str], beside: Beside) -> Result<TempDir> {
    let temporary = tempfile::Builder::new().prefix("unpacking-").tempdir_in(cache).context("a folder")?;
    // apt-get wants it.
    std::fs::create_dir(temporary.path().join("partial")).context("making a folder")?;
    let output = apt(&["--download-only"], packages, beside, temporary.path())?;
    checked("apt-get --download-only", output)?;
    Ok(temporary)
}

fn update() -> Result<()> {
    run(Command::new("apt-get").args(["-qq", "update"])).map(drop)
}

/// What apt-get would download, by name and version.
fn listed(packages: &[&str], beside: Beside) -> Result<String> {
    let list = || apt(&["--print-uris"], packages, beside, Path::new("/nonexistent"));
    let mut output = list()?;
    if !output.status.success() {
        // A machine whose package lists were removed, as container images have it.
        update()?;
        output = list()?;
    }
    let text = checked("apt-get --print-uris", output)?;
    let files: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    ensure!(!files.is_empty(), "apt-get has nothing to download for {packages:?}: {text}");
    Ok(files.join("\n"))
}

/// `apt-get install` that doesn't install.
fn apt(how: &[&str], packages: &[&str], beside: Beside, archives: &Path) -> Result<Output> {
    let mut command = Command::new("apt-get");
    command.args(["install", "-qq", "-y", "--no-install-recommends", "--reinstall"]).args(how);
    command.args(["-o", "Debug::NoLocking=true", "-o", "APT::Sandbox::User=root"]);
    command.arg("-o").arg(format!("Dir::Cache::archives={}", archives.display()));
    if beside == Beside::Nothing {
        command.args(["-o", "Dir::State::status=/dev/null"]);
    }
    command.args(packages).stdin(Stdio::null());
    command.output().context("can't start apt-get: the lab takes packages from Debian")
}
