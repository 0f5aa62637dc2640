//! SAs and policies to test with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use esplanade_model::{
    Action, Aead, Authentication, Cipher, Crypto, Direction, InboundSa, Key, Mark, Mode, Op, OutboundSa,
    Policy, PolicyIndex, Port, Protocol, ReplayProtection, ReplayState, Reqid, Sa, SaId, Selector, Spi,
    Template,
};

pub(crate) fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

pub(crate) fn v6(last: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into()
}

/// Both ends in one family.
pub(crate) const FAMILIES: [fn() -> (IpAddr, IpAddr); 2] = [|| (v4(1), v4(2)), || (v6(1), v6(2))];

pub(crate) fn spi(value: u32) -> Spi {
    Spi::new(value).unwrap()
}

/// A key that isn't all zero: that would look like one that the kernel hides.
pub(crate) fn key(length: usize) -> Key {
    let bytes: Vec<u8> = (1u8..=255).cycle().take(length).collect();
    Key::from(bytes.as_slice())
}

pub(crate) fn encrypt_then_authenticate(cipher: Cipher, authentication: Authentication) -> Crypto {
    let (cipher_key, authentication_key) = (key(cipher.key_len()), key(authentication.key_len()));
    Crypto::encrypt_then_authenticate(cipher, cipher_key, authentication, authentication_key).unwrap()
}

/// Every combination of algorithms.
pub(crate) fn every_crypto() -> Vec<Crypto> {
    let aeads = Aead::ALL.iter().map(|aead| Crypto::aead(*aead, key(aead.key_len())).unwrap());
    let pairs = Cipher::ALL.iter().flat_map(|cipher| {
        Authentication::ALL.iter().map(|authentication| encrypt_then_authenticate(*cipher, *authentication))
    });
    let ah = Authentication::ALL.iter().map(|one| Crypto::authenticate(*one, key(one.key_len())).unwrap());
    aeads.chain(pairs).chain(ah).collect()
}

pub(crate) fn replay(window: u32) -> ReplayProtection {
    ReplayProtection { window, extended_sequence_numbers: false }
}

pub(crate) fn extended(window: u32) -> ReplayProtection {
    ReplayProtection { window, extended_sequence_numbers: true }
}

/// The windows at the limits of each layout.
pub(crate) const WINDOWS: [u32; 10] = [0, 1, 31, 32, 33, 40, 64, 1000, 1024, 4096];

/// An SA in tunnel mode with a common window.
pub(crate) fn sa(number: u32) -> Sa {
    Sa {
        replay: replay(32),
        ..Sa::tunnel(
            v4(1),
            v4(2),
            spi(0x1000 + number),
            reqid(number),
            encrypt_then_authenticate(Cipher::AesCbc128, Authentication::HmacSha256),
        )
    }
}

pub(crate) fn reqid(number: u32) -> Reqid {
    Reqid::from_hash(number.wrapping_mul(0x9e37_79b1))
}

pub(crate) fn id(destination: IpAddr, value: u32) -> SaId {
    SaId { destination, protocol: Protocol::Esp, spi: spi(value) }
}

pub(crate) fn inbound(sa: Sa) -> Op {
    Op::AddInbound { sa: InboundSa(sa), state: None, used: None }
}

pub(crate) fn inbound_at(sa: Sa, state: ReplayState) -> Op {
    Op::AddInbound { sa: InboundSa(sa), state: Some(state), used: None }
}

pub(crate) fn outbound(sa: Sa) -> Op {
    Op::AddOutbound { sa: OutboundSa(sa), state: None, used: None }
}

pub(crate) fn outbound_at(sa: Sa, state: ReplayState) -> Op {
    Op::AddOutbound { sa: OutboundSa(sa), state: Some(state), used: None }
}

pub(crate) const DIRECTIONS: [Direction; 3] = [Direction::In, Direction::Out, Direction::Forward];

/// From 10.0.n.0/24 to 10.1.n.0/24.
pub(crate) fn selector(number: u8) -> Selector {
    let network = |text: String| text.parse().unwrap();
    Selector::new(network(format!("10.0.{number}.0/24")), network(format!("10.1.{number}.0/24"))).unwrap()
}

pub(crate) fn selector_v6(number: u8) -> Selector {
    let network = |text: String| text.parse().unwrap();
    Selector::new(network(format!("fd00:{number}::/64")), network(format!("fd01:{number}::/64"))).unwrap()
}

/// The selector for a protocol and ports.
pub(crate) fn only(base: Selector, protocol: u8, source_port: Port, destination_port: Port) -> Selector {
    let mut selector = base;
    (selector.protocol, selector.source_port, selector.destination_port) =
        (protocol, source_port, destination_port);
    selector
}

pub(crate) fn tunnel(number: u32) -> Template {
    Template {
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        reqid: Some(reqid(number)),
        tunnel: Some((v4(1), v4(2))),
        optional: false,
    }
}

pub(crate) fn transport(number: u32) -> Template {
    Template { mode: Mode::Transport, tunnel: None, ..tunnel(number) }
}

/// A policy of its own selector.
pub(crate) fn policy(direction: Direction, number: u8) -> Policy {
    let priority = 1000 + u32::from(number);
    Policy {
        templates: vec![tunnel(number.into())],
        ..Policy::new(direction, selector(number), priority, Action::Allow)
    }
}

pub(crate) fn add(policy: Policy, slot: u32) -> Op {
    let index = PolicyIndex::new(slot, policy.direction);
    Op::AddPolicy { policy, index }
}

/// Deletes a policy through no XFRM interface.
pub(crate) fn delete(direction: Direction, slot: u32) -> Op {
    Op::DeletePolicy {
        direction,
        index: PolicyIndex::new(slot, direction),
        interface_id: 0,
        mark: Mark::NONE,
    }
}

/// Adds the policies, in slots from 0.
pub(crate) fn add_all(policies: impl IntoIterator<Item = Policy>) -> Vec<Op> {
    policies.into_iter().zip(0..).map(|(policy, slot)| add(policy, slot)).collect()
}
