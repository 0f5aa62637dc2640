//! strongSwan. Its IKE uses other ports than usual, so that libreswan has room beside it.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use esplanade_e2e::debian::packages::{Beside, unpacked};
use esplanade_e2e::lab::{Lab, Node};

use crate::cluster::SOON;
use crate::daemon::Daemon;

const IKE_PORT: u16 = 5500;
/// UDP port of the traffic that it protects between the nodes.
const PORT: u16 = 5002;

/// Its packages; to be called where the network is, outside of the lab.
pub(crate) fn packages() -> Result<PathBuf> {
    unpacked(&["charon-systemd", "strongswan-swanctl"], Beside::Installed)
}

/// Starts it, with what it needs for an SA with the other node, and for policies that lead the traffic between
/// the nodes' pods to it.
pub(crate) async fn start(lab: &Lab, packages: &Path, node: &Node, other: &Node) -> Result<Daemon> {
    let (own, peer) = (node.addresses.v4, other.addresses.v4);
    let [pods, other_pods] = [&node.pod_cidrs[0], &other.pod_cidrs[0]];
    let daemon = format!(
        "charon-systemd {{\n port = {IKE_PORT}\n port_nat_t = 5501\n load_modular = yes\n \
         filelog {{ stderr {{ default = 1 }} }}\n plugins {{ include strongswan.d/charon/*.conf\n }}\n}}\n"
    );
    let connections = format!(
        "connections {{ peer {{\n version = 2\n local_addrs = {own}\n remote_addrs = {peer}\n \
         remote_port = {IKE_PORT}\n proposals = aes128-sha256-modp2048\n local {{ auth = psk\n id = {own}\n }}\n \
         remote {{ auth = psk\n id = {peer}\n }}\n children {{\n  \
         nodes {{\n   local_ts = {own}/32[udp/{PORT}]\n   remote_ts = {peer}/32[udp/{PORT}]\n   \
         esp_proposals = aes128-sha256\n  }}\n  \
         pods {{\n   local_ts = {pods}\n   remote_ts = {other_pods}\n   esp_proposals = aes128-sha256\n  }}\n \
         }} }} }}\n\
         secrets {{ ike-lab {{ secret = \"of the lab's strongSwan, no secret\" }} }}\n"
    );
    let files = [("strongswan.conf", daemon), ("swanctl/swanctl.conf", connections)];
    let daemon =
        Daemon::start(lab, node, "strongswan", packages, &files, "exec /usr/sbin/charon-systemd").await?;
    lab.wait("strongSwan to take its configuration", SOON, async || {
        let loaded = daemon.run(node, &["swanctl", "--load-all"]).await?.ok();
        loaded.map_err(|error| error.context(daemon.said()))?;
        Ok(())
    })
    .await?;
    Ok(daemon)
}

/// Lets the two negotiate; returns when both have their SAs.
pub(crate) async fn connect(lab: &Lab, [a, b]: [(&Node, &Daemon); 2]) -> Result<()> {
    a.1.run(a.0, &["swanctl", "--initiate", "--child", "nodes", "--timeout", "20"]).await?.ok()?;
    for (node, daemon) in [a, b] {
        lab.wait("strongSwan's SAs", SOON, async || {
            let sas = daemon.run(node, &["swanctl", "--list-sas"]).await?.ok()?;
            ensure!(sas.contains("INSTALLED"), "{sas}\n{}", daemon.said());
            Ok(())
        })
        .await?;
    }
    Ok(())
}
