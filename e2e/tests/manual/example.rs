//! The example of the README.

use anyhow::Result;
use esplanade_e2e::lab::{Config, Lab};

use crate::cluster::{example, kubectl, remove_example, with_esplanade};
use crate::wire::{clear_echoes, clear_pod_packets, ping_pods, sequence};

const A_TO_B: u32 = 4097;
const B_TO_A: u32 = 4098;

/// Someone else's SA and policy, which must stay as they are.
const FOREIGN: [&str; 2] = [
    "ip xfrm state add src 192.0.2.11 dst 198.51.100.9 proto esp spi 0x1001 reqid 7 mode tunnel \
     enc cbc(aes) 0x000102030405060708090a0b0c0d0e0f \
     auth-trunc hmac(sha256) 0x000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f 128",
    "ip xfrm policy add src 10.99.0.0/16 dst 10.98.0.0/16 dir out priority 3 \
     tmpl src 192.0.2.11 dst 198.51.100.9 proto esp reqid 7 mode tunnel",
];

async fn run(lab: &Lab, node: &str, command: &str) -> Result<()> {
    lab.node(node).run(command.split_whitespace()).await?.ok()?;
    Ok(())
}

#[test]
fn the_example_becomes_esp_on_the_wire_and_leaves_nothing_behind() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        for command in FOREIGN {
            run(lab, "node-a", command).await?;
        }
        let before = [a.xfrm().await?, b.xfrm().await?];
        let wire = a.capture().await?;
        ping_pods(lab).await?;
        let clear = wire.packets().await?;
        assert_eq!(clear_echoes(&clear).len(), 24, "3 requests and answers, both ways, both families");

        example(lab).await?;
        let wire = a.capture().await?;
        ping_pods(lab).await?;
        let packets = wire.packets().await?;
        assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
        let (addr_a, addr_b) = (a.addresses.v4.into(), b.addresses.v4.into());
        let numbers = |packets: &[_]| {
            [sequence(packets, addr_a, addr_b, A_TO_B), sequence(packets, addr_b, addr_a, B_TO_A)]
        };
        assert_eq!(numbers(&packets), [(1..=12).collect::<Vec<_>>(), (1..=12).collect()]);

        let programmed = [a.xfrm().await?, b.xfrm().await?];
        for foreign in before[0].states.iter() {
            assert!(programmed[0].states.contains(foreign), "{foreign}");
        }
        restart_writes_nothing(lab).await?;
        assert_eq!([a.xfrm().await?, b.xfrm().await?], programmed);
        ping_pods(lab).await?;
        let packets = wire.stop().await?;
        assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
        assert_eq!(numbers(&packets), [(1..=24).collect::<Vec<_>>(), (1..=24).collect()]);

        let table = kubectl(lab, &["get", "ipsecpolicies,ipsecsas"]).await?;
        assert!(table.contains("Tunnel") && table.contains("2/2"), "{table}");

        remove_example(lab).await?;
        lab.wait("the kernels to be as before", crate::cluster::SOON, async || {
            let after = [a.xfrm().await?, b.xfrm().await?];
            anyhow::ensure!(after == before, "{after:#?}\ninstead of\n{before:#?}");
            Ok(())
        })
        .await?;
        ping_pods(lab).await?;
        for node in lab.nodes() {
            for (counter, value) in node.xfrm_stat().await? {
                assert_eq!(value, 0, "{counter} of {}", node.name);
            }
        }
        Ok(())
    })
}

/// Restarts the agent of node-a while the kernel's XFRM events are watched: there are none but the markers.
async fn restart_writes_nothing(lab: &Lab) -> Result<()> {
    let marker = |spi: u32| {
        format!(
            "ip xfrm state add src 192.0.2.11 dst 198.51.100.10 proto ah spi {spi} auth hmac(sha256) 0x01"
        )
    };
    let events = lab.node("node-a").spawn("events", ["ip", "xfrm", "monitor", "all"]).await?;
    let seen = |spi: &str| events.log().contains(spi);
    lab.wait("the monitor to listen", crate::cluster::SOON, async || {
        run(lab, "node-a", &marker(0x9001)).await?;
        run(lab, "node-a", "ip xfrm state delete dst 198.51.100.10 proto ah spi 0x9001").await?;
        anyhow::ensure!(seen("0x00009001"), "not yet");
        Ok(())
    })
    .await?;
    let start = events.log().len();

    assert_eq!(lab.stop_agent("node-a").await?, 0, "SIGTERM is a clean end");
    let said = lab.agent("node-a")?.log().len();
    lab.start_agent("node-a").await?;
    lab.wait("the agent to be in sync again", crate::cluster::SOON, async || {
        let log = lab.agent("node-a")?.log();
        anyhow::ensure!(log[said..].contains("in sync"), "it hasn't said so");
        Ok(())
    })
    .await?;

    run(lab, "node-a", &marker(0x9002)).await?;
    lab.wait("the last marker", crate::cluster::SOON, async || {
        anyhow::ensure!(seen("0x00009002"), "not yet");
        Ok(())
    })
    .await?;
    run(lab, "node-a", "ip xfrm state delete dst 198.51.100.10 proto ah spi 0x9002").await?;
    let log = events.log();
    let foreign = |line: &&str| line.starts_with("src ") || line.starts_with("Deleted ");
    for line in log[start..].lines().filter(foreign) {
        assert!(line.contains("198.51.100.10"), "the agent wrote: {line}");
    }
    Ok(())
}
