//! Where a policy's keys come from.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Duration, SecretKeyRef};
use crate::schema;

/// Where keys come from: at most one of `automatic` and `manual`; `{}` is automatic.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[x_kube(
    validation = Rule::new("!has(self.automatic) || !has(self.manual)")
        .message("keys are either automatic or manual: remove one of the two"),
)]
pub struct Keying {
    /// Nodes agree on keys by themselves and renew them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic: Option<AutomaticKeying>,
    /// Keys come from IpsecSA objects and Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<ManualKeying>,
}

/// How often automatic keys are renewed.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AutomaticKeying {
    /// Age at which a key is renewed, ± 10 %, in hours, minutes and seconds, e.g. `12h30m`. Default: `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub rotate_every: Option<Duration>,
    /// Packets sent on one SA after which its sender's key is renewed, at least 1. Half as many more, and 16777216 at least, end
    /// the SA: its traffic is dropped until there is a new key. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::limit")]
    pub max_packets: Option<i64>,
    /// Bytes sent on one SA after which its sender's key is renewed, at least 1. Half as many more, and 16 GiB at least, end the
    /// SA: its traffic is dropped until there is a new key. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::limit")]
    pub max_bytes: Option<i64>,
    /// The SA that a node sends on to another one is made when the first packet wants it, not ahead; set
    /// net.core.xfrm_larval_drop=0 on the nodes for that packet to wait instead of being dropped. Default: false.
    #[serde(default)]
    pub on_demand: bool,
    /// A secret of the cluster that is mixed into the derivation of keys, so that traffic stays secret even from who breaks
    /// X25519 later (a post-quantum preshared key, RFC 8784's idea): 32 to 1024 bytes of a Secret, from a random generator,
    /// not from a password. Left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ppk_secret_ref: Option<SecretKeyRef>,
}

/// SAs with keys from Secrets.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.securityAssociations.size() > 0")
        .field_path(".securityAssociations")
        .reason(Reason::FieldValueRequired)
        .message("write the names of the IpsecSAs, e.g. securityAssociations: [a-to-b, b-to-a]"),
)]
pub struct ManualKeying {
    /// Names of IpsecSAs, one for each direction between each pair of nodes that the policy covers. 1 to 256.
    #[schemars(schema_with = "schema::object_names", extend("default" = []))]
    // so that the rule's message is read
    pub security_associations: Vec<String>,
}
