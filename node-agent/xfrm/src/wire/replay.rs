//! Replay windows: how many bits, where they lie, and how they move from one window to another.
//!
//! Three layouts (`net/xfrm/xfrm_replay.c`): the legacy one (window of at most 32, one word, bit 0 the newest packet),
//! and a ring of `window` bits in which packet n is bit `(n - 1) % window`, with 64-bit sequence numbers or without.
//! [`ReplayState::bitmap`] has them all in one order: bit i stands for the packet i before the newest.

use esplanade_model::{ReplayProtection, ReplayState};

/// Windows up to here fit the legacy layout (`XFRMA_REPLAY_VAL`).
pub const LEGACY_WINDOW: u32 = 32;
/// The largest window (`XFRMA_REPLAY_ESN_MAX` bits).
pub const MAX_WINDOW: u32 = 4096;

/// Whether the SA's window is a ring (`XFRMA_REPLAY_ESN_VAL`).
pub fn is_ring(replay: ReplayProtection) -> bool {
    replay.extended_sequence_numbers || replay.window > LEGACY_WINDOW
}

/// What the kernel has for an SA that starts here: it receives nothing, so it has the smallest window there can be.
pub fn outbound(replay: ReplayProtection) -> ReplayProtection {
    ReplayProtection { window: u32::from(replay.extended_sequence_numbers), ..replay }
}

/// The state as it reads back from an SA with this replay protection: packets older than the window it was kept in
/// count as seen, sequence numbers are cut to 32 bits where they aren't extended.
pub fn fitted(state: &ReplayState, replay: ReplayProtection) -> ReplayState {
    let cut = |n: u64| if replay.extended_sequence_numbers { n } else { n & u64::from(u32::MAX) };
    let received = cut(state.received);
    let window = replay.window.min(MAX_WINDOW);
    if received == 0 || window == 0 {
        return ReplayState { sent: cut(state.sent), received, bitmap: Vec::new() };
    }
    let mut bitmap = vec![0u32; window.div_ceil(32) as usize];
    for (at, word) in bitmap.iter_mut().enumerate() {
        for bit in 0..32 {
            let age = at * 32 + bit;
            let came = match state.bitmap.get(at) {
                Some(known) if age < window as usize => known >> bit & 1 == 1,
                _ => true,
            };
            if came && (age as u64) < received {
                *word |= 1 << bit;
            }
        }
    }
    ReplayState { sent: cut(state.sent), received, bitmap }
}
