//! Booting a kernel.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context, Result};

use super::{Bootable, qemu, uml};
use crate::process::Supervised;

const INIT: &str = include_str!("init.sh");

/// How to boot.
#[derive(Debug)]
pub struct Boot<'a> {
    /// The kernel.
    pub kernel: &'a Bootable,
    /// The only folder of the host that is writable inside, at the same path.
    pub dir: &'a Path,
    /// A shell script that the first process ends in; `poweroff -f` ends the kernel.
    pub run: &'a str,
    /// Memory in MiB, taken from the host as it is used.
    pub memory: u32,
    /// A tap of the host that becomes vec0 inside.
    pub tap: Option<&'a str>,
}

/// A booted kernel. Dropping it ends it.
#[derive(Debug)]
pub struct Machine {
    // The kernel itself is the first; the others serve it and end after it.
    processes: Vec<Supervised>,
    dir: PathBuf,
    name: &'static str,
}

impl Boot<'_> {
    /// Boots; returns at once. See [`Supervised::spawn`] for the thread to call it from.
    pub fn start(&self) -> Result<Machine> {
        let init = self.init();
        std::fs::write(&init, INIT).context("writing init")?;
        std::fs::set_permissions(&init, std::fs::Permissions::from_mode(0o755)).context("writing init")?;
        std::fs::write(self.dir.join("run"), self.run).context("writing the guest's script")?;
        let (name, processes) = match self.kernel {
            Bootable::Uml(kernel) => ("User-Mode Linux", uml::start(self, kernel)?),
            Bootable::Qemu(image) => ("QEMU", qemu::start(self, image)?),
        };
        Ok(Machine { processes, dir: self.dir.to_owned(), name })
    }

    /// The first process's script.
    pub(super) fn init(&self) -> PathBuf {
        self.dir.join("init")
    }

    /// A file for what the kernel says on its console.
    pub(super) fn console(&self) -> PathBuf {
        self.dir.join("console")
    }

    /// What init learns from the kernel's command line.
    pub(super) fn facts(&self, mount: &str, modules: &Path) -> [OsString; 3] {
        [concat("LAB_DIR=", self.dir), concat("LAB_MOUNT=", mount.as_ref()), concat("LAB_MODULES=", modules)]
    }
}

pub(super) fn concat(key: &str, value: &Path) -> OsString {
    let mut joined = OsString::from(key);
    joined.push::<&OsStr>(value.as_ref());
    joined
}

impl Machine {
    /// The status with which the kernel ended, if it has.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.processes[0].try_wait()
    }

    /// What it is.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What the kernel and its first process said: the ends of the console and of init's log.
    pub fn messages(&self) -> String {
        let tail = |name: &str| {
            let text = std::fs::read(self.dir.join(name)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(20)..].join("\n")
        };
        format!("console:\n{}\ninit:\n{}", tail("console"), tail("init.log"))
    }
}
