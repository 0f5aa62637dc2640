//! Lifetimes, and what UPDSA changes.

use std::num::NonZeroU64;

use esplanade_model::{
    Authentication, Cipher, InboundSa, Lifetime, Limits, Mark, Mode, ObservedSa, Op, OutboundSa, Sa, Used,
    WantedSa,
};

use super::objects::{
    encrypt_then_authenticate, extended, inbound, only, outbound, replay, reqid, sa, selector, v4,
};
use super::{Subject, apply, must, refused, sas};

pub(crate) fn limit(n: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(n)
}

/// Far from being reached.
pub(crate) fn far() -> Lifetime {
    Lifetime {
        soft: Limits { time: limit(1 << 30), bytes: limit(1 << 40), packets: limit(1 << 32) },
        hard: Limits { time: limit(1 << 31), bytes: limit(u64::MAX - 1), packets: limit(1 << 33) },
    }
}

fn one(kernel: &mut dyn Subject) -> ObservedSa {
    kernel.dump().unwrap().sas.remove(0)
}

pub(crate) fn every_limit_reads_back(kernel: &mut dyn Subject) {
    let far = far();
    let only = |soft, hard| Lifetime { soft, hard };
    let none = Limits::default();
    let lifetimes = [
        far,
        only(far.soft, none),
        only(none, far.hard),
        only(Limits { time: far.soft.time, ..none }, none),
        only(Limits { bytes: far.soft.bytes, ..none }, none),
        only(Limits { packets: far.soft.packets, ..none }, none),
        only(none, Limits { time: far.hard.time, ..none }),
        only(none, Limits { bytes: far.hard.bytes, ..none }),
        only(none, Limits { packets: far.hard.packets, ..none }),
    ];
    let all: Vec<_> = (1..).zip(lifetimes).map(|(number, lifetime)| Sa { lifetime, ..sa(number) }).collect();
    must(kernel, &all.iter().cloned().map(inbound).collect::<Vec<_>>());
    assert_eq!(sas(kernel), all.into_iter().map(|sa| (sa.id(), sa)).collect());
}

pub(crate) fn what_is_used_up_goes_on(kernel: &mut dyn Subject) {
    let limited = Sa { lifetime: far(), ..sa(1) };
    must(kernel, &[inbound(limited.clone())]);
    let fresh = one(kernel).used;
    assert_eq!((fresh.bytes, fresh.packets, fresh.first_used), (0, 0, 0));
    assert!(fresh.added > 1_600_000_000, "{fresh:?}");

    // As one that was flushed comes back.
    let used = Used { bytes: 5 << 32, packets: 77, added: fresh.added - 500, first_used: fresh.added - 400 };
    let again = Op::AddInbound { sa: InboundSa(limited.clone()), state: None, used: Some(used) };
    must(kernel, &[Op::DeleteSa(limited.id(), limited.mark), again]);
    assert_eq!(one(kernel).used, used);

    // A new limit counts from where it was.
    must(kernel, &[Op::UpdateSa(WantedSa::Inbound(InboundSa(sa(1))))]);
    assert_eq!(one(kernel).used, used);
    assert_eq!(one(kernel).sa, Some(sa(1)));
}

/// Of all that a message can ask for, UPDSA changes the lifetime, the interface and the output mark, and says yes to the
/// rest.
pub(crate) fn an_update_changes_next_to_nothing(kernel: &mut dyn Subject) {
    let output_mark = Mark::masked(7, 0xff);
    let before = Sa { replay: replay(64), interface_id: 7, output_mark, ..sa(1) };
    must(kernel, &[inbound(before.clone())]);
    let update = |sa: Sa| Op::UpdateSa(WantedSa::Inbound(InboundSa(sa)));
    type Change = fn(&mut Sa);
    let ignored: [Change; 10] = [
        |sa| sa.source = v4(9),
        |sa| sa.mode = Mode::Transport,
        |sa| sa.reqid = reqid(9),
        |sa| sa.crypto = encrypt_then_authenticate(Cipher::AesCbc256, Authentication::HmacSha512),
        |sa| sa.replay = replay(128),
        |sa| sa.replay = extended(64),
        |sa| {
            sa.selector = Some(only(selector(1), 17, esplanade_model::Port::ANY, esplanade_model::Port::ANY))
        },
        |sa| sa.icmp_errors = true,
        // Only to another one (`xfrm_state_update`).
        |sa| sa.interface_id = 0,
        |sa| sa.output_mark = Mark::NONE,
    ];
    for (number, change) in (0..).zip(ignored) {
        let mut changed = before.clone();
        change(&mut changed);
        must(kernel, &[update(changed)]);
        assert_eq!(sas(kernel)[&before.id()], before, "change {number}");
    }
    let output_mark = Mark::masked(1, 1);
    let after = Sa { lifetime: far(), interface_id: 8, output_mark, ..before.clone() };
    must(kernel, &[update(after.clone())]);
    assert_eq!(sas(kernel)[&before.id()], after);
    must(kernel, &[update(Sa { interface_id: 8, ..before.clone() })]);
    assert_eq!(sas(kernel)[&before.id()].lifetime, Lifetime::default());

    // As an outbound one as well.
    let away = Sa { source: v4(2), destination: v4(1), replay: extended(64), ..sa(2) };
    let update = |lifetime| Op::UpdateSa(WantedSa::Outbound(OutboundSa(Sa { lifetime, ..away.clone() })));
    must(kernel, &[outbound(away.clone()), update(far())]);
    assert_eq!(sas(kernel)[&away.id()].lifetime, far());
}

pub(crate) fn an_update_needs_an_sa(kernel: &mut dyn Subject) {
    let results = apply(kernel, &[Op::UpdateSa(WantedSa::Inbound(InboundSa(sa(1)))), inbound(sa(2))]);
    assert_eq!(refused(results, 0).errno, libc::ESRCH);
}
