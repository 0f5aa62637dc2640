//! The two ends of an SA and their addresses.

use std::net::IpAddr;

use esplanade_crds::conditions::reason;
use esplanade_crds::{IpFamily, ResolvedEndpoint};

use crate::accept::{End, SaIntent};
use crate::cluster::Cluster;
use crate::finding::Finding;
use crate::snapshot::NodeView;

/// Where packets come from and go to; both addresses are of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
}

impl Ends {
    /// For a node state.
    pub(crate) fn endpoints(&self, intent: &SaIntent) -> (ResolvedEndpoint, ResolvedEndpoint) {
        let endpoint = |end: &End, address: IpAddr| {
            let node = match end {
                End::Node(name) => Some(name.clone()),
                End::Address(_) => None,
            };
            ResolvedEndpoint { node, address: address.to_string() }
        };
        (endpoint(&intent.source, self.source), endpoint(&intent.destination, self.destination))
    }
}

/// The addresses of both ends; everything that is wrong otherwise.
pub(crate) fn ends(intent: &SaIntent, cluster: &Cluster<'_>) -> Result<Ends, Vec<Finding>> {
    let mut findings = Vec::new();
    let sides = [("source", &intent.source), ("destination", &intent.destination)];
    for (side, end) in sides {
        findings.extend(missing(side, end, cluster));
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let ipv4 = match (intent.family, &intent.source, &intent.destination) {
        (Some(family), ..) => family == IpFamily::IPv4,
        (None, End::Address(address), _) | (None, _, End::Address(address)) => address.is_ipv4(),
        // It has one, seen above.
        (None, End::Node(source), _) => {
            cluster.node(source).and_then(|node| node.addresses.first()).is_none_or(IpAddr::is_ipv4)
        }
    };
    let mut addresses = sides.into_iter().map(|(side, end)| match end {
        End::Address(address) => Ok(*address),
        End::Node(name) => {
            let node = cluster.node(name);
            let fitting = node.and_then(|node| node.addresses.iter().find(|one| one.is_ipv4() == ipv4));
            fitting.copied().ok_or_else(|| no_family(side, name, node, ipv4))
        }
    });
    match (addresses.next(), addresses.next()) {
        (Some(Ok(source)), Some(Ok(destination))) => Ok(Ends { source, destination }),
        (source, destination) => {
            Err([source, destination].into_iter().flatten().filter_map(Result::err).collect())
        }
    }
}

/// What is wrong with an end, whatever the address family.
fn missing(side: &str, end: &End, cluster: &Cluster<'_>) -> Option<Finding> {
    match end {
        End::Address(address) => cluster.node_with(*address).map(|node| {
            Finding::new(
                reason::INVALID,
                format!("{side}.address {address} is Node {node}'s: write {side}: {{node: {node}}}"),
            )
        }),
        End::Node(name) => match cluster.node(name) {
            None => {
                Some(Finding::new(reason::NODE_NOT_FOUND, format!("{side}.node: there is no Node {name}")))
            }
            Some(node) if node.addresses.is_empty() => Some(Finding::new(
                reason::NO_ADDRESS,
                format!("{side}.node: Node {name} has no address of type InternalIP"),
            )),
            Some(_) => None,
        },
    }
}

fn no_family(side: &str, name: &str, node: Option<&NodeView>, ipv4: bool) -> Finding {
    let has: Vec<String> =
        node.iter().flat_map(|node| node.addresses.iter().map(ToString::to_string)).collect();
    let (wanted, other) = if ipv4 { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
    Finding::new(
        reason::NO_ADDRESS,
        format!(
            "{side}.node: Node {name} has no {wanted} address of type InternalIP, only {}: if both ends \
             have an {other} address, write ipFamily: {other}",
            has.join(", ")
        ),
    )
}
