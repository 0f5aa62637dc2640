//! What a kernel can do, and what SAs and policies ask of it.
//!
//! Kernels ignore attributes that they don't know and report success (`nlmsg_parse_deprecated`), so what a kernel lacks
//! is never sent to it. [`needs`] is the one place that says which feature asks for which [`Capability`].

use std::collections::BTreeSet;
use std::fmt;

use crate::{Aead, Authentication, Cipher, Policy, WantedSa};

mod needs;

/// Something that not every kernel can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// ESP over IPv4 (`esp4`).
    EspOverIpv4,
    /// ESP over IPv6 (`esp6`).
    EspOverIpv6,
    /// AH over IPv4 (`ah4`).
    AhOverIpv4,
    /// AH over IPv6 (`ah6`).
    AhOverIpv6,
    /// An algorithm that encrypts and authenticates.
    Aead(Aead),
    /// An encryption algorithm.
    Cipher(Cipher),
    /// An integrity algorithm.
    Authentication(Authentication),
    /// IPComp with DEFLATE (RFC 2394; `ipcomp`, `ipcomp6`).
    CompressionDeflate,
    /// ESP in UDP (RFC 3948), over both families.
    UdpEncapsulation,
    /// The kernel itself sends NAT keepalives (`XFRMA_NAT_KEEPALIVE_INTERVAL`, Linux 6.11).
    NatKeepalive,
    /// SAs have a direction (`XFRMA_SA_DIR`, Linux 6.10).
    Direction,
    /// SAs for single CPUs (`XFRMA_SA_PCPU`, RFC 9611, Linux 6.13).
    PerCpu,
    /// IP traffic flow security (`XFRM_MODE_IPTFS`, RFC 9347, Linux 6.14).
    Iptfs,
    /// Devices may be asked to encrypt and decrypt ESP (`CONFIG_XFRM_OFFLOAD`, `esp4_offload`, `esp6_offload`).
    CryptoOffload,
    /// Devices may be asked to do all of IPsec for an SA or a policy (`XFRM_OFFLOAD_PACKET`, Linux 6.2).
    PacketOffload,
    /// XFRM interfaces (`CONFIG_XFRM_INTERFACE`).
    Interfaces,
    /// SAs and policies move to other addresses (`XFRM_MSG_MIGRATE`, `CONFIG_XFRM_MIGRATE`).
    Migrate,
    /// Single SAs move to other addresses (`XFRM_MSG_MIGRATE_STATE`, Linux 7.2).
    MigrateState,
}

impl Capability {
    /// All of them, in their order.
    pub fn all() -> impl Iterator<Item = Self> {
        let protocols = [Self::EspOverIpv4, Self::EspOverIpv6, Self::AhOverIpv4, Self::AhOverIpv6];
        let others = [
            Self::CompressionDeflate,
            Self::UdpEncapsulation,
            Self::NatKeepalive,
            Self::Direction,
            Self::PerCpu,
            Self::Iptfs,
            Self::CryptoOffload,
            Self::PacketOffload,
            Self::Interfaces,
            Self::Migrate,
            Self::MigrateState,
        ];
        let algorithms = Aead::ALL.iter().map(|one| Self::Aead(*one));
        let algorithms = algorithms.chain(Cipher::ALL.iter().map(|one| Self::Cipher(*one)));
        let algorithms = algorithms.chain(Authentication::ALL.iter().map(|one| Self::Authentication(*one)));
        protocols.into_iter().chain(algorithms).chain(others)
    }

    /// Its name in `IpsecNodeState.status.kernel.capabilities`; an algorithm's is its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::EspOverIpv4 => "ESPOverIPv4",
            Self::EspOverIpv6 => "ESPOverIPv6",
            Self::AhOverIpv4 => "AHOverIPv4",
            Self::AhOverIpv6 => "AHOverIPv6",
            Self::Aead(aead) => aead.name(),
            Self::Cipher(cipher) => cipher.name(),
            Self::Authentication(authentication) => authentication.name(),
            Self::CompressionDeflate => "CompressionDeflate",
            Self::UdpEncapsulation => "UDPEncapsulation",
            Self::NatKeepalive => "NATKeepalive",
            Self::Direction => "SADirection",
            Self::PerCpu => "PerCPU",
            Self::Iptfs => "IPTFS",
            Self::CryptoOffload => "CryptoOffload",
            Self::PacketOffload => "PacketOffload",
            Self::Interfaces => "XFRMInterfaces",
            Self::Migrate => "Migrate",
            Self::MigrateState => "MigrateState",
        }
    }

    /// What it is, after "has no".
    fn in_words(self) -> &'static str {
        match self {
            Self::EspOverIpv4 => "ESP over IPv4",
            Self::EspOverIpv6 => "ESP over IPv6",
            Self::AhOverIpv4 => "AH over IPv4",
            Self::AhOverIpv6 => "AH over IPv6",
            Self::Aead(_) | Self::Cipher(_) | Self::Authentication(_) => self.name(),
            Self::CompressionDeflate => "IPComp with DEFLATE",
            Self::UdpEncapsulation => "UDP encapsulation",
            Self::NatKeepalive => "NAT keepalives of its own (Linux 6.11 has)",
            Self::Direction => "direction of SAs (Linux 6.10 has)",
            Self::PerCpu => "SAs for single CPUs (Linux 6.13 has)",
            Self::Iptfs => "IPTFS (Linux 6.14 has, with CONFIG_XFRM_IPTFS)",
            Self::CryptoOffload => {
                "crypto offload (modules esp4_offload and esp6_offload, CONFIG_XFRM_OFFLOAD)"
            }
            Self::PacketOffload => "packet offload (Linux 6.2 has, with CONFIG_XFRM_OFFLOAD)",
            Self::Interfaces => "XFRM interfaces (module xfrm_interface, CONFIG_XFRM_INTERFACE)",
            Self::Migrate => "migration of SAs (CONFIG_XFRM_MIGRATE)",
            Self::MigrateState => "migration of single SAs (Linux 7.2 has, with CONFIG_XFRM_MIGRATE)",
        }
    }
}

/// What a node's kernel can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    release: String,
    present: BTreeSet<Capability>,
}

impl Capabilities {
    /// Of the kernel with this release (`uname -r`).
    pub fn new(release: &str, present: BTreeSet<Capability>) -> Self {
        Self { release: release.to_owned(), present }
    }

    /// Whether the kernel can do this.
    pub fn has(&self, capability: Capability) -> bool {
        self.present.contains(&capability)
    }

    /// The names of what the kernel can do, always in the same order.
    pub fn names(&self) -> Vec<String> {
        self.present.iter().map(|one| one.name().to_owned()).collect()
    }

    /// The kernel can do all that the SA asks for.
    ///
    /// # Errors
    /// It lacks something.
    pub fn require_sa(&self, sa: &WantedSa) -> Result<(), Missing> {
        self.require(needs::of_sa(sa))
    }

    /// The kernel can do all that the policy asks for.
    ///
    /// # Errors
    /// It lacks something.
    pub fn require_policy(&self, policy: &Policy) -> Result<(), Missing> {
        self.require(needs::of_policy(policy))
    }

    fn require(&self, needs: impl IntoIterator<Item = Capability>) -> Result<(), Missing> {
        match needs.into_iter().find(|need| !self.has(*need)) {
            None => Ok(()),
            Some(capability) => {
                let others = self.present.iter().filter(|one| instead(capability, **one));
                let others = others.map(|one| one.name()).collect();
                Err(Missing { capability, release: self.release.clone(), others })
            }
        }
    }
}

/// Whether the one can stand in for the other without more than its name being written.
fn instead(missing: Capability, other: Capability) -> bool {
    use Capability::{Aead, Authentication, Cipher};
    matches!(
        (missing, other),
        (Aead(_) | Cipher(_), Aead(_) | Cipher(_)) | (Authentication(_), Authentication(_))
    ) && other != Cipher(crate::Cipher::Null)
}

/// A kernel lacks something that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What it lacks.
    pub capability: Capability,
    release: String,
    /// What it has instead.
    others: Vec<&'static str>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { capability, release, others } = self;
        write!(f, "kernel {release} has no {}: ", capability.in_words())?;
        if !others.is_empty() {
            write!(f, "write {}, or ", others.join(" or "))?;
        } else if let Some(field) = needs::field(*capability) {
            write!(f, "{field}, or ")?;
        }
        f.write_str("give the node a kernel (or a kernel module) that has, and restart its agent")
    }
}

impl std::error::Error for Missing {}

#[cfg(test)]
mod tests;
