//! Networks behind a node that contain what lies at other nodes, as 0.0.0.0/0 contains all of them.

use std::collections::{BTreeMap, BTreeSet};

use esplanade_crds::Phase;
use esplanade_crds::conditions::reason;
use ipnet::IpNet;

use crate::accept::{End, Endpoints, PolicyIntent};
use crate::cluster::Cluster;
use crate::finding::{Finding, in_words};
use crate::participants::{NAMED, Participants, around};
use crate::policies::{Policies, State};

/// Of a policy that protects what goes to networks behind a node: addresses of other nodes and of their pods in these networks.
/// What has them sends from its own node, not through the gateway, and that is dropped where it arrives. Not so what is on the
/// other side of the policy as well: that sends through the gateway in turn. Nor what a policy before this one is for.
pub(crate) fn elsewhere(
    name: &str,
    (intent, participants): (&PolicyIntent, &Participants),
    policies: &Policies<'_>,
    cluster: &Cluster<'_>,
) -> Vec<Finding> {
    let strict = intent.protect.as_ref().is_some_and(|protect| protect.target() == Phase::Enforce);
    let sides = match &intent.to {
        None => vec![("from", &intent.from, participants.in_to())],
        Some(to) => vec![("from", &intent.from, participants.in_to()), ("to", to, participants.in_from())],
    };
    let sides = sides.into_iter().filter(|_| strict);
    let sides = sides.map(|(side, entries, opposite)| (side, behind(entries, cluster), opposite));
    let found = sides.filter(|(_, behind, _)| !behind.is_empty()).filter_map(|(side, behind, opposite)| {
        let opposite = Places::of(&opposite);
        let before = policies.iter().filter_map(|(other, policy)| match &policy.state {
            State::Accepted { intent: theirs, participants, .. }
                if is_before((other, theirs), (name, intent)) =>
            {
                Some([participants.in_from(), participants.in_to()].map(|side| Places::of(&side)))
            }
            _ => None,
        });
        // The sides may stand the other way round, as a policy covers both directions.
        let before = before.flat_map(|[from, to]| [(from.clone(), to.clone()), (to, from)]);
        let before: Vec<_> = before.collect();
        of_side(side, &behind, &opposite, &before, cluster)
    });
    found.collect()
}

/// The nodes and their networks behind them.
fn behind<'a>(entries: &'a [Endpoints], cluster: &Cluster<'_>) -> Vec<(&'a str, IpNet)> {
    let there = entries.iter().filter_map(|entry| match entry {
        Endpoints::Cidrs { gateway: Some(End::Node(node)), cidrs } if cluster.node(node).is_some() => {
            Some(cidrs.iter().map(|cidr| (node.as_str(), *cidr)))
        }
        _ => None,
    });
    there.flatten().collect()
}

/// The first policy is for all packets that the second one would be for, as far as their networks go, and comes before it.
fn is_before((name, one): (&str, &PolicyIntent), (other_name, other): (&str, &PolicyIntent)) -> bool {
    let place = |name: &str, intent: &PolicyIntent| (intent.priority, intent.action.rank(), name.to_owned());
    place(name, one) < place(other_name, other)
        && (one.traffic.is_empty() || one.traffic == other.traffic)
        && (one.mark.is_none() || one.mark == other.mark)
        && one.protect.as_ref().is_none_or(|protect| protect.interface_id == 0)
}

fn of_side(
    side: &str,
    behind: &[(&str, IpNet)],
    opposite: &Places<'_>,
    before: &[(Places<'_>, Places<'_>)],
    cluster: &Cluster<'_>,
) -> Option<Finding> {
    let [v4, v6] = [true, false].map(|v4| Towards::of(v4, behind, opposite, before));
    let mut found = Vec::new();
    for node in cluster.nodes() {
        let own = node.addresses.iter().copied().map(IpNet::from).chain(node.pod_cidrs.iter().copied());
        for network in own {
            let towards = if is_v4(network) { &v4 } else { &v6 };
            let gateway = behind.iter().find(|(gateway, cidr)| {
                *gateway != node.name
                    && (cidr.contains(&network) || network.contains(cidr))
                    && towards.others(&node.name, gateway)
                    && !(cidr.contains(&network)
                        && opposite.has(network, &node.name)
                        && towards.hubs.contains(gateway))
            });
            let apart = || towards.before.iter().any(|places| places.has(network, &node.name));
            if let Some((gateway, cidr)) = gateway.filter(|_| !apart()) {
                found.push(format!("Node {}'s {network} ({cidr} of {gateway})", node.name));
            }
        }
    }
    let named = in_words(&found, NAMED)?;
    let message = format!(
        "{side}: cidrs contain what isn't behind their gateway: {named}. What has these addresses sends from its own node, and \
         that is dropped: write a policy for it with a lower priority, e.g. action: Bypass, from: [{{podCIDRs: {{}}}}], to: \
         [{{nodes: {{}}}}, {{podCIDRs: {{}}}}]; or narrower cidrs"
    );
    Some(Finding::new(reason::CONFLICTED, message))
}

/// What of one address family sends to the networks behind the gateways.
struct Towards<'a> {
    nodes: BTreeSet<&'a str>,
    /// Gateways that all of it is behind too: it sends to itself through them, in both directions.
    hubs: BTreeSet<&'a str>,
    /// The far sides of policies before this one that are for all of it.
    before: Vec<&'a Places<'a>>,
}

impl<'a> Towards<'a> {
    fn of(
        v4: bool,
        behind: &[(&'a str, IpNet)],
        opposite: &'a Places<'_>,
        before: &'a [(Places<'a>, Places<'a>)],
    ) -> Self {
        let all: Vec<(IpNet, &str)> =
            opposite.at_nodes().filter(|(network, _)| is_v4(*network) == v4).collect();
        let is_hub = |gateway: &&str| {
            let is_behind =
                |network: &IpNet| behind.iter().any(|(one, cidr)| one == gateway && cidr.contains(network));
            all.iter().all(|(network, node)| node == gateway || is_behind(network))
        };
        let for_all = |near: &Places<'_>| all.iter().all(|(network, node)| near.has(*network, node));
        Self {
            nodes: all.iter().map(|(_, node)| *node).collect(),
            hubs: behind.iter().map(|(gateway, _)| *gateway).filter(is_hub).collect(),
            before: before.iter().filter(|(near, _)| for_all(near)).map(|(_, far)| far).collect(),
        }
    }

    /// Others than these two send there.
    fn others(&self, node: &str, gateway: &str) -> bool {
        self.nodes.iter().any(|one| *one != node && *one != gateway)
    }
}

/// Networks of one side of a policy, and where each lies: at nodes, or anywhere outside.
#[derive(Clone)]
struct Places<'a>(BTreeMap<IpNet, Vec<Option<&'a str>>>);

impl<'a> Places<'a> {
    fn of(side: &[(IpNet, Option<&'a End>)]) -> Self {
        let mut places: BTreeMap<IpNet, Vec<Option<&str>>> = BTreeMap::new();
        for (network, end) in side {
            let place = match end {
                None => None,
                Some(End::Node(node)) => Some(node.as_str()),
                Some(End::Address(_)) => continue,
            };
            places.entry(network.trunc()).or_default().push(place);
        }
        Self(places)
    }

    fn at_nodes(&self) -> impl Iterator<Item = (IpNet, &'a str)> {
        self.0.iter().flat_map(|(network, places)| places.iter().flatten().map(|node| (*network, *node)))
    }

    /// The network lies in one that is at this node, or anywhere.
    fn has(&self, network: IpNet, node: &str) -> bool {
        around(network)
            .filter_map(|wider| self.0.get(&wider))
            .flatten()
            .any(|at| at.is_none_or(|at| at == node))
    }
}

fn is_v4(network: IpNet) -> bool {
    matches!(network, IpNet::V4(_))
}
