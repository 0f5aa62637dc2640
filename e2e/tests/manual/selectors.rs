//! SAs that carry only some of what their policy covers.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use esplanade_e2e::lab::{Lab, Node};

use crate::cluster::{SOON, remove, secret};
use crate::wire::{answers, clear_pod_packets, ping, sequence};

const PING_AB: u32 = 0x2_0001;
const PING_BA: u32 = 0x2_0002;
const TCP_AB: u32 = 0x2_0003;
const TCP_BA: u32 = 0x2_0004;

fn manifests() -> String {
    let sa = |name: &str, source: &str, destination: &str, spi: u32, selector: &str| {
        format!(
            "---\napiVersion: esplanade.dev/v1alpha1\nkind: IpsecSA\nmetadata: {{name: {name}}}\nspec:\n  \
             source: {{node: {source}}}\n  destination: {{node: {destination}}}\n  spi: {spi}\n  \
             selector: {selector}\n  \
             encryption: {{algorithm: AES-CBC-256, keySecretRef: {{name: keys, key: encryption}}}}\n  \
             integrity: {{algorithm: HMAC-SHA2-256-128, keySecretRef: {{name: keys, key: integrity}}}}\n"
        )
    };
    let ping = "{traffic: {protocol: ICMP}}";
    // An answer comes from the port, whichever: only the way there can be told by it.
    let there = "{source: 0.0.0.0/0, traffic: {protocol: TCP, port: 80, endPort: 81}}";
    let back = "{source: 0.0.0.0/0, traffic: {protocol: TCP}}";
    [
        "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {name: selectors}\nspec:\n  \
         from: [{podCIDRs: {}}]\n  protection:\n    \
         keying: {manual: {securityAssociations: [ping-ab, ping-ba, tcp-ab, tcp-ba]}}\n"
            .to_owned(),
        sa("ping-ab", "node-a", "node-b", PING_AB, ping),
        sa("ping-ba", "node-b", "node-a", PING_BA, ping),
        sa("tcp-ab", "node-a", "node-b", TCP_AB, there),
        sa("tcp-ba", "node-b", "node-a", TCP_BA, back),
    ]
    .concat()
}

/// Each packet takes the SA that carries it; what none carries is dropped.
pub(crate) async fn check(lab: &Lab) -> Result<()> {
    secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
    lab.apply(&manifests()).await?;
    for what in ["ipsecsa/ping-ab", "ipsecsa/tcp-ba", "ipsecpolicy/selectors"] {
        lab.wait_condition(what, "Programmed", "True", SOON).await?;
    }
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    let (from, to) = (a.pod(0), b.pod(0));
    let [v4, v6] = to.addresses.both();
    let wire = a.capture().await?;
    ping(from, v4).await?;
    // Nobody listens: a SYN there, a RST back.
    for port in [80, 81] {
        let connect = from.run(["bash", "-c", &format!("exec 3<>/dev/tcp/{v4}/{port}")]).await?;
        ensure!(connect.stderr.contains("Connection refused"), "{connect:?}");
    }
    ensure!(!answers(from, v6).await?, "no SA carries IPv6");
    let other = ["timeout", "2", "bash", "-c", &format!("exec 3<>/dev/tcp/{v4}/82")];
    let other = from.run(other).await?;
    ensure!(
        !other.success() && !other.stderr.contains("Connection refused"),
        "no SA carries port 82: {other:?}"
    );
    let packets = wire.stop().await?;
    assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
    let address = |node: &Node| -> IpAddr { node.addresses.both()[0] };
    for (source, destination, spi, count) in
        [(a, b, PING_AB, 3), (b, a, PING_BA, 3), (a, b, TCP_AB, 2), (b, a, TCP_BA, 2)]
    {
        let numbers = sequence(&packets, address(source), address(destination), spi);
        assert_eq!(numbers.len(), count, "SPI {spi:#x}: {numbers:?}");
    }
    remove(lab, &manifests()).await
}
