//! Who takes part in a policy, and what lies there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use esplanade_crds::conditions::reason;
use esplanade_crds::{GatewaySelectors, IpFamily, TrafficSelector};
use ipnet::IpNet;
use kube::core::SelectorExt as _;

use crate::accept::{End, Endpoints, PolicyIntent};
use crate::cluster::Cluster;
use crate::families::Families;
use crate::finding::Finding;

/// How many Nodes a message names of those that have the same trouble.
const NAMED: usize = 3;

/// The networks of one participant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Networks {
    pub(crate) from: BTreeSet<IpNet>,
    pub(crate) to: BTreeSet<IpNet>,
}

impl Networks {
    pub(crate) fn in_from(&self) -> Vec<String> {
        self.from.iter().map(ToString::to_string).collect()
    }

    pub(crate) fn in_to(&self) -> Vec<String> {
        self.to.iter().map(ToString::to_string).collect()
    }
}

/// Who takes part in a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Participants {
    ends: BTreeMap<End, Networks>,
    /// The address families that the policy's traffic exists in.
    traffic: Families,
}

impl Participants {
    /// Those that the policy's selectors match, and the selectors that match nothing.
    pub(crate) fn of(intent: &PolicyIntent, cluster: &Cluster<'_>) -> (Self, Vec<Finding>) {
        let mut all = Self { ends: BTreeMap::new(), traffic: families(&intent.traffic) };
        let mut findings = Vec::new();
        let mut add = |side: &str, entries: &[Endpoints], sides: &[Side]| {
            let mut unmatched = Unmatched::default();
            let mut any = false;
            for (end, network) in
                entries.iter().flat_map(|entry| networks(entry, cluster, &mut unmatched)).collect::<Vec<_>>()
            {
                any = true;
                let networks = all.ends.entry(end).or_default();
                for side in sides {
                    match side {
                        Side::From => networks.from.insert(network),
                        Side::To => networks.to.insert(network),
                    };
                }
            }
            for address in entries.iter().filter_map(Endpoints::gateway) {
                if let Some(node) = cluster.node_with(address) {
                    findings.push(Finding::new(
                        reason::INVALID,
                        format!(
                            "{side}: gateway.address {address} is Node {node}'s: a gateway is outside \
                         the cluster"
                        ),
                    ));
                }
            }
            if !any {
                findings.push(Finding::new(reason::NO_MATCH, unmatched.in_words(side)));
            }
        };
        match &intent.to {
            None => add("from", &intent.from, &[Side::From, Side::To]),
            Some(to) => {
                add("from", &intent.from, &[Side::From]);
                add("to", to, &[Side::To]);
            }
        }
        if findings.is_empty() && all.nodes().next().is_none() {
            let message = "from and to have gateways only: write podCIDRs or nodes on one side";
            findings.push(Finding::new(reason::NO_MATCH, message));
        }
        findings.extend(all.shared_pod_cidrs(cluster));
        (all, findings)
    }

    /// Nodes whose pod CIDRs overlap: whose pods a packet is for can't be told.
    fn shared_pod_cidrs(&self, cluster: &Cluster<'_>) -> Option<Finding> {
        let mut owners: BTreeMap<IpNet, &str> = BTreeMap::new();
        let mut shared = Vec::new();
        let nodes = self.nodes().filter_map(|(name, networks)| Some((cluster.node(name)?, networks)));
        let of_pods = nodes.flat_map(|(node, networks)| {
            let covered = |cidr: &&IpNet| networks.from.contains(*cidr) || networks.to.contains(*cidr);
            node.pod_cidrs.iter().filter(covered).map(|cidr| (cidr.trunc(), node.name.as_str()))
        });
        // The wider ones first: each narrower one finds them.
        let mut of_pods: Vec<_> = of_pods.collect();
        of_pods.sort_unstable_by_key(|(cidr, node)| (cidr.prefix_len(), *cidr, *node));
        for (cidr, node) in of_pods {
            let first = around(cidr).find_map(|wider| Some((wider, *owners.get(&wider)?)));
            match first.filter(|(_, owner)| *owner != node) {
                Some((wider, owner)) => {
                    shared.push(format!("Node {node}'s {cidr} overlaps Node {owner}'s {wider}"));
                }
                None => drop(owners.insert(cidr, node)),
            }
        }
        let named = shared.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        (!shared.is_empty()).then(|| {
            Finding::new(
                reason::CONFLICTED,
                format!(
                    "podCIDRs: {named}: whose pods a packet is for can't be told, and some of them can't be reached: \
                     give each Node its own (spec.podCIDRs)"
                ),
            )
        })
    }

    /// The nodes with their networks, by name.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&str, &Networks)> {
        self.ends.iter().filter_map(|(end, networks)| match end {
            End::Node(name) => Some((name.as_str(), networks)),
            End::Address(_) => None,
        })
    }

    /// What lies on the `from` side, and at whom.
    pub(crate) fn in_from(&self) -> Vec<(IpNet, &End)> {
        self.ends
            .iter()
            .flat_map(|(end, networks)| networks.from.iter().map(move |one| (*one, end)))
            .collect()
    }

    /// What lies on the `to` side, and at whom.
    pub(crate) fn in_to(&self) -> Vec<(IpNet, &End)> {
        self.ends.iter().flat_map(|(end, networks)| networks.to.iter().map(move |one| (*one, end))).collect()
    }

    pub(crate) fn contains(&self, end: &End) -> bool {
        self.ends.contains_key(end)
    }

    /// The gateways with their networks, for a node state.
    pub(crate) fn gateways(&self) -> Vec<GatewaySelectors> {
        self.ends
            .iter()
            .filter_map(|(end, networks)| match end {
                End::Node(_) => None,
                End::Address(address) => Some(GatewaySelectors {
                    address: address.to_string(),
                    from: networks.in_from(),
                    to: networks.in_to(),
                }),
            })
            .collect()
    }

    /// The address families in which there is traffic under the policy between the two.
    pub(crate) fn between(&self, one: &End, other: &End) -> Families {
        match (self.ends.get(one), self.ends.get(other)) {
            (Some(one), Some(other)) => Sides::of(one).common(Sides::of(other)).and(self.traffic),
            _ => Families::default(),
        }
    }

    /// Every direction in which there is traffic under the policy that a node of the cluster sends or receives.
    pub(crate) fn directions(&self) -> impl Iterator<Item = (&End, &End, Families)> {
        let ends: Vec<(&End, Sides)> =
            self.ends.iter().map(|(end, networks)| (end, Sides::of(networks))).collect();
        let sources = ends.clone();
        sources.into_iter().flat_map(move |(source, here)| {
            let directions = ends.iter().filter_map(|(destination, there)| {
                let outside = matches!((source, *destination), (End::Address(_), End::Address(_)));
                let common = here.common(*there).and(self.traffic);
                let counts = source != *destination && !outside && !common.is_empty();
                counts.then_some((source, *destination, common))
            });
            directions.collect::<Vec<_>>()
        })
    }
}

/// The address families of a participant's networks.
#[derive(Clone, Copy)]
struct Sides {
    from: Families,
    to: Families,
}

impl Sides {
    fn of(networks: &Networks) -> Self {
        Self { from: Families::of(&networks.from), to: Families::of(&networks.to) }
    }

    /// In which there is traffic between the two.
    fn common(self, other: Self) -> Families {
        self.from.and(other.to).or(other.from.and(self.to))
    }
}

#[derive(Clone, Copy)]
enum Side {
    From,
    To,
}

/// Why a side has no networks.
#[derive(Default)]
struct Unmatched {
    without_pod_cidrs: Vec<String>,
}

impl Unmatched {
    fn in_words(&self, side: &str) -> String {
        match self.without_pod_cidrs.as_slice() {
            [] => format!("{side} matches no Node: correct its label selectors"),
            nodes => format!(
                "{side}: podCIDRs matches Nodes without pod CIDRs (spec.podCIDRs): {}",
                nodes.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ")
            ),
        }
    }
}

fn networks(entry: &Endpoints, cluster: &Cluster<'_>, unmatched: &mut Unmatched) -> Vec<(End, IpNet)> {
    let mut found = Vec::new();
    match entry {
        Endpoints::Gateway { address, cidrs } => {
            found.extend(cidrs.iter().map(|cidr| (End::Address(*address), *cidr)));
        }
        Endpoints::Nodes(selector) => {
            for node in cluster.nodes().filter(|node| selector.matches(&node.labels)) {
                let hosts = node.addresses.iter().copied().map(IpNet::from);
                found.extend(hosts.map(|host| (End::Node(node.name.clone()), host)));
            }
        }
        Endpoints::PodCidrs(selector) => {
            for node in cluster.nodes().filter(|node| selector.matches(&node.labels)) {
                if node.pod_cidrs.is_empty() {
                    unmatched.without_pod_cidrs.push(node.name.clone());
                }
                found.extend(node.pod_cidrs.iter().map(|cidr| (End::Node(node.name.clone()), *cidr)));
            }
        }
    }
    found
}

fn families(traffic: &[TrafficSelector]) -> Families {
    if traffic.is_empty() {
        return Families::BOTH;
    }
    traffic.iter().fold(Families::default(), |sum, one| {
        sum.or(match one.protocol.family() {
            Some(IpFamily::IPv4) => Families::IPV4,
            Some(IpFamily::IPv6) => Families::IPV6,
            None => Families::BOTH,
        })
    })
}

/// The network and all that it lies in.
pub(crate) fn around(network: IpNet) -> impl Iterator<Item = IpNet> {
    std::iter::successors(Some(network), IpNet::supernet)
}

/// Its address family.
pub(crate) fn family(address: IpAddr) -> Families {
    if address.is_ipv4() { Families::IPV4 } else { Families::IPV6 }
}
