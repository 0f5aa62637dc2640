//! `IpsecSA`: one direction of one manually keyed security association.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{AntiReplay, Duration, IpFamily, Mark, Mode, Protocol, SecretKeyRef};
use crate::encapsulation::SaEncapsulation;
use crate::iptfs::Iptfs;
use crate::schema;
use crate::traffic::TrafficSelector;

/// One direction of one manually keyed security association (RFC 4301 §4.1): packets from `source` to `destination`.
///
/// Two of them, one for each direction, named by an IpsecPolicy with `keying.manual`, protect the traffic between two
/// nodes. Manual keys are never renewed by themselves: prefer `keying.automatic` where you can.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "esplanade.dev",
    version = "v1alpha1",
    kind = "IpsecSA",
    plural = "ipsecsas",
    singular = "ipsecsa",
    shortname = "ipsa",
    category = "esplanade",
    status = "IpsecSAStatus",
    derive = "PartialEq",
    doc = "One direction of one manually keyed security association (RFC 4301): packets from source to destination. \
           Named by an IpsecPolicy with keying.manual.",
    printcolumn(name = "Source", type_ = "string", json_path = ".spec.source.*"),
    printcolumn(name = "Destination", type_ = "string", json_path = ".spec.destination.*"),
    printcolumn(name = "Protocol", type_ = "string", json_path = ".spec.protocol"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "SPI", type_ = "integer", json_path = ".*.spi"),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Programmed")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Programmed")].reason"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "!(has(self.source.node) && has(self.destination.node)) || self.source.node != self.destination.node")
        .field_path(".destination")
        .message("source and destination are the same node: an SA goes from one node to another"),
    validation = Rule::new("!(has(self.source.address) && has(self.destination.address))")
        .message("one end must be a node of the cluster: write source: {node: NAME} or destination: {node: NAME}"),
    validation = Rule::new(
        "!has(self.ipFamily) || \
         ((!has(self.source.address) || !isIP(self.source.address) || \
           ip(self.source.address).family() == (self.ipFamily == 'IPv4' ? 4 : 6)) && \
          (!has(self.destination.address) || !isIP(self.destination.address) || \
           ip(self.destination.address).family() == (self.ipFamily == 'IPv4' ? 4 : 6)))")
        .field_path(".ipFamily")
        .message("ipFamily isn't that of the end given by address: remove ipFamily, or write the address's"),
    validation = Rule::new("self.protocol != 'ESP' || has(self.encryption)")
        .field_path(".encryption")
        .reason(Reason::FieldValueRequired)
        .message("ESP needs encryption: \
                  write encryption: {algorithm: AES-CBC-256, keySecretRef: {name: SECRET, key: KEY}}"),
    validation = Rule::new("self.protocol != 'AH' || !has(self.encryption)")
        .field_path(".encryption")
        .reason(Reason::FieldValueForbidden)
        .message("AH doesn't encrypt: remove encryption, or write protocol: ESP"),
    validation = Rule::new("self.protocol != 'AH' || has(self.integrity)")
        .field_path(".integrity")
        .reason(Reason::FieldValueRequired)
        .message("AH needs integrity: \
                  write integrity: {algorithm: HMAC-SHA2-256-128, keySecretRef: {name: SECRET, key: KEY}}"),
    validation = Rule::new("self.protocol != 'IPComp' || !(has(self.encryption) || has(self.integrity))")
        .message("IPComp only compresses: remove encryption and integrity, or write protocol: ESP"),
    validation = Rule::new("self.protocol != 'IPComp' || !has(self.antiReplay)")
        .field_path(".antiReplay")
        .reason(Reason::FieldValueForbidden)
        .message("IPComp has no sequence numbers: remove antiReplay"),
    validation = Rule::new("self.protocol != 'IPComp' || !has(self.lifetime)")
        .field_path(".lifetime")
        .reason(Reason::FieldValueForbidden)
        .message("IPComp has no keys that wear out: remove lifetime"),
    validation = Rule::new("self.protocol != 'IPComp' || !has(self.spi) || self.spi <= 65535")
        .field_path(".spi")
        .message("IPComp's index has 16 bits (RFC 3173 §3.3): write 256 to 65535"),
    validation = Rule::new(
        "self.protocol != 'ESP' || !has(self.encryption) || has(self.integrity) || \
         !(self.encryption.algorithm in ['AES-CBC-128', 'AES-CBC-192', 'AES-CBC-256', 'NULL'])")
        .field_path(".integrity")
        .reason(Reason::FieldValueRequired)
        .message("encryption without integrity is forbidden (RFC 8221 §4): \
                  write integrity: {algorithm: HMAC-SHA2-256-128, keySecretRef: {name: SECRET, key: KEY}}"),
    validation = Rule::new(
        "self.protocol != 'ESP' || !has(self.encryption) || !has(self.integrity) || !self.allowInsecureManualAead || \
         !(self.encryption.algorithm in ['AES-GCM-16-128', 'AES-GCM-16-192', 'AES-GCM-16-256', 'CHACHA20-POLY1305'])")
        .field_path(".integrity")
        .reason(Reason::FieldValueForbidden)
        .message("this encryption authenticates by itself (AEAD): remove integrity"),
    validation = Rule::new(
        "self.protocol != 'ESP' || !has(self.encryption) || self.allowInsecureManualAead || \
         !(self.encryption.algorithm in ['AES-GCM-16-128', 'AES-GCM-16-192', 'AES-GCM-16-256', 'CHACHA20-POLY1305'])")
        .field_path(".encryption.algorithm")
        .message("AES-GCM and ChaCha20-Poly1305 must not be used with manual keys (RFC 8221 §3): write AES-CBC-256 \
                  with integrity, or allowInsecureManualAead: true if you know why"),
    validation = Rule::new("self.mode != 'BEET' || self.protocol == 'ESP'")
        .field_path(".mode")
        .message("mode: BEET is ESP's (draft-nikander-esp-beet-mode): write protocol: ESP, or mode: Tunnel"),
    validation = Rule::new(
        "self.mode != 'BEET' || self.protocol != 'ESP' || (has(self.selector) && \
         has(self.selector.source) && has(self.selector.destination) && \
         [self.selector.source, self.selector.destination].all(n, !isCIDR(n) || \
         cidr(n).prefixLength() == (cidr(n).ip().family() == 4 ? 32 : 128)))")
        .field_path(".selector")
        .reason(Reason::FieldValueRequired)
        .message("mode: BEET doesn't send the addresses inside, so that it is for one on each side: write \
                  selector: {source: ADDRESS/32, destination: ADDRESS/32}, with IPv6 /128, or mode: Tunnel"),
    validation = Rule::new("self.protocol == 'ESP' || !has(self.encapsulation) || self.encapsulation.type != 'UDP'")
        .field_path(".encapsulation")
        .reason(Reason::FieldValueForbidden)
        .message("only ESP goes in UDP (RFC 3948): write protocol: ESP, or remove encapsulation"),
    validation = Rule::new(
        "!has(self.encapsulation) || !has(self.encapsulation.keepaliveSeconds) || has(self.source.node)")
        .field_path(".encapsulation.keepaliveSeconds")
        .reason(Reason::FieldValueForbidden)
        .message("the source sends keepalives, and it isn't a node of the cluster: remove keepaliveSeconds"),
    validation = Rule::new(
        "!has(self.encapsulation) || !has(self.encapsulation.followMapping) || !self.encapsulation.followMapping || \
         has(self.source.address)")
        .field_path(".encapsulation.followMapping")
        .reason(Reason::FieldValueForbidden)
        .message("followMapping is for a source behind an address translation outside the cluster: write source: \
                  {address: ADDRESS}, or remove followMapping"),
    validation = Rule::new(
        "!has(self.encapsulation) || !has(self.encapsulation.followMapping) || !self.encapsulation.followMapping || \
         (has(self.antiReplay) && self.antiReplay.window != 0)")
        .field_path(".encapsulation.followMapping")
        .message("a packet that is sent again must not turn the SA elsewhere (RFC 7296 §2.23): write antiReplay: \
                  {window: 64} beside followMapping, or remove followMapping"),
    validation = Rule::new("self.mode != 'IPTFS' || self.protocol == 'ESP'")
        .field_path(".mode")
        .message("mode: IPTFS is ESP's (RFC 9347): write protocol: ESP, or mode: Tunnel"),
    validation = Rule::new("!has(self.iptfs) || self.mode == 'IPTFS'")
        .field_path(".iptfs")
        .reason(Reason::FieldValueForbidden)
        .message("iptfs is for mode: IPTFS: write that, or remove iptfs"),
    validation = Rule::new("has(self.spi) || !has(self.destination.address)")
        .field_path(".spi")
        .reason(Reason::FieldValueRequired)
        .message("the receiver's kernel chooses an spi that is left out, and destination isn't a node of the cluster: \
                  write spi: 256 to 4294967295, as the other end has it"),
    validation = Rule::new("!has(self.cpu) || !has(self.source.address)")
        .field_path(".cpu")
        .reason(Reason::FieldValueForbidden)
        .message("cpu is one of the sender's, and source isn't a node of the cluster: remove cpu"),
)]
pub struct IpsecSASpec {
    /// Where packets come from.
    pub source: SaEndpoint,
    /// Where packets go to.
    pub destination: SaEndpoint,
    /// Which of the nodes' addresses carry the SA. Default: the family of the end given by address, else that of the
    /// source node's first address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_family: Option<IpFamily>,
    /// Security Parameters Index, 256 to 4294967295; unique among the SAs to one destination (RFC 4303 §2.1). Left
    /// out: allocated by the receiving kernel, shown in status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::spi")]
    pub spi: Option<u32>,
    /// `ESP` encrypts and authenticates (RFC 4303). `AH` authenticates only (RFC 4302). `IPComp` only compresses (RFC 3173):
    /// alone, or before ESP under a policy with `compression`, where the tunnel is IPComp's and ESP is around it.
    /// Default: `ESP`.
    #[serde(default)]
    pub protocol: Protocol,
    /// `Tunnel`: the whole packet inside a new one. `Transport`: the payload only, for traffic between the nodes' own
    /// addresses. `BEET`: a tunnel with ESP whose inner addresses are fixed and not sent: those of `selector`, a host on each
    /// side. Inner IPv4 fragments don't fit. `IPTFS`: a tunnel with ESP that
    /// carries packets together and in pieces, so that their lengths don't show (RFC 9347), where both nodes' kernels can.
    /// Default: `Tunnel`.
    #[serde(default)]
    pub mode: Mode,
    /// Encryption, with ESP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// Integrity, with AH, and with ESP where encryption isn't an AEAD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrity: Option<Integrity>,
    /// Allows AES-GCM and ChaCha20-Poly1305 with manual keys, which RFC 8221 §3 forbids: after a restart from sequence
    /// number 0 with the same key, both confidentiality and integrity are lost. Sets condition InsecureKeying.
    /// Default: false.
    #[serde(default)]
    pub allow_insecure_manual_aead: bool,
    /// Protection against replays. Default: none (window 0), as RFC 4303 §3.3.3 recommends with manual keys: a
    /// rebooted sender starts again from 1, which a window would refuse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anti_replay: Option<AntiReplay>,
    /// When the SA wears out. Changing it leaves what was counted so far. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Lifetime>,
    /// ESP in UDP (RFC 3948), for paths with address translation. Changing ports doesn't interrupt the SA.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encapsulation: Option<SaEncapsulation>,
    /// Traffic that the SA carries, of what its policy covers; what no SA carries is dropped. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<SaSelector>,
    /// The mark that packets have which go through the SA; its policy's packets must have it. What arrives needs it as
    /// well before it is opened, e.g. from nftables. It doesn't make the SPI another one. Left out: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// Bits that the marks of the SA's packets get: what is sent before it is routed, so that routing rules can tell it;
    /// what was received once it is opened. Left out: marks stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_mark: Option<Mark>,
    /// XFRM interface id (`if_id`) that the SA belongs to, that of its policy, 0 to 4294967295; 0 is none. Default: 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(schema_with = "schema::word")]
    pub interface_id: u32,
    /// CPU of the source node whose packets the SA carries, from 0 (RFC 9611), where that node's kernel can. The other
    /// CPUs' go through an IpsecSA from the same source to the same destination without `cpu`, which must be there. For
    /// the receiver it is an SA like any other. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::cpu")]
    pub cpu: Option<u32>,
    /// How packets are gathered and taken apart again, with mode `IPTFS`. Default: its defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iptfs: Option<Iptfs>,
    /// Ties the SA to policies in the kernel, 1 to 4294967295. Left out: chosen by the operator; no need to set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::nonzero_word")]
    pub reqid: Option<u32>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
pub(crate) fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// One end of an SA: a node of the cluster, or an address outside it.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[x_kube(
    validation = Rule::new("has(self.node) != has(self.address)")
        .message("write either node: NAME, a node of the cluster, or address: ADDRESS, a host outside it"),
)]
pub struct SaEndpoint {
    /// Name of a Node; its InternalIP address is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub node: Option<String>,
    /// An IPv4 or IPv6 address outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::host_address")]
    pub address: Option<String>,
}

/// Encryption with a manual key.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.algorithm in ['', 'NULL'] || has(self.keySecretRef)")
        .field_path(".keySecretRef")
        .reason(Reason::FieldValueRequired)
        .message("write where the key is: keySecretRef: {name: SECRET, key: KEY}"),
    validation = Rule::new("self.algorithm != 'NULL' || !has(self.keySecretRef)")
        .field_path(".keySecretRef")
        .reason(Reason::FieldValueForbidden)
        .message("NULL has no key: remove keySecretRef, or write an algorithm that encrypts, e.g. AES-CBC-256"),
    validation = Rule::new("!(self.algorithm in ['DES-CBC', '3DES-CBC', 'BLOWFISH-CBC', 'CAST-CBC'])")
        .field_path(".algorithm")
        .message("RFC 8221 §5 forbids or discourages this algorithm: write AES-CBC-128 or AES-CBC-256"),
    validation = Rule::new(
        "self.algorithm in ['AES-CBC-128', 'AES-CBC-192', 'AES-CBC-256', 'AES-GCM-16-128', 'AES-GCM-16-192', \
         'AES-GCM-16-256', 'CHACHA20-POLY1305', 'NULL', 'DES-CBC', '3DES-CBC', 'BLOWFISH-CBC', 'CAST-CBC']")
        .field_path(".algorithm")
        .message("write AES-CBC-128, AES-CBC-192, AES-CBC-256 or \"NULL\" (in quotes), or with \
                  allowInsecureManualAead AES-GCM-16-128, AES-GCM-16-192, AES-GCM-16-256 or CHACHA20-POLY1305"),
)]
pub struct Encryption {
    /// `AES-CBC-128`, `AES-CBC-192`, `AES-CBC-256` (key 16, 24 or 32 bytes) or `"NULL"`, in quotes; with
    /// `allowInsecureManualAead` also `AES-GCM-16-128`, `AES-GCM-16-192`, `AES-GCM-16-256`, `CHACHA20-POLY1305`
    /// (key 16, 24, 32 or 32 bytes, then 4 bytes of salt).
    #[schemars(length(max = 64), extend("default" = ""))]
    // so that the rule's message is what a user reads
    pub algorithm: String,
    /// The key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_secret_ref: Option<SecretKeyRef>,
}

/// Integrity with a manual key.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(self.algorithm in ['HMAC-MD5-96', 'HMAC-SHA1-96', 'DES-MAC', 'KPDK-MD5'])")
        .field_path(".algorithm")
        .message("RFC 8221 §6 forbids or discourages this algorithm: write HMAC-SHA2-256-128 or HMAC-SHA2-512-256"),
    validation = Rule::new(
        "self.algorithm in ['HMAC-SHA2-256-128', 'HMAC-SHA2-384-192', 'HMAC-SHA2-512-256', 'HMAC-MD5-96', \
         'HMAC-SHA1-96', 'DES-MAC', 'KPDK-MD5']")
        .field_path(".algorithm")
        .message("write HMAC-SHA2-256-128, HMAC-SHA2-384-192 or HMAC-SHA2-512-256"),
)]
pub struct Integrity {
    /// `HMAC-SHA2-256-128`, `HMAC-SHA2-384-192` or `HMAC-SHA2-512-256` (key 32, 48 or 64 bytes, RFC 4868 §2.1.1).
    #[schemars(length(max = 64), extend("default" = ""))]
    // so that the rule's message is what a user reads
    pub algorithm: String,
    /// The key.
    pub key_secret_ref: SecretKeyRef,
}

/// When an SA wears out.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[x_kube(
    validation = Rule::new(
        "!has(self.soft) || !has(self.hard) || ( \
         (!has(self.soft.packets) || !has(self.hard.packets) || self.soft.packets < self.hard.packets) && \
         (!has(self.soft.bytes) || !has(self.hard.bytes) || self.soft.bytes < self.hard.bytes) && \
         (!has(self.soft.time) || !has(self.hard.time) || \
          ![self.soft.time, self.hard.time].all(t, \
          t.matches('^([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,7}s)?$') && t != '') || \
          duration(self.soft.time) < duration(self.hard.time)))")
        .field_path(".soft")
        .message("a soft limit warns before the hard one ends the SA: write lower limits in soft than in hard"),
)]
pub struct Lifetime {
    /// Reaching one of these is told: condition Expired gets reason Expiring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft: Option<LifetimeLimits>,
    /// Reaching one of these ends the SA at both ends: condition Expired becomes true, its traffic is dropped. Its keys
    /// are never used again: write new ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard: Option<LifetimeLimits>,
}

/// Limits of an SA; each left out doesn't apply.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq, Default)]
pub struct LifetimeLimits {
    /// Time since the SA was installed, in hours, minutes and seconds, e.g. `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub time: Option<Duration>,
    /// Bytes carried, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::limit")]
    pub bytes: Option<i64>,
    /// Packets carried, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::limit")]
    pub packets: Option<i64>,
}

/// Traffic that an SA carries, of one address family.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq, Default)]
pub struct SaSelector {
    /// Network that packets come from, e.g. 192.0.2.0/24. Left out: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::network")]
    pub source: Option<String>,
    /// Network that packets go to, e.g. 192.0.2.0/24. Left out: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::network")]
    pub destination: Option<String>,
    /// Protocol, and ports (those of the destination) or ICMP type and code. A range of ports must be as long as a power
    /// of two, and start at a multiple of its length. Left out: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficSelector>,
}

/// What became of an IpsecSA.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct IpsecSAStatus {
    /// The SPI in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::spi")]
    pub spi: Option<u32>,
    /// The nodes whose kernels hold the SA, at most two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub nodes: Vec<String>,
    /// Accepted, ResolvedRefs, Programmed, Expired, InsecureKeying.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}
