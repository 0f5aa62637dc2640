//! SAs of single CPUs.

use std::collections::BTreeSet;

use esplanade_model::{Capabilities, Capability, OutboundSa, Sa, SaDirection, WantedSa};

use super::objects::{extended, outbound, replay, sa};
use super::table::{SAME_NAME, of_sa, sync};
use super::{Subject, apply, must, refused, sas};

/// Whether the kernel has such SAs. One that hasn't ignores the CPU, so that nothing of it is sent there.
fn has_them(present: &BTreeSet<Capability>, wanted: &Sa) -> bool {
    let capabilities = Capabilities::new("", present.clone());
    match capabilities.require_sa(&WantedSa::Outbound(OutboundSa(wanted.clone()))) {
        Ok(()) => true,
        Err(missing) => {
            assert_eq!(missing.capability, Capability::PerCpu);
            false
        }
    }
}

pub(crate) fn an_sa_of_a_cpu_reads_back(kernel: &mut dyn Subject) {
    let present = kernel.probe().unwrap();
    let of = |cpu, number, replay| Sa { cpu, replay, direction: Some(SaDirection::Out), ..sa(number) };
    let wanted = [of(Some(0), 1, replay(32)), of(Some(1), 2, replay(200)), of(Some(0), 3, extended(64))];
    if !wanted.iter().all(|sa| has_them(&present, sa)) {
        return;
    }
    must(kernel, &wanted.clone().map(outbound));
    let there = sas(kernel);
    assert_eq!(there.len(), wanted.len());
    for sa in &wanted {
        let read = &there[&sa.id()];
        assert_eq!((read.cpu, read.direction, read.replay.window), (sa.cpu, sa.direction, 0));
    }
    let [first, ..] = wanted;
    let sync = |kernel: &mut dyn Subject, sa| sync(kernel, &of_sa(WantedSa::Outbound(OutboundSa(sa))), "CPU");
    sync(kernel, first.clone());
    for cpu in [Some(1), None, Some(0)] {
        assert_eq!(sync(kernel, Sa { cpu, ..first.clone() }), SAME_NAME);
        assert_eq!(sas(kernel)[&first.id()].cpu, cpu);
    }
}

pub(crate) fn an_sa_of_a_cpu_that_is_not_there_is_refused(kernel: &mut dyn Subject) {
    let sa = Sa { cpu: Some(8191), direction: Some(SaDirection::Out), ..sa(1) };
    if !has_them(&kernel.probe().unwrap(), &sa) {
        return;
    }
    for (sa, errno, words) in [
        (Sa { direction: None, ..sa.clone() }, libc::EINVAL, "SA_PCPU only supported with SA_DIR"),
        (sa, libc::ERANGE, "pCPU number too big"),
    ] {
        let refusal = refused(apply(kernel, &[outbound(sa)]), 0);
        assert_eq!((refusal.errno, refusal.message.as_deref()), (errno, Some(words)));
    }
    assert!(sas(kernel).is_empty());
}
