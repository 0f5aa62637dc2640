//! Moves to other addresses (`XFRM_MSG_MIGRATE`).

use esplanade_model::{Move, PolicyKey};
use netlink_packet_core::{DefaultNla, Emitable};
use netlink_packet_xfrm::constants::XFRMA_MIGRATE;
use netlink_packet_xfrm::{UserMigrate, UserPolicyId, XfrmAttrs};

use super::attributes::Attributes;
use super::{address, policy, sa, selector};

/// `XFRM_MSG_MIGRATE_STATE`, since Linux 7.2, which netlink-packet-xfrm doesn't have.
pub(super) const MSG_MIGRATE_STATE: u16 = 0x29;
/// Length of `struct xfrm_user_migrate_state`, in bytes.
pub(super) const MIGRATE_STATE_LEN: usize = 132;

/// The kernel finds the policy by its selector and direction, whatever its mark (`xfrm_migrate_policy_find`), the templates
/// and SAs by their addresses and reqid. Where it takes another policy, no template fits, and nothing is done.
pub(super) fn encode(key: &PolicyKey, moves: &[Move]) -> (UserPolicyId, Attributes) {
    let wire = UserPolicyId {
        selector: selector::encode(&key.selector),
        index: 0,
        direction: policy::direction(key.direction),
    };
    let mut attributes = Attributes::default();
    // XfrmAttrs::Migrate has room for one.
    let mut value = Vec::new();
    for one in moves {
        let one = encode_move(one);
        let start = value.len();
        value.resize(start + one.buffer_len(), 0);
        one.emit(&mut value[start..]);
    }
    attributes.push(XfrmAttrs::Other(DefaultNla::new(XFRMA_MIGRATE, value)));
    sa::interface_id(key.interface_id, &mut attributes);
    (wire, attributes)
}

fn encode_move(one: &Move) -> UserMigrate {
    let Move { protocol, mode, reqid, from, to } = one;
    UserMigrate {
        old_saddr: address::encode(from.0),
        old_daddr: address::encode(from.1),
        new_saddr: address::encode(to.0),
        new_daddr: address::encode(to.1),
        proto: protocol.number(),
        mode: sa::mode(*mode),
        reserved: 0,
        reqid: reqid.get(),
        old_family: address::family(from.0),
        new_family: address::family(to.0),
    }
}
