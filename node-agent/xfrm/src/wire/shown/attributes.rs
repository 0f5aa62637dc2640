//! Attributes as they are shown.

use netlink_packet_core::DecodeError;
use netlink_packet_xfrm::{
    Address, AddressFilter, EncapTmpl, Lifetime, Replay, UserKmAddress, UserMigrate, UserOffloadDev,
    UserPolicyInfo, UserPolicyType, UserSaInfo, UserTemplate, XFRM_ADDRESS_LEN, XFRM_ALG_HEADER_LEN,
    XFRM_ALG_NAME_LEN, XFRM_REPLAY_ESN_LEN, XFRM_SEC_CTX_HEADER_LEN, XFRM_USER_MIGRATE_LEN,
    XFRM_USER_TEMPLATE_LEN,
};

use super::names;
use super::objects::{Move, Policy, Sa, Template, Used};
use super::parts::{Bytes, Flags, Hex, Name, Place, text};

mod value;

pub(super) use value::MarkAndMask;
use value::{
    Algorithm, Encapsulation, Ends, Filter, HashSize, Offload, Ring, SecurityContext, SpdCounts, Thresholds,
    Unknown, Window, Withheld,
};
pub use value::{Attribute, Value};

/// The attribute's own attributes follow (`NLA_F_NESTED`).
const NESTED: u16 = 0x8000;
/// What is left of `nla_type` without its flags (`NLA_TYPE_MASK`).
const KIND: u16 = 0x3fff;
const HEADER: usize = 4;

/// Whose attributes they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// `XFRMA_…`
    Xfrm,
    /// `XFRMA_SAD_…`
    Sad,
    /// `XFRMA_SPD_…`
    Spd,
}

/// All attributes, and how many bytes at the end are none. Those aren't shown: half a key may be among them.
pub(super) fn all(space: Space, bytes: &[u8], family: u16) -> (Vec<Attribute>, usize) {
    let mut rest = bytes;
    let mut attributes = Vec::new();
    while let Some((kind, value, behind)) = first(rest) {
        attributes.push(attribute(space, kind, value, family));
        rest = behind;
    }
    (attributes, rest.len())
}

/// The first attribute of this kind.
pub(super) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    let mut rest = bytes;
    while let Some((one, value, behind)) = first(rest) {
        if one & KIND == kind {
            return Some(value);
        }
        rest = behind;
    }
    None
}

/// The first attribute's kind and value, and what is behind it.
fn first(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let [l0, l1, k0, k1, ..] = *bytes else { return None };
    let length = usize::from(u16::from_ne_bytes([l0, l1]));
    let value = bytes.get(HEADER..length)?;
    let behind = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((u16::from_ne_bytes([k0, k1]), value, behind))
}

fn attribute(space: Space, kind: u16, bytes: &[u8], family: u16) -> Attribute {
    let number = kind & KIND;
    let table: &[&'static str] = match space {
        Space::Xfrm => &names::ATTRIBUTES,
        Space::Sad => &names::SAD_ATTRIBUTES,
        Space::Spd => &names::SPD_ATTRIBUTES,
    };
    let known = match space {
        Space::Xfrm => xfrm(number, bytes, family),
        Space::Sad => sad(number, bytes),
        Space::Spd => spd(number, bytes),
    };
    let unknown = || match (space, number) {
        // Cut short or not: the key stays here.
        (Space::Xfrm, 1..=3 | 18 | 20) => Value::Withheld(Withheld { withheld_bytes: bytes.len() }),
        _ => Value::Unknown(Unknown { nested: kind & NESTED != 0, bytes: Bytes(bytes.to_vec()) }),
    };
    Attribute { name: Name::of(number, table), value: known.unwrap_or_else(unknown) }
}

/// The value, if it is as the kernel's headers have it.
fn xfrm(number: u16, bytes: &[u8], family: u16) -> Option<Value> {
    let parsed = |parse: fn(&[u8]) -> Result<Value, DecodeError>, length: usize| {
        (bytes.len() == length).then(|| parse(bytes).ok()).flatten()
    };
    Some(match number {
        1..=3 => Value::Algorithm(algorithm(bytes, false)?),
        18 | 20 => Value::Algorithm(algorithm(bytes, true)?),
        4 => parsed(
            |bytes| {
                let wire = EncapTmpl::parse(bytes)?;
                Ok(Value::Encapsulation(Encapsulation {
                    encapsulation: names::encapsulation(wire.encap_type),
                    source_port: wire.encap_sport,
                    destination_port: wire.encap_dport,
                    original_address: Bytes(wire.encap_oa.addr.to_vec()),
                }))
            },
            24,
        )?,
        5 => Value::Templates(each(bytes, XFRM_USER_TEMPLATE_LEN, |one| {
            UserTemplate::parse(one).map(|wire| Template::new(&wire))
        })?),
        6 => parsed(|bytes| UserSaInfo::parse(bytes).map(|wire| Value::Sa(Box::new(Sa::new(&wire)))), 224)?,
        7 => parsed(
            |bytes| UserPolicyInfo::parse(bytes).map(|wire| Value::Policy(Box::new(Policy::new(&wire)))),
            168,
        )?,
        8 => Value::SecurityContext(security_context(bytes)?),
        9 => parsed(|bytes| Lifetime::parse(bytes).map(|wire| Value::Used(Used::new(&wire))), 32)?,
        10 => parsed(
            |bytes| {
                let Replay { oseq: sent, seq: received, bitmap } = Replay::parse(bytes)?;
                Ok(Value::Replay(Window { sent, received, bitmap: Hex(bitmap) }))
            },
            12,
        )?,
        13 | 14 => {
            let bytes: &[u8; XFRM_ADDRESS_LEN] = bytes.try_into().ok()?;
            Value::Place(Place::new(&Address { addr: *bytes }, family))
        }
        16 => parsed(
            |bytes| {
                UserPolicyType::parse(bytes)
                    .map(|wire| Value::Name(Name::of(wire.ptype, &names::POLICY_TYPES)))
            },
            6,
        )?,
        17 => Value::Moves(each(bytes, XFRM_USER_MIGRATE_LEN, |one| {
            UserMigrate::parse(one).map(|wire| Move::new(&wire))
        })?),
        19 => parsed(
            |bytes| {
                let wire = UserKmAddress::parse(bytes)?;
                let place = |address| Place::new(address, wire.family);
                Ok(Value::Ends(Ends { local: place(&wire.local), remote: place(&wire.remote) }))
            },
            40,
        )?,
        21 => {
            let [value, mask] = numbers(bytes)?;
            Value::Mark(MarkAndMask { value: Hex(value), mask: Hex(mask) })
        }
        23 => Value::Ring(ring(bytes)?),
        24 => Value::Flags(Flags::of(number_u32(bytes)?, &names::SA_EXTRA_FLAGS)),
        25 => Value::Name(Name::protocol(number_u8(bytes)?)),
        26 => parsed(
            |bytes| {
                let wire = AddressFilter::parse(bytes)?;
                let network = |address, length| format!("{}/{length}", Place::new(address, wire.family));
                let (source, destination) =
                    (network(&wire.saddr, wire.splen), network(&wire.daddr, wire.dplen));
                Ok(Value::Filter(Filter { source, destination }))
            },
            36,
        )?,
        27 => bytes.is_empty().then_some(Value::Nothing(()))?,
        28 => parsed(
            |bytes| {
                let wire = UserOffloadDev::parse(bytes)?;
                let flags = Flags::of(wire.flags, &names::OFFLOAD_FLAGS);
                Ok(Value::Offload(Offload { interface: wire.ifindex, flags }))
            },
            8,
        )?,
        29 | 30 => Value::Hex(Hex(number_u32(bytes)?)),
        33 => Value::Name(Name::of(number_u8(bytes)?, &names::SA_DIRECTIONS)),
        15 => Value::Number(u64::from_ne_bytes(bytes.try_into().ok()?)),
        38 => Value::Number(bytes.is_empty().then_some(1)?),
        37 => Value::Number(u16::from_ne_bytes(bytes.try_into().ok()?).into()),
        11 | 12 | 22 | 31 | 32 | 34..=36 | 39..=41 => Value::Number(number_u32(bytes)?.into()),
        _ => return None,
    })
}

/// Those of NEWSADINFO.
fn sad(number: u16, bytes: &[u8]) -> Option<Value> {
    Some(match number {
        1 => Value::Number(number_u32(bytes)?.into()),
        2 => Value::HashSize(hash_size(bytes)?),
        _ => return None,
    })
}

/// Those of NEWSPDINFO.
fn spd(number: u16, bytes: &[u8]) -> Option<Value> {
    Some(match number {
        1 => {
            let [inbound, outbound, forward, socket_inbound, socket_outbound, socket_forward] =
                numbers(bytes)?;
            Value::SpdCounts(SpdCounts {
                inbound,
                outbound,
                forward,
                socket_inbound,
                socket_outbound,
                socket_forward,
            })
        }
        2 => Value::HashSize(hash_size(bytes)?),
        3 | 4 => {
            let [local, remote] = *bytes else { return None };
            Value::Thresholds(Thresholds { local, remote })
        }
        _ => return None,
    })
}

fn hash_size(bytes: &[u8]) -> Option<HashSize> {
    let [buckets, most] = numbers(bytes)?;
    Some(HashSize { buckets, most })
}

/// Reads around the key, so that no copy of it is made. `icv`: its length is there too.
fn algorithm(bytes: &[u8], icv: bool) -> Option<Algorithm> {
    let numbers = bytes.get(XFRM_ALG_NAME_LEN..XFRM_ALG_HEADER_LEN + if icv { 4 } else { 0 })?;
    Some(Algorithm {
        algorithm: text(&bytes[..XFRM_ALG_NAME_LEN]),
        key_bits: number_u32(&numbers[..4])?,
        icv_bits: numbers.get(4..8).and_then(number_u32),
    })
}

fn ring(bytes: &[u8]) -> Option<Ring> {
    let (header, bitmap) = bytes.split_at_checked(XFRM_REPLAY_ESN_LEN)?;
    let [_, sent, received, sent_high, received_high, window] = numbers(header)?;
    let wide = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    Some(Ring {
        window,
        sent: wide(sent_high, sent),
        received: wide(received_high, received),
        bitmap: Bytes(bitmap.to_vec()),
    })
}

/// `struct xfrm_user_sec_ctx`.
fn security_context(bytes: &[u8]) -> Option<SecurityContext> {
    let (header, context) = bytes.split_at_checked(XFRM_SEC_CTX_HEADER_LEN)?;
    Some(SecurityContext { algorithm: header[4], domain: header[5], context: text(context) })
}

/// Structures of one length, one after the other; none where there are bytes left.
fn each<T>(bytes: &[u8], length: usize, parse: impl Fn(&[u8]) -> Result<T, DecodeError>) -> Option<Vec<T>> {
    let chunks = bytes.chunks_exact(length);
    if !chunks.remainder().is_empty() {
        return None;
    }
    chunks.map(|one| parse(one).ok()).collect()
}

/// `N` numbers of 32 bits and nothing else.
fn numbers<const N: usize>(bytes: &[u8]) -> Option<[u32; N]> {
    if bytes.len() != N * 4 {
        return None;
    }
    let mut numbers = [0; N];
    for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(4)) {
        *number = number_u32(bytes)?;
    }
    Some(numbers)
}

pub(super) fn number_u32(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

fn number_u8(bytes: &[u8]) -> Option<u8> {
    let [number] = *bytes else { return None };
    Some(number)
}
