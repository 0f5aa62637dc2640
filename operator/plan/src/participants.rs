//! Who takes part in a policy, and what lies there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use esplanade_crds::conditions::reason;
use esplanade_crds::{Action, GatewaySelectors, IpFamily, OutsideSelectors, TrafficSelector};
use ipnet::IpNet;
use kube::core::SelectorExt as _;

use crate::accept::{End, Endpoints, PolicyIntent};
use crate::cluster::Cluster;
use crate::families::Families;
use crate::finding::{Finding, in_words};
use crate::overlaps;

/// How many Nodes a message names of those that have the same trouble.
pub(crate) const NAMED: usize = 3;

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
    /// Networks outside the cluster that are at nobody: the policy has no gateway for them, or one that isn't there.
    outside: Networks,
    /// The address families that the policy's traffic exists in.
    traffic: Families,
}

impl Participants {
    /// Those that the policy's selectors match, and the selectors that match nothing.
    pub(crate) fn of(intent: &PolicyIntent, cluster: &Cluster<'_>) -> (Self, Vec<Finding>) {
        let traffic = families(&intent.traffic);
        let mut all = Self { ends: BTreeMap::new(), outside: Networks::default(), traffic };
        let mut findings = Vec::new();
        let mut add = |side: &str, entries: &[Endpoints], sides: &[Side]| {
            let mut unmatched = Unmatched::default();
            let found: Vec<_> =
                entries.iter().flat_map(|entry| networks(entry, cluster, &mut unmatched)).collect();
            for (end, network) in &found {
                let networks = match end {
                    Some(end) => all.ends.entry(end.clone()).or_default(),
                    None => &mut all.outside,
                };
                for side in sides {
                    match side {
                        Side::From => networks.from.insert(*network),
                        Side::To => networks.to.insert(*network),
                    };
                }
            }
            findings
                .extend(entries.iter().filter_map(|entry| misplaced(side, entry, intent.action, cluster)));
            if found.is_empty() {
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
            let message =
                "from and to have networks outside the cluster only: write podCIDRs or nodes on one side";
            findings.push(Finding::new(reason::NO_MATCH, message));
        }
        findings.extend(overlaps::of_pods(&all, cluster));
        findings.extend(overlaps::of_gateways(intent));
        (all, findings)
    }

    /// The nodes with their networks, by name.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&str, &Networks)> {
        self.ends.iter().filter_map(|(end, networks)| match end {
            End::Node(name) => Some((name.as_str(), networks)),
            End::Address(_) => None,
        })
    }

    /// What lies on the `from` side, and at whom; at nobody's what is outside without a gateway.
    pub(crate) fn in_from(&self) -> Vec<(IpNet, Option<&End>)> {
        let all = self.everywhere();
        all.flat_map(|(end, networks)| networks.from.iter().map(move |one| (*one, end))).collect()
    }

    /// What lies on the `to` side, and at whom; at nobody's what is outside without a gateway.
    pub(crate) fn in_to(&self) -> Vec<(IpNet, Option<&End>)> {
        let all = self.everywhere();
        all.flat_map(|(end, networks)| networks.to.iter().map(move |one| (*one, end))).collect()
    }

    fn everywhere(&self) -> impl Iterator<Item = (Option<&End>, &Networks)> {
        self.ends.iter().map(|(end, networks)| (Some(end), networks)).chain([(None, &self.outside)])
    }

    /// What is outside without a gateway, for a node state.
    pub(crate) fn outside(&self) -> Option<OutsideSelectors> {
        let selectors = OutsideSelectors { from: self.outside.in_from(), to: self.outside.in_to() };
        (selectors != OutsideSelectors::default()).then_some(selectors)
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

/// What is wrong with an entry's gateway.
fn misplaced(side: &str, entry: &Endpoints, action: Action, cluster: &Cluster<'_>) -> Option<Finding> {
    let Endpoints::Cidrs { gateway: Some(gateway), cidrs } = entry else { return None };
    match gateway {
        End::Address(address) => cluster.node_with(*address).map(|node| {
            let message = format!(
                "{side}: gateway.address {address} is Node {node}'s: write gateway: {{node: {node}}}"
            );
            Finding::new(reason::INVALID, message)
        }),
        End::Node(name) if cluster.node(name).is_none() => {
            let until = match action {
                Action::Protect => {
                    let cidrs: Vec<String> = cidrs.iter().map(ToString::to_string).collect();
                    let cidrs = in_words(&cidrs, NAMED).unwrap_or_default();
                    format!(": until there is, what goes to cidrs and comes from there is dropped ({cidrs})")
                }
                Action::Bypass | Action::Discard => String::new(),
            };
            let message = format!("{side}: gateway.node: there is no Node {name}{until}");
            Some(Finding::new(reason::NODE_NOT_FOUND, message))
        }
        End::Node(_) => None,
    }
}

fn networks(
    entry: &Endpoints,
    cluster: &Cluster<'_>,
    unmatched: &mut Unmatched,
) -> Vec<(Option<End>, IpNet)> {
    let mut found = Vec::new();
    let at = |node: &str| Some(End::Node(node.to_owned()));
    match entry {
        Endpoints::Cidrs { gateway, cidrs } => {
            let end = match gateway {
                Some(End::Node(node)) if cluster.node(node).is_none() => None,
                gateway => gateway.clone(),
            };
            found.extend(cidrs.iter().map(|cidr| (end.clone(), *cidr)));
        }
        Endpoints::Nodes(selector) => {
            for node in cluster.nodes().filter(|node| selector.matches(&node.labels)) {
                let hosts = node.addresses.iter().copied().map(IpNet::from);
                found.extend(hosts.map(|host| (at(&node.name), host)));
            }
        }
        Endpoints::PodCidrs(selector) => {
            for node in cluster.nodes().filter(|node| selector.matches(&node.labels)) {
                if node.pod_cidrs.is_empty() {
                    unmatched.without_pod_cidrs.push(node.name.clone());
                }
                found.extend(node.pod_cidrs.iter().map(|cidr| (at(&node.name), *cidr)));
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
