//! SAs, policies and states at random.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU64;

use esplanade_model::{
    Action, Aead, Authentication, Cipher, Crypto, Direction, Iptfs, Key, Lifetime, Limits, Mark, Mode,
    Policy, PolicyFlags, Port, Protocol, ReplayProtection, ReplayState, Reqid, Sa, Selector, Spi, Template,
    UdpEncapsulation,
};
use ipnet::IpNet;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;

use super::objects::only;

/// A unicast address that isn't the unspecified one.
fn v4() -> impl Strategy<Value = IpAddr> {
    (0x0a00_0001u32..0x0b00_0000).prop_map(|bits| Ipv4Addr::from_bits(bits).into())
}

fn v6() -> impl Strategy<Value = IpAddr> {
    any::<u64>().prop_map(|bits| Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(bits) | 1 << 80).into())
}

/// Two addresses of one family.
fn ends() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![(v4(), v4()), (v6(), v6())]
}

fn key(length: usize) -> impl Strategy<Value = Key> {
    proptest::collection::vec(any::<u8>(), length).prop_map(|bytes| Key::from(bytes.as_slice()))
}

fn crypto() -> impl Strategy<Value = Crypto> {
    let aead = select(Aead::ALL)
        .prop_flat_map(|aead| key(aead.key_len()).prop_map(move |key| Crypto::aead(aead, key).unwrap()));
    let pair =
        (select(Cipher::ALL), select(Authentication::ALL)).prop_flat_map(|(cipher, authentication)| {
            (key(cipher.key_len()), key(authentication.key_len())).prop_map(move |(first, second)| {
                Crypto::encrypt_then_authenticate(cipher, first, authentication, second).unwrap()
            })
        });
    let ah = select(Authentication::ALL)
        .prop_flat_map(|one| key(one.key_len()).prop_map(move |key| Crypto::authenticate(one, key).unwrap()));
    prop_oneof![aead, pair, ah]
}

pub(crate) fn replay() -> impl Strategy<Value = ReplayProtection> {
    let plain = (0u32..=4096, Just(false));
    let small = (0u32..=64, Just(false));
    let extended = (1u32..=4096, Just(true));
    prop_oneof![plain, small, extended].prop_map(|(window, extended_sequence_numbers)| ReplayProtection {
        window,
        extended_sequence_numbers,
    })
}

pub(crate) fn state() -> impl Strategy<Value = ReplayState> {
    let number = || prop_oneof![0u64..200, any::<u32>().prop_map(u64::from), any::<u64>()];
    let bitmap = proptest::collection::vec(any::<u32>(), 0..130);
    (number(), number(), bitmap).prop_map(|(sent, received, bitmap)| ReplayState { sent, received, bitmap })
}

fn mode() -> impl Strategy<Value = Mode> {
    select(&[Mode::Transport, Mode::Tunnel, Mode::Beet])
}

pub(crate) fn sa() -> impl Strategy<Value = Sa> {
    let marks = (mark(), mark(), any::<bool>());
    let rest = (proptest::option::of(selector()), interface_id(), lifetime(), marks, encapsulation());
    (ends(), 256u32.., mode(), any::<u32>(), crypto(), replay(), rest).prop_map(
        |(
            (source, destination),
            spi,
            mode,
            reqid,
            crypto,
            replay,
            (packets, interface_id, lifetime, (mark, output_mark, icmp_errors), udp),
        )| Sa {
            source,
            destination,
            spi: Spi::new(spi).unwrap(),
            mode,
            reqid: Reqid::from_hash(reqid),
            // Only ESP goes in UDP.
            encapsulation: udp.filter(|_| crypto.protocol() == Protocol::Esp),
            crypto,
            replay,
            interface_id,
            lifetime,
            direction: None,
            mark,
            output_mark,
            icmp_errors,
            cpu: None,
            iptfs: Iptfs::default(),
            keepalive: None,
            offload: None,
            selector: packets.filter(|packets| fits(packets, mode, destination)),
        },
    )
}

fn lifetime() -> impl Strategy<Value = Lifetime> {
    let count = || proptest::option::of((1..u64::MAX).prop_map(|limit| NonZeroU64::new(limit).unwrap()));
    // Times are added up as signed numbers, and cut to what a timer can hold.
    let time =
        proptest::option::of((1_000_000..1u64 << 40).prop_map(|limit| NonZeroU64::new(limit).unwrap()));
    let limits = || {
        (time.clone(), count(), count()).prop_map(|(time, bytes, packets)| Limits { time, bytes, packets })
    };
    prop_oneof![
        Just(Lifetime::default()),
        (limits(), limits()).prop_map(|(soft, hard)| Lifetime { soft, hard }),
    ]
}

fn mark() -> impl Strategy<Value = Mark> {
    prop_oneof![Just(Mark::NONE), (any::<u32>(), 1u32..).prop_map(|(value, mask)| Mark::masked(value, mask))]
}

fn flags() -> impl Strategy<Value = PolicyFlags> {
    (any::<bool>(), any::<bool>())
        .prop_map(|(icmp_errors, local_override)| PolicyFlags { icmp_errors, local_override })
}

fn encapsulation() -> impl Strategy<Value = Option<UdpEncapsulation>> {
    let ports = (1u16.., 1u16..)
        .prop_map(|(source_port, destination_port)| UdpEncapsulation { source_port, destination_port });
    proptest::option::of(ports)
}

fn interface_id() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), any::<u32>()]
}

fn fits(packets: &Selector, mode: Mode, destination: IpAddr) -> bool {
    let own_family = packets.source().addr().is_ipv4() == destination.is_ipv4();
    match mode {
        Mode::Tunnel | Mode::Iptfs => true,
        Mode::Beet => !(own_family && packets.is_everything()),
        Mode::Transport => own_family && !packets.is_everything(),
    }
}

fn network(address: IpAddr, bits: u8) -> IpNet {
    let most = if address.is_ipv4() { 32 } else { 128 };
    IpNet::new(address, bits.min(most)).unwrap()
}

fn port() -> impl Strategy<Value = Port> {
    let masked = (any::<u16>(), any::<u16>()).prop_map(|(value, mask)| Port::masked(value, mask));
    prop_oneof![Just(Port::ANY), any::<u16>().prop_map(Port::exactly), masked]
}

pub(crate) fn selector() -> impl Strategy<Value = Selector> {
    (ends(), 0u8..=128, 0u8..=128, any::<u8>(), port(), port()).prop_map(
        |((source, destination), from, to, protocol, source_port, destination_port)| {
            let base = Selector::new(network(source, from), network(destination, to)).unwrap();
            only(base, protocol, source_port, destination_port)
        },
    )
}

fn template(direction: Direction) -> impl Strategy<Value = Template> {
    let protocol = select(&[Protocol::Esp, Protocol::Ah]);
    let reqid = proptest::option::of(any::<u32>().prop_map(Reqid::from_hash));
    (protocol, mode(), reqid, ends(), any::<bool>()).prop_map(
        move |(protocol, mode, reqid, ends, optional)| Template {
            protocol,
            mode,
            reqid,
            tunnel: mode.is_tunnel().then_some(ends),
            optional: optional && !(mode.is_tunnel() && direction == Direction::Out),
        },
    )
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let direction = select(&[Direction::In, Direction::Out, Direction::Forward]);
    let rest = direction
        .prop_flat_map(|direction| (Just(direction), proptest::collection::vec(template(direction), 0..=6)));
    let action = select(&[Action::Allow, Action::Block]);
    (rest, selector(), interface_id(), mark(), any::<u32>(), action, flags()).prop_map(
        |((direction, templates), selector, interface_id, mark, priority, action, flags)| Policy {
            interface_id,
            mark,
            flags,
            direction,
            selector,
            priority,
            action,
            templates,
        },
    )
}
