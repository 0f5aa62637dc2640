//! Multicast messages to what they are about.

use esplanade_model::{Event, PolicyKey, SaId, SaRecord, Spi};
use netlink_packet_xfrm::constants::{
    XFRM_MSG_ACQUIRE, XFRM_MSG_DELPOLICY, XFRM_MSG_DELSA, XFRM_MSG_EXPIRE, XFRM_MSG_FLUSHSA,
    XFRM_MSG_GETDEFAULT, XFRM_MSG_MAPPING, XFRM_MSG_NEWPOLICY, XFRM_MSG_NEWSA, XFRM_MSG_POLEXPIRE,
    XFRM_MSG_UPDPOLICY, XFRM_MSG_UPDSA, XFRMA_POLICY, XFRMA_SA,
};
use netlink_packet_xfrm::{
    UserMapping, UserPolicyInfo, UserSaInfo, XFRM_USER_POLICY_ID_LEN, XFRM_USER_POLICY_INFO_LEN,
    XFRM_USER_SA_ID_LEN, XFRM_USER_SA_INFO_LEN, XfrmAttrs,
};

use super::attributes::{self, Attributes};
use super::observe::sa_record;
use super::reply::Message;
use super::{address, policy, sa};

/// What the message is about; none if nothing of ours can have to do with it. A message that can't be read may be about
/// anything.
pub fn decode(message: &Message<'_>) -> Option<Event> {
    let body = message.body;
    match message.message_type {
        // An update says what was asked for, not what came of it.
        XFRM_MSG_NEWSA | XFRM_MSG_UPDSA => match sa_info(body) {
            Some((info, _)) => sa::decode_id(&info).map(Event::Sa),
            None => Some(Event::Anything),
        },
        XFRM_MSG_EXPIRE => sa_expired(body).unwrap_or(Some(Event::Anything)),
        XFRM_MSG_FLUSHSA => Some(Event::Flushed),
        XFRM_MSG_DELSA => sa_ended(body).unwrap_or(Some(Event::Anything)),
        XFRM_MSG_NEWPOLICY | XFRM_MSG_UPDPOLICY | XFRM_MSG_POLEXPIRE => match policy_info(body) {
            Some((info, rest)) => of_policy(&info, rest),
            None => Some(Event::Anything),
        },
        XFRM_MSG_DELPOLICY => policy_ended(body).unwrap_or(Some(Event::Anything)),
        XFRM_MSG_MAPPING => sa_mapped(body).unwrap_or(Some(Event::Anything)),
        XFRM_MSG_ACQUIRE => asked(body),
        // What happens where no policy is.
        XFRM_MSG_GETDEFAULT => None,
        _ => Some(Event::Anything),
    }
}

fn sa_info(body: &[u8]) -> Option<(UserSaInfo, &[u8])> {
    let (header, rest) = body.split_at_checked(XFRM_USER_SA_INFO_LEN)?;
    Some((UserSaInfo::parse(header).ok()?, rest))
}

fn policy_info(body: &[u8]) -> Option<(UserPolicyInfo, &[u8])> {
    let (header, rest) = body.split_at_checked(XFRM_USER_POLICY_INFO_LEN)?;
    Some((UserPolicyInfo::parse(header).ok()?, rest))
}

/// It begins like NEWSA; then comes whether it was the hard limit (`struct xfrm_user_expire`).
fn sa_expired(body: &[u8]) -> Option<Option<Event>> {
    let (info, rest) = sa_info(body)?;
    let hard = *rest.first()? != 0;
    let event = |id| Event::SaExpired { id, hard, used: sa::decode_used(&info) };
    Some(sa::decode_id(&info).map(event))
}

/// Length of `struct xfrm_user_mapping`.
const MAPPING: usize = 64;

/// Of an SA that none of ours could be: nothing.
fn sa_mapped(body: &[u8]) -> Option<Option<Event>> {
    let wire = UserMapping::parse(body.get(..MAPPING)?).ok()?;
    let event = || {
        let id = SaId {
            destination: address::decode(&wire.id.daddr, wire.id.family)?,
            protocol: sa::decode_protocol(wire.id.proto)?,
            spi: Spi::new(wire.id.spi)?,
        };
        Some(Event::SaMapped {
            id,
            source: address::decode(&wire.new_saddr, wire.id.family)?,
            port: wire.new_sport,
        })
    };
    Some(event())
}

/// Length of `struct xfrm_user_acquire`.
const ACQUIRE: usize = 280;

/// Others' are none of our business. One that can't be read either: the kernel asks again.
fn asked(body: &[u8]) -> Option<Event> {
    let (_, rest) = body.split_at_checked(ACQUIRE)?;
    policy::first_reqid(&Attributes::parse(rest)).map(|reqid| Event::Asked { reqid })
}

/// The whole SA is in an attribute, with its own attributes beside it (`xfrm_notify_sa`).
fn sa_ended(body: &[u8]) -> Option<Option<Event>> {
    let (_, rest) = body.split_at_checked(XFRM_USER_SA_ID_LEN)?;
    let (info, _) = sa_info(attributes::value(rest, XFRMA_SA)?)?;
    let mut own = Attributes::parse(rest);
    own.remove(|attribute| matches!(attribute, XfrmAttrs::SaInfo(_)));
    Some(match sa_record(&info, &own) {
        SaRecord::Ours(last) => Some(Event::SaEnded(last)),
        SaRecord::Foreign(_) | SaRecord::Larval | SaRecord::OfKernel => sa::decode_id(&info).map(Event::Sa),
    })
}

/// As for SAs (`xfrm_notify_policy`).
fn policy_ended(body: &[u8]) -> Option<Option<Event>> {
    let (_, rest) = body.split_at_checked(XFRM_USER_POLICY_ID_LEN)?;
    let (info, _) = policy_info(attributes::value(rest, XFRMA_POLICY)?)?;
    Some(of_policy(&info, rest))
}

fn of_policy(info: &UserPolicyInfo, attributes: &[u8]) -> Option<Event> {
    if policy::is_of_a_socket(info) {
        return None;
    }
    let key: Option<PolicyKey> = policy::decode_key(info, &Attributes::parse(attributes));
    key.map(Event::Policy)
}
