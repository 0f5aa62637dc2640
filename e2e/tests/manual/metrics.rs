//! Metrics and probes of the real programs, asked over the network.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use esplanade_e2e::lab::{Config, Lab, Node};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{SOON, example, with_esplanade};
use crate::wire::ping_pods;

/// As the chart has them.
const OPERATOR: u16 = 9810;
const AGENT: u16 = 9811;

/// The answer's body; an error if it isn't 200.
async fn get(address: IpAddr, port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect((address, port)).await.context("connecting")?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer")?;
    ensure!(head.contains(" 200 "), "{answer}");
    Ok(body.to_owned())
}

/// Values by name and labels.
async fn metrics(address: IpAddr, port: u16) -> Result<BTreeMap<String, f64>> {
    let text = get(address, port, "/metrics").await?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
            Ok((name.to_owned(), value.parse().with_context(|| line.to_owned())?))
        })
        .collect()
}

async fn of_agent(node: &Node) -> Result<BTreeMap<String, f64>> {
    metrics(node.addresses.v4.into(), AGENT).await
}

/// The operator runs beside the control plane.
fn operator(lab: &Lab) -> Result<IpAddr> {
    let url = lab.control_plane().url();
    let host = url.trim_start_matches("https://").rsplit_once(':').context("a port")?.0;
    host.parse().context("an address")
}

#[test]
fn operator_and_agents_tell_what_they_do() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        example(lab).await?;
        ping_pods(lab).await?;
        let a = lab.node("node-a");
        let agent = of_agent(a).await?;
        for (name, value) in [
            ("security_associations{owner=\"ours\"}", 2.0),
            ("security_associations{owner=\"foreign\"}", 0.0),
            ("policies{owner=\"foreign\"}", 0.0),
            ("sad_entries", 2.0),
        ] {
            assert_eq!(agent[&format!("esplanade_agent_{name}")], value, "{name}: {agent:#?}");
        }
        let ours = agent["esplanade_agent_policies{owner=\"ours\"}"];
        let entries = |direction: &str| {
            agent[&format!("esplanade_agent_spd_entries{{direction=\"{direction}\",of_sockets=\"false\"}}")]
        };
        assert_eq!(ours, ["in", "out", "fwd"].map(entries).iter().sum::<f64>(), "{agent:#?}");
        for name in ["passes_total{result=\"in_sync\"}", "operations_total", "kernel_opens_total"] {
            assert!(agent[&format!("esplanade_agent_{name}")] >= 1.0, "{name}: {agent:#?}");
        }
        let count = agent["esplanade_agent_pass_duration_seconds_count"];
        let passes = agent.iter().filter(|(name, _)| name.starts_with("esplanade_agent_passes_total"));
        assert_eq!(count, passes.map(|(_, value)| value).sum::<f64>());

        // Every counter of the kernel, by its name. Packets through an SA that isn't there are one of them.
        let expected = a.xfrm_stat().await?;
        let named = |counter: &str| format!("esplanade_agent_xfrm_stat_total{{counter=\"{counter}\"}}");
        for counter in expected.keys() {
            assert!(agent.contains_key(&named(counter)), "{counter}");
        }
        let told = agent.keys().filter(|name| name.starts_with("esplanade_agent_xfrm_stat_total")).count();
        assert_eq!(told, expected.len());

        // An SA of ours that somebody deletes comes back, and both are told; an SA of somebody else counts in the kernel.
        let events = "esplanade_agent_kernel_events_total{kind=\"change\"}";
        let before = agent.get(events).copied().unwrap_or_default();
        let foreign = "ip xfrm state add src 192.0.2.11 dst 192.0.2.99 proto esp spi 0x99 mode transport \
                       aead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128";
        let ours = "ip xfrm state delete src 192.0.2.11 dst 192.0.2.12 proto esp spi 4097";
        for command in [foreign, ours] {
            a.run(command.split_whitespace()).await?.ok()?;
        }
        let operations = "esplanade_agent_operations_total";
        lab.wait("the healing to be told", SOON, async || {
            let now = of_agent(a).await?;
            ensure!(now[events] > before && now[operations] > agent[operations], "{now:#?}");
            ensure!(now["esplanade_agent_sad_entries"] == 3.0, "{now:#?}");
            Ok(())
        })
        .await?;

        for node in lab.nodes() {
            for path in ["/healthz", "/readyz"] {
                get(node.addresses.v4.into(), AGENT, path).await?;
            }
        }
        let address = operator(lab)?;
        let operator = metrics(address, OPERATOR).await?;
        assert_eq!(operator["esplanade_operator_leader"], 1.0);
        assert_eq!(operator["esplanade_operator_waiting"], 0.0);
        for name in [
            "plan_duration_seconds_count",
            "writes_total{kind=\"IpsecNodeState\"}",
            "writes_total{kind=\"IpsecPolicy\"}",
        ] {
            assert!(
                operator.get(&format!("esplanade_operator_{name}")).is_some_and(|value| *value >= 1.0),
                "{name}: {operator:#?}"
            );
        }
        for path in ["/healthz", "/readyz"] {
            get(address, OPERATOR, path).await?;
        }
        Ok(())
    })
}
