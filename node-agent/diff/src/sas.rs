//! SAs.

use std::collections::{BTreeMap, BTreeSet};

use esplanade_crds::ProblemKind;
use esplanade_model::{Direction, Observed, ObservedSa, Op, ReplayProtection, Sa, Wanted, WantedSa};

use crate::crypto::same_crypto;
use crate::stage::Stage;
use crate::{Object, Plan, conflict, replay};

pub(crate) fn diff(wanted: &Wanted, observed: &Observed, plan: &mut Plan) {
    let have: BTreeMap<_, _> = observed.sas.iter().map(|sa| (sa.id, sa)).collect();
    let foreign: BTreeSet<_> = observed.foreign_sas.iter().copied().collect();
    let mut kept = wanted.hold.clone();
    for (name, sa) in &wanted.sas {
        let object = Object { kind: ProblemKind::IpsecSA, name: name.clone() };
        let id = sa.sa().id();
        kept.insert(id);
        match have.get(&id) {
            Some(there) if there.sa.as_ref().is_some_and(|there| same(sa, there)) => {}
            Some(there) => {
                let state = replay::carried_over(sa, there, replay::AFTER_DUMP);
                plan.add(stage(sa), Some(&object), Op::DeleteSa(id));
                plan.add(stage(sa), Some(&object), add(sa, state));
            }
            None if foreign.contains(&id) => plan.conflicts.push(conflict::sa(&object, id)),
            None => plan.add(stage(sa), Some(&object), add(sa, None)),
        }
    }
    let unwanted = observed.sas.iter().filter(|sa| !kept.contains(&sa.id));
    let outbound = outbound_reqids(observed);
    for sa in unwanted {
        plan.add(removal_stage(sa, &outbound), None, Op::DeleteSa(sa.id));
    }
}

fn stage(sa: &WantedSa) -> Stage {
    match sa {
        WantedSa::Inbound(_) => Stage::AddInboundSas,
        WantedSa::Outbound(_) => Stage::AddOutboundSas,
    }
}

fn add(sa: &WantedSa, state: Option<esplanade_model::ReplayState>) -> Op {
    match sa {
        WantedSa::Inbound(sa) => Op::AddInbound { sa: sa.clone(), state },
        WantedSa::Outbound(sa) => Op::AddOutbound { sa: sa.clone(), state },
    }
}

/// The reqids of outbound policies: an SA in the kernel doesn't say which way it goes, the policies that use it do.
fn outbound_reqids(observed: &Observed) -> BTreeSet<u32> {
    let outbound = observed.policies.iter().filter(|policy| policy.key.direction == Direction::Out);
    let templates = outbound.filter_map(|policy| policy.policy.as_ref()).flat_map(|policy| &policy.templates);
    templates.map(|template| template.reqid.get()).collect()
}

fn removal_stage(sa: &ObservedSa, outbound_reqids: &BTreeSet<u32>) -> Stage {
    let used_outbound = sa.sa.as_ref().is_some_and(|sa| outbound_reqids.contains(&sa.reqid.get()));
    if used_outbound || sa.state.sent > 0 { Stage::RemoveOutboundSas } else { Stage::RemoveInboundSas }
}

/// The kernel has just what is wanted.
fn same(wanted: &WantedSa, observed: &Sa) -> bool {
    let Sa { source, destination, spi, mode, reqid, crypto, replay, selector, interface_id } = wanted.sa();
    *source == observed.source
        && *destination == observed.destination
        && *spi == observed.spi
        && *mode == observed.mode
        && *reqid == observed.reqid
        && *selector == observed.selector
        && *interface_id == observed.interface_id
        && same_crypto(crypto, &observed.crypto)
        && match wanted {
            WantedSa::Inbound(_) => *replay == observed.replay,
            WantedSa::Outbound(_) => same_outbound(*replay, observed.replay),
        }
}

/// A sender has no use for a window; the kernel keeps the smallest that it takes: none, and with extended sequence
/// numbers one packet unless it knows the SA's direction (`verify_replay`).
fn same_outbound(wanted: ReplayProtection, observed: ReplayProtection) -> bool {
    let smallest = u32::from(wanted.extended_sequence_numbers);
    wanted.extended_sequence_numbers == observed.extended_sequence_numbers && observed.window <= smallest
}
