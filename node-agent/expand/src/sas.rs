//! IpsecSAs of this node → SAs of its kernel.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU32;

use esplanade_crds::{
    AntiReplay, IpsecNodeStateSpec, NodeSecurityAssociation, Offload as ApiOffload, Problem,
    Protocol as ApiProtocol, UdpPorts,
};
use esplanade_model::{
    Capabilities, Capability, InboundSa, Iptfs, Lifetime, Mode, Offload, OutboundSa, Protocol,
    ReplayProtection, Reqid, Sa, SaDirection, SaId, Selector, Spi, UdpEncapsulation, Unnumbered, WantedSa,
};

use crate::error::SaError;
use crate::keys::{Algorithms, Opener};
use crate::{lifetime, mark, reqid, sa_selector};

/// `XFRMA_REPLAY_ESN_MAX`, in packets.
const MAX_WINDOW: u32 = 4096;
/// The highest index of IPComp.
const MAX_CPI: u32 = 0xffff;

/// The SAs of a node.
#[derive(Default)]
pub(crate) struct Sas {
    pub(crate) wanted: Vec<(String, WantedSa)>,
    pub(crate) hold: BTreeSet<SaId>,
    pub(crate) tunnels: Tunnels,
    pub(crate) problems: Vec<Problem>,
}

/// The outer addresses of the tunnels between two ends under a policy.
#[derive(Default)]
pub(crate) struct Tunnels(BTreeMap<(String, String, String), (IpAddr, IpAddr)>);

impl Tunnels {
    /// From `source` to `destination` ([`reqid::identity`]).
    pub(crate) fn get(&self, policy: &str, source: &str, destination: &str) -> Option<(IpAddr, IpAddr)> {
        self.0.get(&(policy.to_owned(), source.to_owned(), destination.to_owned())).copied()
    }
}

pub(crate) fn expand(
    node: &str,
    spec: &IpsecNodeStateSpec,
    opener: &Opener<'_>,
    kernel: &Capabilities,
) -> Sas {
    let mut sorted: Vec<_> = spec.security_associations.iter().collect();
    sorted.sort_by_key(|sa| sa.name.as_str());
    let mut expanded = Sas::default();
    let mut taken = BTreeMap::new();
    for sa in sorted {
        if let Err(error) = one(node, sa, opener, kernel, &mut taken, &mut expanded) {
            expanded.problems.push(error.problem(&sa.name));
        }
    }
    for retiring in &spec.retiring {
        // What can't be had any more isn't missed: nobody should send under it.
        let _ = one(node, &retiring.association, opener, kernel, &mut taken, &mut expanded);
    }
    expanded
}

fn one(
    node: &str,
    sa: &NodeSecurityAssociation,
    opener: &Opener<'_>,
    kernel: &Capabilities,
    taken: &mut BTreeMap<SaId, String>,
    expanded: &mut Sas,
) -> Result<(), SaError> {
    let shape = Shape::parse(node, sa)?;
    let algorithms = Algorithms::parse(sa)?;
    if sa.expired.is_none() {
        match taken.entry(shape.id()) {
            Entry::Occupied(first) => return Err(SaError::Taken(*first.key(), first.get().clone())),
            Entry::Vacant(free) => free.insert(sa.name.clone()),
        };
    }
    if let (Some(policy), true) = (&sa.policy, shape.mode.is_tunnel()) {
        let key = (policy.clone(), reqid::end(&sa.source), reqid::end(&sa.destination));
        expanded.tunnels.0.entry(key).or_insert((shape.source, shape.destination));
    }
    // The policies stay as they are, and drop its traffic.
    if sa.expired.is_some() {
        return Ok(());
    }
    let crypto = match algorithms.open(&sa.name, opener) {
        Ok(crypto) => crypto,
        Err(error) => {
            // A key that can't be opened will be sealed anew: until then the SA goes on as it is. One that can't be
            // used won't get better.
            if !matches!(error, SaError::KeyLength(_)) {
                expanded.hold.insert(shape.id());
            }
            return Err(error);
        }
    };
    let made = Sa {
        source: shape.source,
        destination: shape.destination,
        spi: shape.spi,
        mode: shape.mode,
        reqid: shape.reqid,
        crypto,
        replay: shape.replay,
        selector: shape.selector,
        interface_id: sa.interface_id,
        lifetime: shape.lifetime,
        direction: kernel.has(Capability::Direction).then(|| shape.way.direction()),
        mark: mark::parse(sa.mark),
        output_mark: mark::parse(sa.output_mark),
        // A sender has no use for it.
        icmp_errors: sa.icmp_errors && matches!(shape.way, Way::In),
        // The receiver can't tell, and needn't (RFC 9611 §4).
        cpu: sa.cpu.filter(|_| matches!(shape.way, Way::Out)),
        iptfs: iptfs(sa.iptfs, shape.way),
        encapsulation: shape.encapsulation,
        // Whoever sends keeps the mapping.
        keepalive: shape.keepalive.filter(|_| matches!(shape.way, Way::Out)),
        // Which device it is depends on where the addresses are: `place` says it.
        offload: match sa.offload {
            ApiOffload::None | ApiOffload::Packet => None,
            ApiOffload::Crypto => Some(Offload { device: 0, way: shape.way.direction() }),
        },
    };
    let wanted = match shape.way {
        Way::In => WantedSa::Inbound(InboundSa(made)),
        Way::Out => WantedSa::Outbound(OutboundSa(made)),
    };
    kernel.require_sa(&wanted)?;
    expanded.wanted.push((sa.name.clone(), wanted));
    Ok(())
}

#[derive(Clone, Copy)]
enum Way {
    In,
    Out,
}

impl Way {
    fn direction(self) -> SaDirection {
        match self {
            Self::In => SaDirection::In,
            Self::Out => SaDirection::Out,
        }
    }
}

/// All of an SA but its keys.
struct Shape {
    way: Way,
    source: IpAddr,
    destination: IpAddr,
    protocol: Protocol,
    spi: Spi,
    mode: Mode,
    reqid: Reqid,
    replay: ReplayProtection,
    selector: Option<Selector>,
    lifetime: Lifetime,
    encapsulation: Option<UdpEncapsulation>,
    keepalive: Option<NonZeroU32>,
}

impl Shape {
    fn parse(node: &str, sa: &NodeSecurityAssociation) -> Result<Self, SaError> {
        let here = Some(node);
        let way = match (sa.source.node.as_deref() == here, sa.destination.node.as_deref() == here) {
            (true, false) => Way::Out,
            (false, true) => Way::In,
            (true, true) => return Err(SaError::BothHere(node.to_owned())),
            (false, false) => return Err(SaError::NotHere(node.to_owned())),
        };
        let address = |text: &str| text.parse::<IpAddr>().map_err(|_| SaError::Address(text.to_owned()));
        let (source, destination) = (address(&sa.source.address)?, address(&sa.destination.address)?);
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(SaError::Families(source, destination));
        }
        let reqid = match &sa.policy {
            Some(policy) => reqid::of_policy(policy, &reqid::end(&sa.source), &reqid::end(&sa.destination)),
            None => reqid::of_lone_sa(&sa.name),
        };
        let mode = mode(sa.mode);
        if sa.offload == ApiOffload::Packet {
            return Err(SaError::Combination("offload: Packet isn't there yet"));
        }
        if sa.offload != ApiOffload::None && (sa.protocol != ApiProtocol::ESP || sa.udp.is_some()) {
            return Err(SaError::Combination("devices take only the work of ESP that isn't in UDP"));
        }
        if sa.protocol == ApiProtocol::IPComp {
            if sa.spi.is_some_and(|spi| spi > MAX_CPI) {
                return Err(SaError::Combination("IPComp's index has 16 bits (RFC 3173 §3.3)"));
            }
            if mode == Mode::Beet || sa.anti_replay.window > 0 {
                return Err(SaError::Combination("IPComp has neither mode BEET nor sequence numbers"));
            }
            if sa.lifetime.is_some() {
                return Err(SaError::Combination("IPComp has no keys that wear out"));
            }
        }
        Ok(Self {
            way,
            source,
            destination,
            protocol: protocol(sa.protocol),
            spi: spi(sa.spi.ok_or(SaError::NoSpi)?)?,
            mode,
            reqid,
            replay: replay(sa.anti_replay)?,
            selector: sa_selector::parse(sa.selector.as_ref(), mode, source)?,
            lifetime: lifetime::parse(sa.lifetime.as_ref())?,
            encapsulation: encapsulation(sa)?,
            keepalive: sa.udp.and_then(|udp| NonZeroU32::new(udp.keepalive_seconds?.into())),
        })
    }

    fn id(&self) -> SaId {
        SaId { destination: self.destination, protocol: self.protocol, spi: self.spi }
    }
}

/// This end's half.
fn iptfs(asked: Option<esplanade_crds::Iptfs>, way: Way) -> Iptfs {
    let asked = asked.unwrap_or_default();
    let iptfs = Iptfs {
        packet_size: asked.packet_size,
        dont_fragment: asked.dont_fragment,
        initial_delay: asked.initial_delay_microseconds,
        queue: asked.queue_bytes,
        reorder_window: asked.reorder_window,
        drop_time: asked.drop_time_microseconds,
    };
    match way {
        Way::In => iptfs.inbound(),
        Way::Out => iptfs.outbound(),
    }
}

fn spi(value: u32) -> Result<Spi, SaError> {
    Spi::new(value).ok_or(SaError::Spi(value))
}

/// The SAs, by the names of their IpsecSAs, whose SPIs this node's kernel is to choose.
pub(crate) fn unnumbered(
    node: &str,
    spec: &IpsecNodeStateSpec,
    kernel: &Capabilities,
) -> Vec<(String, Unnumbered)> {
    let open = spec.security_associations.iter().filter(|sa| sa.spi.is_none() && sa.expired.is_none());
    let shapes = open.filter_map(|sa| {
        // Any will do. What else is wrong with it shows when it has one.
        let any = NodeSecurityAssociation { spi: Some(Spi::MIN.get()), ..sa.clone() };
        Some((sa, Shape::parse(node, &any).ok().filter(|shape| matches!(shape.way, Way::In))?))
    });
    let made = shapes.map(|(sa, shape)| {
        let unnumbered = Unnumbered {
            source: shape.source,
            destination: shape.destination,
            protocol: shape.protocol,
            mode: shape.mode,
            reqid: shape.reqid,
            interface_id: sa.interface_id,
            mark: mark::parse(sa.mark),
            direction: kernel.has(Capability::Direction).then(|| shape.way.direction()),
        };
        (sa.name.clone(), unnumbered)
    });
    made.collect()
}

fn replay(asked: AntiReplay) -> Result<ReplayProtection, SaError> {
    let AntiReplay { window, extended_sequence_numbers } = asked;
    if window > MAX_WINDOW {
        return Err(SaError::Window(window));
    }
    if window == 0 && extended_sequence_numbers {
        return Err(SaError::NoWindow);
    }
    Ok(ReplayProtection { window, extended_sequence_numbers })
}

fn encapsulation(sa: &NodeSecurityAssociation) -> Result<Option<UdpEncapsulation>, SaError> {
    let Some(UdpPorts { source, destination, .. }) = sa.udp else { return Ok(None) };
    if sa.protocol != ApiProtocol::ESP {
        return Err(SaError::Combination("only ESP goes in UDP"));
    }
    if source == 0 || destination == 0 {
        return Err(SaError::Combination("a UDP port is 1 to 65535"));
    }
    Ok(Some(UdpEncapsulation { source_port: source, destination_port: destination }))
}

pub(crate) fn protocol(protocol: ApiProtocol) -> Protocol {
    match protocol {
        ApiProtocol::ESP => Protocol::Esp,
        ApiProtocol::AH => Protocol::Ah,
        ApiProtocol::IPComp => Protocol::IpComp,
    }
}

pub(crate) fn mode(mode: esplanade_crds::Mode) -> Mode {
    match mode {
        esplanade_crds::Mode::Tunnel => Mode::Tunnel,
        esplanade_crds::Mode::Transport => Mode::Transport,
        esplanade_crds::Mode::BEET => Mode::Beet,
        esplanade_crds::Mode::IPTFS => Mode::Iptfs,
    }
}
