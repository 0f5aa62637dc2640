//! The API of `esplanade.dev/v1alpha1`: what users write ([`IpsecPolicy`], [`IpsecSA`]) and what the operator and the
//! node agents tell each other ([`IpsecNodeState`], [`IpsecPeer`]).
//!
//! The CRD manifests are generated from these types ([`all`]); they are what the API server enforces. Everything here
//! is plain data: validation that needs the cluster is the planner's.

#![allow(clippy::duplicated_attributes)] // printcolumn(…) of different columns
#![allow(unreachable_pub)] // KubeSchema's hidden copies of the public types

mod common;
/// Annotation of an IpsecNodeState: a time (RFC 3339). The node renews a key that is older.
pub const ROTATE_ANNOTATION: &str = "esplanade.dev/rotate-keys-before";
/// Annotation of an IpsecNodeState: UIDs of IpsecPolicies, divided by commas. The node gives them up where it keeps them
/// although its spec names them no more.
pub const GIVE_UP_ANNOTATION: &str = "esplanade.dev/give-up-policies";
pub mod conditions;
mod encapsulation;
mod finish;
mod iptfs;
mod node_state;
mod peer;
mod policy;
mod sa;
mod schema;
mod traffic;

pub use common::{
    AntiReplay, Duration, Encapsulation, EncapsulationType, IpFamily, Mark, Mode, Protocol, SecretKeyRef,
    seconds,
};
pub use encapsulation::{ESP_IN_UDP, SaEncapsulation, UdpPorts};
pub use iptfs::Iptfs;
pub use node_state::{
    AllocatedSpi, Counts, GatewaySelectors, IpsecNodeState, IpsecNodeStateSpec, IpsecNodeStateStatus, Kernel,
    NodeAutomaticKeying, NodeEncryption, NodeIntegrity, NodeKeys, NodePolicy, NodeSaSelector,
    NodeSecurityAssociation, OutsideSelectors, Phase, PhaseTarget, PolicyInKernel, Problem, ProblemKind,
    ResolvedEndpoint, RetiringSecurityAssociation, SealedKey, SealingKey, SecretVersion, phase_from,
};
pub use peer::{IpsecPeer, IpsecPeerSpec, IpsecPeerStatus, PeerSelectors, PublishedKey};
pub use policy::{
    Action, AutomaticKeying, Compression, Endpoints, Enforcement, Gateway, IpsecPolicy, IpsecPolicySpec,
    IpsecPolicyStatus, Keying, ManualKeying, NodeCounts, Offload, PodSelectors, Protection, Suite,
};
pub use sa::{
    Encryption, Integrity, IpsecSA, IpsecSASpec, IpsecSAStatus, Lifetime, LifetimeLimits, SaEndpoint,
    SaSelector,
};
pub use traffic::{TrafficProtocol, TrafficSelector};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The API group of every kind here.
pub const GROUP: &str = "esplanade.dev";
/// The version of every kind here.
pub const VERSION: &str = "v1alpha1";

/// Every CRD with the name of its manifest's file (the plural name, without an extension).
pub fn all() -> Vec<(&'static str, CustomResourceDefinition)> {
    let crds = [
        ("ipsecpolicies", IpsecPolicy::crd()),
        ("ipsecsas", IpsecSA::crd()),
        ("ipsecnodestates", finish::without_rules(IpsecNodeState::crd(), "spec")),
        ("ipsecpeers", IpsecPeer::crd()),
    ];
    crds.into_iter().map(|(name, crd)| (name, finish::crd(crd))).collect()
}

#[cfg(test)]
mod tests;
