//! Every message of NETLINK_XFRM as it is shown to people: everything in it, known or not, but for keys.
//!
//! Reading never fails: what isn't as the kernel's headers have it is shown as a number and its bytes. Where nobody can
//! say whether a key is among them (algorithms, ends of messages, messages that nobody here knows), it is their length.

mod attributes;
mod names;
mod objects;
mod parts;

use netlink_packet_xfrm::constants as xfrm;
use netlink_packet_xfrm::{
    AsyncEventId, UserAcquire, UserExpire, UserMapping, UserPolicyDefault, UserPolicyExpire, UserPolicyId,
    UserPolicyInfo, UserReport, UserSaId, UserSaInfo, UserTemplate,
};
use serde::Serialize;

pub use attributes::{Attribute, Value};
use attributes::{Space, number_u32};
pub use objects::{Acquire, Mapping, Policy, PolicyName, Sa, SaName, Selector, Template};
pub use parts::{Bytes, Flags, Hex, Name, Place};

use super::migrate::MIGRATE_STATE_LEN;
use super::reply::Message;

mod migrate_state;
mod owner;

pub use migrate_state::StateMove;
pub use owner::Owner;

/// A message as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// `XFRM_MSG_…`, without that.
    pub message: Name,
    /// The number of the request that caused it.
    pub sequence: u32,
    /// The port that caused it, as the request said; 0 is the kernel.
    pub port: u32,
    /// Whose SA or policy it is, where that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// What the message's fixed part says.
    #[serde(flatten)]
    pub content: Content,
    /// Its attributes, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    /// Bytes at its end that are no attribute.
    #[serde(skip_serializing_if = "is_zero")]
    pub unread_bytes: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// What a message's fixed part says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // Named after the messages.
pub enum Content {
    /// NEWSA, UPDSA.
    Sa(Box<Sa>),
    /// DELSA; `XFRMA_SA` has the rest.
    SaName(SaName),
    /// NEWPOLICY, UPDPOLICY.
    Policy(Box<Policy>),
    /// DELPOLICY; `XFRMA_POLICY` has the rest.
    PolicyName(PolicyName),
    Acquire(Box<Acquire>),
    /// EXPIRE.
    Expired {
        /// It is gone; else it is time for another.
        hard: bool,
        #[serde(flatten)]
        sa: Box<Sa>,
    },
    /// POLEXPIRE.
    PolicyExpired {
        /// It is gone.
        hard: bool,
        #[serde(flatten)]
        policy: Box<Policy>,
    },
    /// NEWAE.
    Counters {
        /// What changed, and why it is told.
        flags: Flags,
        reqid: Hex,
        source: Place,
        #[serde(flatten)]
        name: SaName,
    },
    /// MIGRATE; `XFRMA_MIGRATE` has the moves.
    Migrated(PolicyName),
    /// MIGRATE_STATE.
    StateMigrated(Box<StateMove>),
    /// REPORT: a packet was refused.
    Report {
        protocol: Name,
        selector: Selector,
    },
    Mapping(Mapping),
    /// NEWSADINFO, NEWSPDINFO: the attributes say it all.
    Counts {},
    /// GETDEFAULT, SETDEFAULT: what becomes of packets without a policy.
    Defaults {
        #[serde(rename = "in")]
        inbound: Name,
        #[serde(rename = "fwd")]
        forward: Name,
        out: Name,
    },
    /// FLUSHSA: all SAs of a protocol.
    Flushed {
        protocol: Name,
    },
    /// FLUSHPOLICY: all policies; `XFRMA_POLICY_TYPE` says which kind.
    PoliciesFlushed {},
    /// Shorter than its fixed part, or nobody here knows it. There may be keys in it.
    Unreadable {
        #[serde(rename = "withheldBytes")]
        withheld_bytes: usize,
    },
}

impl Shown {
    /// Reads a message.
    pub fn of(message: &Message<'_>) -> Self {
        let at = message.message_type.checked_sub(names::FIRST_MESSAGE);
        let mut shown = Self {
            message: Name {
                number: message.message_type.into(),
                name: at.and_then(|at| names::MESSAGES.get(usize::from(at))).copied(),
            },
            sequence: message.sequence,
            port: message.port,
            owner: None,
            content: Content::Unreadable { withheld_bytes: message.body.len() },
            attributes: Vec::new(),
            unread_bytes: 0,
        };
        if let Some((content, head, family)) = content(message.message_type, message.body) {
            let rest = message.body.get(head.next_multiple_of(4)..).unwrap_or_default();
            let space = match message.message_type {
                xfrm::XFRM_MSG_NEWSADINFO => Space::Sad,
                xfrm::XFRM_MSG_NEWSPDINFO => Space::Spd,
                _ => Space::Xfrm,
            };
            (shown.attributes, shown.unread_bytes) = attributes::all(space, rest, family);
            shown.owner = owner::of(message.message_type, message.body, rest);
            shown.content = content;
        }
        shown
    }
}

/// What the fixed part says, how long it is, and the family of addresses behind it.
fn content(message_type: u16, body: &[u8]) -> Option<(Content, usize, u16)> {
    /// `Self::parse`, whose length is in the kernel's headers.
    macro_rules! fixed {
        ($wire:ty, $length:expr) => {
            (<$wire>::parse(body.get(..$length)?).ok()?, $length)
        };
    }
    Some(match message_type {
        xfrm::XFRM_MSG_NEWSA | xfrm::XFRM_MSG_UPDSA => {
            let (wire, length) = fixed!(UserSaInfo, 224);
            (Content::Sa(Box::new(Sa::new(&wire))), length, wire.family)
        }
        xfrm::XFRM_MSG_DELSA | xfrm::XFRM_MSG_GETSA => {
            let (wire, length) = fixed!(UserSaId, 24);
            (Content::SaName(SaName::new(&wire)), length, wire.family)
        }
        xfrm::XFRM_MSG_NEWPOLICY | xfrm::XFRM_MSG_UPDPOLICY => {
            let (wire, length) = fixed!(UserPolicyInfo, 168);
            (Content::Policy(Box::new(Policy::new(&wire))), length, wire.selector.family)
        }
        xfrm::XFRM_MSG_DELPOLICY | xfrm::XFRM_MSG_GETPOLICY => {
            let (wire, length) = fixed!(UserPolicyId, 64);
            (Content::PolicyName(PolicyName::new(&wire)), length, wire.selector.family)
        }
        xfrm::XFRM_MSG_ACQUIRE => {
            let (wire, length) = fixed!(UserAcquire, 280);
            // The structure has no family for the SA's addresses, its template has.
            let template = attributes::find(&body[length..], xfrm::XFRMA_TMPL);
            let template = template.and_then(|bytes| UserTemplate::parse(bytes).ok());
            let family = template.map_or(wire.selector.family, |template| template.family);
            (Content::Acquire(Box::new(Acquire::new(&wire, family))), length, family)
        }
        xfrm::XFRM_MSG_EXPIRE => {
            let (wire, length) = fixed!(UserExpire, 232);
            let sa = Box::new(Sa::new(&wire.state));
            (Content::Expired { hard: wire.hard != 0, sa }, length, wire.state.family)
        }
        xfrm::XFRM_MSG_POLEXPIRE => {
            let (wire, length) = fixed!(UserPolicyExpire, 176);
            let policy = Box::new(Policy::new(&wire.pol));
            (Content::PolicyExpired { hard: wire.hard != 0, policy }, length, wire.pol.selector.family)
        }
        xfrm::XFRM_MSG_NEWAE | xfrm::XFRM_MSG_GETAE => {
            let (wire, length) = fixed!(AsyncEventId, 48);
            let counters = Content::Counters {
                flags: Flags::of(wire.flags, &names::COUNTER_FLAGS),
                reqid: Hex(wire.reqid),
                source: Place::new(&wire.saddr, wire.sa_id.family),
                name: SaName::new(&wire.sa_id),
            };
            (counters, length, wire.sa_id.family)
        }
        xfrm::XFRM_MSG_MIGRATE => {
            let (wire, length) = fixed!(UserPolicyId, 64);
            (Content::Migrated(PolicyName::new(&wire)), length, wire.selector.family)
        }
        names::MIGRATE_STATE => {
            let (moved, family) = StateMove::parse(body)?;
            (Content::StateMigrated(Box::new(moved)), MIGRATE_STATE_LEN, family)
        }
        xfrm::XFRM_MSG_REPORT => {
            let (wire, length) = fixed!(UserReport, 60);
            let selector = Selector::new(&wire.selector);
            (Content::Report { protocol: Name::protocol(wire.proto), selector }, length, wire.selector.family)
        }
        xfrm::XFRM_MSG_MAPPING => {
            let (wire, length) = fixed!(UserMapping, 64);
            (Content::Mapping(Mapping::new(&wire)), length, wire.id.family)
        }
        // Flags, of which there are none so far.
        xfrm::XFRM_MSG_NEWSADINFO | xfrm::XFRM_MSG_NEWSPDINFO => {
            number_u32(body.get(..4)?)?;
            (Content::Counts {}, 4, 0)
        }
        xfrm::XFRM_MSG_SETDEFAULT | xfrm::XFRM_MSG_GETDEFAULT => {
            let (wire, length) = fixed!(UserPolicyDefault, 3);
            let default = |number: u8| Name::of(number, &names::DEFAULTS);
            let (inbound, forward, out) = (default(wire.input), default(wire.forward), default(wire.output));
            (Content::Defaults { inbound, forward, out }, length, 0)
        }
        xfrm::XFRM_MSG_FLUSHSA => (Content::Flushed { protocol: Name::protocol(*body.first()?) }, 1, 0),
        xfrm::XFRM_MSG_FLUSHPOLICY => (Content::PoliciesFlushed {}, 0, 0),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
