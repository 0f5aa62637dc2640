//! Edits of a policy with automatic keys that is in force: nothing is lost and nothing is in the clear that was encrypted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Result, ensure};
use esplanade_e2e::capture::Packet;
use esplanade_e2e::lab::{Config, Lab, Place};

use crate::automatic::{esp, kill_agent, nothing_lost, pings, ready};
use crate::cluster::{SOON, remove, told, with_esplanade};
use crate::wire::{clear_echoes, clear_pod_packets};

fn policy(rest: &str) -> String {
    format!(
        "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: pods}}\nspec:\n  \
         from: [{{podCIDRs: {{}}}}]\n  {rest}\n"
    )
}

/// Each pod to each other, over both families.
pub(crate) fn everyone(lab: &Lab) -> Vec<(&Place, IpAddr)> {
    let nodes = lab.nodes();
    let ways = nodes.iter().flat_map(|from| nodes.iter().map(move |to| (from, to)));
    let pairs = ways.filter(|(from, to)| from.name != to.name).flat_map(|(from, to)| {
        let to = to.pod(0).addresses.both().into_iter();
        to.map(move |to| (&**from.pod(0), to))
    });
    pairs.collect()
}

/// What went wrong in each node's kernel so far.
async fn errors(lab: &Lab) -> Result<Vec<BTreeMap<String, u64>>> {
    let mut all = Vec::new();
    for node in lab.nodes() {
        all.push(node.xfrm_stat().await?);
    }
    Ok(all)
}

/// Of pings between these every 10 ms, while `body` runs, none is lost, and no kernel counts that anything went wrong.
pub(crate) async fn undisturbed(
    lab: &Lab,
    from_to: &[(&Place, IpAddr)],
    body: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let traffic = pings(lab, from_to).await?;
    let before = errors(lab).await?;
    body().await?;
    nothing_lost(traffic).await?;
    assert_eq!(errors(lab).await?, before);
    Ok(())
}

/// The nodes follow the last edit to its end: no node is told of another revision, and the kernels have this many SAs of
/// this algorithm and no others.
pub(crate) async fn followed(lab: &Lab, algorithm: &str, sas: usize) -> Result<()> {
    lab.wait(&format!("{algorithm} only"), SOON, async || {
        for node in lab.nodes() {
            let states = node.xfrm().await?.states;
            let right = states.iter().filter(|state| state.contains(algorithm)).count();
            ensure!(right == sas && states.len() == sas, "{}: {right} of {}", node.name, states.len());
            let told = told(lab, &node.name).await?;
            ensure!(told == 1, "{}: {told} policies", node.name);
        }
        Ok(())
    })
    .await?;
    ready(lab, "pods").await
}

/// As the kernel names them.
pub(crate) const GCM: &str = "rfc4106(gcm(aes))";
pub(crate) const CBC: &str = "cbc(aes)";

#[test]
fn the_suite_is_another_one_and_back_and_nothing_is_lost() -> Result<()> {
    with_esplanade(Config { nodes: 3, ..Config::default() }, async |lab| {
        lab.apply(&policy("priority: 500")).await?;
        followed(lab, GCM, 4).await?;
        undisturbed(lab, &everyone(lab), async || {
            let wire = lab.node("node-b").capture().await?;

            lab.apply(&policy("protection: {suite: AES-CBC-256-HMAC-SHA2-256-128}")).await?;
            followed(lab, CBC, 4).await?;
            // Undone while it is followed, and agents and the operator die meanwhile.
            lab.apply(&policy("protection: {suite: AES-GCM-16-128}")).await?;
            kill_agent(lab, "node-a").await?;
            lab.stop_operator()?;
            lab.start_operator()?;
            lab.apply(&policy("protection: {suite: AES-GCM-16-256}")).await?;
            kill_agent(lab, "node-b").await?;
            followed(lab, GCM, 4).await?;

            let packets = wire.stop().await?;
            assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
            ensure!(esp(&packets) > 1000, "hardly anything was sent: {}", esp(&packets));
            Ok(())
        })
        .await?;
        remove(lab, &policy("priority: 500")).await
    })
}

/// Between which addresses echoes are in the clear.
fn clear(packets: &[Packet]) -> BTreeSet<(IpAddr, IpAddr)> {
    let ip = clear_echoes(packets).into_iter().filter_map(|packet| packet.ip());
    ip.map(|ip| (ip.source, ip.destination)).collect()
}

#[test]
fn what_is_covered_is_more_and_less_and_nothing_is_lost() -> Result<()> {
    with_esplanade(Config { nodes: 3, ..Config::default() }, async |lab| {
        let icmp = policy("traffic: [{protocol: ICMP}]");
        lab.apply(&icmp).await?;
        followed(lab, GCM, 4).await?;
        let traffic = pings(lab, &everyone(lab)).await?;
        let wire = lab.node("node-b").capture().await?;

        // ICMP for IPv6 as well; then only that of node-a and node-b; then as in the beginning.
        lab.apply(&policy("traffic: [{protocol: ICMP}, {protocol: ICMPv6}]")).await?;
        followed(lab, GCM, 4).await?;
        let all = lab.node("node-b").capture().await?;
        lab.wait("traffic", SOON, async || {
            ensure!(esp(&all.packets().await?) > 200, "none yet");
            Ok(())
        })
        .await?;
        assert_eq!(clear(&all.stop().await?), BTreeSet::new());

        let without_c = policy("traffic: [{protocol: ICMP}, {protocol: ICMPv6}]").replace(
            "podCIDRs: {}",
            "podCIDRs: {matchExpressions: [{key: kubernetes.io/hostname, operator: NotIn, values: [node-c]}]}",
        );
        lab.apply(&without_c).await?;
        let pods = |name: &str| lab.node(name).pod(0).addresses.both();
        lab.wait("node-c left out", SOON, async || {
            let told = told(lab, "node-c").await?;
            ensure!(told == 0, "{told} policies");
            Ok(())
        })
        .await?;
        ready(lab, "pods").await?;
        let some = lab.node("node-b").capture().await?;
        lab.wait("clear packets of node-c", SOON, async || {
            ensure!(
                clear(&some.packets().await?).contains(&(pods("node-c")[0], pods("node-b")[0])),
                "none yet"
            );
            Ok(())
        })
        .await?;
        let in_the_clear = clear(&some.stop().await?);
        ensure!(
            in_the_clear
                .iter()
                .all(|(from, to)| [from, to].into_iter().any(|one| pods("node-c").contains(one)))
        );

        lab.apply(&icmp).await?;
        followed(lab, GCM, 4).await?;
        nothing_lost(traffic).await?;

        // What all of them cover was never in the clear.
        let [a, b] = ["node-a", "node-b"].map(|name| pods(name)[0]);
        let in_the_clear = clear(&wire.stop().await?);
        ensure!(!in_the_clear.contains(&(a, b)) && !in_the_clear.contains(&(b, a)), "{in_the_clear:?}");
        remove(lab, &icmp).await
    })
}
