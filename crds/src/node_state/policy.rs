//! The policies of one node, and how far each is switched on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sealed::SealedKey;
use crate::common::{AntiReplay, Mark, Mode, Protocol};
use crate::policy::{Action, Compression, Offload, Suite};
use crate::schema;
use crate::traffic::TrafficSelector;

/// A policy as one node has to know it. Who is on which side stands in every node's IpsecPeer, under its name.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NodePolicy {
    /// Name of the IpsecPolicy.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Changes when selectors or algorithms change; each revision walks the phases anew.
    pub revision: String,
    /// How far this node should go.
    pub phase: Phase,
    /// With automatic keys: how far the policy is to be switched on in the end. Below that a node doesn't go back, whatever
    /// `phase` says: it could be that of an older object.
    #[serde(default, skip_serializing_if = "PhaseTarget::is_enforce")]
    pub target: PhaseTarget,
    /// `spec.priority` of the IpsecPolicy.
    pub priority: u16,
    /// `spec.action` of the IpsecPolicy.
    pub action: Action,
    /// With Protect: the mode.
    pub mode: Mode,
    /// With Protect: the protocol.
    pub protocol: Protocol,
    /// With Protect: compression before it.
    #[serde(default, skip_serializing_if = "Compression::is_none")]
    pub compression: Compression,
    /// With Protect: XFRM interface id of the policies in the kernel; 0 is none.
    #[serde(default, skip_serializing_if = "crate::sa::is_zero")]
    pub interface_id: u32,
    /// `spec.mark` of the IpsecPolicy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::unchecked)]
    pub mark: Option<Mark>,
    /// With Protect: ICMP errors about the traffic are protected as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub icmp_errors: bool,
    /// With Protect: work left to network devices.
    #[serde(default, skip_serializing_if = "Offload::is_none")]
    pub offload: Offload,
    /// With Protect: the flag `localok`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local_override: bool,
    /// `spec.traffic` of the IpsecPolicy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = schema::unchecked)]
    pub traffic: Vec<TrafficSelector>,
    /// Gateways outside the cluster, which have no IpsecPeer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<GatewaySelectors>,
    /// Networks outside the cluster that no gateway is for. With Protect they have none any more, or not yet: what goes there
    /// and comes from there is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<OutsideSelectors>,
    /// With automatic keys: how its SAs are made. Left out: it has none, or IpsecSAs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic: Option<NodeAutomaticKeying>,
}

/// How the SAs of a policy with automatic keys are made.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NodeAutomaticKeying {
    /// Algorithms.
    pub suite: Suite,
    /// Protection against replays.
    pub anti_replay: AntiReplay,
    /// Age at which a key is renewed, ± 10 %, in seconds.
    pub rotate_seconds: u32,
    /// Packets sent on one SA after which the key is renewed. Left out: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_packets: Option<i64>,
    /// Bytes sent on one SA after which the key is renewed. Left out: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<i64>,
    /// The post-quantum preshared key that the SAs' keys depend on. The revision changes with the version of its Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ppk: Option<SealedKey>,
    /// SAs are made when the first packet wants one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_demand: bool,
}

/// How far a policy is switched on.
#[derive(
    Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default,
)]
pub enum Phase {
    /// Inbound SAs; inbound policies with an optional template: clear text is still sent and accepted.
    #[default]
    Prepare,
    /// What is sent is protected; clear text is still accepted.
    Encrypt,
    /// Clear text is dropped.
    Enforce,
}

/// How far a policy is to be switched on in the end.
#[derive(
    Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default,
)]
pub enum PhaseTarget {
    /// It is being switched off. (Not `Off`, which is `false` in YAML 1.1.)
    Absent,
    /// As with `enforcement: Permissive`.
    Encrypt,
    /// As with `enforcement: Strict`.
    #[default]
    Enforce,
}

impl PhaseTarget {
    #[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
    fn is_enforce(&self) -> bool {
        *self == Self::Enforce
    }

    /// The phase that it ends at; none for `Absent`.
    pub fn phase(self) -> Option<Phase> {
        match self {
            Self::Absent => None,
            Self::Encrypt => Some(Phase::Encrypt),
            Self::Enforce => Some(Phase::Enforce),
        }
    }
}

impl From<Phase> for PhaseTarget {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Prepare => Self::Absent,
            Phase::Encrypt => Self::Encrypt,
            Phase::Enforce => Self::Enforce,
        }
    }
}

impl NodePolicy {
    /// The phase that a node which has `reached` one is to be in.
    pub fn phase_from(&self, reached: Option<Phase>) -> Phase {
        let told = (Some(self.phase), self.target.phase());
        phase_from(told, reached).unwrap_or(self.phase)
    }
}

/// Where a node that has `reached` some phase, or none, is to be: as told, but not lower than it has come on the way to where
/// it is told to end. Only who says that a policy is switched off can have clear text back.
pub fn phase_from<P: Ord>((told, target): (P, P), reached: P) -> P {
    told.max(reached.min(target))
}

/// A gateway's networks in a policy.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
pub struct GatewaySelectors {
    /// The gateway's address.
    pub address: String,
    /// Its networks on the policy's `from` side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// Its networks on the policy's `to` side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
}

/// Networks outside the cluster in a policy, whoever they are behind.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq, Default)]
pub struct OutsideSelectors {
    /// Those on the policy's `from` side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// Those on the policy's `to` side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
}
