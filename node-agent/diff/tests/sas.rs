//! What is done about an SA, by what differs.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::num::{NonZeroU32, NonZeroU64};

use common::{crypto, in_kernel, inbound, ip, key, observed, outbound, sa, selector, wanted, without_window};
use esplanade_crds::ProblemKind;
use esplanade_diff::{diff, sas};
use esplanade_model::{
    Aead, Authentication, Cipher, Crypto, Lifetime, Limits, Mark, Mode, Observed, ObservedSa, Offload, Op,
    OutboundSa, Protocol, ReplayProtection, ReplayState, Reqid, Sa, SaDirection, Spi, UdpEncapsulation, Used,
    WantedSa,
};

/// A name, and how it makes a wanted SA other than the one in the kernel.
type Change = (&'static str, fn(&mut Sa));

/// Changes that leave the SA its name in the kernel and its keys.
const SAME_KEYS: &[Change] = &[
    ("source", |sa| sa.source = ip("192.0.2.9")),
    ("mode", |sa| sa.mode = Mode::Transport),
    ("BEET", |sa| sa.mode = Mode::Beet),
    ("reqid", |sa| sa.reqid = Reqid::from_hash(2)),
    ("selector", |sa| sa.selector = Some(selector("10.1.0.0/24", "10.2.0.0/24"))),
    ("interface", |sa| sa.interface_id = 7),
    ("mark", |sa| sa.mark = Mark::masked(7, 0xff)),
    ("output mark", |sa| sa.output_mark = Mark::masked(7, 0xff)),
    ("output mark's mask", |sa| sa.output_mark = Mark::masked(0, 0xff)),
    ("ICMP errors", |sa| sa.icmp_errors = true),
    ("CPU", |sa| sa.cpu = Some(1)),
    ("IPTFS", |sa| sa.iptfs.packet_size = 1000),
    ("keepalives", |sa| sa.keepalive = NonZeroU32::new(20)),
    ("offload", |sa| sa.offload = Some(Offload { device: 2, way: SaDirection::Out })),
    ("UDP", |sa| sa.encapsulation = udp(4500)),
    ("extended sequence numbers", |sa| sa.replay.extended_sequence_numbers = true),
];

fn udp(destination_port: u16) -> Option<UdpEncapsulation> {
    Some(UdpEncapsulation { source_port: 4500, destination_port })
}

/// Changes that leave the SA its name and not its keys.
const OTHER_KEYS: &[Change] = &[
    ("keys", |sa| sa.crypto = crypto(0xa2)),
    ("cipher key", |sa| sa.crypto = etm(Cipher::AesCbc256, 0xff, Authentication::HmacSha256, 0xa1)),
    ("integrity key", |sa| sa.crypto = etm(Cipher::AesCbc256, 0xa1, Authentication::HmacSha256, 0xff)),
    ("cipher", |sa| sa.crypto = etm(Cipher::AesCbc128, 0xa1, Authentication::HmacSha256, 0xa1)),
    ("integrity", |sa| sa.crypto = etm(Cipher::AesCbc256, 0xa1, Authentication::HmacSha512, 0xa1)),
    ("aead", |sa| sa.crypto = Crypto::aead(Aead::AesGcm256, key(0xa1, 36)).unwrap()),
];

/// Changes that make it another SA.
const OTHER_NAME: &[Change] = &[
    ("destination", |sa| sa.destination = ip("192.0.2.9")),
    ("spi", |sa| sa.spi = Spi::new(5000).unwrap()),
    ("protocol", |sa| sa.crypto = Crypto::authenticate(Authentication::HmacSha256, key(0xa1, 32)).unwrap()),
];

fn etm(cipher: Cipher, cipher_byte: u8, authentication: Authentication, authentication_byte: u8) -> Crypto {
    let cipher_key = key(cipher_byte, cipher.key_len());
    let authentication_key = key(authentication_byte, authentication.key_len());
    Crypto::encrypt_then_authenticate(cipher, cipher_key, authentication, authentication_key).unwrap()
}

fn ops(wanted_sas: &[WantedSa], there: &[ObservedSa]) -> Vec<Op> {
    let diff = diff(&wanted(wanted_sas, &[]), &observed(there, &[]));
    assert!(diff.conflicts.is_empty(), "{:?}", diff.conflicts);
    diff.steps.into_iter().map(|step| step.op).collect()
}

fn add(sa: &WantedSa, state: Option<ReplayState>) -> Op {
    match sa.clone() {
        WantedSa::Inbound(sa) => Op::AddInbound { sa, state, used: None },
        WantedSa::Outbound(sa) => Op::AddOutbound { sa, state, used: None },
    }
}

/// Where a sender goes on: past all that may have left after the dump.
fn sent(sent: u64) -> Option<ReplayState> {
    Some(ReplayState { sent: sent + (1 << 20), ..ReplayState::default() })
}

fn received(received: u64, bitmap: &[u32]) -> Option<ReplayState> {
    Some(ReplayState { sent: 0, received, bitmap: bitmap.to_vec() })
}

#[test]
fn nothing_to_do_for_what_is_there() {
    assert_eq!(ops(&[inbound(sa())], &[in_kernel(sa())]), []);
    assert_eq!(ops(&[outbound(sa())], &[in_kernel(without_window(sa()))]), []);
}

#[test]
fn a_direction_must_be_the_one_wanted() {
    let with = |direction| Sa { direction, ..sa() };
    let (into, out) = (Some(SaDirection::In), Some(SaDirection::Out));
    assert_eq!(ops(&[inbound(with(into))], &[in_kernel(with(into))]), []);
    assert_eq!(ops(&[outbound(with(out))], &[in_kernel(without_window(with(out)))]), []);
    // Told to a kernel by an agent that didn't know of directions, or by somebody else.
    for other in [None, out] {
        let wanted = inbound(with(into));
        let again = [Op::DeleteSa(sa().id(), Mark::NONE), add(&wanted, received(9, &[0x1ff, 0]))];
        assert_eq!(ops(&[wanted], &[in_kernel(with(other))]), again, "{other:?}");
    }
    for other in [None, into] {
        let wanted = outbound(with(out));
        let again = [Op::DeleteSa(sa().id(), Mark::NONE), add(&wanted, sent(7))];
        assert_eq!(ops(&[wanted], &[in_kernel(without_window(with(other)))]), again, "{other:?}");
    }
    // With one, a sender of extended sequence numbers has no window at all.
    let extended = |direction, window| {
        let replay = ReplayProtection { window, extended_sequence_numbers: true };
        Sa { replay, ..with(direction) }
    };
    for (direction, window, right) in [(out, 0, true), (out, 1, false), (None, 1, true), (None, 0, true)] {
        let nothing =
            ops(&[outbound(extended(direction, 64))], &[in_kernel(extended(direction, window))]).is_empty();
        assert_eq!(nothing, right, "{direction:?}, {window}");
    }
}

#[test]
fn what_is_missing_is_added_and_starts_at_0() {
    for sa in [inbound(sa()), outbound(sa())] {
        assert_eq!(ops(std::slice::from_ref(&sa), &[]), [add(&sa, None)]);
    }
}

#[test]
fn what_nobody_wants_is_deleted() {
    assert_eq!(ops(&[], &[in_kernel(sa())]), [Op::DeleteSa(sa().id(), Mark::NONE)]);
}

#[test]
fn a_change_replaces_the_sa_and_with_the_same_keys_it_goes_on_where_it_was() {
    for (name, change) in SAME_KEYS {
        let mut changed = sa();
        change(&mut changed);

        let out = outbound(changed.clone());
        let expected = [Op::DeleteSa(sa().id(), Mark::NONE), add(&out, sent(7))];
        assert_eq!(ops(&[out], &[in_kernel(without_window(sa()))]), expected, "outbound, {name}");

        let into = inbound(changed);
        let expected = [Op::DeleteSa(sa().id(), Mark::NONE), add(&into, received(9, &[0x1ff, 0]))];
        assert_eq!(ops(&[into], &[in_kernel(sa())]), expected, "inbound, {name}");
    }
}

#[test]
fn a_lifetime_is_changed_in_place() {
    let lifetime = |hard| Lifetime { hard, ..Lifetime::default() };
    let limit = NonZeroU64::new(100);
    for hard in [
        Limits { time: limit, ..Limits::default() },
        Limits { bytes: limit, ..Limits::default() },
        Limits { packets: limit, ..Limits::default() },
    ] {
        let limited = Sa { lifetime: lifetime(hard), ..sa() };
        for (wanted, there) in [(&limited, &sa()), (&sa(), &limited)] {
            let out = outbound(wanted.clone());
            let update = Op::UpdateSa(out.clone());
            assert_eq!(ops(&[out], &[in_kernel(without_window(there.clone()))]), [update]);
            let into = inbound(wanted.clone());
            let update = Op::UpdateSa(into.clone());
            assert_eq!(ops(&[into], &[in_kernel(there.clone())]), [update]);
        }
        // With something else it is made anew, and what is used up stays so.
        let used = Used { packets: 7, ..Used::default() };
        let there = ObservedSa { used, ..in_kernel(without_window(sa())) };
        let [Op::DeleteSa(..), Op::AddOutbound { used: carried, .. }] = &ops(
            &[outbound(Sa { source: ip("192.0.2.9"), ..limited.clone() })],
            std::slice::from_ref(&there),
        )[..] else {
            panic!("not made anew")
        };
        assert_eq!(*carried, Some(used));
        let renewed = outbound(Sa { crypto: crypto(0xa2), ..limited });
        assert_eq!(
            ops(std::slice::from_ref(&renewed), &[there]),
            [Op::DeleteSa(sa().id(), Mark::NONE), add(&renewed, None)]
        );
    }
}

#[test]
fn a_sender_never_goes_beyond_the_last_sequence_number() {
    let mut there = in_kernel(without_window(sa()));
    there.state.sent = u64::from(u32::MAX) - 5;
    let moved = outbound(Sa { source: ip("192.0.2.9"), ..sa() });
    let last = Some(ReplayState { sent: u32::MAX.into(), ..ReplayState::default() });
    assert_eq!(
        ops(std::slice::from_ref(&moved), &[there]),
        [Op::DeleteSa(sa().id(), Mark::NONE), add(&moved, last)]
    );
}

#[test]
fn other_keys_start_anew() {
    for (name, change) in OTHER_KEYS {
        let mut changed = sa();
        change(&mut changed);
        let out = outbound(changed.clone());
        let expected = [Op::DeleteSa(sa().id(), Mark::NONE), add(&out, None)];
        assert_eq!(ops(&[out], &[in_kernel(without_window(sa()))]), expected, "outbound, {name}");
        let into = inbound(changed);
        let expected = [Op::DeleteSa(sa().id(), Mark::NONE), add(&into, None)];
        assert_eq!(ops(&[into], &[in_kernel(sa())]), expected, "inbound, {name}");
    }
}

#[test]
fn another_name_is_another_sa() {
    for (name, change) in OTHER_NAME {
        let mut changed = sa();
        change(&mut changed);
        for changed in [inbound(changed.clone()), outbound(changed)] {
            let expected = [add(&changed, None), Op::DeleteSa(sa().id(), Mark::NONE)];
            assert_eq!(ops(&[changed], &[in_kernel(sa())]), expected, "{name}");
        }
    }
}

#[test]
fn udp_ports_are_changed_where_they_are() {
    let there = Sa { encapsulation: udp(4500), ..sa() };
    for wanted in [inbound, outbound] {
        let wanted = wanted(Sa { encapsulation: udp(4501), ..sa() });
        let there = if matches!(wanted, WantedSa::Inbound(_)) {
            there.clone()
        } else {
            without_window(there.clone())
        };
        let expected = [Op::UpdateSa(wanted.clone())];
        assert_eq!(ops(std::slice::from_ref(&wanted), &[in_kernel(there.clone())]), expected);
        // Together with anything else, and to plain ESP, it takes a new one.
        let mut more = there.clone();
        more.reqid = Reqid::from_hash(2);
        assert_eq!(ops(&[wanted], &[in_kernel(more)]).len(), 2);
        let plain = inbound(sa());
        assert_eq!(ops(&[plain], &[in_kernel(Sa { encapsulation: udp(4500), ..sa() })]).len(), 2);
    }
}

#[test]
/// The codec moves the bitmap into the other window.
fn an_inbound_window_of_another_size_keeps_what_was_seen() {
    for window in [32, 33, 4096] {
        let mut changed = sa();
        changed.replay.window = window;
        let into = inbound(changed);
        let expected = [Op::DeleteSa(sa().id(), Mark::NONE), add(&into, received(9, &[0x1ff, 0]))];
        assert_eq!(ops(&[into], &[in_kernel(sa())]), expected, "window {window}");
    }
    let none = inbound(without_window(sa()));
    assert_eq!(
        ops(std::slice::from_ref(&none), &[in_kernel(sa())]),
        [Op::DeleteSa(sa().id(), Mark::NONE), add(&none, None)]
    );
}

#[test]
fn an_outbound_window_is_whatever_the_kernel_makes_it() {
    let replay = |window, extended_sequence_numbers| ReplayProtection { window, extended_sequence_numbers };
    for (wanted, there, in_sync) in [
        (replay(1024, false), replay(0, false), true),
        (replay(1024, false), replay(1, false), false),
        (replay(1024, true), replay(0, true), true),
        (replay(1024, true), replay(1, true), true),
        (replay(1024, true), replay(2, true), false),
        (replay(1024, true), replay(1024, true), false),
        (replay(0, false), replay(0, false), true),
        (replay(1024, true), replay(0, false), false),
    ] {
        let out = outbound(Sa { replay: wanted, ..sa() });
        let steps = ops(&[out], &[in_kernel(Sa { replay: there, ..sa() })]);
        assert_eq!(steps.is_empty(), in_sync, "{wanted:?} and {there:?}");
    }
}

#[test]
fn one_that_is_not_like_ours_is_replaced_and_taken_to_have_the_same_keys() {
    let there = ObservedSa { sa: None, ..in_kernel(sa()) };
    let out = outbound(sa());
    let delete = Op::DeleteSa(sa().id(), Mark::NONE);
    assert_eq!(
        ops(std::slice::from_ref(&out), std::slice::from_ref(&there)),
        [delete.clone(), add(&out, sent(7))]
    );
    let into = inbound(sa());
    assert_eq!(ops(std::slice::from_ref(&into), &[there]), [delete, add(&into, received(9, &[0x1ff, 0]))]);
}

#[test]
fn keys_that_lockdown_hides_are_taken_for_the_same() {
    let hidden = in_kernel(Sa { crypto: crypto(0), ..sa() });
    assert_eq!(ops(&[inbound(sa())], std::slice::from_ref(&hidden)), []);
    // Lengths and names still show.
    let other = etm(Cipher::AesCbc128, 0xa1, Authentication::HmacSha256, 0xa1);
    assert_eq!(ops(&[inbound(Sa { crypto: other, ..sa() })], std::slice::from_ref(&hidden)).len(), 2);
    // What else changed still counts, and goes on where it was.
    let moved = inbound(Sa { source: ip("192.0.2.9"), ..sa() });
    let expected = [Op::DeleteSa(sa().id(), Mark::NONE), add(&moved, received(9, &[0x1ff, 0]))];
    assert_eq!(ops(&[moved], &[hidden]), expected);
}

#[test]
fn what_is_held_stays_as_it_is() {
    let mut wanted = wanted(&[], &[]);
    wanted.hold.insert(sa().id());
    let other = Sa { spi: Spi::new(5000).unwrap(), ..sa() };
    let diff = diff(&wanted, &observed(&[in_kernel(sa()), in_kernel(other.clone())], &[]));
    let ops: Vec<_> = diff.steps.into_iter().map(|step| step.op).collect();
    assert_eq!(ops, [Op::DeleteSa(other.id(), Mark::NONE)]);
}

/// The mark of the SA that is there, not of the one that comes.
#[test]
fn an_sa_is_deleted_by_its_mark() {
    let marked = Sa { mark: Mark::masked(7, 0xff), ..sa() };
    for sa in [Some(marked.clone()), None] {
        let there = ObservedSa { sa, ..in_kernel(marked.clone()) };
        let delete = Op::DeleteSa(marked.id(), marked.mark);
        assert_eq!(ops(&[], std::slice::from_ref(&there)), std::slice::from_ref(&delete));
        assert_eq!(
            ops(&[inbound(Sa { mark: Mark::NONE, ..marked.clone() })], std::slice::from_ref(&there))[0],
            delete
        );
    }
}

/// By its name the kernel may find the other one, and lose it.
#[test]
fn what_only_marks_tell_from_another_is_left_alone() {
    let marked = in_kernel(Sa { mark: Mark::masked(7, 0xff), ..sa() });
    let beside_foreign = Observed { foreign_sas: vec![sa().id()], ..observed(&[in_kernel(sa())], &[]) };
    for there in [beside_foreign, observed(&[in_kernel(sa()), marked], &[])] {
        let unwanted = diff(&wanted(&[], &[]), &there);
        assert_eq!((unwanted.steps, unwanted.conflicts), (vec![], vec![]));
        let wanted_again = diff(&wanted(&[inbound(sa())], &[]), &there);
        assert_eq!(wanted_again.steps, []);
        let [conflict] = wanted_again.conflicts.as_slice() else { panic!("{:?}", wanted_again.conflicts) };
        assert_eq!(
            (conflict.category.as_str(), conflict.message.as_str()),
            (
                "Conflicted",
                "the kernel has several of the ESP SA to 192.0.2.2 with SPI 0x00001000, of other marks, and may take one \
                 for the other; they are left alone. Remove what another program made, or choose another spi"
            )
        );
    }
}

#[test]
fn a_foreign_sa_in_the_way_is_a_conflict_and_nothing_is_done() {
    let mut there = observed(&[], &[]);
    there.foreign_sas.push(sa().id());
    let diff = diff(&wanted(&[outbound(sa())], &[]), &there);
    assert_eq!(diff.steps, []);
    let [conflict] = diff.conflicts.as_slice() else { panic!("one conflict: {:?}", diff.conflicts) };
    assert_eq!((conflict.kind, conflict.name.as_str()), (ProblemKind::IpsecSA, "an-sa"));
    assert_eq!(conflict.category, "Conflicted");
    assert_eq!(
        conflict.message,
        "the kernel has an ESP SA to 192.0.2.2 with SPI 0x00001000 that another program made; it is left alone. \
         Remove it there, or choose another spi"
    );
}

#[test]
fn steps_say_who_asks() {
    let gone = in_kernel(Sa { spi: Spi::new(5000).unwrap(), ..sa() });
    let diff = diff(&wanted(&[outbound(sa())], &[]), &observed(&[gone], &[]));
    let names: Vec<_> =
        diff.steps.iter().map(|step| step.object.as_ref().map(|object| object.name.as_str())).collect();
    assert_eq!(names, [Some("an-sa"), None]);
    assert!(
        matches!(&diff.steps.first().unwrap().op, Op::AddOutbound { sa: OutboundSa(one), .. } if *one == sa())
    );
}

/// Only what differs in its addresses, and in nothing else, is the same SA elsewhere.
#[test]
fn an_sa_between_other_addresses_moves() {
    let there = in_kernel(sa()).sa.unwrap();
    let elsewhere = || Sa { source: ip("192.0.2.8"), destination: ip("192.0.2.9"), ..sa() };
    for wanted in [inbound(elsewhere()), outbound(elsewhere())] {
        let there = match &wanted {
            WantedSa::Inbound(_) => there.clone(),
            WantedSa::Outbound(_) => without_window(there.clone()),
        };
        let moved = sas::moved(&wanted, &there).unwrap();
        assert_eq!((moved.protocol, moved.mode, moved.reqid), (Protocol::Esp, Mode::Tunnel, sa().reqid));
        assert_eq!((moved.from.0, moved.from.1), (sa().source, sa().destination));
        assert_eq!((moved.to.0, moved.to.1), (elsewhere().source, elsewhere().destination));
        assert_eq!(sas::moved(&outbound(sa()), &there), None, "it is where it should be");
    }
    for long_way in [Sa { encapsulation: udp(4500), ..sa() }, Sa { crypto: Crypto::Deflate, ..sa() }] {
        let wanted = Sa { source: ip("192.0.2.8"), ..long_way.clone() };
        assert_eq!(sas::moved(&inbound(wanted), &long_way), None, "{long_way:?}");
    }
    let others = SAME_KEYS.iter().chain(OTHER_KEYS).chain(OTHER_NAME);
    for (what, change) in others.filter(|(what, _)| !["source", "destination"].contains(what)) {
        let mut wanted = elsewhere();
        change(&mut wanted);
        assert_eq!(sas::moved(&inbound(wanted), &there), None, "{what}");
    }
}
