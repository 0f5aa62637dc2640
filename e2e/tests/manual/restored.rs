//! etcd is restored from a backup, as docs/keying.md says. What the nodes have in force stays so, and all is as it should be
//! in the end.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use esplanade_e2e::lab::traffic::{Direction, Traffic};
use esplanade_e2e::lab::{Config, Lab};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use crate::automatic::{POLICY, all_keys, ready, rotate};
use crate::cluster::{SOON, kubectl, remove, with_esplanade};
use crate::edits::{CBC, GCM, followed};
use crate::scenarios::{Wires, at_rest, between_all, nothing_lost, scenario};

/// As users are told.
const DOCS: &str = include_str!("../../../docs/keying.md");
/// What no resourceVersion of a lab comes near to by itself.
const BUMP: u64 = 1_000_000_000;
/// What a cluster without Esplanade writes between a backup and what is then restored.
const WRITES: usize = 500;

/// The flags that the documentation has for a restore.
fn documented() -> Result<Vec<&'static str>> {
    let (_, command) = DOCS.split_once("`etcdutl snapshot restore ").context("the command")?;
    Ok(command.split_once('`').context("its end")?.0.split(' ').collect())
}

/// The resourceVersion that the API server is at.
async fn version(lab: &Lab) -> Result<u64> {
    let api: Api<ConfigMap> = Api::all(lab.client());
    let list = api.list_metadata(&ListParams::default().limit(1)).await?;
    list.metadata.resource_version.context("no resourceVersion")?.parse().context("not a number")
}

/// What a backup gives back: nobody writes meanwhile, and all of the control plane begins anew.
async fn restore(lab: &Lab, snapshot: &Path, flags: &[&str]) -> Result<()> {
    let (plane, before) = (lab.control_plane(), version(lab).await?);
    plane.stop();
    plane.restore(snapshot, flags).await?;
    plane.start_again().await?;
    let now = version(lab).await?;
    let bumped = flags.iter().any(|flag| flag.starts_with("--bump-revision"));
    let as_told = if bumped { now > BUMP && now > before } else { now < before };
    ensure!(as_told, "at {now} after {before}, restored with {flags:?}");
    Ok(())
}

/// Each node has one key, other ones than before.
async fn renewed(lab: &Lab, before: &[Vec<String>]) -> Result<Vec<Vec<String>>> {
    lab.wait("other keys", SOON, async || {
        let now = all_keys(lab).await?;
        let all = now.iter().zip(before).all(|(now, before)| now.len() == 1 && now != before);
        ensure!(all, "{now:?} after {before:?}");
        Ok(())
    })
    .await?;
    at_rest(lab).await
}

/// Ends the traffic; all that was lost of it is datagrams, and those are told.
#[allow(clippy::print_stderr)] // what docs/keying.md says of it
async fn lost(lab: &Lab, traffic: Traffic, what: &str) -> Result<()> {
    let directions = traffic.stop(lab).await?;
    let lost: Vec<u64> = directions.iter().map(Direction::lost).collect();
    eprintln!("{what}: datagrams lost, one is sent every 20 ms, in each direction: {lost:?}");
    directions.iter().try_for_each(Direction::stream_is_whole)
}

/// Operator and agents go on from what is there: with other keys, and without a loss.
async fn goes_on(lab: &Lab) -> Result<()> {
    let before = at_rest(lab).await?;
    let traffic = between_all(lab).await?;
    rotate(lab).await?;
    renewed(lab, &before).await?;
    ready(lab, "pods").await?;
    nothing_lost(&traffic.stop(lab).await?)
}

#[test]
fn what_has_not_changed_since_loses_nothing() -> Result<()> {
    scenario(async |lab, _| {
        let before = at_rest(lab).await?;
        let wires = Wires::capture(lab, lab.nodes()).await?;
        let traffic = between_all(lab).await?;
        let snapshot = lab.control_plane().save_snapshot().await?;
        let restored = async || {
            restore(lab, &snapshot, &documented()?).await?;
            ensure!(at_rest(lab).await? == before, "other keys");
            goes_on(lab).await
        };
        let ((), ended) = lab.restarting(restored).await?;
        // An operator that can't renew its Lease for as long as the API server was away ends.
        ensure!(ended.iter().all(|one| one == "operator"), "{ended:?}");
        nothing_lost(&traffic.stop(lab).await?)?;
        wires.are_clean().await.map(drop)
    })
}

#[test]
fn keys_that_are_older_are_replaced_and_nothing_is_in_the_clear() -> Result<()> {
    scenario(async |lab, _| {
        let first = at_rest(lab).await?;
        let wires = Wires::capture(lab, lab.nodes()).await?;
        let traffic = between_all(lab).await?;
        let snapshot = lab.control_plane().save_snapshot().await?;
        rotate(lab).await?;
        renewed(lab, &first).await?;
        let restored = async || {
            restore(lab, &snapshot, &documented()?).await?;
            renewed(lab, &first).await?;
            lost(lab, traffic, "keys were rotated").await?;
            goes_on(lab).await
        };
        let ((), ended) = lab.restarting(restored).await?;
        ensure!(ended.iter().all(|one| one == "operator"), "{ended:?}");
        wires.are_clean().await.map(drop)
    })
}

#[test]
fn without_the_flags_agents_begin_anew() -> Result<()> {
    scenario(async |lab, _| {
        let first = at_rest(lab).await?;
        let wires = Wires::capture(lab, lab.nodes()).await?;
        let traffic = between_all(lab).await?;
        let snapshot = lab.control_plane().save_snapshot().await?;
        let others: Api<ConfigMap> = Api::namespaced(lab.client(), "default");
        for number in 0..WRITES {
            let patch = Patch::Apply(json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "others"},
                "data": {"number": number.to_string()},
            }));
            others.patch("others", &PatchParams::apply("others"), &patch).await?;
        }
        rotate(lab).await?;
        renewed(lab, &first).await?;
        let restored = async || {
            restore(lab, &snapshot, &[]).await?;
            renewed(lab, &first).await?;
            lost(lab, traffic, "without the flags").await?;
            goes_on(lab).await
        };
        let ((), mut ended) = lab.restarting(restored).await?;
        ended.retain(|one| one != "operator");
        ended.sort();
        ensure!(ended == ["node-a", "node-b", "node-c"], "{ended:?}");
        for node in lab.nodes() {
            let log = lab.agent(&node.name)?.log();
            ensure!(log.contains("etcd was restored from a backup"), "{}: {log}", node.name);
        }
        wires.are_clean().await.map(drop)
    })
}

/// The policy is told as one that is kept, everywhere or nowhere.
async fn kept(lab: &Lab, everywhere: bool) -> Result<()> {
    lab.wait("what is kept to be told", SOON, async || {
        for node in lab.nodes() {
            let state = lab.get(&format!("ipsecnodestate/{}", node.name)).await?;
            let problems = state.data["status"]["problems"].as_array().cloned().unwrap_or_default();
            let told = problems.iter().any(|problem| problem["category"] == "Kept");
            ensure!(told == everywhere, "{}: {problems:?}", node.name);
        }
        Ok(())
    })
    .await
}

#[test]
fn a_policy_made_since_is_kept_until_it_is_applied_again() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        let snapshot = lab.control_plane().save_snapshot().await?;
        lab.apply(POLICY).await?;
        ready(lab, "pods").await?;
        at_rest(lab).await?;
        let wires = Wires::capture(lab, lab.nodes()).await?;
        let traffic = between_all(lab).await?;
        let restored = async || {
            restore(lab, &snapshot, &documented()?).await?;
            kept(lab, true).await?;
            ensure!(!kubectl(lab, &["get", "ipsecpolicies"]).await?.contains("pods"), "it is there");
            lost(lab, traffic, "a policy is kept").await?;
            let traffic = between_all(lab).await?;
            lab.apply(POLICY).await?;
            ready(lab, "pods").await?;
            kept(lab, false).await?;
            at_rest(lab).await?;
            lost(lab, traffic, "applied again").await?;
            goes_on(lab).await
        };
        lab.restarting(restored).await?;
        wires.are_clean().await?;
        remove(lab, POLICY).await
    })
}

#[test]
fn an_edit_is_undone_and_a_deleted_policy_is_back() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        lab.apply(POLICY).await?;
        ready(lab, "pods").await?;
        at_rest(lab).await?;
        let wires = Wires::capture(lab, lab.nodes()).await?;
        let traffic = between_all(lab).await?;
        followed(lab, GCM, 2).await?;
        let snapshot = lab.control_plane().save_snapshot().await?;
        lab.apply(&format!("{POLICY}  protection: {{suite: AES-CBC-256-HMAC-SHA2-256-128}}\n")).await?;
        followed(lab, CBC, 2).await?;
        let restored = async || {
            restore(lab, &snapshot, &documented()?).await?;
            followed(lab, GCM, 2).await?;
            lost(lab, traffic, "an edit was undone").await?;
            goes_on(lab).await
        };
        lab.restarting(restored).await?;
        wires.are_clean().await?;

        let snapshot = lab.control_plane().save_snapshot().await?;
        remove(lab, POLICY).await?;
        let restored = async || {
            restore(lab, &snapshot, &documented()?).await?;
            followed(lab, GCM, 2).await?;
            let wires = Wires::capture(lab, lab.nodes()).await?;
            goes_on(lab).await?;
            wires.are_clean().await.map(drop)
        };
        lab.restarting(restored).await.map(drop)
    })
}
