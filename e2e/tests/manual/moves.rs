//! A node's address changes: its SAs go on between other addresses.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use esplanade_e2e::lab::{Config, Lab};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::cluster::{SOON, example, with_esplanade};
use crate::wire::{clear_echoes, ping_pods, sequence};

/// Free on the wire of the lab.
const NEW: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 21);
/// A new SA for an old one would leave out at least so many sequence numbers.
const REPLACED: u64 = 1 << 20;

/// What the API server says of the node's addresses.
pub(crate) async fn announce(lab: &Lab, node: &str, addresses: &[String]) -> Result<()> {
    let api: Api<Node> = Api::all(lab.client());
    let addresses: Vec<_> =
        addresses.iter().map(|address| json!({"type": "InternalIP", "address": address})).collect();
    let patch = Patch::Merge(json!({"status": {"addresses": addresses}}));
    api.patch_status(node, &PatchParams::default(), &patch).await.context("the Node's status").map(drop)
}

#[test]
fn traffic_goes_on_between_other_addresses_without_new_keys() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        example(lab).await?;
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        let old = a.addresses.v4;
        let wire = b.capture().await?;
        ping_pods(lab).await?;
        let packets = wire.packets().await?;
        let out = sequence(&packets, old.into(), b.addresses.v4.into(), 0x1001);
        let back = sequence(&packets, b.addresses.v4.into(), old.into(), 0x1002);
        ensure!(!out.is_empty() && !back.is_empty(), "{packets:?}");

        // The node has both addresses for a while, as with a renumbering that is done with care.
        let add = format!("ip address add {NEW}/24 dev eth0");
        a.run(add.split(' ')).await?.ok()?;
        announce(lab, "node-a", &[NEW.to_string(), a.addresses.v6.to_string()]).await?;
        lab.wait("the SAs between the new addresses", SOON, async || {
            for node in [a, b] {
                let states = node.xfrm().await?.states;
                ensure!(states.len() == 2, "{states:#?}");
                ensure!(states.iter().all(|state| state.contains(&NEW.to_string())), "{states:#?}");
            }
            Ok(())
        })
        .await?;
        for what in ["ipsecsa/a-to-b", "ipsecsa/b-to-a", "ipsecpolicy/pods"] {
            lab.wait_condition(what, "Programmed", "True", SOON).await?;
        }
        ping_pods(lab).await?;
        let packets = wire.stop().await?;
        assert_eq!(clear_echoes(&packets), [] as [&_; 0]);
        for (before, after) in [
            (out, sequence(&packets, NEW.into(), b.addresses.v4.into(), 0x1001)),
            (back, sequence(&packets, b.addresses.v4.into(), NEW.into(), 0x1002)),
        ] {
            let (last, first) = (*before.last().context("packets")?, *after.first().context("packets")?);
            let (last, first) = (u64::from(last), u64::from(first));
            ensure!(first > last && first - last < REPLACED, "from {last} to {first}: not the same SA");
        }
        Ok(())
    })
}
