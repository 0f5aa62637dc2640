//! Work for network devices.

use anyhow::{Context, Result, ensure};
use esplanade_e2e::kernel::has_everything;
use esplanade_e2e::lab::{Config, Lab, Node};

use crate::cluster::{SOON, condition, in_sync_again, kernel_can, remove, secret, with_esplanade};
use crate::wire::answers;

const OUT: u32 = 0x9_0001;
const IN: u32 = 0x9_0002;
/// The device's number.
const NUMBER: u32 = 47;
/// A neighbour that there isn't, and what is behind it.
const GATEWAY: &str = "2001:db8::99";
const BEHIND: &str = "fd00:9::1";
/// In the packets, two bytes again and again.
const PATTERN: &str = "cafe";

/// What netdevsim takes.
const ALGORITHMS: &str = "encryption: {algorithm: AES-GCM-16-128, keySecretRef: {name: device, key: KEY}}\n  \
                          allowInsecureManualAead: true\n";

/// Between the pods of both nodes, through the devices with their IPv4 addresses.
fn between_nodes() -> String {
    let sa = |name: &str, source: &str, destination: &str, spi: u32| {
        format!(
            "---\napiVersion: esplanade.dev/v1alpha1\nkind: IpsecSA\nmetadata: {{name: {name}}}\nspec:\n  \
             source: {{node: {source}}}\n  destination: {{node: {destination}}}\n  ipFamily: IPv4\n  spi: {spi}\n  {}",
            ALGORITHMS.replace("KEY", name)
        )
    };
    format!(
        "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: device}}\nspec:\n  \
         from: [{{podCIDRs: {{}}}}]\n  protection:\n    offload: Crypto\n    \
         keying: {{manual: {{securityAssociations: [there, back]}}}}\n{}{}",
        sa("there", "node-a", "node-b", OUT),
        sa("back", "node-b", "node-a", IN),
    )
}

/// Between node-a's pods and a network behind a gateway, over IPv6.
fn to_a_gateway() -> String {
    let sa = |name: &str, ends: &str, spi: u32| {
        format!(
            "---\napiVersion: esplanade.dev/v1alpha1\nkind: IpsecSA\nmetadata: {{name: {name}}}\nspec:\n  {ends}\n  \
             spi: {spi}\n  {}",
            ALGORITHMS.replace("KEY", name)
        )
    };
    format!(
        "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: device}}\nspec:\n  \
         from: [{{podCIDRs: {{matchLabels: {{kubernetes.io/hostname: node-a}}}}}}]\n  \
         to: [{{cidrs: ['fd00:9::/64'], gateway: {{address: '{GATEWAY}'}}}}]\n  protection:\n    offload: Crypto\n    \
         keying: {{manual: {{securityAssociations: [there, back]}}}}\n{}{}",
        sa("there", &format!("source: {{node: node-a}}\n  destination: {{address: '{GATEWAY}'}}"), OUT),
        sa("back", &format!("source: {{address: '{GATEWAY}'}}\n  destination: {{node: node-a}}"), IN),
    )
}

async fn refused(lab: &Lab, name: &str, words: &str) -> Result<()> {
    lab.wait("what can't be had to be told", SOON, async || {
        let (reason, message) = condition(&lab.get(&format!("ipsecsa/{name}")).await?, "Programmed")?;
        ensure!(reason == "UnsupportedByKernel", "{reason}: {message}");
        ensure!(message.contains(words) && message.contains("remove offload"), "{message}");
        Ok(())
    })
    .await
}

async fn script(node: &Node, text: &str) -> Result<String> {
    node.run_with(["sh", "-eu"], text).await?.ok()
}

/// Names of the node's devices.
async fn devices(node: &Node) -> Result<Vec<String>> {
    let text = script(node, "ip -o link").await?;
    let name =
        |line: &str| line.split(": ").nth(1).map(|name| name.split('@').next().unwrap_or(name).to_owned());
    Ok(text.lines().filter_map(name).collect())
}

/// Makes a device without hardware that takes work, and has it carry the node's IPv6 address instead of its own; its name.
async fn make_device(node: &Node) -> Result<String> {
    let before = devices(node).await?;
    script(node, &format!("echo '{NUMBER} 1' >/sys/bus/netdevsim/new_device")).await?;
    let made =
        devices(node).await?.into_iter().find(|name| !before.contains(name)).context("no new device")?;
    let own = node.addresses.v6;
    script(
        node,
        &format!(
            "
ip address delete {own}/64 dev eth0
ip link set {made} up
ip address add {own}/64 dev {made} nodad
ip neighbour add {GATEWAY} lladdr 02:00:00:00:00:99 dev {made} nud permanent
ip route add {BEHIND}/64 via {GATEWAY}
grep -q /sys/kernel/debug /proc/mounts || mount -t debugfs debugfs /sys/kernel/debug
"
        ),
    )
    .await?;
    Ok(made)
}

/// What the device says of its work.
async fn work(node: &Node) -> Result<String> {
    script(node, &format!("cat /sys/kernel/debug/netdevsim/netdevsim{NUMBER}/ports/0/ipsec")).await
}

/// Whether the device has an SA that goes this way (`tx`, `rx`) with this SPI, as `nsim_dbg_netdev_ops_read` prints it.
fn has(said: &str, way: &str, spi: u32) -> bool {
    let of = |line: &&str| line.starts_with("sa[") && line.contains(&format!("] {way} ipaddr="));
    let spi = format!(" spi=0x{spi:08x} ");
    let lines: Vec<&str> = said.lines().collect();
    lines.windows(2).any(|two| of(&two[0]) && two[1].contains(&spi))
}

async fn wait_for_work(lab: &Lab, node: &Node, words: &str) -> Result<String> {
    lab.wait(words, SOON, async || {
        let said = work(node).await?;
        ensure!(said.contains(words), "{said}");
        Ok(said)
    })
    .await
}

#[test]
fn a_device_does_the_work_where_the_kernel_can() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        secret(lab, "device", &[("there", 20), ("back", 20)]).await?;
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        let can = kernel_can(lab, "CryptoOffload").await?;
        // A veth takes none: the kernel would do it by itself and say nothing.
        lab.apply(&between_nodes()).await?;
        let words =
            if can { "network device eth0 takes no work of this SA" } else { " has no crypto offload" };
        for name in ["there", "back"] {
            refused(lab, name, words).await?;
        }
        for node in [a, b] {
            lab.wait("no SAs", SOON, async || {
                let states = node.xfrm().await?.states;
                ensure!(states.is_empty(), "{states:#?}");
                Ok(())
            })
            .await?;
        }
        assert!(!answers(a.pod(0), b.pod(0).addresses.both()[0]).await?, "it went in the clear");
        remove(lab, &between_nodes()).await?;
        let simulates = a.run(["test", "-e", "/sys/bus/netdevsim/new_device"]).await?.success();
        ensure!(simulates || !has_everything(), "this kernel is to have netdevsim");
        if can && simulates { by_a_device(lab, a).await } else { Ok(()) }
    })
}

/// With netdevsim, which takes SAs and counts packets, and leaves them as they are.
async fn by_a_device(lab: &Lab, a: &Node) -> Result<()> {
    let device = make_device(a).await?;
    lab.apply(&to_a_gateway()).await?;
    for what in ["ipsecsa/there", "ipsecsa/back", "ipsecpolicy/device"] {
        lab.wait_condition(what, "Programmed", "True", SOON).await?;
    }
    let said = wait_for_work(lab, a, "SA count=2 tx=0").await?;
    for (way, spi) in [("tx", OUT), ("rx", IN)] {
        ensure!(has(&said, way, spi), "{way} {spi:#x}: {said}");
    }

    // Each packet is the device's work. Nobody answers, and what it is given isn't encrypted yet.
    let given = a.spawn("given", ["tcpdump", "-lnxi", &device, "esp"]).await?;
    lab.wait("tcpdump", SOON, async || {
        ensure!(given.log().contains("listening on"), "{}", given.log());
        Ok(())
    })
    .await?;
    let pings = a.pod(0).run(["ping", "-c3", "-i0.1", "-W1", "-p", PATTERN, BEHIND]).await?;
    ensure!(!pings.success() && pings.stdout.contains("3 packets transmitted"), "{pings:?}");
    wait_for_work(lab, a, "SA count=2 tx=3").await?;
    lab.wait("what the device was given", SOON, async || {
        let log = given.log();
        let each: Vec<&str> = log.split(&format!("spi=0x{OUT:08x}")).skip(1).collect();
        let plain = each.iter().filter(|packet| packet.contains(&[PATTERN; 4].join(" ")));
        ensure!((each.len(), plain.count()) == (3, 3), "{log}");
        Ok(())
    })
    .await?;
    given.stop().await?;
    let states = a.run(["ip", "xfrm", "state"]).await?.ok()?;
    let by = format!("dev {device} dir ");
    assert_eq!(states.matches(&by).count(), 2, "{states}");

    // A new agent finds all of it as it should be.
    lab.stop_agent("node-a").await?;
    lab.start_agent("node-a").await?;
    let log = in_sync_again(lab, "node-a").await?;
    assert!(!log.contains("kernel changed"), "{log}");

    // The device goes, and the kernel takes its SAs away, untold.
    script(a, &format!("echo {NUMBER} >/sys/bus/netdevsim/del_device")).await?;
    for name in ["there", "back"] {
        refused(lab, name, "no network device of this node has").await?;
    }
    script(a, &format!("ip address add {}/64 dev eth0 nodad", a.addresses.v6)).await?;
    remove(lab, &to_a_gateway()).await
}
