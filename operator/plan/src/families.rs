//! Sets of address families.

use std::fmt;

use ipnet::IpNet;

/// A set of address families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Families {
    ipv4: bool,
    ipv6: bool,
}

impl Families {
    pub(crate) const BOTH: Self = Self { ipv4: true, ipv6: true };
    pub(crate) const IPV4: Self = Self { ipv4: true, ipv6: false };
    pub(crate) const IPV6: Self = Self { ipv4: false, ipv6: true };

    pub(crate) fn of<'a>(networks: impl IntoIterator<Item = &'a IpNet>) -> Self {
        networks.into_iter().fold(Self::default(), |sum, network| {
            sum.or(match network {
                IpNet::V4(_) => Self::IPV4,
                IpNet::V6(_) => Self::IPV6,
            })
        })
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self { ipv4: self.ipv4 && other.ipv4, ipv6: self.ipv6 && other.ipv6 }
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self { ipv4: self.ipv4 || other.ipv4, ipv6: self.ipv6 || other.ipv6 }
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self { ipv4: self.ipv4 && !other.ipv4, ipv6: self.ipv6 && !other.ipv6 }
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.ipv4, self.ipv6) {
            (true, true) => "IPv4 and IPv6",
            (true, false) => "IPv4",
            (false, true) => "IPv6",
            (false, false) => "no address family",
        })
    }
}
