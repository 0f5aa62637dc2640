//! A node that has another address, or other pod CIDRs; the others lose nothing.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use esplanade_e2e::lab::Place;
use esplanade_e2e::lab::traffic::{Direction, Traffic};

use super::{Wires, at_rest, between_all, nothing_lost, scenario, traffic};
use crate::automatic::ready;
use crate::cluster::SOON;
use crate::moves::announce;

/// The node that things happen to.
const IT: &str = "node-c";
/// Free on the wire of the lab.
const NEW: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 23);
const NEW_CIDRS: [&str; 2] = ["10.244.13.0/24", "fd00:10:244:13::/64"];
const NEW_POD: Ipv4Addr = Ipv4Addr::new(10, 244, 13, 2);

async fn run(place: &Place, lines: &str) -> Result<()> {
    place.run_with(["sh", "-e"], lines).await?.ok().with_context(|| lines.to_owned()).map(drop)
}

#[test]
fn a_node_whose_address_changes_takes_nothing_from_the_others() -> Result<()> {
    scenario(async |lab, _| {
        at_rest(lab).await?;
        let it = lab.node(IT);
        let wires = Wires::capture(lab, lab.nodes()).await?;
        let others = traffic(lab, &[lab.node("node-a"), lab.node("node-b")]).await?;
        let all = between_all(lab).await?;
        // The node has both for a while.
        run(it, &format!("ip address add {NEW}/24 dev eth0\n")).await?;
        announce(lab, IT, &[NEW.to_string(), it.addresses.v6.to_string()]).await?;
        let (old, new) = (it.addresses.v4.to_string(), NEW.to_string());
        lab.wait("the SAs between the new addresses", SOON, async || {
            for node in lab.nodes() {
                let states = node.xfrm().await?.states;
                let ends = |address: &str| {
                    let has = |state: &&String| {
                        let ends = state.lines().next().unwrap_or_default();
                        ends.split(' ').any(|word| word == address)
                    };
                    states.iter().filter(has).count()
                };
                let wanted = if node.name == IT { 4 } else { 2 };
                ensure!(ends(&old) == 0 && ends(&new) == wanted, "{}: {states:#?}", node.name);
            }
            Ok(())
        })
        .await?;
        at_rest(lab).await?;
        ready(lab, "pods").await?;
        // Those of its own may have lost some on the way.
        let directions = all.stop(lab).await?;
        directions.iter().try_for_each(Direction::stream_is_whole)?;
        nothing_lost(&others.stop(lab).await?)?;
        nothing_lost(&between_all(lab).await?.stop(lab).await?)?;
        wires.are_clean().await.map(drop)
    })
}

/// Kubernetes lets nobody change a Node's: it is deleted and made anew, and the machine runs on.
#[test]
fn a_node_whose_pod_cidrs_change_takes_nothing_from_the_others() -> Result<()> {
    scenario(async |lab, _| {
        at_rest(lab).await?;
        let [a, b, it] = ["node-a", "node-b", IT].map(|name| lab.node(name));
        let others = traffic(lab, &[a, b]).await?;
        let wires = Wires::capture(lab, lab.nodes()).await?;
        lab.stop_agent(IT).await?;
        lab.leave(IT).await?;
        for node in [a, b] {
            run(node, &format!("ip route add {} via {}\n", NEW_CIDRS[0], it.addresses.v4)).await?;
        }
        let pod = it.pod(0);
        run(it, &format!("ip route add {NEW_POD} dev pod0 src {}\n", it.addresses.v4)).await?;
        run(
            pod,
            &format!(
                "ip address add {NEW_POD}/32 dev eth0\nip address del {}/32 dev eth0\n",
                pod.addresses.v4
            ),
        )
        .await?;
        lab.join_with(IT, &NEW_CIDRS.map(str::to_owned)).await?;
        lab.wait_condition(&format!("ipsecnodestate/{IT}"), "Ready", "True", SOON).await?;
        at_rest(lab).await?;
        ready(lab, "pods").await?;
        let ends: Vec<(&Place, IpAddr)> = vec![
            (&**a.pod(0), a.pod(0).addresses.v4.into()),
            (&**b.pod(0), b.pod(0).addresses.v4.into()),
            (&**pod, NEW_POD.into()),
        ];
        nothing_lost(&Traffic::start(lab, &ends).await?.stop(lab).await?)?;
        nothing_lost(&others.stop(lab).await?)?;
        for packet in wires.are_clean().await? {
            let clear = packet.ip().is_some_and(|ip| [ip.source, ip.destination].contains(&NEW_POD.into()));
            ensure!(!clear, "in the clear: {packet}");
        }
        Ok(())
    })
}
