//! Replay windows, against the kernel's arithmetic written out (`net/xfrm/xfrm_replay.c`).

use esplanade_model::{ReplayProtection, ReplayState};
use netlink_packet_xfrm::{ReplayEsn, UserSaInfo, XfrmAttrs};
use proptest::prelude::*;

use crate::wire::attributes::Attributes;
use crate::wire::replay::{self, WireReplay, fitted};

fn ring(window: u32) -> ReplayProtection {
    ReplayProtection { window, extended_sequence_numbers: true }
}

/// What the kernel keeps after these packets came, oldest first (`xfrm_replay_advance_esn`, before any wrap).
fn kernel_ring(window: u32, packets: &[u32]) -> ReplayEsn {
    let mut ring = ReplayEsn {
        bmp_len: window.div_ceil(32),
        replay_window: window,
        bmp: vec![0; window.div_ceil(32) as usize],
        ..ReplayEsn::default()
    };
    for &packet in packets {
        let newest = ring.seq.wrapping_sub(1) % window;
        let bit = if packet > ring.seq {
            let ahead = packet - ring.seq;
            for step in 1..ahead.min(window) {
                let bit = (newest + step) % window;
                ring.bmp[bit as usize / 32] &= !(1 << (bit % 32));
            }
            if ahead >= window {
                ring.bmp.fill(0);
            }
            ring.seq = packet;
            (packet - 1) % window
        } else {
            (packet - 1) % window
        };
        ring.bmp[bit as usize / 32] |= 1 << (bit % 32);
    }
    ring
}

proptest! {
    #[test]
    fn a_ring_is_read_in_order_of_age(
        window in 1u32..=200,
        packets in proptest::collection::vec(1u32..500, 1..100),
    ) {
        let mut came: Vec<u32> = Vec::new();
        for packet in packets {
            let newest = came.iter().max().copied().unwrap_or(0);
            // The kernel refuses what is too old.
            if packet + window > newest {
                came.push(packet);
            }
        }
        let newest = *came.iter().max().unwrap();
        let mut attributes = Attributes::default();
        attributes.push(XfrmAttrs::ReplayStateEsn(kernel_ring(window, &came)));
        let state = WireReplay::of(&UserSaInfo::default(), &attributes).state();
        prop_assert_eq!(state.received, u64::from(newest));
        for age in 0..window.min(newest) {
            let seen = state.bitmap[age as usize / 32] >> (age % 32) & 1 == 1;
            prop_assert_eq!(seen, came.contains(&(newest - age)), "age {}", age);
        }
    }

    #[test]
    fn writing_and_reading_a_window_changes_nothing(
        window in 0u32..=4096,
        extended in any::<bool>(),
        sent in any::<u64>(),
        received in prop_oneof![0u64..300, any::<u64>()],
        bitmap in proptest::collection::vec(any::<u32>(), 0..130),
    ) {
        let replay = ReplayProtection { window: window.max(extended.into()), extended_sequence_numbers: extended };
        let state = fitted(&ReplayState { sent, received, bitmap }, replay);
        prop_assert_eq!(&fitted(&state, replay), &state);
        let mut attributes = Attributes::default();
        let legacy = replay::encode(replay, Some(&state), &mut attributes);
        let info = UserSaInfo { replay_window: legacy, ..UserSaInfo::default() };
        let wire = WireReplay::of(&info, &attributes);
        prop_assert_eq!(wire.protection(extended), Some(replay));
        prop_assert_eq!(wire.state(), state);
    }

    #[test]
    fn no_packet_is_accepted_twice_in_another_window(
        from in 1u32..=200,
        to in 1u32..=200,
        received in 1u64..1000,
        bitmap in proptest::collection::vec(any::<u32>(), 7),
    ) {
        let before = fitted(&ReplayState { sent: 0, received, bitmap }, ring(from));
        let after = fitted(&before, ring(to));
        for age in (0..to).filter(|age| u64::from(*age) < received) {
            let seen = |state: &ReplayState| {
                state.bitmap.get(age as usize / 32).is_none_or(|word| word >> (age % 32) & 1 == 1)
            };
            prop_assert_eq!(seen(&after), age >= from || seen(&before), "age {}", age);
        }
    }
}
