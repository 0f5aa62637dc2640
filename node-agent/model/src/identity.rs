//! What names an SA or a policy, and what marks one as ours.
//!
//! The kernel has no owner field. An SA is ours if its reqid lies in [`Reqid::OWNED`] and its `seq` is a [`Cookie`]; a
//! policy is ours if its index is a [`PolicyIndex`] and every template's reqid lies in [`Reqid::OWNED`] or is any.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

/// Security Parameters Index of an SA on the wire: at least 256 (RFC 4303 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spi(u32);

impl Spi {
    /// The lowest.
    pub const MIN: Self = Self(256);
    /// The highest.
    pub const MAX: Self = Self(u32::MAX);

    /// The SPI with this value; none for 0 (never on the wire) to 255 (reserved by IANA).
    pub const fn new(value: u32) -> Option<Self> {
        if value >= 256 { Some(Self(value)) } else { None }
    }

    /// Its value, in host byte order.
    pub fn get(self) -> u32 {
        self.0
    }

    /// Those that the kernel may choose from for us: away from other programs' and from low ones, which people write. IPComp's
    /// have 16 bits, and the highest are for private use (RFC 3173 §3.3).
    pub fn allocated(protocol: Protocol) -> RangeInclusive<u32> {
        match protocol {
            Protocol::Esp | Protocol::Ah => 0xa000_0000..=0xafff_ffff,
            Protocol::IpComp => 0x8000..=0xefff,
        }
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// Ties a policy's template to the SAs that may carry its traffic (`xfrm_tmpl.reqid`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reqid(NonZeroU32);

impl Reqid {
    /// The reqids that are ours.
    pub const OWNED: RangeInclusive<u32> = Self::FIRST.get()..=0x5fff_ffff;
    const FIRST: NonZeroU32 = NonZeroU32::new(0x5000_0000).unwrap();

    /// Our reqid for a hash. Scattered on purpose: the kernel's SAD hash is an XOR of reqid and addresses
    /// (`__xfrm_dst_hash`), and reqids in step with addresses collapse it into one chain.
    pub fn from_hash(hash: u32) -> Self {
        Self(Self::FIRST | (hash & 0x0fff_ffff))
    }

    /// A reqid read from the kernel, if it is ours.
    pub fn owned(value: u32) -> Option<Self> {
        NonZeroU32::new(value).filter(|value| Self::OWNED.contains(&value.get())).map(Self)
    }

    /// Its value.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

/// The `seq` of an SA that is ours (`xfrm_usersa_info.seq`; the kernel uses it only to match acquires).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie(u32);

impl Cookie {
    const TAG: u32 = 0x4553_0000;

    /// The cookie for an SPI. Its low half is spread so that the kernel's `byseq` hash stays short.
    pub fn for_spi(spi: Spi) -> Self {
        let spread = spi.get().wrapping_mul(0x9e37_79b1) >> 16;
        Self(Self::TAG | spread)
    }

    /// A `seq` read from the kernel, if it is ours.
    pub fn owned(value: u32) -> Option<Self> {
        (value & 0xffff_0000 == Self::TAG).then_some(Self(value))
    }

    /// Its value.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// The index of a policy that is ours (`xfrm_userpolicy_info.index`): at least 0x4000_0000, its low 3 bits the
/// direction. The kernel's own generator counts up from 0 by 8 (`xfrm_gen_index`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyIndex(u32);

impl PolicyIndex {
    /// The lowest index that is ours.
    pub const FIRST: u32 = 0x4000_0000;

    /// Our index for a slot (30 − 3 = 27 bits count; higher ones are dropped) and a direction.
    pub fn new(slot: u32, direction: crate::Direction) -> Self {
        Self(Self::FIRST | ((slot & 0x07ff_ffff) << 3) | direction.kernel())
    }

    /// An index read from the kernel, if it is ours.
    pub fn owned(value: u32) -> Option<Self> {
        (value & 0xc000_0000 == Self::FIRST).then_some(Self(value))
    }

    /// Its value.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// An IPsec protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Encapsulating Security Payload (RFC 4303).
    Esp,
    /// Authentication Header (RFC 4302).
    Ah,
    /// IP Payload Compression (RFC 3173): compresses and protects nothing. Its index (CPI), which stands for an SPI, has
    /// 16 bits.
    IpComp,
}

impl Protocol {
    /// Its IP protocol number.
    pub fn number(self) -> u8 {
        match self {
            Self::Esp => 50,
            Self::Ah => 51,
            Self::IpComp => 108,
        }
    }
}

/// What names an SA in the kernel (RFC 4301 §4.1; `__xfrm_state_lookup`). The kernel would tell several of one name apart
/// by their marks, and finds the wrong one where the marks overlap: we never make a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SaId {
    /// Where packets go to: the outer address.
    pub destination: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The SPI.
    pub spi: Spi,
}

/// In few words: a derived one hashes addresses byte by byte, and names are looked up all the time.
impl Hash for SaId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { destination, protocol, spi } = self;
        match destination {
            IpAddr::V4(address) => state.write_u64(pair(address.to_bits(), spi.get())),
            IpAddr::V6(address) => {
                state.write_u128(address.to_bits());
                state.write_u32(spi.get());
            }
        }
        state.write_u8(protocol.number());
    }
}

/// Two words as one.
pub(crate) fn pair(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

impl fmt::Display for SaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Esp => "ESP",
            Protocol::Ah => "AH",
            Protocol::IpComp => "IPComp",
        };
        write!(f, "{protocol} SA to {} with SPI {}", self.destination, self.spi)
    }
}
