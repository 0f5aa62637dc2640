//! Replay windows: how many bits, where they lie, and how they move from one window to another.
//!
//! Three layouts (`net/xfrm/xfrm_replay.c`): the legacy one (window of at most 32, one word, bit 0 the newest packet),
//! and a ring of `window` bits in which packet n is bit `(n - 1) % window`, with 64-bit sequence numbers or without.
//! [`ReplayState::bitmap`] has them all in one order: bit i stands for the packet i before the newest.

use esplanade_model::{ReplayProtection, ReplayState, Sa, WantedSa};
use netlink_packet_xfrm::{Replay, ReplayEsn, UserSaInfo, XfrmAttrs};

use super::attributes::Attributes;

/// Windows up to here fit the legacy layout (`XFRMA_REPLAY_VAL`).
pub const LEGACY_WINDOW: u32 = 32;
/// The largest window (`XFRMA_REPLAY_ESN_MAX` bits).
pub const MAX_WINDOW: u32 = 4096;

/// Whether the SA's window is a ring (`XFRMA_REPLAY_ESN_VAL`).
pub fn is_ring(replay: ReplayProtection) -> bool {
    replay.extended_sequence_numbers || replay.window > LEGACY_WINDOW
}

/// What the kernel has for an SA that starts here: it receives nothing, so it has the smallest window there can be. That
/// is none where the kernel is told the direction, and refused else (`verify_replay`).
pub fn outbound(sa: &Sa) -> ReplayProtection {
    let needs_one = sa.replay.extended_sequence_numbers && sa.direction.is_none();
    ReplayProtection { window: needs_one.into(), ..sa.replay }
}

/// What the kernel has for a wanted SA.
pub fn in_kernel(wanted: &WantedSa) -> ReplayProtection {
    match wanted {
        WantedSa::Inbound(sa) => sa.0.replay,
        WantedSa::Outbound(sa) => outbound(&sa.0),
    }
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

/// What the kernel shows of the window.
pub(super) enum WireReplay<'a> {
    Legacy { window: u8, state: Replay },
    Ring(&'a ReplayEsn),
}

impl<'a> WireReplay<'a> {
    pub(super) fn of(info: &UserSaInfo, attributes: &'a Attributes) -> Self {
        let mut state = Replay::default();
        for attribute in attributes.as_slice() {
            match attribute {
                XfrmAttrs::ReplayStateEsn(ring) => return Self::Ring(ring),
                XfrmAttrs::ReplayState(legacy) => state = *legacy,
                _ => {}
            }
        }
        Self::Legacy { window: info.replay_window, state }
    }

    /// None if we would have written it differently.
    pub(super) fn protection(&self, extended: bool) -> Option<ReplayProtection> {
        let window = match self {
            Self::Legacy { window, .. } => u32::from(*window),
            Self::Ring(ring) => ring.replay_window,
        };
        let replay = ReplayProtection { window, extended_sequence_numbers: extended };
        let like_ours = match self {
            Self::Legacy { .. } => !is_ring(replay),
            Self::Ring(ring) => is_ring(replay) && ring.bmp_len == window.div_ceil(32),
        };
        like_ours.then_some(replay)
    }

    pub(super) fn state(&self) -> ReplayState {
        let wide = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        match self {
            Self::Legacy { window, state } => {
                let replay =
                    ReplayProtection { window: u32::from(*window), extended_sequence_numbers: false };
                let (sent, received) = (u64::from(state.oseq), u64::from(state.seq));
                fitted(&ReplayState { sent, received, bitmap: vec![state.bitmap] }, replay)
            }
            Self::Ring(ring) => {
                // Extended or not: the high halves are zero where they don't count.
                let replay = ReplayProtection { window: ring.replay_window, extended_sequence_numbers: true };
                let mut bitmap = vec![0u32; ring.replay_window.min(MAX_WINDOW).div_ceil(32) as usize];
                for age in 0..ring.replay_window.min(MAX_WINDOW) {
                    let (word, mask) = ring_place(ring.seq, age, ring.replay_window);
                    if ring.bmp.get(word).is_some_and(|word| word & mask != 0) {
                        bitmap[age as usize / 32] |= 1 << (age % 32);
                    }
                }
                let (sent, received) = (wide(ring.oseq_hi, ring.oseq), wide(ring.seq_hi, ring.seq));
                fitted(&ReplayState { sent, received, bitmap }, replay)
            }
        }
    }
}

/// Word and mask of the packet `age` before `newest` in a ring (`xfrm_replay_check_bmp`).
fn ring_place(newest: u32, age: u32, window: u32) -> (usize, u32) {
    let (newest, window) = (u64::from(newest.wrapping_sub(1) % window), u64::from(window));
    let bit = (newest + window - u64::from(age)) % window;
    (usize::try_from(bit / 32).unwrap_or(usize::MAX), 1 << (bit % 32))
}

/// Adds the attribute that the window needs; returns the legacy window for the header.
pub(super) fn encode(
    replay: ReplayProtection,
    state: Option<&ReplayState>,
    attributes: &mut Attributes,
) -> u8 {
    let state = state.map(|state| fitted(state, replay));
    if is_ring(replay) {
        let ring = encode_ring(replay, &state.unwrap_or_default());
        attributes.push(XfrmAttrs::ReplayStateEsn(ring));
        return 0;
    }
    if let Some(state) = state {
        attributes.push(XfrmAttrs::ReplayState(Replay {
            oseq: low(state.sent),
            seq: low(state.received),
            bitmap: state.bitmap.first().copied().unwrap_or(0),
        }));
    }
    // At most 32.
    u8::try_from(replay.window).unwrap_or(u8::MAX)
}

fn encode_ring(replay: ReplayProtection, state: &ReplayState) -> ReplayEsn {
    let mut ring = ReplayEsn {
        bmp_len: replay.window.div_ceil(32),
        oseq: low(state.sent),
        seq: low(state.received),
        oseq_hi: low(state.sent >> 32),
        seq_hi: low(state.received >> 32),
        replay_window: replay.window,
        // One that is too large gets the kernel's own refusal.
        bmp: vec![0; replay.window.min(2 * MAX_WINDOW).div_ceil(32) as usize],
    };
    for age in 0..replay.window.min(MAX_WINDOW) {
        let came = state.bitmap.get(age as usize / 32).is_some_and(|word| word >> (age % 32) & 1 == 1);
        if came {
            let (word, mask) = ring_place(ring.seq, age, replay.window);
            if let Some(word) = ring.bmp.get_mut(word) {
                *word |= mask;
            }
        }
    }
    ring
}

#[allow(clippy::cast_possible_truncation)] // The low half is meant.
fn low(value: u64) -> u32 {
    value as u32
}
