//! ICMP errors about protected traffic.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use esplanade_e2e::capture::{Packet, Payload};
use esplanade_e2e::lab::{Lab, Node};

use crate::cluster::{SOON, pair, remove, secret};
use crate::wire::sequence;

const AB: u32 = 0x6_0001;
const BA: u32 = 0x6_0002;
/// Nobody listens there.
const PORT: u16 = 9999;
const UNREACHABLE: u8 = 3;

fn manifests(flags: &str) -> String {
    [
        format!(
            "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: errors}}\nspec:\n  \
             from: [{{nodes: {{}}}}]\n  traffic: [{{protocol: UDP, port: {PORT}}}]\n  protection:\n    {flags}\n    \
             keying: {{manual: {{securityAssociations: [errors-ab, errors-ba]}}}}\n"
        ),
        pair("errors", [AB, BA], "ipFamily: IPv4"),
    ]
    .concat()
}

/// Sends to a port where nobody listens; whether the sender was told so.
async fn is_refused(from: &Node, to: IpAddr) -> Result<bool> {
    let script = format!("exec 3<>/dev/udp/{to}/{PORT}; echo one >&3; sleep 0.5; echo two >&3");
    Ok(from.run(["bash", "-c", &script]).await?.stderr.contains("Connection refused"))
}

fn clear_errors(packets: &[Packet]) -> usize {
    let is_it = |packet: &&Packet| {
        packet.ip().is_some_and(|ip| matches!(ip.payload, Payload::Icmp { kind: UNREACHABLE }))
    };
    packets.iter().filter(is_it).count()
}

pub(crate) async fn check(lab: &Lab) -> Result<()> {
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    let (from, to) = (a.addresses.v4.into(), b.addresses.v4.into());
    secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;

    // The policy is for UDP: what says that nobody listens is in the clear, and shows the packet.
    let without = manifests("mode: Tunnel");
    lab.apply(&without).await?;
    for what in ["ipsecsa/errors-ab", "ipsecsa/errors-ba", "ipsecpolicy/errors"] {
        lab.wait_condition(what, "Programmed", "True", SOON).await?;
    }
    let wire = a.capture().await?;
    ensure!(is_refused(a, to).await?, "no error came");
    let packets = wire.stop().await?;
    ensure!(clear_errors(&packets) > 0, "{packets:?}");
    assert_eq!(sequence(&packets, from, to, AB).len(), 1);
    assert_eq!(sequence(&packets, to, from, BA).len(), 0);

    let with = manifests("icmpErrors: true\n    localOverride: true");
    lab.apply(&with).await?;
    lab.wait("the flags", SOON, async || {
        for node in [a, b] {
            let xfrm = node.xfrm().await?;
            let flagged = |policy: &String| policy.contains("flag localok icmp");
            ensure!(xfrm.policies.iter().all(flagged), "{xfrm:#?}");
            // The SA that comes in, and not the one that goes out.
            let flagged = xfrm.states.iter().filter(|state| state.contains("flag icmp")).count();
            ensure!(flagged == 1, "{xfrm:#?}");
        }
        Ok(())
    })
    .await?;
    lab.wait_condition("ipsecpolicy/errors", "Programmed", "True", SOON).await?;
    let wire = a.capture().await?;
    ensure!(is_refused(a, to).await?, "no error came through the SA");
    let packets = wire.stop().await?;
    assert_eq!(clear_errors(&packets), 0);
    ensure!(!sequence(&packets, to, from, BA).is_empty(), "{packets:?}");
    remove(lab, &with).await
}
