//! Keys that wear out: a limit of packets renews them again and again.

use anyhow::{Context, Result, ensure};
use esplanade_e2e::lab::{Config, Lab};
use std::process::Command;

use crate::automatic::{all_keys, esp, nothing_lost, ready, traffic};
use crate::cluster::{SOON, remove, with_esplanade};
use crate::wire::clear_pod_packets;

/// At 100 packets a second, a key lasts 20 s.
const POLICY: &str = "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata:\n  name: pods\nspec:\n  \
                      from: [{podCIDRs: {}}]\n  protection:\n    keying: {automatic: {maxPackets: 2000}}\n";

/// Each node has one key, none of these.
async fn renewed(lab: &Lab, before: &[Vec<String>]) -> Result<Vec<Vec<String>>> {
    lab.wait("other keys at all nodes", SOON, async || {
        let now = all_keys(lab).await?;
        let other = |(now, before): (&Vec<String>, &Vec<String>)| now.iter().all(|key| !before.contains(key));
        ensure!(now.iter().all(|keys| keys.len() == 1), "{now:?}");
        ensure!(now.iter().zip(before).all(other), "{now:?} after {before:?}");
        Ok(now)
    })
    .await
}

#[test]
fn keys_that_wear_out_are_renewed_in_time_and_the_plugin_renews_them_too() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        let traffic = traffic(lab).await?;
        lab.apply(POLICY).await?;
        ready(lab, "pods").await?;
        let wire = lab.node("node-b").capture().await?;
        let mut keys = all_keys(lab).await?;
        for _ in 0..3 {
            keys = renewed(lab, &keys).await?;
        }

        // And as asked for.
        let plane = lab.control_plane();
        let plugin = esplanade_e2e::programs::find("kubectl-esplanade", "esplanade-cli")?;
        let kubeconfig = plane.kubeconfig("plugin", plane.admin_token())?;
        let rotate = async |args: &[&str]| {
            let mut command = Command::new(&plugin);
            command.arg("rotate").args(args).env_clear().env("KUBECONFIG", &kubeconfig);
            let output = tokio::task::spawn_blocking(move || command.output()).await??;
            let text = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            let code = output.status.code().context("no exit code")?;
            anyhow::Ok((code, text))
        };
        let (code, text) = rotate(&["--all", "--wait", "--timeout", "120"]).await?;
        ensure!(code == 0, "{code}: {text}");
        for node in ["node-a", "node-b"] {
            ensure!(text.contains(&format!("{node}: asked for a new key")), "{text}");
            ensure!(text.contains(&format!("{node}: has a new key")), "{text}");
        }
        let (code, text) = rotate(&["node-z"]).await?;
        ensure!(code == 2 && text.contains("no node node-z: there is node-a, node-b"), "{code}: {text}");

        let packets = wire.stop().await?;
        assert_eq!(clear_pod_packets(lab, &packets), [] as [&_; 0]);
        ensure!(esp(&packets) > 1000, "hardly anything was sent: {}", esp(&packets));
        nothing_lost(traffic).await?;
        remove(lab, POLICY).await
    })
}
