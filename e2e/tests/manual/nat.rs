//! A gateway behind an address translation, made by hand with iproute2: its port is another one on the way, and changes.

use anyhow::{Result, ensure};
use base64::Engine as _;
use esplanade_e2e::capture::{Packet, Payload};
use esplanade_e2e::lab::{Config, Lab, NAMESPACE};

use crate::cluster::{SOON, in_sync_again, with_esplanade};

/// The translation's public address.
const PUBLIC: &str = "192.0.2.99";
/// Behind the gateway.
const INSIDE: &str = "172.16.9.1";
const IN: u32 = 0x6_0001;
const OUT: u32 = 0x6_0002;
const ENCRYPTION: u8 = 0x11;
const INTEGRITY: u8 = 0x22;

fn manifests(port: u16) -> String {
    followed(port, false)
}

/// The same; `follow` whether the gateway is followed to where it is now.
fn followed(port: u16, follow: bool) -> String {
    let key = |byte: u8| base64::engine::general_purpose::STANDARD.encode([byte; 32]);
    let sa = |name: &str, ends: &str, spi: u32, own: &str| {
        format!(
            "---\napiVersion: esplanade.dev/v1alpha1\nkind: IpsecSA\nmetadata: {{name: {name}}}\nspec:\n  {ends}\n  \
             spi: {spi}\n  encapsulation: {{type: UDP, {own}: {port}{}}}\n{}  \
             encryption: {{algorithm: AES-CBC-256, keySecretRef: {{name: nat, key: encryption}}}}\n  \
             integrity: {{algorithm: HMAC-SHA2-256-128, keySecretRef: {{name: nat, key: integrity}}}}\n",
            if follow && spi == IN { ", followMapping: true" } else { "" },
            if follow && spi == IN { "  antiReplay: {window: 64}\n" } else { "" },
        )
    };
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: nat, namespace: {NAMESPACE}}}\n\
         data: {{encryption: {}, integrity: {}}}\n---\n\
         apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: nat}}\nspec:\n  \
         from: [{{podCIDRs: {{matchLabels: {{kubernetes.io/hostname: node-b}}}}}}]\n  \
         to: [{{cidrs: [172.16.9.0/24], gateway: {{address: {PUBLIC}}}}}]\n  protection:\n    \
         keying: {{manual: {{securityAssociations: [nat-in, nat-out]}}}}\n{}{}",
        key(ENCRYPTION),
        key(INTEGRITY),
        sa(
            "nat-in",
            &format!("source: {{address: {PUBLIC}}}\n  destination: {{node: node-b}}"),
            IN,
            "sourcePort"
        ),
        sa(
            "nat-out",
            &format!("source: {{node: node-b}}\n  destination: {{address: {PUBLIC}}}"),
            OUT,
            "destinationPort"
        ),
    )
}

/// Runs a script outside of every node; `nat` and `peer` are network namespaces there.
async fn script(lab: &Lab, text: &str) -> Result<String> {
    lab.outside().run_with(["sh", "-eu"], text).await?.ok()
}

/// UDP ports 4500 and 4501 of the gateway become 40000 and 40001.
async fn build(lab: &Lab) -> Result<()> {
    script(
        lab,
        &format!(
            "
ip netns add peer
ip -n peer link set lo up
ip -n peer addr add {INSIDE}/32 dev lo
"
        ),
    )
    .await?;
    translate(lab, PUBLIC, &[(4500, 40_000), (4501, 40_001)]).await?;
    lab.node("node-b").run(["ip", "route", "add", "172.16.9.0/24", "via", PUBLIC]).await?.ok()?;
    Ok(())
}

/// Makes the translation with this public address, which the gateway's ports become others of.
async fn translate(lab: &Lab, public: &str, ports: &[(u16, u16)]) -> Result<()> {
    // The neighbours needn't learn of another machine.
    let mut text = format!(
        "
ip netns add nat
ip link add port-nat type veth peer name eth0 address 02:00:00:00:09:01 netns nat
ip link set port-nat master br0 up
ip -n nat link add inner type veth peer name eth0 netns peer
ip -n nat addr add {PUBLIC}/24 dev eth0
ip -n nat addr replace {public}/24 dev eth0
ip -n nat addr add 10.9.0.1/24 dev inner
ip -n nat link set eth0 up
ip -n nat link set inner up
ip -n peer addr add 10.9.0.2/24 dev eth0
ip -n peer link set eth0 up
ip -n peer route add default via 10.9.0.1
ip netns exec nat sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
"
    );
    for (from, to) in ports {
        text += &format!(
            "ip netns exec nat iptables-legacy -t nat -A POSTROUTING -o eth0 -p udp --sport {from} \
             -j SNAT --to-source {public}:{to}\n"
        );
    }
    script(lab, &text).await?;
    Ok(())
}

/// Another translation takes its place, which knows nothing of flows so far.
async fn translate_anew(lab: &Lab, public: &str, port: u16) -> Result<()> {
    let gone = "ip -n nat link del eth0\nip -n nat link del inner\nip netns del nat\n";
    script(lab, gone).await?;
    translate(lab, public, &[(4500, port)]).await
}

/// The gateway's SAs on this port of its own; `verb` is `add` or `update`.
async fn gateway_sas(lab: &Lab, verb: &str, port: u16) -> Result<()> {
    let hex = |byte: u8| format!("0x{}", format!("{byte:02x}").repeat(32));
    let node = lab.node("node-b").addresses.v4;
    let algorithms =
        format!("enc 'cbc(aes)' {} auth-trunc 'hmac(sha256)' {} 128", hex(ENCRYPTION), hex(INTEGRITY));
    let state = |from: &str, to: &str, spi: u32, ports: &str| {
        format!(
            "ip -n peer xfrm state {verb} src {from} dst {to} proto esp spi {spi:#x} reqid 1 mode tunnel \
             encap espinudp {ports} 0.0.0.0 {algorithms}\n"
        )
    };
    let (node, own) = (node.to_string(), "10.9.0.2");
    script(
        lab,
        &format!(
            "{}{}",
            state(own, &node, IN, &format!("{port} 4500")),
            state(&node, own, OUT, &format!("4500 {port}")),
        ),
    )
    .await?;
    Ok(())
}

async fn gateway_policies(lab: &Lab) -> Result<()> {
    let node = lab.node("node-b");
    let (pod, node) = (node.pod(0).addresses.v4, node.addresses.v4);
    let policy = |direction: &str, selector: String, ends: String| {
        format!(
            "ip -n peer xfrm policy add dir {direction} {selector} tmpl {ends} proto esp reqid 1 mode tunnel\n"
        )
    };
    let there = policy("out", format!("src {INSIDE} dst {pod}"), format!("src 10.9.0.2 dst {node}"));
    let back = policy("in", format!("src {pod} dst {INSIDE}"), format!("src {node} dst 10.9.0.2"));
    script(lab, &(there + &back)).await?;
    Ok(())
}

/// Opens a port of the gateway, as an IKE daemon would.
async fn open(lab: &Lab, port: u16) -> Result<esplanade_e2e::guest::Process> {
    let program = format!(
        "use Socket; socket(S, AF_INET, SOCK_DGRAM, 0) or die; setsockopt(S, 17, 100, pack('i', 2)) or die $!; \
         bind(S, sockaddr_in({port}, INADDR_ANY)) or die $!; $| = 1; print 'open'; sleep"
    );
    let argv = ["ip", "netns", "exec", "peer", "perl", "-e", &program];
    let process = lab.outside().spawn(&format!("peer-{port}"), argv).await?;
    lab.wait("the gateway's port", SOON, async || {
        ensure!(process.log().contains("open"), "{}", process.log());
        Ok(())
    })
    .await?;
    Ok(process)
}

async fn pings(lab: &Lab, count: &str) -> Result<bool> {
    let pod = lab.node("node-b").pod(0).addresses.v4.to_string();
    let argv =
        ["ip", "netns", "exec", "peer", "ping", "-c", count, "-i", "0.1", "-W", "1", "-I", INSIDE, &pod];
    let outcome = lab.outside().run(argv).await?;
    Ok(outcome.stdout.contains(" 0% packet loss"))
}

/// Ports and sequence numbers of an SA's packets.
fn seen(packets: &[Packet], wanted: u32) -> (Vec<(u16, u16)>, Vec<u32>) {
    let all = packets.iter().filter_map(|packet| match packet.ip()?.payload {
        Payload::EspInUdp { source, destination, spi, seq } if spi == wanted => {
            Some(((source, destination), seq))
        }
        _ => None,
    });
    all.unzip()
}

#[test]
fn a_gateway_behind_an_address_translation() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        let node = lab.node("node-b");
        build(lab).await?;
        gateway_sas(lab, "add", 4500).await?;
        gateway_policies(lab).await?;
        let first = open(lab, 4500).await?;
        lab.apply(&manifests(40_000)).await?;
        for what in ["ipsecsa/nat-in", "ipsecsa/nat-out", "ipsecpolicy/nat"] {
            lab.wait_condition(what, "Programmed", "True", SOON).await?;
        }
        let monitor = node.spawn("monitor", ["ip", "xfrm", "monitor"]).await?;
        let wire = node.capture().await?;
        ensure!(pings(lab, "3").await?, "no answers through the translation");
        let packets = wire.stop().await?;
        assert_eq!(seen(&packets, IN).0, [(40_000, 4500); 3]);
        let (ports, numbers) = seen(&packets, OUT);
        assert_eq!((ports, numbers), (vec![(4500, 40_000); 3], vec![1, 2, 3]));

        // The gateway's own port changes, and with it the one that the translation gives it.
        first.stop().await?;
        let _second = open(lab, 4501).await?;
        gateway_sas(lab, "update", 4501).await?;
        ensure!(!pings(lab, "1").await?, "answers still go to the port before");
        lab.wait("the kernel to tell of the mapping", SOON, async || {
            let said = monitor.log();
            ensure!(said.contains(&format!("{PUBLIC}:40000 -> {PUBLIC}:40001")), "{said}");
            Ok(())
        })
        .await?;

        // The ports are changed in the SAs that are there: the numbers go on.
        lab.apply(&manifests(40_001)).await?;
        lab.wait("the kernel to have the new port", SOON, async || {
            let states = node.xfrm().await?.states.join("\n");
            ensure!(states.matches("40001").count() == 2 && !states.contains("40000"), "{states}");
            Ok(())
        })
        .await?;
        let wire = node.capture().await?;
        ensure!(pings(lab, "3").await?, "no answers after the change");
        let packets = wire.stop().await?;
        assert_eq!(seen(&packets, IN).0, [(40_001, 4500); 3]);
        // One was sent in between, to the port before.
        assert_eq!(seen(&packets, OUT), (vec![(4500, 40_001); 3], vec![5, 6, 7]));
        Ok(())
    })
}

/// The translation's public address after it has moved.
const MOVED: &str = "192.0.2.98";

/// Pings until an answer comes, which it does once the node follows; then none is lost.
async fn reached_again(lab: &Lab) -> Result<()> {
    lab.wait("an answer", SOON, async || {
        ensure!(pings(lab, "1").await?, "no answer");
        Ok(())
    })
    .await?;
    ensure!(pings(lab, "3").await?, "answers are lost after the first");
    Ok(())
}

#[test]
fn a_gateway_is_followed_where_its_mapping_goes() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        let node = lab.node("node-b");
        build(lab).await?;
        gateway_sas(lab, "add", 4500).await?;
        gateway_policies(lab).await?;
        let _port = open(lab, 4500).await?;
        lab.apply(&followed(40_000, true)).await?;
        for what in ["ipsecsa/nat-in", "ipsecsa/nat-out", "ipsecpolicy/nat"] {
            lab.wait_condition(what, "Programmed", "True", SOON).await?;
        }
        ensure!(pings(lab, "3").await?, "no answers through the translation");
        let installed = async || -> Result<Vec<String>> { Ok(node.xfrm().await?.states) };
        let before = installed().await?.join("\n");
        assert_eq!(before.matches("40000").count(), 2, "{before}");

        // Another port: the SAs stay, and what is sent goes on where it was.
        translate_anew(lab, PUBLIC, 40_001).await?;
        let wire = node.capture().await?;
        reached_again(lab).await?;
        let packets = wire.stop().await?;
        let (ports, numbers) = seen(&packets, OUT);
        assert!(ports.ends_with(&[(4500, 40_001); 4]), "{ports:?}");
        assert!(numbers.first().is_some_and(|first| *first == 4), "{numbers:?}");
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        let states = installed().await?.join("\n");
        assert_eq!((states.matches("40001").count(), states.matches("40000").count()), (2, 0), "{states}");

        // Nothing of it is undone, by an audit or a new agent.
        lab.stop_agent("node-b").await?;
        lab.start_agent("node-b").await?;
        lab.wait_condition("ipsecsa/nat-out", "Programmed", "True", SOON).await?;
        let log = in_sync_again(lab, "node-b").await?;
        assert!(!log.contains("kernel changed"), "{log}");
        let wire = node.capture().await?;
        ensure!(pings(lab, "3").await?, "answers are lost after a restart");
        assert_eq!(seen(&wire.stop().await?, OUT).0, [(4500, 40_001); 3]);

        // Another address: other SAs with the same keys, and numbers that were never used.
        let last = numbers.last().copied().unwrap_or_default() + 3;
        translate_anew(lab, MOVED, 40_002).await?;
        reached_again(lab).await?;
        let wire = node.capture().await?;
        ensure!(pings(lab, "3").await?, "answers are lost at the other address");
        let packets = wire.stop().await?;
        let to: Vec<_> = packets
            .iter()
            .filter_map(|packet| packet.ip())
            .filter(|ip| matches!(ip.payload, Payload::EspInUdp { spi: OUT, .. }))
            .map(|ip| ip.destination.to_string())
            .collect();
        assert_eq!(to, [MOVED; 3]);
        let (ports, numbers) = seen(&packets, OUT);
        assert_eq!(ports, [(4500, 40_002); 3]);
        assert!(numbers.iter().all(|number| *number > last), "{numbers:?} after {last}");

        // Where it is written is another place: that counts, and what was learnt is forgotten.
        lab.apply(&followed(40_003, true)).await?;
        lab.wait("the port that is written", SOON, async || {
            let states = installed().await?.join("\n");
            ensure!(states.matches("40003").count() == 2 && !states.contains(MOVED), "{states}");
            Ok(())
        })
        .await?;
        reached_again(lab).await
    })
}
