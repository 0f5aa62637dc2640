//! What a replaced SA takes over from the one before it.
//!
//! A sender must not use a sequence number twice with one key, and a receiver must not accept one twice (RFC 4303
//! §3.3.3, §3.4.3). New keys start anew at both ends.

use esplanade_model::{Crypto, ReplayProtection, ReplayState, WantedSa};

use crate::crypto::same_crypto;

/// Packets that may leave between a dump and the operations that follow from it: a million in some milliseconds is more
/// than any link carries.
pub(crate) const AFTER_DUMP: u64 = 1 << 20;

/// Where the SA goes on from; none if from the beginning. `there`: where the one was that had this key, when up to `unseen`
/// packets fewer had been sent. One that we can't read (no key) counts as one with the same key: the safe side.
pub(crate) fn carried_over(
    wanted: &WantedSa,
    crypto: Option<&Crypto>,
    there: &ReplayState,
    unseen: u64,
) -> Option<ReplayState> {
    if crypto.is_some_and(|crypto| !same_crypto(&wanted.sa().crypto, crypto)) {
        return None;
    }
    // IPComp has no sequence numbers.
    if matches!(wanted.sa().crypto, Crypto::Deflate) {
        return None;
    }
    let ReplayState { sent, received, bitmap } = there;
    match wanted {
        WantedSa::Outbound(outbound) => {
            // The last one that there is: the SA is used up, and the kernel says so.
            let sent = sent.saturating_add(unseen).min(last_number(outbound.0.replay));
            Some(ReplayState { sent, received: 0, bitmap: Vec::new() })
        }
        WantedSa::Inbound(inbound) => {
            let replay = inbound.0.replay;
            if *received == 0 || replay.window == 0 {
                return None;
            }
            // The codec moves it into any other window.
            Some(ReplayState { sent: 0, received: *received, bitmap: bitmap.clone() })
        }
    }
}

/// The highest sequence number that a sender may use (RFC 4303 §3.3.3).
pub(crate) fn last_number(replay: ReplayProtection) -> u64 {
    if replay.extended_sequence_numbers { u64::MAX } else { u32::MAX.into() }
}
