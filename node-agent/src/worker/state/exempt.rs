//! What must pass whatever is wanted.

use std::collections::BTreeSet;
use std::net::IpAddr;

use esplanade_crds::conditions::reason;
use esplanade_crds::{Problem, ProblemKind};
use esplanade_expand::{exemptions, keepalives, passing_through, path_mtu, uncovered, within};
use esplanade_model::{Policy, PolicyKey, Wanted};
use ipnet::IpNet;

use crate::desired::Input;
use crate::settings::NotBlocked;

/// What is wanted with what must pass whatever is wanted; the names of what must pass a default action that blocks.
pub(super) fn exempted(node: &str, input: &Input, mut wanted: Wanted) -> (Wanted, Vec<PolicyKey>) {
    let api_server = &input.api_server;
    let mut exempt = uncovered(api_server, &wanted.policies);
    let (mut keys, mut through) = (Vec::new(), Vec::new());
    let own = own_addresses(node, input);
    if !input.block {
        let pods = input.spec.pod_cidrs.iter().filter_map(|cidr| cidr.parse().ok());
        let own = own.iter().copied().map(IpNet::from).chain(pods).collect();
        exempt.extend(within(&own, &wanted.policies));
    } else {
        exempt.extend(exemptions(api_server, own.iter().copied()));
        exempt.extend(keepalives(&wanted.sas));
        exempt.extend(path_mtu(&wanted.policies, &own));
        keys = exempt.iter().map(Policy::key).collect();
        through = passing_through(&wanted.policies, &own);
    }
    // Of two with one name the first counts.
    let exempt = exempt.into_iter().map(|policy| (String::new(), policy));
    wanted.policies = exempt.chain(wanted.policies).chain(through).collect();
    (wanted, keys)
}

/// What the node's IpsecPeer says that its addresses are.
fn own_addresses(node: &str, input: &Input) -> BTreeSet<IpAddr> {
    let own = input.peers.get(node).into_iter().flat_map(|peer| &peer.addresses);
    own.filter_map(|address| address.parse().ok()).collect()
}

pub(super) fn not_blocked(node: &str, why: &NotBlocked) -> Problem {
    let category = match why {
        NotBlocked::Unknown => reason::UNSUPPORTED_BY_KERNEL,
        NotBlocked::Missing(_) => reason::CONFLICTED,
        NotBlocked::Refused(_) => reason::KERNEL_ERROR,
    };
    let (name, message) = (node.to_owned(), why.to_string());
    Problem { kind: ProblemKind::Node, name, category: category.to_owned(), message }
}
