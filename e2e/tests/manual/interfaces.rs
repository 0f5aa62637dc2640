//! Policies and SAs of an XFRM interface.

use anyhow::{Result, ensure};
use esplanade_e2e::lab::{Config, Lab, Node};

use crate::cluster::{SOON, pair, remove, secret, with_esplanade};
use crate::wire::{clear_echoes, ping_pods, sequence};

const AB: u32 = 0x3_0001;
const BA: u32 = 0x3_0002;

fn manifests() -> String {
    [
        "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {name: interface}\nspec:\n  \
         from: [{podCIDRs: {}}]\n  protection:\n    interfaceId: 42\n    \
         keying: {manual: {securityAssociations: [interface-ab, interface-ba]}}\n"
            .to_owned(),
        pair("interface", [AB, BA], "interfaceId: 42"),
    ]
    .concat()
}

/// Makes the interface in a node and leads the other node's pod into it; false where the kernel has no such interfaces.
async fn make_interface(node: &Node, other: &Node) -> Result<bool> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let made = node.run(words("ip link add through type xfrm dev eth0 if_id 42")).await?;
    if !made.success() {
        ensure!(made.stderr.contains("Unknown device type"), "{}", made.stderr);
        return Ok(false);
    }
    node.run(words("ip link set through up")).await?.ok()?;
    for address in other.pod(0).addresses.both() {
        node.run(words(&format!("ip route add {address} dev through"))).await?.ok()?;
    }
    Ok(true)
}

/// Packets that go through interfaces are protected, where the kernel has interfaces.
async fn through_interfaces(lab: &Lab) -> Result<()> {
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    let made = [make_interface(a, b).await?, make_interface(b, a).await?];
    ensure!(made[0] == made[1], "one kernel, two answers: {made:?}");
    if !made[0] {
        // What doesn't exist can't be gone through, and the rest is checked without.
        return Ok(());
    }
    let wire = a.capture().await?;
    ping_pods(lab).await?;
    let packets = wire.stop().await?;
    assert_eq!(clear_echoes(&packets), [] as [&_; 0]);
    let [from, to] = [a.addresses.both()[0], b.addresses.both()[0]];
    for (source, destination, spi) in [(from, to, AB), (to, from, BA)] {
        let numbers = sequence(&packets, source, destination, spi);
        assert!(numbers.len() >= 12 && numbers.is_sorted_by(|x, y| x < y), "{spi:#x}: {numbers:?}");
    }
    for node in [a, b] {
        node.run(["ip", "link", "delete", "through"]).await?.ok()?;
    }
    Ok(())
}

#[test]
fn an_interface_protects_what_goes_through_it() -> Result<()> {
    with_esplanade(Config::default(), check)
}

/// Everything in the kernel is the interface's, and what doesn't go through it is as if nothing were there.
pub(crate) async fn check(lab: &Lab) -> Result<()> {
    secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
    lab.apply(&manifests()).await?;
    for what in ["ipsecsa/interface-ab", "ipsecsa/interface-ba", "ipsecpolicy/interface"] {
        lab.wait_condition(what, "Programmed", "True", SOON).await?;
    }
    for node in lab.nodes().iter().filter(|node| ["node-a", "node-b"].contains(&node.name.as_str())) {
        let xfrm = node.xfrm().await?;
        assert_eq!(xfrm.states.len(), 2, "{xfrm:#?}");
        ensure!(!xfrm.policies.is_empty(), "no policies");
        for entry in xfrm.states.iter().chain(&xfrm.policies) {
            assert!(entry.contains("if_id 0x2a"), "{entry}");
        }
    }
    let wire = lab.node("node-a").capture().await?;
    ping_pods(lab).await?;
    let packets = wire.stop().await?;
    // Questions and answers, both ways and over both families.
    assert_eq!(clear_echoes(&packets).len(), 24);
    through_interfaces(lab).await?;
    // Deleting by index finds a policy of an interface only under its id.
    remove(lab, &manifests()).await
}
