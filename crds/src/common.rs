//! What several kinds have in common.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// The IPsec protocol of a security association (RFC 4303, RFC 4302, RFC 3173).
#[derive(
    Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default,
)]
pub enum Protocol {
    /// Encapsulating Security Payload.
    #[default]
    ESP,
    /// Authentication Header.
    AH,
    /// IP Payload Compression.
    IPComp,
}

/// How a packet is wrapped (RFC 4301 §4.1; BEET: draft-nikander-esp-beet-mode; IPTFS: RFC 9347).
#[derive(
    Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default,
)]
pub enum Mode {
    /// The whole packet inside a new one between the nodes' addresses.
    #[default]
    Tunnel,
    /// The payload only; for traffic between the nodes' own addresses.
    Transport,
    /// A tunnel with fixed inner addresses that aren't sent.
    BEET,
    /// A tunnel that carries packets together and in pieces (RFC 9347).
    IPTFS,
}

/// An address family.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[schemars(transform = schema::undescribed)]
pub enum IpFamily {
    /// IPv4.
    IPv4,
    /// IPv6.
    IPv6,
}

/// A length of time as hours, minutes and seconds, e.g. `24h` or `1h30m`.
pub type Duration = String;

/// A [`Duration`] in seconds; none if it isn't one, or is longer than can be counted.
pub fn seconds(duration: &str) -> Option<u64> {
    let (mut rest, mut sum) = (duration, 0_u64);
    for (unit, length) in [('h', 3600), ('m', 60), ('s', 1)] {
        if let Some((digits, after)) = rest.split_once(unit) {
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            sum = sum.checked_add(digits.parse::<u64>().ok()?.checked_mul(length)?)?;
            rest = after;
        }
    }
    (rest.is_empty() && !duration.is_empty()).then_some(sum)
}

/// One key of a Secret in the operator's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretKeyRef {
    /// Name of the Secret, in the namespace that the operator runs in.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// The key in the Secret's `data`. Its value is the raw key, of an IpsecSA exactly as long as the algorithm wants it
    /// (an AEAD's salt of 4 bytes follows the key, RFC 4106 §8.1, RFC 7634 §2).
    #[schemars(schema_with = "schema::secret_key")]
    pub key: String,
}

/// Protection against replayed packets (RFC 4303 §3.4.3).
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!self.extendedSequenceNumbers || self.window != 0")
        .message("extended sequence numbers need an anti-replay window (RFC 4303 §3.3.3): write window: 64 or more, \
                  or extendedSequenceNumbers: false"),
)]
pub struct AntiReplay {
    /// How late a packet may come, in packets; 0 accepts replays. At most 4096. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 4096))]
    pub window: u32,
    /// 64-bit sequence numbers (RFC 4303 §2.2.1). Both ends must agree. Needs a window. Default: false.
    #[serde(default)]
    pub extended_sequence_numbers: bool,
}

/// The kind of encapsulation around IPsec.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EncapsulationType {
    /// IPsec directly over IP.
    #[default]
    None,
    /// ESP in UDP, for paths with address translation (RFC 3948).
    UDP,
}

/// Encapsulation around IPsec.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[x_kube(
    validation = Rule::new("self.type == 'UDP' || !has(self.port)")
        .field_path(".port")
        .reason(Reason::FieldValueForbidden)
        .message("port is the UDP port: write type: UDP, or remove port"),
)]
pub struct Encapsulation {
    /// `None` or `UDP`. Default: `None`.
    #[serde(default, rename = "type")]
    pub type_: EncapsulationType,
    /// The UDP port on both ends, 1 to 65535. Default with `type: UDP`: 4500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}

/// Bits of a packet's mark (`skb->mark`, nftables' `meta mark`): `value` where `mask` has ones.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The bits' value, 0 to 4294967295; no bit outside `mask`.
    #[schemars(schema_with = "schema::word")]
    pub value: u32,
    /// The bits that count, 1 to 4294967295. Default: 4294967295 (all).
    #[serde(default = "all_bits")]
    #[schemars(schema_with = "schema::nonzero_word")]
    pub mask: u32,
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}/{:#x}", self.value, self.mask)
    }
}

fn all_bits() -> u32 {
    u32::MAX
}
