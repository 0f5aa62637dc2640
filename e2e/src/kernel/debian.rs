//! Cloud kernels of Debian's suites, unpacked below .lab/kernels.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{initramfs, modules};
use crate::controlplane::binaries::workspace;
use crate::debian::suite::Suite;
use crate::debian::{run, unpack};

/// The package that depends on a suite's newest cloud kernel.
const PACKAGE: &str = "linux-image-cloud-amd64";
/// What of it is needed: its image, its modules and the list of those built in, in one package or in several.
const PARTS: [&str; 4] = ["linux-image-", "linux-binary-", "linux-modules-", "linux-base-"];

/// An unpacked kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What QEMU boots.
    pub kernel: PathBuf,
    /// The first file system.
    pub initrd: PathBuf,
    /// The folder with the kernel's modules in a folder named after its release.
    pub modules: PathBuf,
    /// What is asked of the kernel on its command line.
    pub parameters: &'static str,
}

/// What a suite's name ends in where its kernel is to have [modules](super::modules) of its own.
pub(super) const WITH_MODULES: &str = "+modules";
/// What a suite's name ends in where its kernel is to hide keys from everybody.
const LOCKED_DOWN: &str = "+lockdown";
/// `kernel_lockdown(7)`.
const LOCKDOWN: &str = "lockdown=confidentiality";

/// The newest cloud kernel of a suite (`trixie`); downloads it when the suite has a newer one than the last time.
/// `sid+modules` is one that modules are built for which Debian doesn't, `trixie+lockdown` hides keys. Several processes may
/// call it at once: one downloads and builds, the others wait.
///
/// # Errors
/// There is no such suite, or it can't be reached: the message has apt's words.
pub fn image(choice: &str) -> Result<Image> {
    // Not both: a kernel in lockdown takes only modules that Debian has signed.
    let with_modules = choice.strip_suffix(WITH_MODULES);
    let locked_down = choice.strip_suffix(LOCKED_DOWN);
    let suite = with_modules.or(locked_down).unwrap_or(choice);
    let plain = |c: char| c.is_ascii_lowercase() || c == '-';
    ensure!(
        !suite.is_empty() && suite.chars().all(plain),
        "{}={choice:?}: write a Debian suite's name, like trixie, or trixie{WITH_MODULES}, or trixie{LOCKED_DOWN}",
        super::CHOICE
    );
    let cache = workspace().join(".lab/kernels").join(suite);
    std::fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    let lock = File::create(cache.join("lock")).context("making a lock file")?;
    lock.lock().context("waiting for another download of a kernel")?;

    let packages = Suite::open(suite, &cache.join("apt"))?;
    let version = packages.version(PACKAGE)?;
    let mut folder = cache.join(&version);
    if !folder.is_dir() {
        let temporary =
            tempfile::Builder::new().prefix("unpacking-").tempdir_in(&cache).context("a folder")?;
        let root = temporary.path().join("root");
        let mut needed = packages.needs(PACKAGE)?;
        needed.retain(|name| PARTS.iter().any(|part| name.starts_with(part)));
        packages.download(&needed, temporary.path())?;
        unpack(temporary.path(), &root)?;
        let release = release(&root)?;
        depmod(&root, &release)?;
        initramfs::write(&root.join("initrd"), &release, &root)?;
        std::fs::rename(&root, &folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let release = release(&folder)?;
    if with_modules.is_some() {
        folder = modules::added(&packages, &folder, &version, &release)?;
    }
    let modules = folder.join("usr/lib/modules");
    // Beside its modules since Linux 7 came to Debian.
    let places = [folder.join(format!("boot/vmlinuz-{release}")), modules.join(&release).join("vmlinuz")];
    let kernel = places.into_iter().find(|file| file.is_file());
    let kernel = kernel.with_context(|| format!("no kernel in {}", folder.display()))?;
    let parameters = locked_down.map_or("", |_| LOCKDOWN);
    Ok(Image { kernel, initrd: folder.join("initrd"), modules, parameters })
}

/// Notes which modules there are below a root.
pub(super) fn depmod(root: &Path, release: &str) -> Result<()> {
    let depmod = super::which("depmod").context("depmod isn't in PATH: install Debian's package kmod")?;
    run(Command::new(depmod).arg("--basedir").arg(root).arg(release)).map(drop)
}

/// The name of the one kernel below a root: what `uname -r` says on it.
fn release(root: &Path) -> Result<String> {
    let modules = root.join("usr/lib/modules");
    let entries = std::fs::read_dir(&modules).with_context(|| format!("reading {}", modules.display()))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<std::io::Result<Vec<_>>>().context("reading the modules")?;
    ensure!(names.len() == 1, "{} has the modules of {names:?}", modules.display());
    Ok(names.concat())
}
