//! The kernel that the nodes are on, reached by the lab's helper.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use tokio::net::TcpStream;

use super::addresses;
use super::topology::BRIDGE;
use crate::guest::Guest;
use crate::kernel::Kernel;
use crate::kernel::boot::{self, Boot};
use crate::logs;
use crate::process::Supervised;

/// The lab's end of the wire to a booted kernel.
const TAP: &str = "tap0";
/// How long the helper may take to answer; boots are quick, but many may share the machine.
const START: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);
/// Memory of a booted kernel in MiB, taken from the host as it is used.
const MEMORY: u32 = 1024;

/// A running kernel, or on the lab's own one the helper.
#[derive(Debug)]
pub(super) enum Machine {
    Native { helper: Supervised, log: PathBuf },
    Booted { machine: boot::Machine, log: PathBuf },
}

impl Machine {
    /// Gives the calling thread's network namespace the control plane's addresses, and starts the helper.
    pub(super) fn start(kernel: &Kernel, dir: &Path) -> Result<Self> {
        let log = dir.join("helper.log");
        let helper = crate::programs::find("lab-guest", "esplanade-e2e")?;
        match kernel {
            Kernel::Native => {
                ip(&format!("link add {BRIDGE} type bridge forward_delay 0 mcast_snooping 0"))?;
                own(BRIDGE)?;
                let (stdout, stderr) = logs::create(&log)?;
                let mut command = Command::new("unshare");
                command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
                command.arg(helper).args(["--listen", &addresses::guest(true).to_string()]);
                command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
                Ok(Self::Native { helper: Supervised::spawn("the helper", command)?, log })
            }
            Kernel::Booted(kernel) => {
                ip(&format!("tuntap add dev {TAP} mode tap"))?;
                own(TAP)?;
                let run = script(&helper, &log)?;
                let boot = Boot { kernel, dir, run: &run, memory: MEMORY, tap: Some(TAP) };
                Ok(Self::Booted { machine: boot.start()?, log })
            }
        }
    }

    /// Waits until the helper answers; `patience`: [`Kernel::patience`].
    pub(super) async fn connect(&mut self, patience: u32) -> Result<Guest> {
        let address = addresses::guest(matches!(self, Self::Native { .. }));
        let limit = START * patience;
        let deadline = Instant::now() + limit;
        loop {
            // Only knocking: a session that is begun and given up would end the helper.
            let knock = tokio::time::timeout(Duration::from_secs(1), TcpStream::connect(address)).await;
            if let Ok(Ok(_)) = knock {
                return Guest::connect(address).await.with_context(|| self.messages());
            }
            let ended = match self {
                Self::Native { helper, .. } => helper.try_wait()?,
                Self::Booted { machine, .. } => machine.try_wait()?,
            };
            if let Some(status) = ended {
                bail!("the nodes' kernel ended ({status}) before its helper answered\n{}", self.messages());
            }
            ensure!(
                Instant::now() < deadline,
                "the nodes' kernel doesn't answer after {limit:?}\n{}",
                self.messages()
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// What it said.
    pub(super) fn messages(&self) -> String {
        match self {
            Self::Native { log, .. } => logs::tail(log, 20),
            Self::Booted { machine, log } => format!("{}\n{}", machine.messages(), logs::tail(log, 20)),
        }
    }
}

/// The control plane's addresses for an interface.
fn own(interface: &str) -> Result<()> {
    let [v4, v6] = addresses::wire_prefixes(addresses::control_plane());
    ip(&format!("addr add {v4} dev {interface}"))?;
    ip(&format!("addr add {v6} dev {interface} nodad"))?;
    ip(&format!("link set {interface} up"))
}

pub(super) fn ip(words: &str) -> Result<()> {
    let output = Command::new("ip").args(words.split_whitespace()).output();
    let output = output.context("can't start ip: is Debian's package iproute2 installed?")?;
    ensure!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// What the first process of a booted kernel ends in.
fn script(helper: &Path, log: &Path) -> Result<String> {
    let folder = helper.parent().context("the helper's folder")?;
    let quote = |path: &Path| path.to_str().map(|text| shell_words::quote(text).into_owned());
    let quote = |path: &Path| quote(path).with_context(|| format!("not UTF-8: {}", path.display()));
    let mut command = vec![quote(helper)?, format!("--uplink vec0 --bridge {BRIDGE}")];
    command.push(format!("--listen {}", addresses::guest(false)));
    command
        .extend(addresses::wire_prefixes(addresses::bridge()).map(|address| format!("--address {address}")));
    let show = crate::kernel::show_folder(&quote(folder)?);
    Ok(format!("{show}{} >{} 2>&1\npoweroff -f\n", command.join(" "), quote(log)?))
}
