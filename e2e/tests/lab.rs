//! The lab itself, on the real thing.

use std::time::Duration;

use anyhow::{Context, Result};
use esplanade_e2e::lab::{self, Config, Lab};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;

#[test]
fn pods_on_different_nodes_talk_in_the_clear_and_the_wire_shows_it() -> Result<()> {
    lab::run(Config::default(), async |lab| {
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        let wire = a.capture().await?;
        for (from, to) in a.pod(0).addresses.both().into_iter().zip(b.pod(0).addresses.both()) {
            a.pod(0).run(["ping", "-c2", "-i0.1", &to.to_string()]).await?.ok()?;
            let packets = wire.packets().await?;
            let echoes = |source, destination| {
                let ips = packets.iter().filter_map(|packet| packet.ip());
                ips.filter(|ip| ip.is_echo() && ip.is_between(source, destination)).count()
            };
            assert_eq!((echoes(from, to), echoes(to, from)), (2, 2), "{packets:?}");
        }
        assert!(wire.stop().await?.iter().all(|packet| packet.esp_spi().is_none()));
        Ok(())
    })
}

#[test]
fn nodes_are_registered_and_reach_the_api_server() -> Result<()> {
    lab::run(Config { nodes: 3, pods: 2 }, async |lab| {
        let api: Api<Node> = Api::all(lab.client());
        assert_eq!(api.list(&ListParams::default()).await?.items.len(), 3);
        lab.wait_condition("node/node-c", "Ready", "True", Duration::from_secs(10)).await?;
        let server = lab.control_plane().url().trim_start_matches("https://").replace(':', "/");
        for node in lab.nodes() {
            node.run(["bash", "-c", &format!("exec 3<>/dev/tcp/{server}")]).await?.ok()?;
            for other in lab.nodes() {
                for address in other.pod(1).addresses.both() {
                    node.pod(0).run(["ping", "-c1", &address.to_string()]).await?.ok()?;
                }
            }
        }
        Ok(())
    })
}

#[test]
fn the_kernel_of_a_node_has_esp_and_tells_what_changed() -> Result<()> {
    const KEY: &str = "0x000102030405060708090a0b0c0d0e0f10111213";
    lab::run(Config { nodes: 1, pods: 0 }, async |lab| {
        let node = lab.node("node-a");
        let before = node.xfrm().await?;
        let what = "src 192.0.2.11 dst 192.0.2.99 proto esp spi 0x100";
        let add = format!("ip xfrm state add {what} mode transport aead rfc4106(gcm(aes)) {KEY} 128");
        node.run(add.split(' ')).await?.ok()?;
        let after = node.xfrm().await?;
        assert_eq!((before.states.len(), after.states.len()), (0, 1), "{after:?}");
        node.run(format!("ip xfrm state delete {what}").split(' ')).await?.ok()?;
        assert_eq!(node.xfrm().await?, before);
        assert_eq!(node.xfrm_stat().await?.get("XfrmInNoStates"), Some(&0));
        Ok(())
    })
}

#[test]
fn a_reboot_empties_the_kernel_and_brings_the_network_back() -> Result<()> {
    lab::run(Config::default(), async |lab| {
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        let add = "ip xfrm policy add src 10.9.0.0/16 dst 10.8.0.0/16 dir out action block";
        a.run(add.split(' ')).await?.ok()?;
        let sleeper = a.spawn("sleeper", ["sleep", "infinity"]).await?;
        lab.reboot("node-a").await?;
        assert_eq!(sleeper.wait().await?, 128 + 9);
        assert_eq!(a.xfrm().await?.policies, Vec::<String>::new());
        b.pod(0).run(["ping", "-c1", "-W5", &a.pod(0).addresses.v6.to_string()]).await?.ok()?;
        Ok(())
    })
}

#[test]
fn manifests_are_applied_and_deleted() -> Result<()> {
    const MANIFESTS: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: one}\n---\napiVersion: v1\n\
                             kind: ConfigMap\nmetadata: {name: two, namespace: one}\ndata: {a: b}\n";
    lab::run(Config { nodes: 1, pods: 0 }, async |lab| {
        lab.apply(MANIFESTS).await?;
        lab.apply(MANIFESTS).await?;
        assert_eq!(lab.get("configmap/one/two").await?.data["data"]["a"], "b");
        let wrong = lab.apply("apiVersion: v1\nkind: Confmap\nmetadata: {name: x}").await.unwrap_err();
        assert!(format!("{wrong:#}").contains("Confmap"), "{wrong:#}");
        let waited = lab.wait_condition("node/node-a", "Happy", "True", Duration::ZERO).await.unwrap_err();
        assert!(format!("{waited:#}").contains("Happy=True of node/node-a"), "{waited:#}");
        lab.delete(MANIFESTS).await?;
        assert!(lab.get("configmap/one/two").await.is_err());
        Ok(())
    })
}

#[test]
fn a_panic_leaves_nothing_behind() {
    let (told, hear) = std::sync::mpsc::channel();
    let panicked = std::panic::catch_unwind(|| {
        lab::run(Config { nodes: 1, pods: 0 }, async |lab: &Lab| {
            lab.node("node-a").spawn("sleeper", ["sleep", "infinity"]).await?;
            told.send((lab.dir().to_owned(), processes_of(lab.dir())?)).context("telling")?;
            panic!("as tests do");
            #[allow(unreachable_code)]
            Ok(())
        })
    });
    assert!(panicked.is_err());
    let (dir, started) = hear.recv().unwrap();
    assert!(started >= 3, "{started}: etcd, kube-apiserver, kube-controller-manager, perhaps a kernel");
    assert_eq!(processes_of(&dir).unwrap(), 0);
    assert!(!dir.exists(), "{}", dir.display());
}

/// How many processes of this machine have the lab's folder in their command line.
fn processes_of(dir: &std::path::Path) -> Result<usize> {
    let dir = dir.to_str().context("UTF-8")?.to_owned();
    let entries = std::fs::read_dir("/proc")?.filter_map(Result::ok);
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    Ok(lines.filter(|line| String::from_utf8_lossy(line).contains(&dir)).count())
}
