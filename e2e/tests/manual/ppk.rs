//! A post-quantum preshared key, mixed into automatic keys.

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use esplanade_e2e::lab::{Config, Lab, NAMESPACE};

use crate::automatic::{all_keys, esp, kill_agent, nothing_lost, ready, rotate, rotated, spis, traffic};
use crate::cluster::{SOON, condition, kubectl, remove, with_esplanade};
use crate::wire::clear_pod_packets;

const POLICY: &str = "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata:\n  name: pods\nspec:\n  \
                      from: [{podCIDRs: {}}]\n  protection:\n    \
                      keying: {automatic: {ppkSecretRef: {name: quantum, key: ppk}}}\n";

/// Makes or replaces the Secret `quantum`, with this under this key.
async fn secret(lab: &Lab, key: &str, bytes: &[u8]) -> Result<()> {
    lab.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: quantum, namespace: {NAMESPACE}}}\ndata: {{{key}: {}}}\n",
        STANDARD.encode(bytes)
    ))
    .await
}

/// Waits until the policy says so of its PPK.
async fn unresolved(lab: &Lab, wanted: &str) -> Result<()> {
    lab.wait("what is wrong with the PPK", SOON, async || {
        let (reason, message) = condition(&lab.get("ipsecpolicy/pods").await?, "ResolvedRefs")?;
        ensure!(format!("{reason}: {message}").contains(wanted), "{reason}: {message}");
        Ok(())
    })
    .await
}

/// Nothing that can be read has the PPK in it, in whatever form.
async fn nowhere(lab: &Lab, ppk: &[u8]) -> Result<()> {
    let mut texts = vec![kubectl(lab, &["get", "esplanade,events", "-A", "-o", "yaml"]).await?];
    for node in lab.nodes() {
        texts.push(lab.agent(&node.name)?.log());
    }
    texts.push(lab.operator_log());
    let hex: String = ppk.iter().map(|byte| format!("{byte:02x}")).collect();
    let listed = format!("{ppk:?}");
    for written in [STANDARD.encode(ppk), hex, listed.trim_matches(['[', ']']).to_owned()] {
        for text in &texts {
            ensure!(!text.is_empty() && !text.contains(&written), "the PPK as {written} in {text}");
        }
    }
    Ok(())
}

#[test]
fn a_ppk_is_mixed_in_and_without_it_nothing_is_switched_on() -> Result<()> {
    with_esplanade(Config { nodes: 3, ..Config::default() }, async |lab| {
        let traffic = traffic(lab).await?;
        lab.apply(POLICY).await?;
        unresolved(lab, "SecretNotFound: there is no Secret quantum in namespace").await?;
        let ppk: Vec<u8> = std::iter::repeat_with(rand::random::<u8>).take(32).collect();
        secret(lab, "pkp", &ppk).await?;
        unresolved(lab, "SecretNotFound: Secret quantum in namespace esplanade-system has no key ppk")
            .await?;
        secret(lab, "ppk", &ppk[1..]).await?;
        unresolved(lab, "InvalidKey: Secret quantum in namespace esplanade-system, key ppk: a post-quantum")
            .await?;
        for node in lab.nodes() {
            let xfrm = node.xfrm().await?;
            ensure!(xfrm.states.is_empty() && xfrm.policies.is_empty(), "{}: {xfrm:#?}", node.name);
        }

        // The operator sees the Secret change.
        secret(lab, "ppk", &ppk).await?;
        ready(lab, "pods").await?;
        let wire = lab.node("node-b").capture().await?;
        let (before, at_a) = (all_keys(lab).await?, spis(lab, "node-a").await?);
        kill_agent(lab, "node-a").await?;
        lab.stop_operator()?;
        lab.start_operator()?;
        ready(lab, "pods").await?;
        assert_eq!((spis(lab, "node-a").await?, all_keys(lab).await?), (at_a, before.clone()));
        rotate(lab).await?;
        rotated(lab, &before, 2).await?;

        // Another one is an edit, and followed with the nodes' own keys as they are.
        let (keys, before) = (all_keys(lab).await?, spis(lab, "node-a").await?);
        let another: Vec<u8> = std::iter::repeat_with(rand::random::<u8>).take(48).collect();
        secret(lab, "ppk", &another).await?;
        lab.wait("SAs with the other PPK", SOON, async || {
            let now = spis(lab, "node-a").await?;
            ensure!(now.len() == before.len() && now.is_disjoint(&before), "{now:?} after {before:?}");
            Ok(())
        })
        .await?;
        ready(lab, "pods").await?;
        assert_eq!(all_keys(lab).await?, keys);

        // What is in force stays without the Secret.
        kubectl(lab, &["-n", NAMESPACE, "delete", "secret", "quantum"]).await?;
        unresolved(lab, "until then the nodes keep the policy as it was before, with the PPK").await?;
        let before = all_keys(lab).await?;
        rotate(lab).await?;
        rotated(lab, &before, 2).await?;
        nowhere(lab, &ppk).await?;
        nowhere(lab, &another).await?;

        let packets = wire.stop().await?;
        assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
        ensure!(esp(&packets) > 100, "hardly anything was sent: {}", esp(&packets));
        nothing_lost(traffic).await?;
        remove(lab, POLICY).await
    })
}
