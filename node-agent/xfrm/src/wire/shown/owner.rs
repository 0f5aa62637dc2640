//! Whose an SA or a policy is.

use netlink_packet_xfrm::constants as xfrm;
use netlink_packet_xfrm::constants::{XFRMA_POLICY, XFRMA_SA};
use netlink_packet_xfrm::{UserSaInfo, XFRM_USER_POLICY_INFO_LEN};
use serde::Serialize;
use zeroize::Zeroizing;

use super::attributes;
use crate::wire::attributes::Attributes;
use crate::wire::{Decode, PolicyRecord, SaRecord, sa};

/// Whose an SA or a policy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Owner {
    /// It carries our tags.
    Ours,
    /// Somebody else's.
    Foreign,
    /// Nobody's yet: an SA made by an acquire or for an SPI.
    Larval,
    /// The kernel's own, beside a tunnel of IPComp.
    Kernel,
    /// A single socket's policy.
    Socket,
}

/// None where the message doesn't say enough. `rest`: its attributes.
pub(super) fn of(message_type: u16, body: &[u8], rest: &[u8]) -> Option<Owner> {
    match message_type {
        xfrm::XFRM_MSG_NEWSA | xfrm::XFRM_MSG_UPDSA => of_sa(body),
        xfrm::XFRM_MSG_NEWPOLICY | xfrm::XFRM_MSG_UPDPOLICY => of_policy(body),
        xfrm::XFRM_MSG_DELSA => of_sa(&joined(attributes::find(rest, XFRMA_SA)?, rest)),
        xfrm::XFRM_MSG_DELPOLICY => of_policy(&joined(attributes::find(rest, XFRMA_POLICY)?, rest)),
        xfrm::XFRM_MSG_POLEXPIRE => of_policy(&joined(body.get(..XFRM_USER_POLICY_INFO_LEN)?, rest)),
        xfrm::XFRM_MSG_ACQUIRE => {
            of_policy(&joined(body.get(ACQUIRED_BY..)?.get(..XFRM_USER_POLICY_INFO_LEN)?, rest))
        }
        // Without its algorithms, it would be taken for a larval one.
        xfrm::XFRM_MSG_EXPIRE => {
            let info = UserSaInfo::parse(body).ok()?;
            Some(if sa::mark_of_ours(&info, &Attributes::parse(rest)).is_some() {
                Owner::Ours
            } else {
                Owner::Foreign
            })
        }
        _ => None,
    }
}

/// Where the policy is in `struct xfrm_user_acquire`.
const ACQUIRED_BY: usize = 96;

/// The structure and its attributes as they would be in a dump. There may be keys in it.
fn joined(structure: &[u8], rest: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut whole = Zeroizing::new(Vec::with_capacity(structure.len() + rest.len()));
    whole.extend_from_slice(structure);
    whole.extend_from_slice(rest);
    whole
}

fn of_sa(body: &[u8]) -> Option<Owner> {
    Some(match SaRecord::decode(body).ok()? {
        SaRecord::Ours(_) => Owner::Ours,
        SaRecord::Foreign(_) => Owner::Foreign,
        SaRecord::Larval => Owner::Larval,
        SaRecord::OfKernel => Owner::Kernel,
    })
}

fn of_policy(body: &[u8]) -> Option<Owner> {
    Some(match PolicyRecord::decode(body).ok()? {
        PolicyRecord::Ours(_) => Owner::Ours,
        PolicyRecord::Foreign { .. } => Owner::Foreign,
        PolicyRecord::OfSocket => Owner::Socket,
    })
}
