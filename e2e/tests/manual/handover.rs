//! Another SPI while packets are under way.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use esplanade_e2e::lab::Lab;
use nix::sys::signal::Signal;

use crate::automatic::all_answered;
use crate::cluster::{SOON, kubectl, remove, secret};
use crate::wire::{clear_pod_packets, sequence};

const OLD: [u32; 2] = [0x5_0001, 0x5_0002];
const NEW: [u32; 2] = [0x5_1001, 0x5_1002];
/// What was sent under an old SPI has this long to arrive.
const DRAIN: Duration = Duration::from_secs(10);

fn manifests() -> String {
    let sa = |name: &str, source: &str, destination: &str, spi: u32| {
        format!(
            "---\napiVersion: esplanade.dev/v1alpha1\nkind: IpsecSA\nmetadata: {{name: {name}}}\nspec:\n  \
             source: {{node: {source}}}\n  destination: {{node: {destination}}}\n  spi: {spi}\n  \
             antiReplay: {{window: 64}}\n  \
             encryption: {{algorithm: AES-CBC-256, keySecretRef: {{name: {name}, key: encryption}}}}\n  \
             integrity: {{algorithm: HMAC-SHA2-256-128, keySecretRef: {{name: {name}, key: integrity}}}}\n"
        )
    };
    [
        "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {name: handover}\nspec:\n  \
         from: [{podCIDRs: {}}]\n  protection:\n    \
         keying: {manual: {securityAssociations: [over-ab, over-ba]}}\n"
            .to_owned(),
        sa("over-ab", "node-a", "node-b", OLD[0]),
        sa("over-ba", "node-b", "node-a", OLD[1]),
    ]
    .concat()
}

/// The SPIs in a node's kernel, in order.
async fn spis(lab: &Lab, node: &str) -> Result<Vec<u32>> {
    let states = lab.node(node).xfrm().await?.states;
    let spi = |state: &String| {
        let (_, rest) = state.split_once(" spi 0x")?;
        u32::from_str_radix(rest.split_whitespace().next()?, 16).ok()
    };
    let mut spis: Vec<u32> = states.iter().filter_map(spi).collect();
    spis.sort_unstable();
    Ok(spis)
}

/// Both SAs get new SPIs, and one of them new keys, between packets that all arrive.
pub(crate) async fn check(lab: &Lab) -> Result<()> {
    for name in ["over-ab", "over-ba", "over-next"] {
        secret(lab, name, &[("encryption", 32), ("integrity", 32)]).await?;
    }
    lab.apply(&manifests()).await?;
    lab.wait_condition("ipsecpolicy/handover", "Programmed", "True", SOON).await?;
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    let to: IpAddr = b.pod(0).addresses.v4.into();
    let wire = a.capture().await?;
    // A question every 5 ms, and its answer, each with a number.
    let ping = ["ping", "-i", "0.005", "-W", "5", &to.to_string()].map(str::to_owned);
    let pings = a.pod(0).spawn("pings", ping.iter().map(String::as_str)).await?;
    lab.wait("the first answers", SOON, async || {
        ensure!(pings.log().contains("icmp_seq=20 "), "not yet");
        Ok(())
    })
    .await?;

    let keys = |use_: &str| format!(r#""keySecretRef": {{"name": "over-next", "key": "{use_}"}}"#);
    let patches = [
        format!(r#"{{"spec": {{"spi": {}}}}}"#, NEW[0]),
        format!(
            r#"{{"spec": {{"spi": {}, "encryption": {{{}}}, "integrity": {{{}}}}}}}"#,
            NEW[1],
            keys("encryption"),
            keys("integrity")
        ),
    ];
    for (name, patch) in ["over-ab", "over-ba"].into_iter().zip(&patches) {
        kubectl(lab, &["patch", "ipsecsa", name, "--type=merge", "-p", patch]).await?;
    }
    lab.wait("both senders to have gone over", SOON, async || {
        let (at_a, at_b) = (spis(lab, "node-a").await?, spis(lab, "node-b").await?);
        // Each receiver still takes what comes under the old one.
        ensure!(at_a == [OLD[1], NEW[0], NEW[1]] && at_b == [OLD[0], NEW[0], NEW[1]], "{at_a:x?} {at_b:x?}");
        Ok(())
    })
    .await?;
    lab.wait_condition("ipsecpolicy/handover", "Programmed", "True", SOON).await?;
    lab.wait("the old ones to go", SOON + DRAIN, async || {
        let (at_a, at_b) = (spis(lab, "node-a").await?, spis(lab, "node-b").await?);
        ensure!(at_a == NEW && at_b == NEW, "{at_a:x?} {at_b:x?}");
        Ok(())
    })
    .await?;
    // As with ^C: it sums up.
    pings.signal(Signal::SIGINT).await?;
    pings.wait().await?;
    let (sent, answered) = all_answered(&pings.log())?;

    let packets = wire.stop().await?;
    assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
    let ends: [IpAddr; 2] = [a.addresses.v4.into(), b.addresses.v4.into()];
    for (at, (from, to)) in [(ends[0], ends[1]), (ends[1], ends[0])].into_iter().enumerate() {
        let (before, after) = (sequence(&packets, from, to, OLD[at]), sequence(&packets, from, to, NEW[at]));
        assert!((answered..=sent as usize).contains(&(before.len() + after.len())), "{at}");
        assert!(!after.is_empty() && before.is_sorted_by(|x, y| x < y), "{at}");
        // The same key goes on past the number that it had; a new one starts from 1.
        let first = after.first().copied();
        assert_eq!(first == Some(1), at == 1, "{at}: {first:?} after {:?}", before.last());
        assert!(first > before.last().copied() || at == 1, "{at}: {first:?} after {:?}", before.last());
    }
    remove(lab, &manifests()).await
}
