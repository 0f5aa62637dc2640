//! Security associations.

use std::net::IpAddr;
use std::num::NonZeroU32;

use crate::{Crypto, Iptfs, Lifetime, Mark, Offload, Reqid, SaId, Selector, Spi, UdpEncapsulation};

/// How a packet is wrapped (RFC 4301 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// The payload only.
    Transport,
    /// The whole packet, of either address family.
    Tunnel,
    /// A tunnel whose inner addresses aren't sent: the selector tells them (draft-nikander-esp-beet-mode).
    Beet,
    /// A tunnel that carries packets together and in pieces, so that their lengths don't show (RFC 9347).
    Iptfs,
}

impl Mode {
    /// Packets get the SA's own addresses, whatever is inside.
    pub fn is_tunnel(self) -> bool {
        match self {
            Self::Tunnel | Self::Beet | Self::Iptfs => true,
            Self::Transport => false,
        }
    }

    /// What is inside has addresses of its own there, of either family.
    pub fn carries_both_families(self) -> bool {
        match self {
            Self::Tunnel | Self::Iptfs => true,
            Self::Transport | Self::Beet => false,
        }
    }
}

/// Protection against replays at the receiver (RFC 4303 §3.4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayProtection {
    /// Packets that one may come late; 0 is none. At most 4096 (`XFRMA_REPLAY_ESN_MAX`).
    pub window: u32,
    /// 64-bit sequence numbers (RFC 4303 §2.2.1); needs a window.
    pub extended_sequence_numbers: bool,
}

/// Which way an SA goes, as the kernel is told (`XFRMA_SA_DIR`, from Linux 6.10 on).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SaDirection {
    /// It ends here: nothing is sent through it.
    In,
    /// It starts here: nothing is received through it, so it has no window at all.
    Out,
}

impl SaDirection {
    /// Its number in the kernel.
    pub fn kernel(self) -> u8 {
        match self {
            Self::In => 1,
            Self::Out => 2,
        }
    }
}

/// One direction of protected traffic (RFC 4301 §4.1), as we write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sa {
    /// The outer source address, of the destination's family.
    pub source: IpAddr,
    /// The outer destination address.
    pub destination: IpAddr,
    /// The SPI.
    pub spi: Spi,
    /// The mode.
    pub mode: Mode,
    /// Ties it to policies.
    pub reqid: Reqid,
    /// Algorithms and keys; they decide the protocol.
    pub crypto: Crypto,
    /// Protection against replays.
    pub replay: ReplayProtection,
    /// The packets that it carries: none for all. A sender passes over an SA that doesn't carry a packet
    /// (`xfrm_state_look_at`), a receiver drops what comes through the wrong one (`__xfrm_policy_check`). In transport
    /// mode of the SA's family, and with BEET a host on each side, which are the inner addresses. Only a tunnel's may be
    /// all of the SA's family: the kernel doesn't tell that from none otherwise.
    pub selector: Option<Selector>,
    /// Id of the XFRM interface whose packets it carries (`if_id`); 0 for those through none. Not part of its name.
    pub interface_id: u32,
    /// When it wears out.
    pub lifetime: Lifetime,
    /// Which way it goes, where the kernel is told; none where it can't be.
    pub direction: Option<SaDirection>,
    /// The mark that packets have, those to be protected and those to be opened. The kernel finds the SA only by it.
    pub mark: Mark,
    /// Bits that its packets' marks get (`XFRMA_SET_MARK`): those sent before they are routed, those received once they
    /// are opened.
    pub output_mark: Mark,
    /// Inbound: carries ICMP errors about what it carries as well (`XFRM_STATE_ICMP`, RFC 4301 §6.2).
    pub icmp_errors: bool,
    /// The CPU of this node whose packets it carries (`XFRMA_SA_PCPU`, RFC 9611); none for all that have no SA of their
    /// own. Only a sender whose direction the kernel is told has one. Not part of its name.
    pub cpu: Option<u32>,
    /// With [`Mode::Iptfs`]: this end's half.
    pub iptfs: Iptfs,
    /// ESP in UDP; none for plain ESP. UDPSA changes its ports, and can't add or remove it (`xfrm_state_update`).
    pub encapsulation: Option<UdpEncapsulation>,
    /// ESP in UDP, outbound, where the kernel is told the direction: after so many seconds without a packet it sends one of
    /// a single byte, so that address translations on the way keep their mapping (`XFRMA_NAT_KEEPALIVE_INTERVAL`, RFC 3948
    /// §4). None for never.
    pub keepalive: Option<NonZeroU32>,
    /// ESP only, and not in UDP: the device that does the work; none for the kernel itself.
    pub offload: Option<Offload>,
}

impl Sa {
    /// One in tunnel mode that carries everything and never wears out: without protection against replays, marks, an XFRM
    /// interface, UDP, and a direction that the kernel would be told.
    pub fn tunnel(source: IpAddr, destination: IpAddr, spi: Spi, reqid: Reqid, crypto: Crypto) -> Self {
        Self {
            source,
            destination,
            spi,
            mode: Mode::Tunnel,
            reqid,
            crypto,
            replay: ReplayProtection::default(),
            selector: None,
            interface_id: 0,
            lifetime: Lifetime::default(),
            direction: None,
            mark: Mark::NONE,
            output_mark: Mark::NONE,
            icmp_errors: false,
            cpu: None,
            iptfs: Iptfs::default(),
            encapsulation: None,
            keepalive: None,
            offload: None,
        }
    }

    /// What names it in the kernel.
    pub fn id(&self) -> SaId {
        SaId { destination: self.destination, protocol: self.crypto.protocol(), spi: self.spi }
    }
}

/// An SA that ends at this node: it checks replays and never sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundSa(pub Sa);

/// An SA that starts at this node: it counts sequence numbers and never receives. Its replay window in the kernel is
/// the smallest that the kernel takes (0; with extended sequence numbers 1, unless it is told the direction).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundSa(pub Sa);
