//! What a node's XFRM databases hold, in types: security associations, policies, and the operations on them.
//!
//! Wanted state (`expand`), the difference (`diff`) and the wire (`xfrm`) share this vocabulary. Names follow RFC 4301
//! and the kernel's `include/uapi/linux/xfrm.h`.

mod address_pair;
mod capabilities;
mod crypto;
mod encapsulation;
mod identity;
mod iptfs;
mod key;
mod lifetime;
mod mark;
mod observed;
mod offload;
mod op;
mod policy;
mod ppk;
mod reading;
mod sa;
mod selector;
mod spd;
mod unnumbered;
mod wanted;

pub use address_pair::{AddressFamily, AddressPair};
pub use capabilities::{Capabilities, Capability, Missing};
pub use crypto::{Aead, Authentication, Cipher, Crypto, CryptoError, UnknownAlgorithm, WeakAlgorithm};
pub use encapsulation::{UdpEncapsulation, UdpPort};
pub use identity::{Cookie, PolicyIndex, Protocol, Reqid, SaId, Spi};
pub use iptfs::Iptfs;
pub use key::{Key, KeyLengthError};
pub use lifetime::{Lifetime, Limits, Used};
pub use mark::Mark;
pub use observed::{Observed, ObservedPolicy, ObservedSa, ReplayState};
pub use offload::Offload;
pub use op::{MAX_MOVES, Move, Op, Refusal};
pub use policy::{Action, Direction, Policy, PolicyFlags, PolicyKey, Template};
pub use ppk::{PPK_LENGTH, PpkLengthError};
pub use reading::{Event, Glance, PolicyRecord, Reader, Recognised, SaRecord};
pub use sa::{InboundSa, Mode, OutboundSa, ReplayProtection, Sa, SaDirection};
pub use selector::{MixedFamilies, Port, Selector};
pub use spd::{DefaultActions, Threshold, Thresholds};
pub use unnumbered::Unnumbered;
pub use wanted::{AUTOMATIC, Wanted, WantedSa};
