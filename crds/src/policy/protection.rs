//! How a policy's traffic is protected.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::keying::Keying;
use crate::common::{AntiReplay, Encapsulation, Mode, Protocol};
use crate::schema;

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
