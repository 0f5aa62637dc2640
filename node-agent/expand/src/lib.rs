//! Pure expansion: a node's desired state, every node's selectors and the node's sealing key → the SAs and policies
//! that its kernel should hold.
//!
//! Both ends of an SA, and every restart, come to the same reqids, priorities and selectors without being told.

mod automatic;
mod beside;
mod error;
mod exempt;
mod keys;
mod lifetime;
mod mapping;
mod mark;
mod offload;
mod opened;
mod participant;
mod policies;
mod ports;
mod priority;
mod reqid;
mod sa_selector;
mod sas;
mod selectors;

use std::collections::BTreeMap;

use esplanade_crds::{IpsecNodeStateSpec, IpsecPeerSpec, Problem};
use esplanade_model::{Capabilities, Unnumbered, Wanted};
use esplanade_seal::KeyPair;

pub use automatic::{AutomaticSa, address_pairs, require_automatic, unsupported};
pub(crate) use error::SaError;
pub use exempt::{exemptions, keepalives, passing_through, path_mtu, uncovered, within};
pub use mapping::{Followed, Mappings, followed};
pub use offload::{Asked, Device, place};
pub use opened::OpenedKeys;
pub use reqid::of_policy as reqid_of_policy;

/// What a kernel should hold, and what of the desired state it can't.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expansion {
    /// What the kernel should hold.
    pub wanted: Wanted,
    /// What is wrong with single objects; the others are in `wanted`. SAs first, each kind by name.
    pub problems: Vec<Problem>,
}

/// The inbound SAs of `spec`, by the names of their IpsecSAs, whose SPIs the kernel of `node` is to choose.
pub fn unnumbered(node: &str, spec: &IpsecNodeStateSpec, kernel: &Capabilities) -> Vec<(String, Unnumbered)> {
    sas::unnumbered(node, spec, kernel)
}

/// What the kernel of `node` should hold: `spec` is its IpsecNodeState's, `peers` every node's IpsecPeer's by name
/// (`node`'s own too), `keys` the key pair that the node's manual keys are sealed to, `kernel` what the kernel can do.
pub fn expand(
    node: &str,
    spec: &IpsecNodeStateSpec,
    peers: &BTreeMap<String, IpsecPeerSpec>,
    keys: Option<&KeyPair>,
    kernel: &Capabilities,
) -> Expansion {
    expand_again(node, spec, peers, keys, kernel, &mut OpenedKeys::default())
}

/// The same, after other expansions with the same key pair: what they opened isn't opened again.
pub fn expand_again(
    node: &str,
    spec: &IpsecNodeStateSpec,
    peers: &BTreeMap<String, IpsecPeerSpec>,
    keys: Option<&KeyPair>,
    kernel: &Capabilities,
    opened: &mut OpenedKeys,
) -> Expansion {
    let opener = keys::Opener::new(keys, opened);
    let sas = sas::expand(node, spec, &opener, kernel);
    *opened = opener.into_opened();
    let policies = policies::expand(node, &spec.policies, peers, &sas.tunnels, kernel);
    let mut problems = sas.problems;
    problems.extend(policies.problems);
    Expansion { wanted: Wanted { sas: sas.wanted, policies: policies.wanted, hold: sas.hold }, problems }
}
