//! Records recognised without decoding them.

use std::hash::{BuildHasher, Hasher};

use esplanade_model::Glance;
use foldhash::quality::RandomState;
use netlink_packet_xfrm::constants::{XFRMA_LASTUSED, XFRMA_REPLAY_ESN_VAL, XFRMA_REPLAY_VAL};
use netlink_packet_xfrm::{XFRM_USER_POLICY_INFO_LEN, XFRM_USER_SA_INFO_LEN};

use super::attributes::{ATTRIBUTE_HEADER, raw};

/// In `struct xfrm_usersa_info`, where `lft` begins.
const SA_LIMITS: usize = 96;
/// `lft` without a limit: four times no count, four times no time.
const UNLIMITED: [u8; SA_COUNTS - SA_LIMITS] = {
    let mut bytes = [0; SA_COUNTS - SA_LIMITS];
    let mut at = 0;
    while at < 32 {
        bytes[at] = 0xff;
        at += 1;
    }
    bytes
};
/// Length of `struct xfrm_lifetime_cur`.
const SA_USED: usize = 32;
/// Where `curlft` begins: what was sent and when.
const SA_COUNTS: usize = 160;
/// In `struct xfrm_usersa_info`, `curlft.add_time`: another SA under the same name has another.
const SA_ADDED: std::ops::Range<usize> = SA_COUNTS + 16..SA_COUNTS + 24;
/// Where `seq` follows on `curlft` and `stats`.
const SA_SEQ: usize = 204;
/// In `struct xfrm_userpolicy_info`, where `curlft` begins.
const POLICY_COUNTS: usize = 120;
/// Where `priority` follows on it.
const POLICY_PRIORITY: usize = 152;
/// In `struct xfrm_replay_state_esn`, the word that follows on the four of the sequence numbers.
const RING_WINDOW: usize = 20;

/// Takes prints of records. Each one has its own way of it, so that nobody can prepare two records that look alike.
#[derive(Debug, Clone, Default)]
pub struct Glancer(RandomState);

impl Glancer {
    /// Of the body of a NEWSA message.
    pub fn sa(&self, body: &[u8]) -> Glance {
        let (mut print, mut counters) = (self.0.build_hasher(), self.0.build_hasher());
        let Some((header, attributes)) = body.split_at_checked(XFRM_USER_SA_INFO_LEN) else {
            return self.whole(body);
        };
        print.write(&header[..SA_COUNTS]);
        print.write(&header[SA_ADDED]);
        // What is used up matters where something limits it.
        if header[SA_LIMITS..SA_COUNTS] != UNLIMITED {
            counters.write(&header[SA_COUNTS..SA_COUNTS + SA_USED]);
        }
        print.write(&header[SA_SEQ..]);
        // Attributes that stay the same are taken together.
        let mut from = 0;
        for (kind, place) in raw(attributes) {
            if matches!(kind, XFRMA_REPLAY_VAL | XFRMA_REPLAY_ESN_VAL | XFRMA_LASTUSED) {
                print.write(&attributes[from..place.start]);
                let value = &attributes[place.start + ATTRIBUTE_HEADER..place.end];
                match kind {
                    XFRMA_REPLAY_VAL => counters.write(value),
                    XFRMA_REPLAY_ESN_VAL => ring(value, &mut print, &mut counters),
                    _ => {}
                }
                from = place.end.next_multiple_of(4).min(attributes.len());
            }
        }
        print.write(&attributes[from..]);
        Glance { print: print.finish(), counters: counters.finish() }
    }

    /// Of the body of a NEWPOLICY message.
    pub fn policy(&self, body: &[u8]) -> Glance {
        if body.len() < XFRM_USER_POLICY_INFO_LEN {
            return self.whole(body);
        }
        let mut print = self.0.build_hasher();
        print.write(&body[..POLICY_COUNTS]);
        print.write(&body[POLICY_PRIORITY..]);
        Glance { print: print.finish(), counters: 0 }
    }

    fn whole(&self, body: &[u8]) -> Glance {
        Glance { print: self.0.hash_one(body), counters: 0 }
    }
}

/// The size of the window is the SA's, what is in it counts.
fn ring(value: &[u8], print: &mut impl Hasher, counters: &mut impl Hasher) {
    let Some((length, rest)) = value.split_at_checked(4) else { return print.write(value) };
    let Some((sequence, rest)) = rest.split_at_checked(RING_WINDOW - 4) else { return print.write(value) };
    let Some((window, bitmap)) = rest.split_at_checked(4) else { return print.write(value) };
    print.write(length);
    print.write(window);
    counters.write(sequence);
    counters.write(bitmap);
}
