//! Networks that lie in each other: where a packet is to go can't be told, or it goes one way and comes another.

use std::collections::BTreeMap;

use esplanade_crds::conditions::reason;
use ipnet::IpNet;

use crate::accept::{End, Endpoints, PolicyIntent};
use crate::cluster::Cluster;
use crate::finding::{Finding, in_words};
use crate::participants::{NAMED, Participants, around};

/// Nodes whose pod CIDRs overlap: whose pods a packet is for can't be told.
pub(crate) fn of_pods(participants: &Participants, cluster: &Cluster<'_>) -> Option<Finding> {
    let nodes = participants.nodes().filter_map(|(name, networks)| Some((cluster.node(name)?, networks)));
    let of_pods = nodes.flat_map(|(node, networks)| {
        let covered = |cidr: &&IpNet| networks.from.contains(*cidr) || networks.to.contains(*cidr);
        node.pod_cidrs.iter().filter(covered).map(|cidr| (cidr.trunc(), node.name.as_str()))
    });
    let shared = overlapping(of_pods.collect(), |one, other| one != other);
    let shared = shared.iter().map(|[(cidr, node), (wider, owner)]| {
        format!("Node {node}'s {cidr} overlaps Node {owner}'s {wider}")
    });
    let named = shared.take(NAMED).collect::<Vec<_>>().join(", ");
    (!named.is_empty()).then(|| {
        Finding::new(
            reason::CONFLICTED,
            format!(
                "podCIDRs: {named}: whose pods a packet is for can't be told, and some of them can't be reached: \
                 give each Node its own (spec.podCIDRs)"
            ),
        )
    })
}

/// Gateways of one side whose networks overlap, one of which is a node: through which of them a packet goes can't be told.
pub(crate) fn of_gateways(intent: &PolicyIntent) -> Vec<Finding> {
    let of_side = |side: &str, entries: &[Endpoints]| {
        let cidrs = entries.iter().filter_map(|entry| match entry {
            Endpoints::Cidrs { gateway: Some(gateway), cidrs } => Some((gateway, cidrs)),
            _ => None,
        });
        let cidrs = cidrs.flat_map(|(gateway, cidrs)| cidrs.iter().map(move |cidr| (*cidr, gateway)));
        let is_node = |end: &End| matches!(end, End::Node(_));
        let shared =
            overlapping(cidrs.collect(), |one, other| one != other && (is_node(one) || is_node(other)));
        let shared = shared.iter().map(|[(cidr, gateway), (wider, other)]| {
            format!("{gateway}'s {cidr} overlaps {other}'s {wider}")
        });
        let named = in_words(&shared.collect::<Vec<_>>(), NAMED)?;
        Some(Finding::new(
            reason::CONFLICTED,
            format!(
                "{side}: cidrs of several gateways: {named}: through which of them a packet goes can't be told, and some are \
                 dropped: write each network at one gateway"
            ),
        ))
    };
    let to = intent.to.as_ref().map(|to| of_side("to", to));
    [Some(of_side("from", &intent.from)), to].into_iter().flatten().flatten().collect()
}

/// A network, and whose it is.
type Owned<'a, T> = (IpNet, &'a T);

/// Networks, each with the first wider or equal one that it overlaps and whose owner is `apart` from its own.
fn overlapping<T: Ord + ?Sized>(
    mut networks: Vec<Owned<'_, T>>,
    apart: impl Fn(&T, &T) -> bool,
) -> Vec<[Owned<'_, T>; 2]> {
    let mut owners: BTreeMap<IpNet, Vec<&T>> = BTreeMap::new();
    let mut found = Vec::new();
    // The wider ones first: each narrower one finds them.
    networks.sort_unstable_by_key(|(cidr, owner)| (cidr.prefix_len(), *cidr, *owner));
    for (cidr, owner) in networks {
        let other = around(cidr).find_map(|wider| {
            let owners = owners.get(&wider)?;
            owners.iter().find(|other| apart(owner, other)).map(|other| (wider, *other))
        });
        found.extend(other.map(|other| [(cidr, owner), other]));
        owners.entry(cidr).or_default().push(owner);
    }
    found
}
