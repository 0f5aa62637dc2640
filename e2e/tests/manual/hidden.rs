//! Keys that the kernel shows to nobody (`lockdown=confidentiality`), and the same where it shows them.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use esplanade_e2e::lab::{Config, Lab, Node};

use crate::cluster::{SOON, in_sync_again, pair, secret, with_esplanade};
use crate::wire::{answers, clear_pod_packets, ping_pods, sequence};

const AB: u32 = 0xb_0001;
const BA: u32 = 0xb_0002;
const SECRET: [(&str, usize); 2] = [("encryption", 32), ("integrity", 32)];

fn manifests() -> String {
    format!(
        "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: hidden}}\nspec:\n  \
         from: [{{podCIDRs: {{}}}}]\n  protection:\n    \
         keying: {{manual: {{securityAssociations: [hidden-ab, hidden-ba]}}}}\n{}",
        pair("hidden", [AB, BA], "antiReplay: {window: 64}")
    )
}

/// Whether the node's kernel was told to hide keys.
async fn hides(node: &Node) -> Result<bool> {
    Ok(node.run(["cat", "/proc/cmdline"]).await?.ok()?.contains("lockdown=confidentiality"))
}

/// Whether each key of the node's SAs is zeroes, as anybody sees them.
async fn zeroes(node: &Node) -> Result<Vec<bool>> {
    let states = node.run(["ip", "xfrm", "state"]).await?.ok()?;
    let keys = states
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("enc ") || line.starts_with("auth-trunc "));
    let digits = keys.map(|line| line.split(' ').find_map(|word| word.strip_prefix("0x")).context("a key"));
    digits.map(|digits| Ok(digits?.bytes().all(|digit| digit == b'0'))).collect()
}

/// All of it is in the kernels.
async fn programmed(lab: &Lab) -> Result<()> {
    for what in ["ipsecsa/hidden-ab", "ipsecsa/hidden-ba", "ipsecpolicy/hidden"] {
        lab.wait_condition(what, "Programmed", "True", SOON).await?;
    }
    Ok(())
}

/// Starts the node's agent anew, which finds all of it as it should be.
async fn starts_again(lab: &Lab, node: &str) -> Result<()> {
    lab.stop_agent(node).await?;
    lab.start_agent(node).await?;
    let log = in_sync_again(lab, node).await?;
    ensure!(!log.contains("kernel changed"), "{log}");
    Ok(())
}

#[test]
fn a_changed_key_is_noticed_also_where_the_kernel_hides_it() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        let ends: [IpAddr; 2] = [a.addresses.v4.into(), b.addresses.v4.into()];
        secret(lab, "keys", &SECRET).await?;
        lab.apply(&manifests()).await?;
        programmed(lab).await?;
        let hidden = hides(a).await?;
        for node in [a, b] {
            assert_eq!(zeroes(node).await?, [hidden; 4], "{}", node.name);
        }
        let wire = a.capture().await?;
        ping_pods(lab).await?;

        // A new agent knows that these are the keys: no SA begins anew, nor leaves numbers out.
        for node in [a, b] {
            starts_again(lab, &node.name).await?;
        }
        ping_pods(lab).await?;
        let packets = wire.packets().await?;
        let [there, back] = ends;
        let first: Vec<u32> = (1..=24).collect();
        assert_eq!(sequence(&packets, there, back, AB), first);
        assert_eq!(sequence(&packets, back, there, BA), first);

        // Somebody takes an SA away: it is back, with its key.
        b.run(["ip", "xfrm", "state", "flush"]).await?.ok()?;
        lab.wait("SAs that are back", SOON, async || {
            ensure!(zeroes(b).await?.len() == 4, "{:#?}", b.xfrm().await?.states);
            Ok(())
        })
        .await?;
        ping_pods(lab).await?;

        // Other keys, while nobody looks after node-a.
        lab.stop_agent("node-a").await?;
        secret(lab, "keys", &SECRET).await?;
        lab.wait("node-b to have another key than node-a", SOON, async || {
            ensure!(!answers(b.pod(0), a.pod(0).addresses.v4.into()).await?, "it has the same");
            Ok(())
        })
        .await?;
        lab.start_agent("node-a").await?;
        lab.wait("node-a to have it as well", SOON, async || {
            ensure!(answers(b.pod(0), a.pod(0).addresses.v4.into()).await?, "it hasn't");
            Ok(())
        })
        .await?;
        programmed(lab).await?;
        ping_pods(lab).await?;
        for node in [a, b] {
            assert_eq!(zeroes(node).await?, [hidden; 4], "{}", node.name);
        }
        assert_eq!(clear_pod_packets(lab, &wire.stop().await?), [] as [&_; 0]);
        Ok(())
    })
}
