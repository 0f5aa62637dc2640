//! What attributes say.

use serde::Serialize;

use crate::wire::shown::objects::{Move, Policy, Sa, Template, Used};
use crate::wire::shown::parts::{Bytes, Flags, Hex, Name, Place};

/// An attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    /// `XFRMA_…`, without that.
    pub name: Name,
    /// What it says.
    pub value: Value,
}

/// What an attribute says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[allow(missing_docs)] // Named after the attributes.
pub enum Value {
    Algorithm(Algorithm),
    Encapsulation(Encapsulation),
    Templates(Vec<Template>),
    Sa(Box<Sa>),
    Policy(Box<Policy>),
    Used(Used),
    Replay(Window),
    Ring(Ring),
    Moves(Vec<Move>),
    Ends(Ends),
    Mark(MarkAndMask),
    Filter(Filter),
    Offload(Offload),
    SecurityContext(SecurityContext),
    HashSize(HashSize),
    SpdCounts(SpdCounts),
    Thresholds(Thresholds),
    Place(Place),
    Name(Name),
    Flags(Flags),
    Hex(Hex),
    Number(u64),
    Text(String),
    /// A key may be in it: only how long it is.
    Withheld(Withheld),
    /// Nobody here knows what it is.
    Unknown(Unknown),
    /// It has none.
    Nothing(()),
}

/// An algorithm. Not its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Algorithm {
    /// The kernel's name.
    pub algorithm: String,
    /// Length of the key.
    pub key_bits: u32,
    /// Length of the integrity check value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icv_bits: Option<u32>,
}

/// In UDP or TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Encapsulation {
    pub encapsulation: Name,
    pub source_port: u16,
    pub destination_port: u16,
    /// Who sent it before the NAT.
    pub original_address: Bytes,
}

/// A legacy window's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Window {
    pub sent: u32,
    pub received: u32,
    pub bitmap: Hex,
}

/// A large window's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Ring {
    pub window: u32,
    pub sent: u64,
    pub received: u64,
    pub bitmap: Bytes,
}

/// Whom to negotiate with after a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Ends {
    pub local: Place,
    pub remote: Place,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct MarkAndMask {
    pub value: Hex,
    pub mask: Hex,
}

/// Of a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Filter {
    pub source: String,
    pub destination: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Offload {
    /// Index.
    pub interface: i32,
    pub flags: Flags,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct SecurityContext {
    pub algorithm: u8,
    pub domain: u8,
    pub context: String,
}

/// A hash table's, in buckets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HashSize {
    /// It has so many.
    pub buckets: u32,
    /// It can have so many.
    pub most: u32,
}

/// Policies, those of sockets apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct SpdCounts {
    pub inbound: u32,
    pub outbound: u32,
    pub forward: u32,
    pub socket_inbound: u32,
    pub socket_outbound: u32,
    pub socket_forward: u32,
}

/// The prefixes of at least this length that policies are found by at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Thresholds {
    pub local: u8,
    pub remote: u8,
}

/// Only how long it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Withheld {
    /// In bytes.
    pub withheld_bytes: usize,
}

/// As it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// It has attributes of its own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub nested: bool,
    /// The value.
    pub bytes: Bytes,
}
