//! `esplanade-node-agent monitor` and `show`, on a real kernel that is provoked to tell all that it has to tell.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use esplanade_e2e::lab::{self, Config, Lab, Node};
use esplanade_e2e::programs;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
/// Bytes of every key here.
const KEY: &str = "a5a5a5a5a5a5a5a5";
const ENDS: &str = "src 192.0.2.11 dst 192.0.2.12";

fn algorithm() -> String {
    format!("aead rfc4106(gcm(aes)) 0x{}a5a5a5a5 128", KEY.repeat(2))
}

async fn ip(node: &Node, arguments: &str) -> Result<()> {
    let argv = format!("ip xfrm {arguments}");
    node.run(argv.split_whitespace()).await?.ok().map(drop)
}

async fn ping(node: &Node, to: &Node) -> Result<()> {
    // Whether it is answered is up to the test.
    let to = to.addresses.v4.to_string();
    node.run(["ping", "-c3", "-i0.1", "-W1", &to]).await.map(drop)
}

/// Lines of JSON so far.
fn lines(text: &str) -> Result<Vec<Value>> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

/// What iproute2 does shows up as what it is.
async fn changes(node: &Node) -> Result<()> {
    let (state, algorithm) = (format!("{ENDS} proto esp spi 0x100"), algorithm());
    ip(node, &format!("state add {state} mode tunnel {algorithm}")).await?;
    ip(node, &format!("state update {state} mode tunnel {algorithm} limit time-hard 1000")).await?;
    ip(node, &format!("state delete {state}")).await?;
    let policy = "src 10.9.0.0/16 dst 10.8.0.0/16 dir out";
    ip(node, &format!("policy add {policy} action block")).await?;
    ip(node, &format!("policy update {policy} action allow")).await?;
    ip(node, &format!("policy delete {policy}")).await?;
    ip(node, "policy setdefault out block").await?;
    ip(node, "policy setdefault out accept").await
}

/// A packet without an SA; lifetimes that end.
async fn doings(node: &Node, other: &Node) -> Result<()> {
    let to = format!("src 0.0.0.0/0 dst {}/32", other.addresses.v4);
    ip(node, &format!("policy add {to} dir out tmpl {ENDS} proto esp mode transport")).await?;
    ping(node, other).await?;
    ip(node, &format!("policy delete {to} dir out")).await?;
    let limits = "limit time-soft 1 limit time-hard 2";
    ip(node, &format!("state add {ENDS} proto esp spi 0x101 mode tunnel {} {limits}", algorithm())).await?;
    ip(node, "policy add src 10.9.0.0/16 dst 10.8.0.0/16 dir out action block limit time-hard 1").await
}

/// ESP in UDP from another port than it is expected from.
async fn mapping(lab: &Lab, from: &Node, to: &Node) -> Result<()> {
    // std has no UDP_ENCAP; perl is essential on Debian.
    let socket = "socket(S, PF_INET, SOCK_DGRAM, 0); bind(S, pack_sockaddr_in(4500, INADDR_ANY)) or die; \
                  setsockopt(S, 17, 100, pack('i', 2)) or die; $| = 1; print qq(ready\n); sleep 600";
    let socket = to.spawn("socket", ["perl", "-MSocket", "-e", socket]).await?;
    lab.wait("the UDP socket", SOON, async || {
        ensure!(socket.log().contains("ready"), "{}", socket.log());
        Ok(())
    })
    .await?;
    let state = format!(
        "state add {ENDS} proto esp spi 0x200 mode transport replay-window 32 {} encap espinudp",
        algorithm()
    );
    ip(to, &format!("{state} 4500 4500 0.0.0.0")).await?;
    ip(from, &format!("{state} 4501 4500 0.0.0.0")).await?;
    ip(from, &format!("policy add {ENDS} dir out tmpl proto esp mode transport")).await?;
    ping(from, to).await
}

#[test]
fn everything_that_a_kernel_can_be_made_to_tell_is_shown() -> Result<()> {
    lab::run(Config { nodes: 2, pods: 0 }, async |lab| {
        let agent = programs::find("esplanade-node-agent", "esplanade-node-agent")?;
        let agent = agent.to_str().context("UTF-8")?;
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        let monitor = ["monitor", "--output", "json", "--acquire", "--counters"];
        let monitor = b.spawn("monitor", [agent].into_iter().chain(monitor)).await?;
        // It listens when it tells of something that was done again and again.
        lab.wait("the monitor", SOON, async || {
            ip(b, "policy setdefault in accept").await?;
            ensure!(!monitor.log().is_empty(), "nothing is told");
            Ok(())
        })
        .await?;

        changes(b).await?;
        doings(b, a).await?;
        mapping(lab, a, b).await?;
        let expected = [
            "NEWSA",
            "UPDSA",
            "DELSA",
            "NEWPOLICY",
            "UPDPOLICY",
            "DELPOLICY",
            "GETDEFAULT",
            "ACQUIRE",
            "EXPIRE",
            "POLEXPIRE",
            "MAPPING",
            "NEWAE",
        ];
        let seen = async || {
            let lines = lines(&monitor.log())?;
            let told = lines.iter().filter_map(|line| line["message"].as_str());
            let told: BTreeSet<_> = told.map(str::to_owned).collect();
            let missing: Vec<_> = expected.iter().filter(|name| !told.contains(**name)).collect();
            ensure!(missing.is_empty(), "not told: {missing:?} among {told:?}");
            let hard = |wanted: bool| lines.iter().any(|line| line["expired"]["hard"] == wanted);
            ensure!(hard(false) && hard(true), "not both limits");
            Ok(lines)
        };
        let told = lab.wait("every kind of event", SOON, seen).await?;
        let of_kind = |kind: &str| told.iter().find(|line| line["message"] == kind).context(kind.to_owned());
        let mapping = of_kind("MAPPING")?;
        assert_eq!(
            (&mapping["mapping"]["oldPort"], &mapping["mapping"]["newPort"]),
            (&4500.into(), &4501.into())
        );
        assert_eq!(of_kind("NEWSA")?["owner"], "foreign");
        let packet = &of_kind("ACQUIRE")?["acquire"]["selector"];
        assert_eq!(packet["destination"], format!("{}/32", a.addresses.v4));

        let shown = b.run([agent, "show", "--output", "json"]).await?.ok()?;
        let text = b.run([agent, "show"]).await?.ok()?;
        let show: Value = serde_json::from_str(&shown)?;
        let states = show["securityAssociations"].as_array().context("SAs")?;
        let state = states.iter().find(|sa| sa["sa"]["spi"] == "0x00000200").context("the SA")?;
        assert_eq!(state["sa"]["used"]["packets"], 3, "{state}");
        let attributes = state["attributes"].as_array().context("attributes")?;
        let encapsulation = attributes.iter().find(|one| one["name"] == "ENCAP").context("ENCAP")?;
        assert_eq!(encapsulation["value"]["encapsulation"], "espinudp");
        let totals = show["totals"].as_array().context("totals")?;
        assert_eq!(
            totals.iter().map(|one| &one["message"]).collect::<Vec<_>>(),
            ["NEWSADINFO", "NEWSPDINFO", "GETDEFAULT"]
        );
        assert!(text.contains("esp 192.0.2.11 > 192.0.2.12 spi 0x00000200, foreign"), "{text}");

        // Of an empty database nothing is told.
        ip(b, "policy add src 10.9.0.0/16 dst 10.8.0.0/16 dir out action block").await?;
        for database in ["state", "policy"] {
            ip(b, &format!("{database} flush")).await?;
        }
        lab.wait("the flush", SOON, async || {
            let log = monitor.log();
            ensure!(log.contains("\"FLUSHSA\"") && log.contains("\"FLUSHPOLICY\""), "not told");
            Ok(())
        })
        .await?;
        for output in [&monitor.log(), &shown, &text] {
            assert!(!output.contains(KEY), "{output}");
        }
        monitor.stop().await.map(drop)
    })
}

/// Without --acquire, a packet that lacks an SA meets the kernel as if nobody listened.
#[test]
fn listening_alone_changes_nothing() -> Result<()> {
    lab::run(Config { nodes: 2, pods: 0 }, async |lab| {
        let agent = programs::find("esplanade-node-agent", "esplanade-node-agent")?;
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        let monitor = b.spawn("monitor", [agent.to_str().context("UTF-8")?, "monitor"]).await?;
        lab.wait("the monitor", SOON, async || {
            ip(b, "policy setdefault in accept").await?;
            ensure!(
                monitor.log().contains("GETDEFAULT in accept, fwd accept, out accept"),
                "nothing is told"
            );
            Ok(())
        })
        .await?;
        let to = format!("src 0.0.0.0/0 dst {}/32", a.addresses.v4);
        ip(b, &format!("policy add {to} dir out tmpl {ENDS} proto esp mode transport")).await?;
        ping(b, a).await?;
        assert_eq!(b.xfrm().await?.states, Vec::<String>::new());
        assert!(b.xfrm_stat().await?["XfrmOutNoStates"] > 0);
        assert!(!monitor.log().contains("ACQUIRE"), "{}", monitor.log());
        Ok(())
    })
}
