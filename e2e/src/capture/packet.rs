//! Captured packets, as far as tests ask: addresses, protocol, ports, SPI and sequence number.
//!
//! Classic pcap files (the format tcpdump writes) with Ethernet frames. What isn't understood becomes `Other`,
//! never an error: a test that looks for clear text must see every frame.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail, ensure};

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// When, in microseconds since 1970 on the nodes' clock.
    pub at: u64,
    /// The frame's length on the wire in bytes.
    pub length: u32,
    /// What is in it.
    pub frame: Frame,
}

/// What an Ethernet frame carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// An ARP packet for this address.
    Arp {
        /// The address asked for, or the one the answer goes to.
        target: Ipv4Addr,
    },
    /// An IP packet.
    Ip(Ip),
    /// Another EtherType, or a frame cut short.
    Other(u16),
}

/// An IP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ip {
    /// Source.
    pub source: IpAddr,
    /// Destination.
    pub destination: IpAddr,
    /// What it carries, extension headers skipped.
    pub payload: Payload,
}

/// What an IP packet carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// RFC 4303.
    Esp {
        /// Security Parameters Index.
        spi: u32,
        /// Sequence number, its low 32 bits.
        seq: u32,
    },
    /// RFC 3948: ESP in UDP.
    EspInUdp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Security Parameters Index.
        spi: u32,
        /// Sequence number, its low 32 bits.
        seq: u32,
    },
    /// RFC 4302; what it protects is in the clear.
    Ah {
        /// Security Parameters Index.
        spi: u32,
        /// Sequence number, its low 32 bits.
        seq: u32,
        /// What it protects.
        inner: Box<Payload>,
    },
    /// UDP.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// TCP.
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// ICMP or ICMPv6.
    Icmp {
        /// The type, in the numbers of the packet's family.
        kind: u8,
    },
    /// IP in IP.
    Ip(Box<Ip>),
    /// A later fragment of that protocol.
    Fragment(u8),
    /// Another protocol, or a packet cut short.
    Other(u8),
}

impl Packet {
    /// The IP packet in it.
    #[must_use]
    pub fn ip(&self) -> Option<&Ip> {
        match &self.frame {
            Frame::Ip(ip) => Some(ip),
            _ => None,
        }
    }

    /// The SPI, if it is ESP, be it in UDP.
    #[must_use]
    pub fn esp_spi(&self) -> Option<u32> {
        match self.ip()?.payload {
            Payload::Esp { spi, .. } | Payload::EspInUdp { spi, .. } => Some(spi),
            _ => None,
        }
    }
}

impl Ip {
    /// Whether it goes from one address to the other.
    #[must_use]
    pub fn is_between(&self, source: impl Into<IpAddr>, destination: impl Into<IpAddr>) -> bool {
        self.source == source.into() && self.destination == destination.into()
    }

    /// An ICMP or ICMPv6 echo request or reply.
    #[must_use]
    pub fn is_echo(&self) -> bool {
        match (self.source, &self.payload) {
            (IpAddr::V4(_), Payload::Icmp { kind }) => matches!(kind, 0 | 8),
            (IpAddr::V6(_), Payload::Icmp { kind }) => matches!(kind, 128 | 129),
            _ => false,
        }
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.frame {
            Frame::Arp { target } => write!(f, "ARP for {target}"),
            Frame::Ip(ip) => write!(f, "{ip}, {} bytes", self.length),
            Frame::Other(kind) => write!(f, "EtherType {kind:#06x}"),
        }
    }
}

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {} {}", self.source, self.destination, self.payload)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Esp { spi, seq } => write!(f, "ESP spi {spi:#x} seq {seq}"),
            Self::EspInUdp { source, destination, spi, seq } => {
                write!(f, "UDP {source} > {destination} ESP spi {spi:#x} seq {seq}")
            }
            Self::Ah { spi, seq, inner } => write!(f, "AH spi {spi:#x} seq {seq} over {inner}"),
            Self::Udp { source, destination } => write!(f, "UDP {source} > {destination}"),
            Self::Tcp { source, destination } => write!(f, "TCP {source} > {destination}"),
            Self::Icmp { kind } => write!(f, "ICMP type {kind}"),
            Self::Ip(inner) => write!(f, "IP ({inner})"),
            Self::Fragment(protocol) => write!(f, "fragment of protocol {protocol}"),
            Self::Other(protocol) => write!(f, "protocol {protocol}"),
        }
    }
}

/// The packets of a pcap file. A record that isn't written in full yet is left out.
///
/// # Errors
/// Not a little-endian microsecond pcap file with Ethernet frames.
pub fn parse(file: &[u8]) -> Result<Vec<Packet>> {
    let Some((header, mut rest)) = file.split_at_checked(24) else { bail!("not a pcap file: too short") };
    ensure!(header[..4] == [0xd4, 0xc3, 0xb2, 0xa1], "not a little-endian microsecond pcap file");
    ensure!(header[20] == 1, "link type {} instead of Ethernet", header[20]);
    let mut packets = Vec::new();
    while let Some((record, after)) = rest.split_at_checked(16) {
        let field = |n: usize| u32_of(record, n * 4, u32::from_le_bytes).unwrap_or_default();
        let Some((frame, after)) = after.split_at_checked(field(2) as usize) else { break };
        let at = u64::from(field(0)) * 1_000_000 + u64::from(field(1));
        packets.push(Packet { at, length: field(3), frame: ethernet(frame) });
        rest = after;
    }
    Ok(packets)
}

fn ethernet(frame: &[u8]) -> Frame {
    let kind = u16_of(frame, 12).unwrap_or(0);
    let payload = frame.get(14..).unwrap_or_default();
    let parsed = match kind {
        0x0806 => address::<4>(payload, 24).map(|target| Frame::Arp { target: target.into() }),
        0x0800 => ipv4(payload).map(Frame::Ip),
        0x86dd => ipv6(payload).map(Frame::Ip),
        _ => None,
    };
    parsed.unwrap_or(Frame::Other(kind))
}

fn ipv4(packet: &[u8]) -> Option<Ip> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let later = u16_of(packet, 6)? & 0x1fff != 0;
    let protocol = *packet.get(9)?;
    let source = Ipv4Addr::from(address::<4>(packet, 12)?).into();
    let destination = Ipv4Addr::from(address::<4>(packet, 16)?).into();
    let rest = packet.get(header..).unwrap_or_default();
    let payload = if later { Payload::Fragment(protocol) } else { payload(protocol, rest) };
    Some(Ip { source, destination, payload })
}

fn ipv6(packet: &[u8]) -> Option<Ip> {
    let source = Ipv6Addr::from(address::<16>(packet, 8)?).into();
    let destination = Ipv6Addr::from(address::<16>(packet, 24)?).into();
    Some(Ip { source, destination, payload: payload(*packet.get(6)?, packet.get(40..)?) })
}

fn payload(protocol: u8, bytes: &[u8]) -> Payload {
    known(protocol, bytes).unwrap_or(Payload::Other(protocol))
}

fn known(protocol: u8, bytes: &[u8]) -> Option<Payload> {
    let word = |at| u32_of(bytes, at, u32::from_be_bytes);
    let after = |length: usize| bytes.get(length..).unwrap_or_default();
    let (next, length) = (*bytes.first()?, usize::from(*bytes.get(1)?));
    Some(match protocol {
        1 | 58 => Payload::Icmp { kind: next },
        4 => Payload::Ip(Box::new(ipv4(bytes)?)),
        41 => Payload::Ip(Box::new(ipv6(bytes)?)),
        6 => Payload::Tcp { source: u16_of(bytes, 0)?, destination: u16_of(bytes, 2)? },
        17 => match esp_in_udp(bytes) {
            Some(payload) => payload,
            None => Payload::Udp { source: u16_of(bytes, 0)?, destination: u16_of(bytes, 2)? },
        },
        50 => Payload::Esp { spi: word(0)?, seq: word(4)? },
        51 => {
            let inner = Box::new(payload(next, after((length + 2) * 4)));
            Payload::Ah { spi: word(4)?, seq: word(8)?, inner }
        }
        // Hop-by-hop, routing and destination options; fragments.
        0 | 43 | 60 => payload(next, after((length + 1) * 8)),
        44 if u16_of(bytes, 2)? & 0xfff8 != 0 => Payload::Fragment(next),
        44 => payload(next, after(8)),
        _ => return None,
    })
}

/// On port 4500 of either end (RFC 3948 §2.1), unless it has the marker of IKE.
fn esp_in_udp(bytes: &[u8]) -> Option<Payload> {
    let (source, destination) = (u16_of(bytes, 0)?, u16_of(bytes, 2)?);
    let word = |at| u32_of(bytes, at, u32::from_be_bytes);
    let (spi, seq) = (word(8)?, word(12)?);
    let is_esp = [source, destination].contains(&4500) && spi != 0;
    is_esp.then_some(Payload::EspInUdp { source, destination, spi, seq })
}

fn u16_of(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(address::<2>(bytes, at)?))
}

fn u32_of(bytes: &[u8], at: usize, order: fn([u8; 4]) -> u32) -> Option<u32> {
    Some(order(address::<4>(bytes, at)?))
}

fn address<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests;
