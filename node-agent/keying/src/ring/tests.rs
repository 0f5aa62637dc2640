use std::collections::BTreeSet;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::{Record, Ring, RingError, Stage};
use crate::{KeyId, KeyPair, NodeUid, PolicyRevision, Sa, Time};

const NODE: NodeUid = NodeUid(7);

fn ring(keys: &[(u8, Stage, usize)]) -> Ring {
    let key = |(at, &(seed, stage, made)): (usize, &(u8, Stage, usize))| {
        let pair = KeyPair::from_bytes(&[seed; 32]);
        let sa = |theirs: usize| Sa {
            peer: NodeUid(u128::MAX - 1),
            policy: PolicyRevision(3),
            own: pair.id(),
            theirs: KeyId(theirs as u64),
        };
        let made: BTreeSet<Sa> = (0..made).map(sa).collect();
        let created = Time(at as u64);
        let record = Record { id: pair.id(), created, rotate: created.after(100), stage, made };
        (pair, record)
    };
    Ring { node: NODE, keys: keys.iter().enumerate().map(key).collect() }
}

fn full() -> Ring {
    ring(&[(1, Stage::Retiring, 3), (2, Stage::Published, 1), (3, Stage::Created, 0)])
}

#[test]
fn what_is_written_is_read() {
    for ring in [full(), ring(&[])] {
        assert_eq!(Ring::decode(&ring.encode()), Ok(ring));
    }
}

#[test]
fn the_bytes_are_what_an_earlier_agent_wrote() {
    // An agent that is updated must not take its predecessor's ring for damaged.
    let sum: String =
        Sha256::digest(full().encode()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(sum, "2e4bffa40bc4a536");
}

#[test]
fn every_changed_bit_and_every_cut_is_found() {
    let bytes = full().encode();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1 << bit;
            assert!(Ring::decode(&changed).is_err(), "byte {at}, bit {bit}");
        }
        assert!(Ring::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert_eq!(Ring::decode(&longer), Err(RingError::Damaged));
}

#[test]
fn what_it_is_not_is_said() {
    assert_eq!(Ring::decode(b""), Err(RingError::Foreign));
    assert_eq!(Ring::decode(b"ESPLRING"), Err(RingError::Damaged));
    assert_eq!(Ring::decode(b"ESPLRING\x02"), Err(RingError::Version(2)));
    assert_eq!(RingError::Version(2).to_string(), "a key ring of version 2, this agent reads version 1");
}

#[test]
fn a_ring_of_another_node_or_none_at_all_is_an_empty_one() {
    let bytes = full().encode();
    assert_eq!(Ring::restore(NODE, &bytes), (full(), None));
    let other = NodeUid(8);
    let empty = Ring { node: other, keys: Vec::new() };
    assert_eq!(Ring::restore(other, &bytes), (empty.clone(), Some(RingError::OtherNode)));
    assert_eq!(Ring::restore(other, b"scribble"), (empty, Some(RingError::Foreign)));
}

#[test]
fn a_key_is_found_by_its_id_and_never_printed() {
    let ring = full();
    let pair = KeyPair::from_bytes(&[2; 32]);
    assert_eq!(ring.pair(pair.id()), Some(&pair));
    assert_eq!(ring.pair(KeyId(0)), None);
    assert!(!format!("{ring:?}").contains("2, 2, 2"));
}

proptest! {
    #[test]
    fn arbitrary_content_with_a_good_sum_never_panics(content in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = b"ESPLRING\x01".to_vec();
        bytes.extend(content);
        let sum = Sha256::digest(&bytes);
        bytes.extend(sum);
        if let Ok(ring) = Ring::decode(&bytes) {
            let again = ring.encode();
            prop_assert_eq!(again.as_slice(), bytes.as_slice());
        }
    }
}
