//! SAs that wear out.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use esplanade_e2e::lab::Lab;
use kube::api::DynamicObject;

use crate::cluster::{SOON, condition, kubectl, remove, secret};
use crate::wire::{answers, clear_pod_packets, ping, sequence};

const AB: u32 = 0x4_0001;
const BA: u32 = 0x4_0002;

fn manifests() -> String {
    let sa = |name: &str, source: &str, destination: &str, spi: u32, lifetime: &str| {
        format!(
            "---\napiVersion: esplanade.dev/v1alpha1\nkind: IpsecSA\nmetadata: {{name: {name}}}\nspec:\n  \
             source: {{node: {source}}}\n  destination: {{node: {destination}}}\n  spi: {spi}\n  \
             lifetime: {lifetime}\n  \
             encryption: {{algorithm: AES-CBC-256, keySecretRef: {{name: {name}, key: encryption}}}}\n  \
             integrity: {{algorithm: HMAC-SHA2-256-128, keySecretRef: {{name: {name}, key: integrity}}}}\n"
        )
    };
    [
        "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {name: lifetimes}\nspec:\n  \
         from: [{podCIDRs: {}}]\n  protection:\n    \
         keying: {manual: {securityAssociations: [life-ab, life-ba]}}\n"
            .to_owned(),
        sa("life-ab", "node-a", "node-b", AB, "{soft: {packets: 2}, hard: {packets: 6}}"),
        sa("life-ba", "node-b", "node-a", BA, "{hard: {time: 24h}}"),
    ]
    .concat()
}

/// The reason of condition Expired becomes this one; returns its message.
async fn expired_becomes(lab: &Lab, status: &str, reason: &str) -> Result<String> {
    let sa: DynamicObject = lab
        .wait(&format!("Expired={status} {reason}"), SOON, async || {
            let sa = lab.get("ipsecsa/life-ab").await?;
            let (now, message) = condition(&sa, "Expired")?;
            ensure!(now == reason, "{now}: {message}");
            Ok(sa)
        })
        .await?;
    Ok(condition(&sa, "Expired")?.1)
}

/// The counters and limits of an SA, as `ip -s xfrm state` prints them.
async fn state(lab: &Lab, node: &str, spi: u32) -> Result<String> {
    let list = ["ip", "-s", "xfrm", "state", "list", "proto", "esp", "spi", &spi.to_string()];
    lab.node(node).run(list).await?.ok()
}

pub(crate) async fn check(lab: &Lab) -> Result<()> {
    for name in ["life-ab", "life-ba"] {
        secret(lab, name, &[("encryption", 32), ("integrity", 32)]).await?;
    }
    lab.apply(&manifests()).await?;
    lab.wait_condition("ipsecpolicy/lifetimes", "Programmed", "True", SOON).await?;
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    let to: IpAddr = b.pod(0).addresses.v4.into();
    expired_becomes(lab, "False", "InUse").await?;

    // Three packets: the last one finds the soft limit reached. Both nodes count them, and either may be the first to say so.
    ping(a.pod(0), to).await?;
    lab.wait("the sender to say that it is worn", SOON, async || {
        let (reason, message) = condition(&lab.get("ipsecsa/life-ab").await?, "Expired")?;
        let said = message.contains("node-a: ") && message.contains("2 packets");
        ensure!(reason == "Expiring" && said, "{reason}: {message}");
        Ok(())
    })
    .await?;
    lab.wait_condition("ipsecsa/life-ab", "Programmed", "True", SOON).await?;

    // A change of the limit leaves the SA what it is.
    let patch = r#"{"spec": {"lifetime": {"soft": {"packets": 5}, "hard": {"packets": 8}}}}"#;
    kubectl(lab, &["patch", "ipsecsa", "life-ab", "--type=merge", "-p", patch]).await?;
    expired_becomes(lab, "False", "InUse").await?;
    let shown = state(lab, "node-a", AB).await?;
    assert!(shown.contains("hard 8(packets)") && shown.contains("3(packets)"), "{shown}");

    // Neither does somebody who flushes the kernel.
    a.run(["ip", "xfrm", "state", "flush"]).await?.ok()?;
    lab.wait("the SAs to be back", SOON, async || {
        let shown = state(lab, "node-a", AB).await?;
        ensure!(shown.contains("hard 8(packets)") && shown.contains("3(packets)"), "{shown}");
        Ok(())
    })
    .await?;
    ping(a.pod(0), to).await?;

    // Two more, and it is over.
    let wire = a.capture().await?;
    answers(a.pod(0), to).await?;
    answers(a.pod(0), to).await?;
    answers(a.pod(0), to).await?;
    let message = expired_becomes(lab, "True", "Expired").await?;
    assert!(message.contains("node-a: ") && message.contains("8 packets"), "{message}");
    assert!(message.contains("Write a new key"), "{message}");
    over(lab).await?;
    ensure!(!answers(a.pod(0), to).await?, "an answer came");
    ensure!(!answers(b.pod(0), a.pod(0).addresses.v4.into()).await?, "an answer came");
    let packets = wire.stop().await?;
    assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
    let (address_a, address_b) = (a.addresses.v4.into(), b.addresses.v4.into());
    assert_eq!(sequence(&packets, address_a, address_b, AB).len(), 2);
    // The other direction goes on: two answers, and the question of the last ping.
    assert_eq!(sequence(&packets, address_b, address_a, BA).len(), 3);

    // Whatever happens to the agent or the kernel.
    lab.stop_agent("node-a").await?;
    let said = lab.agent("node-a")?.log().len();
    lab.start_agent("node-a").await?;
    // What is flushed before it looks would count as worn out.
    lab.wait("the agent to have looked", SOON, async || {
        ensure!(lab.agent("node-a")?.log()[said..].contains("in sync"), "not yet");
        Ok(())
    })
    .await?;
    a.run(["ip", "xfrm", "state", "flush"]).await?.ok()?;
    lab.wait("the other SA to be back", SOON, async || {
        ensure!(!state(lab, "node-a", BA).await?.is_empty(), "it isn't");
        Ok(())
    })
    .await?;
    over(lab).await?;

    secret(lab, "life-ab", &[("encryption", 32), ("integrity", 32)]).await?;
    expired_becomes(lab, "False", "InUse").await?;
    lab.wait_condition("ipsecpolicy/lifetimes", "Programmed", "True", SOON).await?;
    ping(a.pod(0), to).await?;
    remove(lab, &manifests()).await
}

/// The SA is in no kernel, and the objects say so.
async fn over(lab: &Lab) -> Result<()> {
    lab.wait("the SA to leave both kernels", SOON, async || {
        for node in ["node-a", "node-b"] {
            let shown = state(lab, node, AB).await?;
            ensure!(shown.is_empty(), "{node}: {shown}");
        }
        let (reason, message) = condition(&lab.get("ipsecpolicy/lifetimes").await?, "Programmed")?;
        ensure!(reason == "Expired", "{reason}: {message}");
        let (reason, message) = condition(&lab.get("ipsecsa/life-ba").await?, "Programmed")?;
        ensure!(reason == "Programmed", "{reason}: {message}");
        Ok(())
    })
    .await
}
