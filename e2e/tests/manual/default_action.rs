//! Nodes that drop whatever no policy covers.

use anyhow::{Result, ensure};
use esplanade_e2e::lab::{Config, Lab, Node};

use crate::cluster::{SOON, example, remove_all_but, remove_example, secret, with_values};
use crate::wire::clear_echoes;
use crate::{compression, udp, variants};

pub(crate) const BLOCK: &str = "nodeAgent: {defaultAction: Block}";

/// What the kernel does without a policy.
async fn default_actions(node: &Node) -> Result<String> {
    let text = node.run(["ip", "xfrm", "policy", "getdefault"]).await?.ok()?;
    Ok(text.split_whitespace().skip(2).collect::<Vec<_>>().join(" "))
}

async fn wait_for_default(lab: &Lab, node: &str, wanted: &str) -> Result<()> {
    lab.wait(&format!("{node} to have {wanted}"), SOON, async || {
        let found = default_actions(lab.node(node)).await?;
        ensure!(found == wanted, "{found}");
        Ok(())
    })
    .await
}

/// Whether one of three pings is answered.
async fn reaches(place: &esplanade_e2e::lab::Place, to: impl ToString) -> Result<bool> {
    Ok(place.run(["ping", "-c3", "-i0.2", "-W1", &to.to_string()]).await?.success())
}

async fn pods_reach_each_other(lab: &Lab) -> Result<[bool; 2]> {
    let (a, b) = (lab.node("node-a").pod(0), lab.node("node-b").pod(0).addresses);
    Ok([reaches(a, b.v4).await?, reaches(a, b.v6).await?])
}

async fn nodes_reach_each_other(lab: &Lab) -> Result<[bool; 2]> {
    let (a, b) = (lab.node("node-a"), lab.node("node-b").addresses);
    Ok([reaches(a, b.v4).await?, reaches(a, b.v6).await?])
}

const CLOSED: &str = "in: block fwd: block out: block";
const OPEN: &str = "in: accept fwd: accept out: accept";

#[test]
fn what_no_policy_covers_is_dropped_and_nobody_is_locked_out() -> Result<()> {
    with_values(Config::default(), BLOCK, async |lab| {
        // The agents were ready: they have reached the API server since.
        for node in lab.nodes() {
            wait_for_default(lab, &node.name, CLOSED).await?;
        }
        assert_eq!(pods_reach_each_other(lab).await?, [false; 2]);
        assert_eq!(nodes_reach_each_other(lab).await?, [false; 2]);
        let a = lab.node("node-a");
        for own in [a.addresses.v4.to_string(), a.addresses.v6.to_string(), "::1".into(), "127.0.0.1".into()]
        {
            ensure!(reaches(a, &own).await?, "node-a doesn't reach itself at {own}");
        }

        // What a policy covers passes, protected; and agents learn of it.
        example(lab).await?;
        let wire = a.capture().await?;
        assert_eq!(pods_reach_each_other(lab).await?, [true; 2]);
        assert_eq!(nodes_reach_each_other(lab).await?, [false; 2]);
        let packets = wire.stop().await?;
        assert_eq!(clear_echoes(&packets), [] as [&_; 0]);
        assert!(packets.iter().any(|packet| packet.esp_spi().is_some()));

        restarts_closed(lab).await?;
        is_closed_again(lab).await?;
        opens(lab).await
    })
}

/// An agent that ends leaves its node closed; the next one finds the API server through it.
async fn restarts_closed(lab: &Lab) -> Result<()> {
    lab.stop_agent("node-a").await?;
    assert_eq!(default_actions(lab.node("node-a")).await?, CLOSED);
    assert_eq!(pods_reach_each_other(lab).await?, [true; 2]);
    lab.start_agent("node-a").await?;
    remove_example(lab).await?;
    lab.wait("the policies to go", SOON, async || {
        let policies = lab.node("node-a").xfrm().await?.policies;
        ensure!(policies.iter().all(|policy| !policy.contains("tmpl")), "{policies:#?}");
        Ok(())
    })
    .await?;
    assert_eq!(pods_reach_each_other(lab).await?, [false; 2]);
    Ok(())
}

/// Whoever opens it while an agent is there to see.
async fn is_closed_again(lab: &Lab) -> Result<()> {
    let open = ["ip", "xfrm", "policy", "setdefault", "in", "accept", "fwd", "accept", "out", "accept"];
    lab.node("node-a").run(open).await?.ok()?;
    wait_for_default(lab, "node-a", CLOSED).await
}

/// The chart's other value, as it reaches an agent: what was blocked passes, and nothing is left behind. The node where it
/// didn't stays closed.
async fn opens(lab: &Lab) -> Result<()> {
    lab.stop_agent("node-a").await?;
    lab.change_agent("node-a", "--default-action=Allow")?;
    lab.start_agent("node-a").await?;
    wait_for_default(lab, "node-a", OPEN).await?;
    lab.wait("no policies", SOON, async || {
        let policies = lab.node("node-a").xfrm().await?.policies;
        ensure!(policies.is_empty(), "{policies:#?}");
        Ok(())
    })
    .await?;
    assert_eq!(default_actions(lab.node("node-b")).await?, CLOSED);
    assert_eq!(nodes_reach_each_other(lab).await?, [false; 2]);
    lab.stop_agent("node-b").await?;
    lab.change_agent("node-b", "--default-action=Allow")?;
    lab.start_agent("node-b").await?;
    wait_for_default(lab, "node-b", OPEN).await?;
    assert_eq!(nodes_reach_each_other(lab).await?, [true; 2]);
    assert_eq!(pods_reach_each_other(lab).await?, [true; 2]);
    Ok(())
}

/// The packets around what is protected are looked up by nobody, be they ESP, ESP in UDP, AH or IPComp: no policy has to let
/// them pass.
#[test]
fn what_is_around_protected_packets_passes() -> Result<()> {
    with_values(Config::default(), BLOCK, async |lab| {
        for node in lab.nodes() {
            wait_for_default(lab, &node.name, CLOSED).await?;
        }
        let stays = |policy: &str| !policy.contains("tmpl");
        let names = ["tunnel-v6", "tunnel-esn", "tunnel-ah", "transport-v4", "transport-v6", "transport-ah"];
        let some: Vec<_> = variants::VARIANTS.iter().filter(|one| names.contains(&one.name)).collect();
        assert_eq!(some.len(), names.len());
        for variant in some {
            variant.carries(lab).await.map_err(|error| error.context(variant.name))?;
            remove_all_but(lab, &variant.manifests(), stays).await?;
        }
        secret(lab, "keys", &[("encryption", 32), ("integrity", 32)]).await?;
        for variant in udp::VARIANTS {
            variant.carries(lab).await.map_err(|error| error.context(variant.name))?;
            remove_all_but(lab, &variant.manifests(), stays).await?;
        }
        for variant in compression::VARIANTS {
            variant.carries(lab).await.map_err(|error| error.context(variant.name))?;
            remove_all_but(lab, &variant.manifests(), stays).await?;
        }
        for node in lab.nodes() {
            assert_eq!(default_actions(node).await?, CLOSED);
        }
        assert_eq!(nodes_reach_each_other(lab).await?, [false; 2]);
        Ok(())
    })
}
