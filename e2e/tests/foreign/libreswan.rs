//! libreswan, started and stopped as its systemd unit does it: both flush the namespace's SAs and policies. (The start
//! only where no other pluto runs on the kernel, in whichever namespace.)

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use esplanade_e2e::debian::packages::{Beside, unpacked};
use esplanade_e2e::lab::{Lab, Node};

use crate::cluster::SOON;
use crate::daemon::Daemon;

const WHACK: &str = "/usr/libexec/ipsec/whack";
/// UDP port of the traffic that it protects between the nodes.
const PORT: u16 = 5001;

/// Its packages; to be called where the network is, outside of the lab.
pub(crate) fn packages() -> Result<PathBuf> {
    unpacked(&["libreswan", "libnss3-tools"], Beside::Installed)
}

/// Starts it, with a connection to the other node that only waits for the other's word.
pub(crate) async fn start(lab: &Lab, packages: &Path, node: &Node, other: &Node) -> Result<Daemon> {
    let (own, peer) = (node.addresses.v4, other.addresses.v4);
    let connection = format!(
        "config setup\n\nconn nodes\n\tauthby=secret\n\tikev2=insist\n\tleft={own}\n\tright={peer}\n\t\
         leftsubnet={own}/32\n\trightsubnet={peer}/32\n\tleftprotoport=udp/{PORT}\n\trightprotoport=udp/{PORT}\n\t\
         leftupdown=\n\tauto=add\n"
    );
    let secret = format!("{own} {peer} : PSK \"of the lab's libreswan, no secret\"\n");
    let files = [("ipsec.conf", connection), ("ipsec.secrets", secret)];
    // The lab has loaded the modules; looking for the many more that _stackmanager knows takes a minute.
    let command = "mount --bind /bin/true /sbin/modprobe\n\
                   /usr/libexec/ipsec/_stackmanager start --xfrm\n\
                   mkdir -p /run/pluto /var/lib/ipsec/nss\n\
                   certutil -N -d sql:/var/lib/ipsec/nss --empty-password\n\
                   exec /usr/libexec/ipsec/pluto --nofork --stderrlog --config /etc/ipsec.conf";
    let daemon = Daemon::start(lab, node, "libreswan", packages, &files, command).await?;
    lab.wait("libreswan to have its connection", SOON, async || {
        let status = daemon.run(node, &[WHACK, "--status"]).await?.ok();
        let loaded = status.with_context(|| daemon.said())?.contains("\"nodes\"");
        ensure!(loaded, "not yet:\n{}", daemon.said());
        Ok(())
    })
    .await?;
    Ok(daemon)
}

/// Stops it: what the unit's ExecStop does, and then its ExecStopPost.
pub(crate) async fn stop(node: &Node, packages: &Path, daemon: Daemon) -> Result<()> {
    daemon.run(node, &[WHACK, "--shutdown"]).await?.ok()?;
    daemon.ended().await?;
    let unit = packages.join("usr/lib/systemd/system/ipsec.service");
    let unit = std::fs::read_to_string(&unit).with_context(|| unit.display().to_string())?;
    let flush =
        unit.lines().filter_map(|line| line.strip_prefix("ExecStopPost=")).find(|line| line.contains("xfrm"));
    node.run(["sh", "-c", flush.context("the unit doesn't flush")?]).await?.ok().map(drop)
}

/// Lets the two negotiate; returns when both have their SAs.
pub(crate) async fn connect(lab: &Lab, [a, b]: [(&Node, &Daemon); 2]) -> Result<()> {
    let up = ["--initiate", "--name", "nodes", "--asynchronous"];
    a.1.run(a.0, &[&[WHACK], up.as_slice()].concat()).await?.ok()?;
    for (node, daemon) in [a, b] {
        lab.wait("libreswan's SAs", SOON, async || {
            let status = daemon.run(node, &[WHACK, "--trafficstatus"]).await?.ok()?;
            ensure!(status.contains("\"nodes\""), "{status}\n{}", daemon.said());
            Ok(())
        })
        .await?;
    }
    Ok(())
}
