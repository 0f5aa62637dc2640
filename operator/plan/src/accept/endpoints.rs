//! The endpoints on one side of a policy.

use esplanade_crds::Action;
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector;

use super::{End, Endpoints, invalid};
use crate::finding::Finding;

/// `side` is `from` or `to`. Pods are refused elsewhere, as unimplemented.
pub(super) fn parse(
    side: &str,
    entry: &esplanade_crds::Endpoints,
    action: Action,
) -> Result<Endpoints, Finding> {
    let crowded = || {
        invalid(format!(
            "{side}: each entry has exactly one of podCIDRs, nodes, pods and cidrs; write further ones as \
             entries of their own"
        ))
    };
    let gateway = entry.gateway.as_ref();
    match (&entry.pod_cidrs, &entry.nodes, &entry.cidrs) {
        (Some(labels), None, None) if gateway.is_none() => Ok(Endpoints::PodCidrs(selector(side, labels)?)),
        (None, Some(labels), None) if gateway.is_none() => Ok(Endpoints::Nodes(selector(side, labels)?)),
        (None, None, Some(cidrs)) => {
            let gateway = gateway.map(|gateway| self::gateway(side, gateway)).transpose()?;
            if gateway.is_none() && action == Action::Protect {
                return Err(invalid(format!(
                    "{side}: cidrs are networks outside the cluster, which are protected as far as a gateway: write gateway: \
                     {{node: NAME}} beside cidrs, a node of the cluster, or gateway: {{address: ADDRESS}}, a host outside it"
                )));
            }
            let cidrs = cidrs.iter().map(|cidr| network(side, cidr)).collect::<Result<Vec<_>, _>>()?;
            if cidrs.is_empty() {
                return Err(invalid(format!("{side}: cidrs: write at least one network, e.g. 192.0.2.0/24")));
            }
            Ok(Endpoints::Cidrs { gateway, cidrs })
        }
        (None, None, None) if gateway.is_some() => Err(invalid(format!(
            "{side}: a gateway is for cidrs behind it: write cidrs and gateway: {{node: …}} or {{address: …}} together"
        ))),
        _ if gateway.is_some() => {
            Err(invalid(format!("{side}: a gateway is for cidrs outside the cluster: remove gateway")))
        }
        _ => Err(crowded()),
    }
}

fn gateway(side: &str, gateway: &esplanade_crds::Gateway) -> Result<End, Finding> {
    match (&gateway.node, &gateway.address) {
        (Some(node), None) => Ok(End::Node(node.clone())),
        (None, Some(address)) => address.parse().map(End::Address).map_err(|_| {
            invalid(format!(
                "{side}: gateway.address must be an IPv4 or IPv6 address, without a prefix length"
            ))
        }),
        _ => Err(invalid(format!(
            "{side}: gateway: write either node: NAME (a node of the cluster) or address: an IP address outside it"
        ))),
    }
}

fn network(side: &str, text: &str) -> Result<IpNet, Finding> {
    match text.parse::<IpNet>() {
        Ok(network) if network.trunc() == network => Ok(network),
        _ => Err(invalid(format!(
            "{side}: each entry of cidrs must be a network with its prefix length and without host bits, \
             e.g. 192.0.2.0/24; {text:?} isn't"
        ))),
    }
}

/// As the API server treats label selectors (`LabelSelectorAsSelector`).
fn selector(side: &str, labels: &LabelSelector) -> Result<Selector, Finding> {
    for requirement in labels.match_expressions.iter().flatten() {
        let values = requirement.values.as_ref().is_some_and(|values| !values.is_empty());
        let (key, operator) = (&requirement.key, &requirement.operator);
        let wrong = match operator.as_str() {
            "In" | "NotIn" if !values => "needs values",
            "Exists" | "DoesNotExist" if values => "takes no values",
            "In" | "NotIn" | "Exists" | "DoesNotExist" => continue,
            _ => "is no operator: write In, NotIn, Exists or DoesNotExist",
        };
        return Err(invalid(format!("{side}: matchExpressions, key {key}: operator {operator:?} {wrong}")));
    }
    labels.clone().try_into().map_err(|error| invalid(format!("{side}: {error}")))
}
