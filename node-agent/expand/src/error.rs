//! What can be wrong with one object, and what each is called in conditions.

use std::net::IpAddr;

use esplanade_crds::conditions::reason;
use esplanade_crds::{Problem, ProblemKind};
use esplanade_model::{CryptoError, KeyLengthError, Missing, SaId};
use esplanade_seal::OpenError;

/// Why an SA can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SaError {
    #[error("neither end is this node ({0})")]
    NotHere(String),
    #[error("both ends are this node ({0}): an SA goes from one end to another")]
    BothHere(String),
    #[error("{0:?} is no IP address")]
    Address(String),
    #[error("source {0} and destination {1} are of different address families")]
    Families(IpAddr, IpAddr),
    #[error("selector has {0:?}, which is no network")]
    Network(String),
    #[error("selector {0} is of several address families")]
    MixedSelector(String),
    #[error("selector is of another address family than the SA, which mode: Transport doesn't carry")]
    ForeignSelector,
    #[error("ports {0} to {1} are no single value under a mask: use several SAs")]
    Ports(u16, u16),
    #[error("it has no SPI yet: the receiver's kernel chooses it")]
    NoSpi,
    #[error("SPI {0} is reserved: use 256 or more (RFC 4303 §2.1)")]
    Spi(u32),
    #[error("an anti-replay window of {0} packets is more than the kernel's 4096")]
    Window(u32),
    #[error("lifetime has {0:?}, which limits nothing: write 1 or more, a time like 24h")]
    Limit(String),
    #[error("extended sequence numbers need an anti-replay window")]
    NoWindow,
    #[error("{0}")]
    Combination(&'static str),
    #[error(transparent)]
    Kernel(#[from] Missing),
    #[error("no network device of this node has {0}, so that none can take its work: remove offload")]
    NoDevice(IpAddr),
    #[error(
        "network device {0} takes no work of this SA: remove offload, or give the node a device that does ESP with its \
         algorithms"
    )]
    DeviceUnable(String),
    #[error("{0}: {1}")]
    Algorithm(String, #[source] CryptoError),
    #[error("the {0} is IpsecSA {1} already")]
    Taken(SaId, String),
    #[error(transparent)]
    KeyLength(#[from] KeyLengthError),
    #[error("this node has no sealing key")]
    NoSealingKey,
    #[error("the key is sealed to {recipient}, this node's sealing key is {own}: it will be sealed anew")]
    Recipient { recipient: String, own: String },
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl SaError {
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::Kernel(_) | Self::NoDevice(_) | Self::DeviceUnable(_) => reason::UNSUPPORTED_BY_KERNEL,
            Self::Algorithm(_, CryptoError::Weak(_)) => reason::INSECURE_ALGORITHM,
            Self::Algorithm(_, CryptoError::Unknown(_)) => reason::UNKNOWN_ALGORITHM,
            Self::NoSpi => reason::PENDING,
            Self::Taken(..) => reason::CONFLICTED,
            Self::KeyLength(_) => reason::INVALID_KEY,
            Self::NoSealingKey | Self::Recipient { .. } | Self::Open(_) => reason::UNSEALABLE,
            Self::NotHere(_)
            | Self::BothHere(_)
            | Self::Address(_)
            | Self::Families(..)
            | Self::Network(_)
            | Self::MixedSelector(_)
            | Self::ForeignSelector
            | Self::Ports(..)
            | Self::Spi(_)
            | Self::Window(_)
            | Self::NoWindow
            | Self::Limit(_)
            | Self::Combination(_) => reason::INVALID,
        }
    }

    pub(crate) fn problem(&self, sa: &str) -> Problem {
        Problem {
            kind: ProblemKind::IpsecSA,
            name: sa.to_owned(),
            category: self.category().to_owned(),
            message: self.to_string(),
        }
    }
}

/// Why a policy, or a part of it, can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PolicyError {
    #[error("{whose} has {text:?}, which is no network")]
    Network { whose: String, text: String },
    #[error("{whose} has {text:?}, which is no IP address")]
    Address { whose: String, text: String },
    #[error(
        "no IpsecSA to or from {0}, and no addresses of the same family on both sides: its traffic is dropped"
    )]
    NoCommonFamily(String),
    #[error("{0}. Until then the node drops what must be protected")]
    Kernel(#[from] Missing),
    #[error(transparent)]
    AutomaticSas(Missing),
}

impl PolicyError {
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::Network { .. } | Self::Address { .. } => reason::INVALID,
            Self::NoCommonFamily(_) => reason::NO_ADDRESS,
            Self::Kernel(_) | Self::AutomaticSas(_) => reason::UNSUPPORTED_BY_KERNEL,
        }
    }

    pub(crate) fn problem(&self, policy: &str) -> Problem {
        Problem {
            kind: ProblemKind::IpsecPolicy,
            name: policy.to_owned(),
            category: self.category().to_owned(),
            message: self.to_string(),
        }
    }
}
