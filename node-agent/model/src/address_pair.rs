//! Which addresses of two nodes an SA in transport mode goes between.

use std::fmt;
use std::net::IpAddr;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl AddressFamily {
    /// The address's.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }
}

/// Two nodes' addresses of one family, each by its place among its node's addresses of that family, from 0: what both ends
/// know without telling each other. An SA in transport mode goes between two addresses (RFC 4301 §4.1), so that there is
/// one for each pair, with keys of its own: two SAs with one key would use its nonces twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressPair {
    /// Their family.
    pub family: AddressFamily,
    /// The sender's.
    pub source: u8,
    /// The receiver's.
    pub destination: u8,
}

impl AddressPair {
    /// That of what goes from `sources` to `destinations` between these two; none if they aren't among them, or of two
    /// families.
    pub fn of(
        (source, sources): (IpAddr, &[IpAddr]),
        (destination, destinations): (IpAddr, &[IpAddr]),
    ) -> Option<Self> {
        let family = AddressFamily::of(source);
        let place = |address: IpAddr, among: &[IpAddr]| {
            let found = in_family(among, family).position(|one| one == address)?;
            u8::try_from(found).ok()
        };
        let (source, destination) = (place(source, sources)?, place(destination, destinations)?);
        Some(Self { family, source, destination })
    }

    /// The two addresses, as far as they are there.
    pub fn among(&self, sources: &[IpAddr], destinations: &[IpAddr]) -> Option<(IpAddr, IpAddr)> {
        let nth = |among: &[IpAddr], place: u8| in_family(among, self.family).nth(place.into());
        Some((nth(sources, self.source)?, nth(destinations, self.destination)?))
    }

    /// That of what goes the other way.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { source: self.destination, destination: self.source, ..self }
    }
}

/// As `docs/keying.md` has it derived from.
impl fmt::Display for AddressPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            AddressFamily::Ipv4 => "IPv4",
            AddressFamily::Ipv6 => "IPv6",
        };
        write!(f, "{family} {} {}", self.source, self.destination)
    }
}

fn in_family(addresses: &[IpAddr], family: AddressFamily) -> impl Iterator<Item = IpAddr> + '_ {
    addresses.iter().copied().filter(move |address| AddressFamily::of(*address) == family)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::AddressPair;

    #[test]
    fn a_pair_is_found_again_from_both_ends() {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let here = parse(&["192.0.2.1", "2001:db8::1", "192.0.2.101"]);
        let there = parse(&["2001:db8::2", "192.0.2.2"]);
        let mut seen = Vec::new();
        for (at, source) in here.iter().enumerate() {
            for destination in &there {
                let pair = AddressPair::of((*source, &here), (*destination, &there));
                assert_eq!(pair.is_some(), source.is_ipv4() == destination.is_ipv4());
                let Some(pair) = pair else { continue };
                assert_eq!(pair.among(&here, &there), Some((*source, *destination)));
                assert_eq!(pair.reversed().among(&there, &here), Some((*destination, *source)));
                seen.push((at, pair.to_string()));
            }
        }
        let seen: Vec<_> = seen.iter().map(|(at, text)| (*at, text.as_str())).collect();
        assert_eq!(seen, [(0, "IPv4 0 0"), (1, "IPv6 0 0"), (2, "IPv4 1 0")]);
        assert_eq!(AddressPair::of((here[0], &there), (there[1], &there)), None);
    }
}
