//! What goes wrong is told, and never falls back to clear text.

use anyhow::{Result, ensure};
use esplanade_e2e::lab::{Config, Lab};

use crate::cluster::{SOON, condition, example, kubectl, secret, with_esplanade};
use crate::wire::{answers, clear_pod_packets, ping_pods};

/// The pods of node-a and node-b don't reach each other, and nothing of them is on the wire in the clear.
async fn dropped(lab: &Lab) -> Result<()> {
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    let wire = a.capture().await?;
    ensure!(!answers(a.pod(0), b.pod(0).addresses.v4.into()).await?, "an answer came");
    ensure!(!answers(b.pod(0), a.pod(0).addresses.v6.into()).await?, "an answer came");
    let packets = wire.stop().await?;
    let clear = clear_pod_packets(lab, &packets);
    ensure!(clear.is_empty(), "{clear:?}");
    Ok(())
}

/// Waits for an Event: its type, its reason, and what it is about.
pub(crate) async fn told(lab: &Lab, wanted: &str) -> Result<()> {
    let columns = "custom-columns=TYPE:.type,REASON:.reason,KIND:.regarding.kind,NAME:.regarding.name";
    lab.wait(&format!("an Event {wanted}"), SOON, async || {
        let events =
            kubectl(lab, &["get", "events.events.k8s.io", "-n", "default", "--no-headers", "-o", columns])
                .await?;
        let mut lines = events.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        ensure!(lines.any(|line| line == wanted), "{events}");
        Ok(())
    })
    .await
}

#[test]
fn an_sa_deleted_is_told_and_its_traffic_dropped() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        example(lab).await?;
        ping_pods(lab).await?;
        kubectl(lab, &["delete", "ipsecsa", "a-to-b"]).await?;
        let policy = lab.wait_condition("ipsecpolicy/pods", "ResolvedRefs", "False", SOON).await?;
        let (reason, message) = condition(&policy, "ResolvedRefs")?;
        assert_eq!(reason, "SecurityAssociationNotFound");
        assert!(message.contains("a-to-b"), "{message}");
        lab.wait("the SA to leave node-a's kernel", SOON, async || {
            let states = lab.node("node-a").xfrm().await?.states;
            ensure!(states.len() == 1, "{states:#?}");
            Ok(())
        })
        .await?;
        dropped(lab).await
    })
}

#[test]
fn a_kernel_that_refuses_is_quoted_and_other_sas_go_on() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        // Somebody else holds the name of the SA on the sender's node.
        let taken = "ip xfrm state add src 192.0.2.11 dst 192.0.2.12 proto esp spi 4097 mode transport \
                     enc cbc(aes) 0x000102030405060708090a0b0c0d0e0f auth hmac(sha256) 0x00";
        lab.node("node-a").run(taken.split_whitespace()).await?.ok()?;
        for name in ["ipsec-a-to-b", "ipsec-b-to-a"] {
            secret(lab, name, &[("encryption", 32), ("integrity", 32)]).await?;
        }
        let folder = esplanade_e2e::controlplane::binaries::workspace().join("examples/manual");
        kubectl(lab, &["apply", "-f", &folder.display().to_string()]).await?;
        lab.wait_condition("ipsecsa/b-to-a", "Programmed", "True", SOON).await?;
        let sa = lab
            .wait("the conflict to be told", SOON, async || {
                let sa = lab.get("ipsecsa/a-to-b").await?;
                let (reason, message) = condition(&sa, "Programmed")?;
                ensure!(reason == "Conflicted", "{reason}: {message}");
                Ok(sa)
            })
            .await?;
        let (_, message) = condition(&sa, "Programmed")?;
        assert!(message.contains("node-a"), "{message}");
        lab.node("node-a")
            .run("ip xfrm state delete dst 192.0.2.12 proto esp spi 4097".split(' '))
            .await?
            .ok()?;
        lab.wait_condition("ipsecpolicy/pods", "Programmed", "True", SOON).await?;
        ping_pods(lab).await
    })
}

#[test]
fn a_secret_that_is_missing_then_wrong_then_right() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        secret(lab, "ipsec-b-to-a", &[("encryption", 32), ("integrity", 32)]).await?;
        let folder = esplanade_e2e::controlplane::binaries::workspace().join("examples/manual");
        kubectl(lab, &["apply", "-f", &folder.display().to_string()]).await?;
        let reason_becomes = async |wanted: &str| {
            lab.wait(&format!("reason {wanted}"), SOON, async || {
                let (reason, message) = condition(&lab.get("ipsecsa/a-to-b").await?, "ResolvedRefs")?;
                ensure!(reason == wanted, "{reason}: {message}");
                Ok(message)
            })
            .await
        };
        let message = reason_becomes("SecretNotFound").await?;
        assert!(message.contains("ipsec-a-to-b"), "{message}");
        told(lab, "Warning SecretNotFound IpsecSA a-to-b").await?;
        lab.wait_condition("ipsecsa/b-to-a", "Programmed", "True", SOON).await?;
        dropped(lab).await?;

        secret(lab, "ipsec-a-to-b", &[("encryption", 16), ("integrity", 32)]).await?;
        let message = reason_becomes("InvalidKey").await?;
        assert!(message.contains("32 bytes") && message.contains("16"), "{message}");

        secret(lab, "ipsec-a-to-b", &[("encryption", 32), ("integrity", 32)]).await?;
        lab.wait_condition("ipsecpolicy/pods", "Programmed", "True", SOON).await?;
        ping_pods(lab).await?;
        told(lab, "Warning InvalidKey IpsecSA a-to-b").await?;
        told(lab, "Normal Encrypted IpsecPolicy pods").await?;

        // A new key under the same name: both ends change over.
        let before = lab.get("ipsecnodestate/node-a").await?.metadata.generation;
        secret(lab, "ipsec-a-to-b", &[("encryption", 32), ("integrity", 32)]).await?;
        lab.wait("a new generation", SOON, async || {
            ensure!(lab.get("ipsecnodestate/node-a").await?.metadata.generation > before, "the old one");
            Ok(())
        })
        .await?;
        lab.wait_condition("ipsecpolicy/pods", "Programmed", "True", SOON).await?;
        ping_pods(lab).await
    })
}

#[test]
fn traffic_goes_on_without_the_operator_and_the_agents() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        example(lab).await?;
        lab.stop_operator()?;
        for node in lab.nodes() {
            lab.stop_agent(&node.name).await?;
        }
        let wire = lab.node("node-b").capture().await?;
        ping_pods(lab).await?;
        let packets = wire.stop().await?;
        assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
        // What was deleted meanwhile is taken away when they are back.
        crate::cluster::remove_example(lab).await?;
        lab.start_operator()?;
        for node in lab.nodes() {
            lab.start_agent(&node.name).await?;
        }
        lab.wait("empty kernels", SOON, async || {
            for node in lab.nodes() {
                let xfrm = node.xfrm().await?;
                ensure!(xfrm.states.is_empty() && xfrm.policies.is_empty(), "{xfrm:#?}");
            }
            Ok(())
        })
        .await?;
        ping_pods(lab).await
    })
}
