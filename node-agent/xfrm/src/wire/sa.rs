//! SAs (`struct xfrm_usersa_info` and its attributes).

use std::num::{NonZeroU32, NonZeroU64};

use esplanade_model::{
    Cookie, Lifetime as Wear, Limits, Mark, Mode, Offload, Protocol, ReplayProtection, ReplayState, Reqid,
    Sa, SaDirection, SaId, Spi, UdpEncapsulation, Used,
};
use netlink_packet_core::{DefaultNla, Nla};
use netlink_packet_xfrm::constants::{
    UDP_ENCAP_ESPINUDP, XFRM_MODE_BEET, XFRM_MODE_TRANSPORT, XFRM_MODE_TUNNEL, XFRM_STATE_AF_UNSPEC,
    XFRM_STATE_ESN, XFRM_STATE_ICMP, XFRM_STATE_NOPMTUDISC,
};
use netlink_packet_xfrm::{
    EncapTmpl, Id, Lifetime, LifetimeConfig, Selector, Stats, UserOffloadDev, UserSaInfo, XFRM_INF, XfrmAttrs,
};

use super::attributes::Attributes;
use super::crypto::Algorithms;
use super::replay::{self, WireReplay};
use super::{address, crypto, iptfs, mark, selector, word};

/// What an SA is made from. `replay` is the kernel's own view of it: an outbound SA has next to no window.
pub(super) fn encode(
    sa: &Sa,
    replay: ReplayProtection,
    state: Option<&ReplayState>,
    used: Option<&Used>,
) -> (UserSaInfo, Attributes) {
    let mut attributes = Attributes::default();
    crypto::encode(&sa.crypto, &mut attributes);
    let window = replay::encode(replay, state, &mut attributes);
    interface_id(sa.interface_id, &mut attributes);
    attributes.extend(used.map(|used| XfrmAttrs::LifetimeBytes(encode_used(used))));
    if let Some(way) = sa.direction {
        attributes.push(direction(way));
    }
    mark::encode(sa.mark, &mut attributes);
    mark::encode_output(sa.output_mark, &mut attributes);
    attributes.extend(sa.cpu.map(|cpu| word::encode(word::SA_PCPU, cpu)));
    attributes
        .extend(sa.keepalive.map(|keepalive| word::encode(word::NAT_KEEPALIVE_INTERVAL, keepalive.get())));
    if sa.mode == Mode::Iptfs {
        iptfs::encode(sa.iptfs, sa.direction, &mut attributes);
    }
    encapsulation(sa.encapsulation, &mut attributes);
    attributes.extend(sa.offload.map(offload));
    // The kernel refuses it for a sender.
    if sa.encapsulation.is_some() && sa.direction != Some(SaDirection::Out) {
        attributes.push(XfrmAttrs::MappingTimeThreshold(MAPPING_INTERVAL));
    }
    let family = address::family(sa.destination);
    let info = UserSaInfo {
        selector: sa.selector.as_ref().map_or_else(|| everything(sa.mode, family), selector::encode),
        id: Id {
            daddr: address::encode(sa.destination),
            spi: sa.spi.get(),
            proto: sa.crypto.protocol().number(),
        },
        saddr: address::encode(sa.source),
        lifetime_cfg: encode_lifetime(&sa.lifetime),
        lifetime_cur: Lifetime::default(),
        stats: Stats::default(),
        seq: Cookie::for_spi(sa.spi).get(),
        reqid: sa.reqid.get(),
        family,
        mode: mode(sa.mode),
        replay_window: window,
        flags: flags(sa, replay),
    };
    (info, attributes)
}

/// Everything: policies select. A tunnel carries either family, whatever its own is; the kernel takes
/// family 0 for its own without `XFRM_STATE_AF_UNSPEC` (`copy_from_user_state`).
fn everything(mode: Mode, family: u16) -> Selector {
    let family = if mode.carries_both_families() { 0 } else { family };
    Selector { family, ..Selector::default() }
}

fn flags(sa: &Sa, replay: ReplayProtection) -> u8 {
    let both_families = sa.mode.carries_both_families() && sa.selector.is_none();
    let any_family = if both_families { XFRM_STATE_AF_UNSPEC } else { 0 };
    let extended = if replay.extended_sequence_numbers { XFRM_STATE_ESN } else { 0 };
    let icmp_errors = if sa.icmp_errors { XFRM_STATE_ICMP } else { 0 };
    any_family | extended | icmp_errors
}

/// None is `XFRM_INF` for bytes and packets, 0 for seconds. What limits seconds of use we don't write.
fn encode_lifetime(lifetime: &Wear) -> LifetimeConfig {
    let Wear { soft, hard } = lifetime;
    let count = |limit: Option<NonZeroU64>| limit.map_or(XFRM_INF, NonZeroU64::get);
    let seconds = |limit: Option<NonZeroU64>| limit.map_or(0, NonZeroU64::get);
    LifetimeConfig {
        soft_byte_limit: count(soft.bytes),
        hard_byte_limit: count(hard.bytes),
        soft_packet_limit: count(soft.packets),
        hard_packet_limit: count(hard.packets),
        soft_add_expires_seconds: seconds(soft.time),
        hard_add_expires_seconds: seconds(hard.time),
        soft_use_expires_seconds: 0,
        hard_use_expires_seconds: 0,
    }
}

/// A limit of 0 bytes or packets isn't one that we write: it reads as none, which is encoded otherwise.
fn decode_lifetime(wire: &LifetimeConfig) -> Wear {
    let count = |limit: u64| NonZeroU64::new(limit).filter(|_| limit != XFRM_INF);
    let limits = |bytes, packets, seconds| Limits {
        time: NonZeroU64::new(seconds),
        bytes: count(bytes),
        packets: count(packets),
    };
    Wear {
        soft: limits(wire.soft_byte_limit, wire.soft_packet_limit, wire.soft_add_expires_seconds),
        hard: limits(wire.hard_byte_limit, wire.hard_packet_limit, wire.hard_add_expires_seconds),
    }
}

fn encode_used(used: &Used) -> Lifetime {
    let Used { bytes, packets, added, first_used } = *used;
    Lifetime { bytes, packets, add_time: added, use_time: first_used }
}

/// What of its lifetime the SA has used up.
pub(super) fn decode_used(info: &UserSaInfo) -> Used {
    used(&info.lifetime_cur)
}

pub(super) fn used(wire: &Lifetime) -> Used {
    let Lifetime { bytes, packets, add_time, use_time } = *wire;
    Used { bytes, packets, added: add_time, first_used: use_time }
}

pub(super) fn mode(mode: Mode) -> u8 {
    match mode {
        Mode::Transport => XFRM_MODE_TRANSPORT,
        Mode::Tunnel => XFRM_MODE_TUNNEL,
        Mode::Beet => XFRM_MODE_BEET,
        Mode::Iptfs => iptfs::MODE,
    }
}

pub(super) fn decode_mode(mode: u8) -> Option<Mode> {
    match mode {
        XFRM_MODE_TRANSPORT => Some(Mode::Transport),
        XFRM_MODE_TUNNEL => Some(Mode::Tunnel),
        XFRM_MODE_BEET => Some(Mode::Beet),
        iptfs::MODE => Some(Mode::Iptfs),
        _ => None,
    }
}

/// None for a protocol that we don't write.
pub(super) fn decode_protocol(number: u8) -> Option<Protocol> {
    [Protocol::Esp, Protocol::Ah, Protocol::IpComp].into_iter().find(|protocol| protocol.number() == number)
}

/// What names the SA; none if no SA of ours could have that name.
pub(super) fn decode_id(info: &UserSaInfo) -> Option<SaId> {
    Some(SaId {
        destination: address::decode(&info.id.daddr, info.family)?,
        protocol: decode_protocol(info.id.proto)?,
        spi: Spi::new(info.id.spi)?,
    })
}

/// 0 is as good as none, which the kernel shows then.
pub(super) fn interface_id(id: u32, attributes: &mut Attributes) {
    if id != 0 {
        attributes.push(XfrmAttrs::IfId(id));
    }
}

pub(super) fn decode_interface_id(attributes: &Attributes) -> u32 {
    let id = |attribute: &XfrmAttrs| match attribute {
        XfrmAttrs::IfId(id) => Some(*id),
        _ => None,
    };
    attributes.as_slice().iter().find_map(id).unwrap_or(0)
}

/// `XFRMA_SA_DIR`, which netlink-packet-xfrm doesn't know.
pub(super) const SA_DIR: u16 = 33;

pub(super) fn direction(way: SaDirection) -> XfrmAttrs {
    XfrmAttrs::Other(DefaultNla::new(SA_DIR, vec![way.kernel()]))
}

/// Which way the SA goes, none inside where it isn't said; none for a way that there isn't.
fn decode_direction(attributes: &Attributes) -> Option<Option<SaDirection>> {
    let Some(said) = attributes.as_slice().iter().find(|attribute| attribute.kind() == SA_DIR) else {
        return Some(None);
    };
    [SaDirection::In, SaDirection::Out].into_iter().find(|way| direction(*way) == *said).map(Some)
}

fn encapsulation(udp: Option<UdpEncapsulation>, attributes: &mut Attributes) {
    if let Some(UdpEncapsulation { source_port, destination_port }) = udp {
        attributes.push(XfrmAttrs::EncapsulationTemplate(EncapTmpl {
            encap_type: UDP_ENCAP_ESPINUDP,
            encap_sport: source_port,
            encap_dport: destination_port,
            ..EncapTmpl::default()
        }));
    }
}

/// Another source of packets is told of once, and then again after more than so many seconds while it isn't followed: else
/// it would be with each packet (`km_new_mapping`).
const MAPPING_INTERVAL: u32 = 1;

/// None inside for plain ESP; none for an encapsulation that we don't write.
fn decode_encapsulation(attributes: &Attributes) -> Option<Option<UdpEncapsulation>> {
    let template = |attribute: &XfrmAttrs| match attribute {
        XfrmAttrs::EncapsulationTemplate(template) => Some(*template),
        _ => None,
    };
    match attributes.as_slice().iter().find_map(template) {
        None => Some(None),
        // The original address is kept and never used.
        Some(EncapTmpl { encap_type: UDP_ENCAP_ESPINUDP, encap_sport, encap_dport, .. }) => {
            Some(Some(UdpEncapsulation { source_port: encap_sport, destination_port: encap_dport }))
        }
        Some(_) => None,
    }
}

/// `XFRM_OFFLOAD_INBOUND`.
const OFFLOAD_INBOUND: u8 = 2;

fn offload(Offload { device, way }: Offload) -> XfrmAttrs {
    let flags = if way == SaDirection::In { OFFLOAD_INBOUND } else { 0 };
    XfrmAttrs::OffloadDevice(UserOffloadDev { ifindex: device.cast_signed(), flags })
}

/// None inside where the kernel does the work; none for a kind of work that we don't write.
fn decode_offload(attributes: &Attributes) -> Option<Option<Offload>> {
    let device = |attribute: &XfrmAttrs| match attribute {
        XfrmAttrs::OffloadDevice(device) => Some(*device),
        _ => None,
    };
    let Some(UserOffloadDev { ifindex, flags }) = attributes.as_slice().iter().find_map(device) else {
        return Some(None);
    };
    let way = match flags {
        0 => SaDirection::Out,
        OFFLOAD_INBOUND => SaDirection::In,
        _ => return None,
    };
    Some(Some(Offload { device: ifindex.cast_unsigned(), way }))
}

/// The packets that the SA carries, none inside for all; none for a selector that we don't write.
fn decode_selector(info: &UserSaInfo) -> Option<Option<esplanade_model::Selector>> {
    if info.selector == everything(decode_mode(info.mode)?, info.family) {
        return Some(None);
    }
    selector::decode(&info.selector).map(Some)
}

/// The SA's mark, if it carries our tags. One with a mark that nothing has isn't ours: we could not delete it.
pub(super) fn mark_of_ours(info: &UserSaInfo, attributes: &Attributes) -> Option<Mark> {
    let ours = Reqid::owned(info.reqid).is_some() && Cookie::owned(info.seq).is_some();
    mark::decode(attributes).filter(|_| ours)
}

/// The SA, if we could have written it, and its sequence numbers.
pub(super) fn decode(
    info: &UserSaInfo,
    attributes: &Attributes,
    algorithms: &Algorithms<'_>,
) -> (Option<Sa>, ReplayState) {
    let wire = WireReplay::of(info, attributes);
    let replay = wire.protection(info.flags & XFRM_STATE_ESN != 0);
    let state = wire.state();
    let sa = || {
        let replay = replay?;
        let like_ours = !attributes.malformed && attributes.as_slice().iter().all(is_like_ours);
        let sa = Sa {
            source: address::decode(&info.saddr, info.family)?,
            destination: address::decode(&info.id.daddr, info.family)?,
            spi: Spi::new(info.id.spi)?,
            mode: decode_mode(info.mode)?,
            reqid: Reqid::owned(info.reqid)?,
            crypto: algorithms.decode()?,
            replay,
            selector: decode_selector(info)?,
            interface_id: decode_interface_id(attributes),
            lifetime: decode_lifetime(&info.lifetime_cfg),
            direction: decode_direction(attributes)?,
            mark: mark::decode(attributes)?,
            output_mark: mark::decode_output(attributes)?,
            icmp_errors: info.flags & XFRM_STATE_ICMP != 0,
            cpu: word::decode(word::SA_PCPU, attributes)?,
            keepalive: word::decode(word::NAT_KEEPALIVE_INTERVAL, attributes)?.and_then(NonZeroU32::new),
            iptfs: iptfs::decode(attributes)?,
            encapsulation: decode_encapsulation(attributes)?,
            offload: decode_offload(attributes)?,
        };
        // The rest of the header is what we would write for it, but for what the kernel sets itself.
        let (expected, _) = encode(&sa, sa.replay, None, None);
        let actual = UserSaInfo {
            lifetime_cur: Lifetime::default(),
            stats: Stats::default(),
            seq: expected.seq,
            // Set by net.ipv4.ip_no_pmtu_disc.
            flags: info.flags & !XFRM_STATE_NOPMTUDISC,
            ..*info
        };
        (like_ours && expected == actual).then_some(sa)
    };
    (sa(), state)
}

/// An attribute that an SA of ours may read back with.
fn is_like_ours(attribute: &XfrmAttrs) -> bool {
    match attribute {
        XfrmAttrs::AuthenticationAlg(_)
        | XfrmAttrs::AuthenticationAlgTrunc(_)
        | XfrmAttrs::EncryptionAlg(_)
        | XfrmAttrs::EncryptionAlgAead(_)
        | XfrmAttrs::CompressionAlg(_)
        | XfrmAttrs::ReplayState(_)
        | XfrmAttrs::ReplayStateEsn(_)
        | XfrmAttrs::ReplayThreshold(_)
        | XfrmAttrs::EventTimeThreshold(_)
        | XfrmAttrs::LastUsed(_)
        | XfrmAttrs::IfId(_)
        | XfrmAttrs::Mark(_)
        | XfrmAttrs::MarkVal(_)
        | XfrmAttrs::MarkMask(_)
        | XfrmAttrs::EncapsulationTemplate(_)
        | XfrmAttrs::OffloadDevice(_)
        | XfrmAttrs::Pad() => true,
        XfrmAttrs::Other(other) => {
            matches!(other.kind(), SA_DIR | word::SA_PCPU | word::NAT_KEEPALIVE_INTERVAL)
                || iptfs::ATTRIBUTES.contains(&other.kind())
        }
        // How often something is told changes nothing of the SA.
        XfrmAttrs::MappingTimeThreshold(value) => matches!(*value, 0 | MAPPING_INTERVAL),
        // Zero is as good as none.
        XfrmAttrs::ExtraFlags(value) | XfrmAttrs::TfcPadding(value) => *value == 0,
        _ => false,
    }
}
