//! Debian packages, unpacked below .lab/debian instead of installed: strongSwan and libreswan can't both be installed,
//! and neither should start on the machine of whoever runs the tests.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use esplanade_e2e::controlplane::binaries::workspace;
use esplanade_e2e::debian::{checked, run, unpack};
use sha2::{Digest, Sha256};

/// The folder with `packages` and what they need that isn't installed. Several processes may call it at once: one
/// downloads, the others wait.
///
/// # Errors
/// apt-get doesn't know the packages or can't download them: the message has its words.
pub(crate) fn unpacked(packages: &[&str]) -> Result<PathBuf> {
    let cache = workspace().join(".lab/debian");
    std::fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    let lock = File::create(cache.join("lock")).context("making a lock file")?;
    lock.lock().context("waiting for another download of packages")?;
    let files = listed(packages)?;
    let digest: String = Sha256::digest(&files).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let folder = cache.join(format!("{}-{digest}", packages[0]));
    if folder.is_dir() {
        return Ok(folder);
    }
    let temporary = tempfile::Builder::new().prefix("unpacking-").tempdir_in(&cache).context("a folder")?;
    let root = temporary.path().join("root");
    download(packages, temporary.path())?;
    unpack(temporary.path(), &root)?;
    std::fs::rename(&root, &folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

/// What apt-get would download, by name and version.
fn listed(packages: &[&str]) -> Result<String> {
    let list = || apt(&["--print-uris"], packages, Path::new("/nonexistent"));
    let mut output = list()?;
    if !output.status.success() {
        // A machine whose package lists were removed, as container images have it.
        run(Command::new("apt-get").args(["-qq", "update"]))?;
        output = list()?;
    }
    let text = checked("apt-get --print-uris", output)?;
    let files: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    ensure!(!files.is_empty(), "apt-get has nothing to download for {packages:?}: {text}");
    Ok(files.join("\n"))
}

fn download(packages: &[&str], folder: &Path) -> Result<()> {
    // apt-get wants it.
    std::fs::create_dir(folder.join("partial")).context("making a folder")?;
    checked("apt-get --download-only", apt(&["--download-only"], packages, folder)?).map(drop)
}

/// `apt-get install` that doesn't install.
fn apt(how: &[&str], packages: &[&str], archives: &Path) -> Result<Output> {
    let mut command = Command::new("apt-get");
    command.args(["install", "-qq", "-y", "--no-install-recommends", "--reinstall"]).args(how);
    command.args(["-o", "Debug::NoLocking=true", "-o", "APT::Sandbox::User=root"]);
    command.arg("-o").arg(format!("Dir::Cache::archives={}", archives.display()));
    command.args(packages).stdin(Stdio::null());
    command.output().context("can't start apt-get: the packages of strongSwan and libreswan are Debian's")
}
