//! `IpsecPolicy`: which traffic is protected, how, and with which keys.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{AntiReplay, Duration, Encapsulation, Mark, Mode, Protocol, SecretKeyRef};
use crate::schema;
use crate::traffic::TrafficSelector;

/// Which traffic between which endpoints is protected, let through or dropped (an entry of the Security Policy
/// Database, RFC 4301 §4.4.1), on every node that it concerns.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "esplanade.dev",
    version = "v1alpha1",
    kind = "IpsecPolicy",
    plural = "ipsecpolicies",
    singular = "ipsecpolicy",
    shortname = "ipp",
    category = "esplanade",
    status = "IpsecPolicyStatus",
    derive = "PartialEq",
    doc = "Which traffic between which endpoints is protected, let through or dropped (RFC 4301), on every node that \
           it concerns.",
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.protection.mode"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.nodes.summary"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Programmed")].reason"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.action == 'Protect' || !has(self.protection)")
        .field_path(".protection")
        .reason(Reason::FieldValueForbidden)
        .message("protection is for action: Protect: remove protection, or write action: Protect"),
    validation = Rule::new("self.from.size() > 0")
        .field_path(".from")
        .reason(Reason::FieldValueRequired)
        .message("write at least one entry, e.g. from: [{podCIDRs: {}}] for the pods of all nodes"),
    validation = Rule::new(
        "self.from.size() == 0 || self.from.exists(e, !has(e.cidrs) || (has(e.gateway) && has(e.gateway.node))) || \
         (has(self.to) && self.to.exists(e, !has(e.cidrs) || (has(e.gateway) && has(e.gateway.node))))")
        .message("one side must be in the cluster: with cidrs in from, write podCIDRs, nodes or pods in to"),
    validation = Rule::new("self.action != 'Protect' || self.from.all(e, !has(e.cidrs) || has(e.gateway))")
        .field_path(".from")
        .reason(Reason::FieldValueRequired)
        .message("cidrs in from are protected as far as a gateway: write gateway: {node: NAME} beside them, a node of the \
                  cluster, or gateway: {address: ADDRESS}, a host outside it"),
    validation = Rule::new(
        "self.action != 'Protect' || !has(self.to) || self.to.all(e, !has(e.cidrs) || has(e.gateway))")
        .field_path(".to")
        .reason(Reason::FieldValueRequired)
        .message("cidrs in to are protected as far as a gateway: write gateway: {node: NAME} beside them, a node of the \
                  cluster, or gateway: {address: ADDRESS}, a host outside it"),
    validation = Rule::new(
        "!has(self.protection) || self.protection.mode != 'Transport' || \
         (self.from.all(e, has(e.nodes)) && (!has(self.to) || self.to.all(e, has(e.nodes))))")
        .field_path(".protection.mode")
        .message("mode: Transport protects traffic between the nodes' own addresses: \
                  write only nodes in from and to, e.g. from: [{nodes: {}}], or mode: Tunnel"),
)]
pub struct IpsecPolicySpec {
    /// Order among policies, 0 to 1000; the lowest that matches a packet counts. Of the same priority Discard comes
    /// first, then Protect, then Bypass, then the name. Default: 500.
    #[serde(default = "default_priority")]
    #[schemars(range(min = 0, max = 1000))]
    pub priority: u16,
    /// `Protect`: IPsec. `Bypass`: let through in the clear. `Discard`: drop. Default: `Protect`.
    #[serde(default)]
    pub action: Action,
    /// One side of the traffic; each entry adds endpoints. 1 to 32 entries.
    #[schemars(length(max = 32), extend("default" = []))]
    // so that the rule's message is what a user reads
    pub from: Vec<Endpoints>,
    /// The other side; at most 32 entries. Left out or empty: the same as `from`, so that all its endpoints are covered
    /// among each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub to: Vec<Endpoints>,
    /// Traffic covered; each entry adds some. At most 64 entries. Left out or empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub traffic: Vec<TrafficSelector>,
    /// The mark of the packets covered, in every direction: what arrives has it only where something on the node sets it,
    /// e.g. nftables, or `outputMark` of the SA it came through. Left out: whatever their mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// How traffic is protected; with `action: Protect` only. Default: ESP in tunnel mode with automatic keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<Protection>,
}

fn default_priority() -> u16 {
    500
}

/// What happens to traffic that matches (RFC 4301 §4.4.1).
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Action {
    /// Dropped.
    Discard,
    /// Protected by IPsec.
    #[default]
    Protect,
    /// Let through in the clear.
    Bypass,
}

impl Action {
    /// Of two policies of the same priority that of the lower rank counts, 0 to 2.
    pub fn rank(self) -> u32 {
        match self {
            Self::Discard => 0,
            Self::Protect => 1,
            Self::Bypass => 2,
        }
    }
}

/// Endpoints of one side: exactly one of `podCIDRs`, `nodes`, `pods` and `cidrs`.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "[has(self.podCIDRs), has(self.nodes), has(self.pods), has(self.cidrs)].filter(x, x).size() == 1 || \
         (has(self.gateway) && !has(self.podCIDRs) && !has(self.nodes) && !has(self.pods))")
        .message("write exactly one of podCIDRs, nodes, pods and cidrs; further ones are entries of their own"),
    validation = Rule::new(
        "!has(self.gateway) || has(self.cidrs) || has(self.podCIDRs) || has(self.nodes) || has(self.pods)")
        .field_path(".cidrs")
        .reason(Reason::FieldValueRequired)
        .message("write the networks behind the gateway, e.g. cidrs: [192.0.2.0/24]"),
    validation = Rule::new(
        "!has(self.gateway) || has(self.cidrs) || !(has(self.podCIDRs) || has(self.nodes) || has(self.pods))")
        .field_path(".gateway")
        .reason(Reason::FieldValueForbidden)
        .message("a gateway goes with cidrs, networks outside the cluster: remove gateway"),
)]
pub struct Endpoints {
    /// The pod CIDRs of the nodes that the label selector matches; `{}` matches all nodes.
    #[schemars(schema_with = "schema::label_selector")]
    #[serde(default, rename = "podCIDRs", skip_serializing_if = "Option::is_none")]
    pub pod_cidrs: Option<LabelSelector>,
    /// The own addresses (InternalIP) of the nodes that the label selector matches; `{}` matches all nodes.
    #[schemars(schema_with = "schema::label_selector")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<LabelSelector>,
    /// Pods by their own and their namespace's labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodSelectors>,
    /// Networks outside the cluster, e.g. 192.0.2.0/24. 1 to 64. Where they contain addresses of nodes or pods, as 0.0.0.0/0
    /// does, these are covered as well: policies for them need a lower `priority`. What stays on one node never is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::networks")]
    pub cidrs: Option<Vec<String>>,
    /// The gateway in front of `cidrs`. With `action: Protect` there must be one. With `Bypass` and `Discard` all nodes of the
    /// other side treat what goes to and from `cidrs`; with a node as the gateway that one does too, for what it forwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
}

/// Pods by labels.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PodSelectors {
    /// Labels of the namespace. Left out or `{}`: all namespaces.
    #[schemars(schema_with = "schema::label_selector")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Labels of the pod. Left out or `{}`: all pods.
    #[schemars(schema_with = "schema::label_selector")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}

/// Where protection ends on the way to networks outside the cluster: a node of the cluster, or a host outside it.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[x_kube(
    validation = Rule::new("has(self.node) != has(self.address)")
        .message("write either node: NAME, a node of the cluster, or address: ADDRESS, a host outside it"),
)]
pub struct Gateway {
    /// IPv4 or IPv6 address of an IPsec gateway outside the cluster; with manual keys only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::host_address")]
    pub address: Option<String>,
    /// Name of a Node that forwards between `cidrs` and the other nodes. What its own pods send to `cidrs` isn't touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub node: Option<String>,
}

/// How traffic is protected.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.keying.manual) || !has(self.suite)")
        .field_path(".suite")
        .reason(Reason::FieldValueForbidden)
        .message("with manual keys each IpsecSA names its algorithms: remove suite here"),
    validation = Rule::new("!has(self.keying.manual) || !has(self.antiReplay)")
        .field_path(".antiReplay")
        .reason(Reason::FieldValueForbidden)
        .message("with manual keys each IpsecSA has its own antiReplay: remove it here"),
    validation = Rule::new("!has(self.keying.manual) || !has(self.encapsulation)")
        .field_path(".encapsulation")
        .reason(Reason::FieldValueForbidden)
        .message("with manual keys each IpsecSA has its own encapsulation: remove it here"),
    validation = Rule::new("!has(self.keying.manual) || !self.perCPU")
        .field_path(".perCPU")
        .reason(Reason::FieldValueForbidden)
        .message("with manual keys there is an IpsecSA for each CPU: remove perCPU here, and write IpsecSAs with cpu: 0, \
                  cpu: 1 and so on beside those without"),
    validation = Rule::new(
        "has(self.keying.manual) || !has(self.suite) || self.protocol != 'ESP' || !self.suite.startsWith('HMAC-')")
        .field_path(".suite")
        .message("this suite doesn't encrypt: with ESP write one that does, e.g. AES-GCM-16-256, \
                  or write protocol: AH"),
    validation = Rule::new(
        "has(self.keying.manual) || self.protocol != 'AH' || (has(self.suite) && self.suite.startsWith('HMAC-'))")
        .field_path(".suite")
        .reason(Reason::FieldValueRequired)
        .message("AH needs a suite that only authenticates: write suite: HMAC-SHA2-256-128 or HMAC-SHA2-512-256"),
    validation = Rule::new("self.mode != 'IPTFS' || self.protocol == 'ESP'")
        .field_path(".mode")
        .message("mode: IPTFS is ESP's (RFC 9347): write protocol: ESP, or mode: Tunnel"),
    validation = Rule::new("self.mode != 'BEET' || self.protocol != 'AH'")
        .field_path(".mode")
        .message("mode: BEET is ESP's (draft-nikander-esp-beet-mode): write protocol: ESP, or mode: Tunnel"),
    validation = Rule::new("self.protocol != 'IPComp' || has(self.keying.manual)")
        .field_path(".protocol")
        .message("IPComp alone has no keys: write protocol: ESP and compression: Deflate, or keying: {manual: \
                  {securityAssociations: [NAME, …]}} with IpsecSAs of protocol: IPComp"),
    validation = Rule::new("self.compression == 'None' || self.protocol == 'ESP'")
        .field_path(".compression")
        .reason(Reason::FieldValueForbidden)
        .message("compression goes before ESP: write protocol: ESP, or remove compression"),
    validation = Rule::new("self.mode != 'BEET' || (self.compression == 'None' && self.protocol != 'IPComp')")
        .field_path(".mode")
        .message("IPComp has no mode BEET: write mode: Tunnel or Transport, or protocol: ESP without compression"),
    validation = Rule::new("self.mode != 'IPTFS' || self.compression == 'None'")
        .field_path(".mode")
        .message("IPComp has no mode IPTFS: write mode: Tunnel, or remove compression"),
    validation = Rule::new("self.offload == 'None' || self.protocol == 'ESP'")
        .field_path(".offload")
        .reason(Reason::FieldValueForbidden)
        .message("devices take only ESP's work: write protocol: ESP, or remove offload"),
    validation = Rule::new(
        "has(self.keying.manual) || self.protocol != 'AH' || !has(self.encapsulation) || \
         self.encapsulation.type != 'UDP'")
        .field_path(".encapsulation")
        .reason(Reason::FieldValueForbidden)
        .message("only ESP goes in UDP (RFC 3948): write protocol: ESP, or remove encapsulation"),
)]
pub struct Protection {
    /// `Tunnel`: the whole packet inside a new one. `Transport`: the payload only, for traffic between the nodes' own
    /// addresses. `BEET`: a tunnel with ESP whose inner addresses are fixed and not sent, for the hosts that the
    /// IpsecSAs' selectors name. `IPTFS`: a tunnel with ESP that carries packets together and in pieces (RFC 9347).
    /// Default: `Tunnel`.
    #[serde(default)]
    pub mode: Mode,
    /// `ESP` encrypts and authenticates (RFC 4303). `AH` authenticates only (RFC 4302). `IPComp` only compresses, and
    /// protects nothing (RFC 3173). Default: `ESP`.
    #[serde(default)]
    pub protocol: Protocol,
    /// `None` or `Deflate` (IPComp, RFC 3173): packets are compressed before ESP, where that makes them shorter. Takes an
    /// IpsecSA of protocol IPComp beside the one of ESP, each of the policy's mode. In a tunnel only packets of the SAs'
    /// own address family. Default: `None`.
    #[serde(default)]
    pub compression: Compression,
    /// Algorithms, with automatic keys, by their names in RFC 8221; with AH `HMAC-SHA2-256-128` or `HMAC-SHA2-512-256`.
    /// Default with ESP: `AES-GCM-16-256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<Suite>,
    /// `Strict`: clear text that must be protected is dropped on arrival. `Permissive`: it is accepted; what is sent is
    /// protected either way. Default: `Strict`.
    #[serde(default)]
    pub enforcement: Enforcement,
    /// Where keys come from: `automatic` or `manual`. Default: automatic.
    #[serde(default)]
    pub keying: Keying,
    /// Protection against replays, with automatic keys. Default: a window of 1024 packets and extended sequence
    /// numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = replay_protected)]
    pub anti_replay: Option<AntiReplay>,
    /// ESP in UDP, with automatic keys. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encapsulation: Option<Encapsulation>,
    /// An SA for each CPU (RFC 9611), with automatic keys, where kernels can. With manual keys each IpsecSA has its own
    /// `cpu`. Default: false.
    #[serde(default, rename = "perCPU")]
    pub per_cpu: bool,
    /// Work left to network devices: on each node the one that has the SA's own address. `None`. `Crypto`: encryption and
    /// decryption of ESP that isn't in UDP; where kernel or device can't, the IpsecSA says so and its traffic is dropped.
    /// `Packet`: everything, policies too. Default: `None`.
    #[serde(default)]
    pub offload: Offload,
    /// XFRM interface id (`if_id`) of policies and SAs, 0 to 4294967295; 0 is none. With one, just what goes through an
    /// XFRM interface with that id is protected, which is for others to make; all else stays as it is. Default: 0.
    #[serde(default)]
    #[schemars(schema_with = "schema::word")]
    pub interface_id: u32,
    /// ICMP errors about protected traffic are protected as that is, and accepted through its SAs (RFC 4301 §6.2; flag
    /// `icmp`). Else an error that no policy covers by itself is sent in the clear, and one that comes through a tunnel is
    /// dropped. Errors that a node forwards for others need Linux 6.8. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub icmp_errors: bool,
    /// Sets the flag `localok`, by which users may override the policy. No kernel so far looks at it: what a program asks
    /// of its own socket goes before in any case. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local_override: bool,
}

/// The API server fills in what the documentation of `antiReplay` promises.
fn replay_protected(anti_replay: &mut schemars::Schema) {
    let defaults = [
        ("window", 1024.into(), "Default: 0.", "Default: 1024."),
        ("extendedSequenceNumbers", true.into(), "Default: false.", "Default: true."),
    ];
    for (name, default, from, to) in defaults {
        let property = anti_replay.pointer_mut(&format!("/properties/{name}"));
        if let Some(property) = property.and_then(serde_json::Value::as_object_mut) {
            property.insert("default".to_owned(), default);
            let description = property.get("description").and_then(|text| text.as_str()).unwrap_or_default();
            let description = description.replace(from, to);
            property.insert("description".to_owned(), description.into());
        }
    }
}

/// IP payload compression.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// None.
    #[default]
    None,
    /// DEFLATE (RFC 2394).
    Deflate,
}

impl Compression {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// Work left to network devices (Documentation/networking/xfrm_device.rst).
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Offload {
    /// None.
    #[default]
    None,
    /// Encryption and decryption.
    Crypto,
    /// Everything, policies too.
    Packet,
}

impl Offload {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// Algorithms of a policy with automatic keys, by their names in RFC 8221.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[schemars(transform = schema::undescribed)]
pub enum Suite {
    /// AES-GCM, 128-bit key (RFC 4106).
    #[serde(rename = "AES-GCM-16-128")]
    AesGcm128,
    /// AES-GCM, 256-bit key (RFC 4106).
    #[default]
    #[serde(rename = "AES-GCM-16-256")]
    AesGcm256,
    /// ChaCha20 and Poly1305 (RFC 7634).
    #[serde(rename = "CHACHA20-POLY1305")]
    ChaCha20Poly1305,
    /// AES-CBC, 128-bit key, with HMAC-SHA2-256-128.
    #[serde(rename = "AES-CBC-128-HMAC-SHA2-256-128")]
    AesCbc128Sha256,
    /// AES-CBC, 256-bit key, with HMAC-SHA2-256-128.
    #[serde(rename = "AES-CBC-256-HMAC-SHA2-256-128")]
    AesCbc256Sha256,
    /// AES-CBC, 256-bit key, with HMAC-SHA2-512-256.
    #[serde(rename = "AES-CBC-256-HMAC-SHA2-512-256")]
    AesCbc256Sha512,
    /// Integrity only, for AH.
    #[serde(rename = "HMAC-SHA2-256-128")]
    Sha256,
    /// Integrity only, for AH.
    #[serde(rename = "HMAC-SHA2-512-256")]
    Sha512,
}

/// What happens to clear text on arrival.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Enforcement {
    /// Dropped.
    #[default]
    Strict,
    /// Accepted.
    Permissive,
}

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

/// What became of an IpsecPolicy.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct IpsecPolicyStatus {
    /// In a word: `Pending`, `Prepare`, `Encrypt`, `Enforce` (what nodes have been told and confirmed), `Updating` (an
    /// edit of a policy in force is followed, step by step), `Ready` (confirmed everywhere), `Degraded` (something is wrong: see conditions) or `Rejected` (not accepted).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub phase: Option<String>,
    /// How many nodes the policy concerns, and how many have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeCounts>,
    /// The first few problems in words, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub problems: Vec<String>,
    /// Accepted, ResolvedRefs, Programmed, Encrypted; Conflicted while another policy contradicts this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

/// How far the nodes are.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeCounts {
    /// Nodes that the policy concerns.
    pub desired: u32,
    /// Of them, nodes whose kernel has it as it should be.
    pub ready: u32,
    /// `ready/desired`, for people.
    pub summary: String,
}
