//! Traffic selectors (`xfrm_selector`).

use std::hash::{Hash, Hasher};

use ipnet::IpNet;

use crate::identity::pair;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// A port under a mask, as the kernel compares it: `(packet ^ value) & mask == 0`. For ICMP the source port stands for
/// the type and the destination port for the code (`xfrm_flowi_sport`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Port {
    value: u16,
    mask: u16,
}

impl Port {
    /// Every port.
    pub const ANY: Self = Self { value: 0, mask: 0 };

    /// Just this port.
    pub fn exactly(value: u16) -> Self {
        Self { value, mask: u16::MAX }
    }

    /// The ports that agree with `value` where `mask` has ones.
    pub fn masked(value: u16, mask: u16) -> Self {
        Self { value: value & mask, mask }
    }

    /// The value, in host byte order; zero where the mask is.
    pub fn value(self) -> u16 {
        self.value
    }

    /// The mask, in host byte order.
    pub fn mask(self) -> u16 {
        self.mask
    }

    /// Some port agrees with both.
    pub fn overlaps(self, other: Self) -> bool {
        (self.value ^ other.value) & self.mask & other.mask == 0
    }

    /// Every port that agrees with the other agrees with this one.
    pub fn covers(self, other: Self) -> bool {
        self.overlaps(other) && self.mask & !other.mask == 0
    }
}

/// Source and destination of a selector are of different address families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("source and destination are of different address families")]
pub struct MixedFamilies;

/// Which packets a policy covers. Normal form: no host bits in the networks, no value bits outside a port's mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    source: IpNet,
    destination: IpNet,
    /// IP protocol number; 0 is any.
    pub protocol: u8,
    /// Source port.
    pub source_port: Port,
    /// Destination port.
    pub destination_port: Port,
    /// Index of the interface that packets arrive by or leave by (`ifindex`); 0 is any.
    pub interface_index: u32,
}

impl Selector {
    /// All traffic from one network to another of the same family.
    pub fn new(source: IpNet, destination: IpNet) -> Result<Self, MixedFamilies> {
        match (source, destination) {
            (IpNet::V4(_), IpNet::V4(_)) | (IpNet::V6(_), IpNet::V6(_)) => Ok(Self {
                source: source.trunc(),
                destination: destination.trunc(),
                protocol: 0,
                source_port: Port::ANY,
                destination_port: Port::ANY,
                interface_index: 0,
            }),
            _ => Err(MixedFamilies),
        }
    }

    /// Where packets come from.
    pub fn source(&self) -> IpNet {
        self.source
    }

    /// Where packets go to.
    pub fn destination(&self) -> IpNet {
        self.destination
    }

    /// All packets of its address family.
    pub fn is_everything(&self) -> bool {
        let Self { source, destination, protocol, source_port, destination_port, interface_index } = self;
        source.prefix_len() == 0
            && destination.prefix_len() == 0
            && *protocol == 0
            && source_port.mask == 0
            && destination_port.mask == 0
            && *interface_index == 0
    }

    /// Packets from one address to another.
    pub fn is_of_hosts(&self) -> bool {
        [self.source, self.destination].iter().all(|one| one.prefix_len() == one.max_prefix_len())
    }

    /// There are packets that both are for.
    pub fn overlaps(&self, other: &Self) -> bool {
        let networks = |a: IpNet, b: IpNet| a.contains(&b) || b.contains(&a);
        let alike = |a: u32, b: u32| a == 0 || b == 0 || a == b;
        networks(self.source, other.source)
            && networks(self.destination, other.destination)
            && alike(self.protocol.into(), other.protocol.into())
            && self.source_port.overlaps(other.source_port)
            && self.destination_port.overlaps(other.destination_port)
            && alike(self.interface_index, other.interface_index)
    }

    /// Whatever the other is for, this one is for as well.
    pub fn covers(&self, other: &Self) -> bool {
        let alike = |a: u32, b: u32| a == 0 || a == b;
        self.source.contains(&other.source)
            && self.destination.contains(&other.destination)
            && alike(self.protocol.into(), other.protocol.into())
            && self.source_port.covers(other.source_port)
            && self.destination_port.covers(other.destination_port)
            && alike(self.interface_index, other.interface_index)
    }

    /// The same for packets the other way. What isn't a port stays where it is: a type of messages is one both ways.
    pub fn reversed(&self) -> Self {
        let (source_port, destination_port) = match self.protocol {
            ICMP | ICMPV6 => (self.source_port, self.destination_port),
            _ => (self.destination_port, self.source_port),
        };
        Self {
            source: self.destination,
            destination: self.source,
            protocol: self.protocol,
            source_port,
            destination_port,
            interface_index: self.interface_index,
        }
    }
}

/// In few words, as for [`SaId`](crate::SaId).
impl Hash for Selector {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { source, destination, protocol, source_port, destination_port, interface_index } = self;
        match (source, destination) {
            (IpNet::V4(source), IpNet::V4(destination)) => {
                state.write_u64(pair(source.addr().to_bits(), destination.addr().to_bits()));
            }
            _ => [source, destination].into_iter().for_each(|network| network.hash(state)),
        }
        let lengths = u32::from_be_bytes([source.prefix_len(), destination.prefix_len(), *protocol, 0]);
        state.write_u64(pair(lengths, *interface_index));
        let ports = |port: &Port| u32::from(port.value) << 16 | u32::from(port.mask);
        state.write_u64(pair(ports(source_port), ports(destination_port)));
    }
}
