//! A Debian cloud kernel in QEMU, without KVM so that it runs everywhere. The host's files reach it over virtiofs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::boot::{Boot, concat};
use super::debian;
use crate::process::Supervised;

/// Processors of the guest. More than one, so that what is done for each of them can be seen.
const PROCESSORS: u32 = 2;
/// Where Debian has the file server: in qemu-system-common of Debian 12, in a package of its own since.
const FILE_SERVERS: [&str; 2] = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"];
/// How long a file server may take until it listens.
const LISTENS: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// Starts the kernel and two file servers, one for all files and one for the lab's own folder.
pub(super) fn start(boot: &Boot<'_>, image: &debian::Image) -> Result<Vec<Supervised>> {
    // Of files that nobody changes much is remembered: an agent that asks for algorithms runs modprobe some hundred times.
    // Of the lab's own nothing: this process reads what the guest writes.
    let shares = [share(boot, "root", Path::new("/"), "auto")?, share(boot, "dir", boot.dir, "none")?];

    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35"]);
    // One thread for all processors: with several, one of them may still run what the kernel has patched away, and
    // Linux 7 dies of it (int3 in the scheduler).
    command.args(["-accel", "tcg,thread=single", "-cpu", "max", "-smp", &PROCESSORS.to_string()]);
    // The file servers work in the guest's memory.
    let memory = format!("memory-backend-memfd,id=memory,share=on,size={}M", boot.memory);
    command.args(["-m", &format!("{}M", boot.memory), "-object", &memory, "-numa", "node,memdev=memory"]);
    command.arg("-serial").arg(concat("file:", &boot.console()));
    command.arg("-kernel").arg(&image.kernel).arg("-initrd").arg(&image.initrd);
    for share in &shares {
        let tag = share.tag;
        command.arg("-chardev").arg(concat(&format!("socket,id={tag},path="), &share.socket));
        command.args(["-device", &format!("vhost-user-fs-pci,chardev={tag},tag={tag}")]);
    }
    if let Some(tap) = boot.tap {
        command.args(["-netdev", &format!("tap,id=uplink,ifname={tap},script=no,downscript=no")]);
        command.args(["-device", "virtio-net-pci,netdev=uplink,romfile="]);
    }
    command.arg("-append").arg(command_line(boot, image));

    let log = std::fs::File::create(boot.dir.join("qemu.log")).context("making QEMU's log")?;
    command.current_dir(boot.dir).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut processes = vec![Supervised::spawn("QEMU", command)?];
    processes.extend(shares.into_iter().map(|share| share.server));
    Ok(processes)
}

fn command_line(boot: &Boot<'_>, image: &debian::Image) -> OsString {
    // On a busy machine timer ticks come too late for the check of them, and the kernel would panic.
    let mut line = OsString::from("console=ttyS0 quiet panic=-1 net.ifnames=0 no_timer_check");
    let facts = boot.facts("virtiofs", &image.modules).into_iter();
    let uplink = boot.tap.map(|_| OsString::from("LAB_UPLINK=vec0"));
    let own = image.parameters.split_whitespace().map(OsString::from);
    for word in facts.chain([concat("LAB_INIT=", &boot.init())]).chain(uplink).chain(own) {
        line.push(" ");
        line.push(word);
    }
    line
}

struct Share {
    tag: &'static str,
    socket: PathBuf,
    server: Supervised,
}

/// A file server for a folder of the host, once it listens; `cache`: what the guest may remember.
fn share(boot: &Boot<'_>, tag: &'static str, folder: &Path, cache: &str) -> Result<Share> {
    let program = FILE_SERVERS.iter().find(|path| Path::new(path).is_file());
    let program = program.context("virtiofsd is missing: install Debian's package qemu-system-common")?;
    let socket = boot.dir.join(format!("{tag}.socket"));
    let mut command = Command::new(program);
    command.arg(concat("--socket-path=", &socket));
    command.args(["-o", &format!("cache={cache}"), "-o", "sandbox=chroot", "-o"]);
    command.arg(concat("source=", folder));
    let log = std::fs::File::create(boot.dir.join(format!("{tag}.log"))).context("making a log")?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut server = Supervised::spawn_expendable("virtiofsd", command)?;
    let deadline = Instant::now() + LISTENS;
    while !socket.exists() {
        let log = || crate::logs::tail(&boot.dir.join(format!("{tag}.log")), 5);
        ensure!(server.try_wait()?.is_none(), "virtiofsd ended: {}", log());
        ensure!(Instant::now() < deadline, "virtiofsd doesn't listen after {LISTENS:?}: {}", log());
        std::thread::sleep(POLL);
    }
    Ok(Share { tag, socket, server })
}
