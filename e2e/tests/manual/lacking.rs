//! A kernel without an algorithm: what wants it says so, and all else goes on.

use anyhow::{Result, ensure};
use esplanade_e2e::lab::{self, Config, Lab};

use crate::cluster::{SOON, condition, kernel_has, pair, secret};
use crate::wire::{answers, clear_echoes, ping_pods};

const LACKING: &str = "CHACHA20-POLY1305";

/// Pods with what the kernel has, pings between nodes with what it lacks, and the same with automatic keys.
fn manifests() -> String {
    let policy = |name: &str, rest: &str| {
        format!(
            "---\napiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: {name}}}\nspec:\n  {rest}\n"
        )
    };
    let sas = |name: &str| format!("keying: {{manual: {{securityAssociations: [{name}-ab, {name}-ba]}}}}");
    let chacha = pair("lacking", [0xd_0003, 0xd_0004], "ipFamily: IPv4\n  allowInsecureManualAead: true");
    let cbc = "  encryption: {algorithm: AES-CBC-256, keySecretRef: {name: keys, key: encryption}}\n  \
               integrity: {algorithm: HMAC-SHA2-256-128, keySecretRef: {name: keys, key: integrity}}\n";
    let other =
        format!("  encryption: {{algorithm: {LACKING}, keySecretRef: {{name: keys, key: chacha}}}}\n");
    let without = chacha.replace(cbc, &other);
    assert_ne!(without, chacha);
    [
        policy("there", &format!("from: [{{podCIDRs: {{}}}}]\n  protection: {{{}}}", sas("there"))),
        policy(
            "lacking",
            &format!("from: [{{nodes: {{}}}}]\n  traffic: [{{protocol: ICMP}}]\n  protection: {{{}}}", sas("lacking")),
        ),
        policy(
            "automatic",
            &format!("from: [{{podCIDRs: {{}}}}]\n  priority: 400\n  traffic: [{{protocol: SCTP}}]\n  protection: {{suite: {LACKING}}}"),
        ),
        pair("there", [0xd_0001, 0xd_0002], "ipFamily: IPv4"),
        without,
    ]
    .concat()
}

async fn unsupported(lab: &Lab, what: &str) -> Result<()> {
    lab.wait(&format!("{what} to tell what its kernel lacks"), SOON, async || {
        let (reason, message) = condition(&lab.get(what).await?, "Programmed")?;
        ensure!(reason == "UnsupportedByKernel", "{reason}: {message}");
        for words in ["node-a", &format!(" has no {LACKING}: write AES-"), "restart its agent"] {
            ensure!(message.contains(words), "no {words:?} in: {message}");
        }
        Ok(())
    })
    .await
}

#[test]
fn an_algorithm_that_the_kernel_lacks_is_told_and_all_else_goes_on() -> Result<()> {
    lab::run_on_its_own_kernel(Config::default(), async |lab| {
        // Nobody loads it again: the kernel has a script of the lab's run for that.
        let without = r#"
rmmod chacha20poly1305
sed -i '2i case "$*" in *rfc7539*) exit 1;; esac' "/proc/1/root$(cat /proc/sys/kernel/modprobe)"
"#;
        lab.outside().run_with(["sh", "-eu"], without).await?.ok()?;
        lab.install_esplanade("", SOON).await?;
        ensure!(kernel_has(lab, "AES-CBC-256").await? && !kernel_has(lab, LACKING).await?, "it has it");
        secret(lab, "keys", &[("encryption", 32), ("integrity", 32), ("chacha", 36)]).await?;
        lab.apply(&manifests()).await?;
        for what in ["ipsecsa/lacking-ab", "ipsecsa/lacking-ba", "ipsecpolicy/automatic"] {
            unsupported(lab, what).await?;
        }
        for what in ["ipsecsa/there-ab", "ipsecsa/there-ba", "ipsecpolicy/there"] {
            lab.wait_condition(what, "Programmed", "True", SOON).await?;
        }
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        let wire = a.capture().await?;
        ping_pods(lab).await?;
        // Rather dropped than in the clear.
        ensure!(!answers(a, b.addresses.v4.into()).await?, "the nodes reach each other");
        assert_eq!(clear_echoes(&wire.stop().await?), [] as [&_; 0]);
        Ok(())
    })
}
