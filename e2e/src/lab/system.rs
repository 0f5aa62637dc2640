//! A machine of its own that Debian's systemd runs, so that it can be seen on its wire what a node's init does.
//!
//! Its root is unpacked packages. What is written there is gone with the machine; /lab is a folder of the lab.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::addresses::{self, Addresses};
use super::machine::{self, ip};
use super::topology::BRIDGE;
use super::wait::POLL;
use crate::capture::{Capture, Packet};
use crate::debian::packages::{Beside, unpacked};
use crate::isolation;
use crate::kernel::boot::{self, Boot};
use crate::kernel::{self, Bootable, Kernel};

const SCRIPT: &str = include_str!("system.sh");
/// The least with which systemd brings up a network and units can be scripts.
const PACKAGES: [&str; 8] =
    ["systemd-sysv", "udev", "kmod", "iproute2", "base-files", "bash", "coreutils", "dash"];
/// Memory in MiB, taken from the host as it is used.
const MEMORY: u32 = 1024;
/// Its end of the wire; inside it is vec0.
const TAP: &str = "tap1";
/// How long it may take to boot and do what it was set up for.
const DEADLINE: Duration = Duration::from_secs(120);

/// What is on it when it is booted.
#[derive(Debug, Default)]
pub struct Setup<'a> {
    /// Files, by their path below the root.
    pub files: Vec<(&'a str, String)>,
    /// Files that `script` finds in its current folder.
    pub install: Vec<PathBuf>,
    /// A shell script that root has run there before.
    pub script: String,
    /// Who else is on its wire, beside the control plane's addresses.
    pub peers: Vec<Addresses>,
}

/// A machine that was switched on. Dropping it is a power cut.
#[derive(Debug)]
pub struct System {
    machine: boot::Machine,
    wire: Capture,
    _helper: machine::Machine,
    patience: u32,
    dir: tempfile::TempDir,
}

/// Switches a machine on and runs `body`.
///
/// # Errors
/// Its packages can't be had, it can't be started, or `body` fails: the message has what the machine said.
pub fn run<T, F>(setup: &Setup<'_>, body: F) -> Result<T>
where
    F: AsyncFnOnce(&mut System) -> Result<T> + Send,
    T: Send,
{
    let Kernel::Booted(kernel) = kernel::find_bootable()? else { bail!("a kernel that can't be booted") };
    let packages = unpacked(&PACKAGES, Beside::Nothing)?;
    isolation::run(async || {
        let mut system = System::start(setup, kernel, &packages).await?;
        let result = body(&mut system).await;
        result.with_context(|| system.machine.messages())
    })
}

impl System {
    async fn start(setup: &Setup<'_>, kernel: Bootable, packages: &Path) -> Result<Self> {
        let dir = super::folder()?;
        let own = dir.path();
        for (path, text) in &setup.files {
            write(&own.join("files").join(path), text)?;
        }
        std::fs::create_dir(own.join("install")).context("making a folder")?;
        for file in &setup.install {
            let name = file.file_name().context("a file's name")?;
            std::fs::copy(file, own.join("install").join(name))
                .with_context(|| format!("copying {}", file.display()))?;
        }
        write(&own.join("setup"), &setup.script)?;

        let mut helper = machine::Machine::start(&Kernel::Native, own)?;
        for peer in &setup.peers {
            let [v4, v6] = addresses::wire_prefixes(*peer);
            ip(&format!("addr add {v4} dev {BRIDGE}"))?;
            ip(&format!("addr add {v6} dev {BRIDGE} nodad"))?;
        }
        ip(&format!("tuntap add dev {TAP} mode tap"))?;
        ip(&format!("link set {TAP} master {BRIDGE} up"))?;
        let wire = Capture::start(&helper.connect(1).await?, TAP, own.join("wire.pcap")).await?;

        let quote = |path: &Path| path.to_str().map(|text| shell_words::quote(text).into_owned());
        let [packages, own] =
            [packages, own].map(|path| quote(path).with_context(|| path.display().to_string()));
        let run = format!("packages={} own={}\n{SCRIPT}", packages?, own?);
        let boot = Boot { kernel: &kernel, dir: dir.path(), run: &run, memory: MEMORY, tap: Some(TAP) };
        let machine = boot.start()?;
        let patience = Kernel::Booted(kernel).patience();
        Ok(Self { machine, wire, _helper: helper, patience, dir })
    }

    /// The folder that is /lab inside.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What was on its wire up to now.
    pub async fn packets(&self) -> Result<Vec<Packet>> {
        self.wire.packets().await
    }

    /// Tries until `attempt` succeeds; returns what it returned.
    ///
    /// # Errors
    /// It didn't in time, or the machine's kernel has ended: the message has the last error of `attempt`.
    pub async fn wait<T>(&mut self, what: &str, attempt: impl AsyncFn(&Self) -> Result<T>) -> Result<T> {
        let limit = DEADLINE * self.patience;
        let end = Instant::now() + limit;
        loop {
            let ended = self.machine.try_wait()?;
            let error = match attempt(self).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if let Some(status) = ended {
                bail!("the kernel ended ({status}) while waiting for {what}: {error:#}");
            }
            ensure!(Instant::now() < end, "waited {limit:?} for {what}: {error:#}");
            tokio::time::sleep(POLL).await;
        }
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    let at = || format!("writing {}", file.display());
    std::fs::create_dir_all(file.parent().with_context(at)?).with_context(at)?;
    std::fs::write(file, text).with_context(at)
}
