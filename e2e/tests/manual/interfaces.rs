//! Policies and SAs of an XFRM interface.

use anyhow::{Result, ensure};
use esplanade_e2e::lab::{Config, Lab, Node};

use crate::cluster::{SOON, condition, kernel_can, pair, remove, secret, with_esplanade};
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

/// Makes the interface in a node and leads the other node's pod into it.
async fn make_interface(node: &Node, other: &Node) -> Result<()> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    node.run(words("ip link add through type xfrm dev eth0 if_id 42")).await?.ok()?;
    node.run(words("ip link set through up")).await?.ok()?;
    for address in other.pod(0).addresses.both() {
        node.run(words(&format!("ip route add {address} dev through"))).await?.ok()?;
    }
    Ok(())
}

/// Packets that go through interfaces are protected.
async fn through_interfaces(lab: &Lab) -> Result<()> {
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    make_interface(a, b).await?;
    make_interface(b, a).await?;
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

/// Whether the agents say that their kernel has XFRM interfaces, and `ip` says so too.
async fn has_interfaces(lab: &Lab) -> Result<bool> {
    let said = kernel_can(lab, "XFRMInterfaces").await?;
    let node = lab.node("node-a");
    let made = node.run("ip link add one type xfrm dev eth0 if_id 1".split(' ')).await?;
    if made.success() {
        node.run("ip link delete one".split(' ')).await?.ok()?;
    }
    ensure!(made.success() == said, "told {said}: {}", made.stderr);
    Ok(said)
}

/// Everything in the kernel is the interface's, or the kernel lacks interfaces and that is told; what doesn't go through
/// one is as if nothing were there.
pub(crate) async fn check(lab: &Lab) -> Result<()> {
    secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
    let has_interfaces = has_interfaces(lab).await?;
    lab.apply(&manifests()).await?;
    if has_interfaces {
        installed(lab).await?;
    } else {
        refused(lab).await?;
    }
    let wire = lab.node("node-a").capture().await?;
    ping_pods(lab).await?;
    let packets = wire.stop().await?;
    // Questions and answers, both ways and over both families.
    assert_eq!(clear_echoes(&packets).len(), 24);
    if has_interfaces {
        through_interfaces(lab).await?;
    }
    // Deleting by index finds a policy of an interface only under its id.
    remove(lab, &manifests()).await
}

async fn installed(lab: &Lab) -> Result<()> {
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
    Ok(())
}

/// Nobody would notice that the policy covers nothing.
async fn refused(lab: &Lab) -> Result<()> {
    for what in ["ipsecsa/interface-ab", "ipsecsa/interface-ba", "ipsecpolicy/interface"] {
        let (reason, message) = lab
            .wait("the kernel's lack to be told", SOON, async || {
                let (reason, message) = condition(&lab.get(what).await?, "Programmed")?;
                ensure!(reason != "Pending", "{reason}: {message}");
                Ok((reason, message))
            })
            .await?;
        assert_eq!(reason, "UnsupportedByKernel", "{what}: {message}");
        let words =
            [": kernel ", " has no XFRM interfaces", ": remove interfaceId, or give the node a kernel"];
        assert!(words.iter().all(|words| message.contains(words)), "{what}: {message}");
    }
    for node in lab.nodes() {
        let states = node.xfrm().await?.states;
        ensure!(states.is_empty(), "{states:#?}");
    }
    Ok(())
}
