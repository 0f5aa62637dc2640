//! The codec on its own: what is written reads back the same, and nothing that is read makes it panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)] // The suite uses the rest.
#[path = "suite/objects.rs"]
mod objects;
#[path = "suite/strategies.rs"]
mod strategies;

use esplanade_model::{Crypto, Iptfs, Mode, Op, PolicyIndex, Sa, SaDirection};
use esplanade_xfrm::wire::batch::Answers;
use esplanade_xfrm::wire::reply::Messages;
use esplanade_xfrm::wire::{Decode, PolicyRecord, SaRecord, encode, replay};
use proptest::prelude::*;

const SA_HEADER: usize = 224;
const POLICY_HEADER: usize = 168;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn sas_read_back(
        sa in strategies::sa(),
        direction in proptest::option::of(proptest::sample::select(&[SaDirection::In, SaDirection::Out])),
        cpu in proptest::option::of(any::<u32>()),
        iptfs in proptest::option::of(any::<(u32, bool, u32, u32, u16, u32)>()),
        state in strategies::state(),
    ) {
        let mut sa = Sa { direction, cpu, ..sa };
        if let (Some(iptfs), Some(direction), Crypto::EncryptThenAuthenticate { .. }) = (iptfs, direction, &sa.crypto) {
            let (packet_size, dont_fragment, initial_delay, queue, reorder_window, drop_time) = iptfs;
            let iptfs = Iptfs { packet_size, dont_fragment, initial_delay, queue, reorder_window, drop_time };
            sa.mode = Mode::Iptfs;
            sa.iptfs = match direction {
                SaDirection::In => iptfs.inbound(),
                SaDirection::Out => iptfs.outbound(),
            };
        }
        for (op, replay) in [
            (objects::inbound_at(sa.clone(), state.clone()), sa.replay),
            (objects::outbound_at(sa.clone(), state.clone()), replay::outbound(&sa)),
        ] {
            let SaRecord::Ours(read) = SaRecord::decode(&encode(&op).body).unwrap() else {
                panic!("not ours");
            };
            prop_assert_eq!(read.id, sa.id());
            prop_assert_eq!(read.state, replay::fitted(&state, replay));
            prop_assert_eq!(read.sa.as_ref(), Some(&Sa { replay, ..sa.clone() }));
        }
    }

    #[test]
    fn policies_read_back(policy in strategies::policy(), slot in any::<u32>()) {
        let index = PolicyIndex::new(slot, policy.direction);
        for op in [
            Op::AddPolicy { policy: policy.clone(), index },
            Op::UpdatePolicy { policy: policy.clone(), index },
        ] {
            let PolicyRecord::Ours(read) = PolicyRecord::decode(&encode(&op).body).unwrap() else {
                panic!("not ours");
            };
            prop_assert_eq!((read.index, read.key), (index, policy.key()));
            prop_assert_eq!(read.policy.as_ref(), Some(&policy));
        }
    }

    /// Also with a whole header in front, which is where most bytes would be refused.
    #[test]
    fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert_eq!(SaRecord::decode(&bytes).is_err(), bytes.len() < SA_HEADER);
        prop_assert_eq!(PolicyRecord::decode(&bytes).is_err(), bytes.len() < POLICY_HEADER);
        read_as_datagram(&bytes);
    }

    #[test]
    fn broken_sas_can_be_read(
        sa in strategies::sa(),
        length in 0usize..1000,
        broken in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut body = encode(&objects::inbound(sa)).body.to_vec();
        break_bytes(&mut body, length, &broken);
        prop_assert_eq!(SaRecord::decode(&body).is_err(), body.len() < SA_HEADER);
    }

    #[test]
    fn broken_policies_can_be_read(
        policy in strategies::policy(),
        length in 0usize..1000,
        broken in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut body = encode(&objects::add(policy, 1)).body.to_vec();
        break_bytes(&mut body, length, &broken);
        prop_assert_eq!(PolicyRecord::decode(&body).is_err(), body.len() < POLICY_HEADER);
    }

    /// One wrong byte in the attributes never makes another SA of ours out of one, only one unlike ours; except in keys.
    #[test]
    fn a_name_in_pieces_is_no_algorithm(sa in strategies::sa(), at in 0usize..20, by in 1u8..) {
        let mut body = encode(&objects::inbound(sa.clone())).body.to_vec();
        // The first attribute is an algorithm: 4 bytes of header, then its name.
        body[SA_HEADER + 4 + at] ^= by;
        match SaRecord::decode(&body).unwrap() {
            SaRecord::Ours(read) => prop_assert_eq!((read.id, read.sa), (sa.id(), None)),
            _ => panic!("not ours"),
        }
    }
}

fn break_bytes(body: &mut Vec<u8>, length: usize, broken: &[(prop::sample::Index, u8)]) {
    body.truncate(length);
    for (at, byte) in broken {
        if !body.is_empty() {
            let at = at.index(body.len());
            body[at] = *byte;
        }
    }
}

fn read_as_datagram(bytes: &[u8]) {
    for message in Messages::of(bytes).flatten() {
        let _ = message.error();
        let _ = message.done();
    }
    let requests = [encode(&objects::inbound(objects::sa(1)))];
    let sequence = bytes.get(8..12).map_or(0, |four| u32::from_ne_bytes(four.try_into().unwrap()));
    let _ = Answers::to(requests.iter().map(|request| request.gone), sequence).take(bytes);
}
