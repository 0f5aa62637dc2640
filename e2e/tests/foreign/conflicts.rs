//! Others' policies with our selectors: told, and not fought over.

use anyhow::{Result, ensure};
use esplanade_e2e::lab::Config;

use crate::cluster::{SOON, condition, example, secret, with_esplanade};
use crate::strongswan;
use crate::theirs::theirs;
use crate::wire::{answers, clear_pod_packets, ping_pods};

#[test]
fn what_strongswan_takes_over_is_told_and_left_alone() -> Result<()> {
    let packages = strongswan::packages()?;
    with_esplanade(Config::default(), async |lab| {
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        example(lab).await?;
        ping_pods(lab).await?;
        let whole = a.xfrm().await?;

        // strongSwan changes a policy that is there already: ours becomes its own.
        let daemon = strongswan::start(lab, &packages, a, b).await?;
        daemon.run(a, &["swanctl", "--install", "--child", "pods"]).await?.ok()?;
        let message = lab
            .wait("the conflict to be told", SOON, async || {
                let policy = lab.get("ipsecpolicy/pods").await?;
                let (reason, message) = condition(&policy, "Programmed")?;
                ensure!(reason == "Conflicted", "{reason}: {message}");
                Ok(message)
            })
            .await?;
        assert!(message.contains("node-a") && message.contains("10.244.1.0/24"), "{message}");
        let taken = theirs(a).await?;
        assert!(taken.iter().any(|entry| entry.contains("10.244.1.0/24")), "{taken:#?}");

        // Ours go on changing around it.
        let before = a.xfrm().await?.states;
        secret(lab, "ipsec-a-to-b", &[("encryption", 32), ("integrity", 32)]).await?;
        lab.wait("new keys in the kernel", SOON, async || {
            ensure!(a.xfrm().await?.states != before, "the old ones");
            Ok(())
        })
        .await?;
        assert_eq!(theirs(a).await?, taken);

        // strongSwan has no SA for it: nothing passes, nothing is in the clear.
        let wire = a.capture().await?;
        assert!(!answers(a.pod(0), b.pod(0).addresses.v4.into()).await?);
        let packets = wire.stop().await?;
        assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
        assert_eq!(theirs(a).await?.iter().filter(|entry| taken.contains(entry)).count(), taken.len());

        daemon.run(a, &["swanctl", "--uninstall", "--child", "pods"]).await?.ok()?;
        daemon.stop().await?;
        lab.wait_condition("ipsecpolicy/pods", "Programmed", "True", SOON).await?;
        lab.wait("our policies to be back", SOON, async || {
            let now = a.xfrm().await?.policies;
            ensure!(now == whole.policies, "{now:#?}\ninstead of\n{:#?}", whole.policies);
            Ok(())
        })
        .await?;
        ping_pods(lab).await
    })
}
