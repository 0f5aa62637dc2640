//! Values of the kernel's as they are shown.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_xfrm::Address;
use serde::{Serialize, Serializer};

use crate::wire::address;

/// A number that mostly has a name in the kernel's headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// The number.
    pub number: u32,
    /// Its name, if we know one.
    pub name: Option<&'static str>,
}

impl Name {
    /// The name that the number has in a table that begins at 0.
    pub(super) fn of(number: impl Into<u32>, table: &[&'static str]) -> Self {
        let number = number.into();
        let name = usize::try_from(number).ok().and_then(|at| table.get(at)).copied();
        Self { number, name }
    }

    pub(super) fn protocol(number: u8) -> Self {
        let name = match number {
            0 => "any",
            1 => "icmp",
            4 => "ipip",
            6 => "tcp",
            17 => "udp",
            41 => "ipv6",
            43 => "route2",
            47 => "gre",
            50 => "esp",
            51 => "ah",
            58 => "ipv6-icmp",
            60 => "hao",
            108 => "comp",
            132 => "sctp",
            135 => "mh",
            255 => "raw",
            _ => return Self { number: number.into(), name: None },
        };
        Self { number: number.into(), name: Some(name) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.number),
        }
    }
}

/// The name, or else the number.
impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.name {
            Some(name) => serializer.serialize_str(name),
            None => serializer.serialize_u32(self.number),
        }
    }
}

/// Bits that mostly have names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags {
    /// The bits.
    pub bits: u32,
    names: &'static [&'static str],
}

impl Flags {
    /// The names are those of the bits from the lowest on.
    pub(super) fn of(bits: impl Into<u32>, names: &'static [&'static str]) -> Self {
        Self { bits: bits.into(), names }
    }

    /// None is set.
    pub fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// The names of those that are set; a bit without a name is its value in hex.
    pub fn names(&self) -> Vec<String> {
        let set = (0..u32::BITS).filter(|bit| self.bits >> bit & 1 == 1);
        set.map(|bit| match self.names.get(bit as usize) {
            Some(name) => (*name).to_owned(),
            None => format!("{:#x}", 1u32 << bit),
        })
        .collect()
    }
}

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

/// An address of a family that may not be IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    bytes: [u8; 16],
    family: u16,
}

impl Place {
    pub(super) fn new(address: &Address, family: u16) -> Self {
        Self { bytes: address.addr, family }
    }

    /// The address, if it is an IP address.
    pub fn ip(&self) -> Option<IpAddr> {
        address::decode(&Address { addr: self.bytes }, self.family)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip() {
            Some(ip) => write!(f, "{ip}"),
            None if self.bytes == [0; 16] => f.write_str("any"),
            None => write!(f, "{} of family {}", Bytes(self.bytes.to_vec()), self.family),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number that is read in hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hex(pub u32);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Bytes that mean nothing to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Text of the kernel's up to its end mark.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
