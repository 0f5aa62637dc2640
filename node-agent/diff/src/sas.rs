//! SAs.

use esplanade_crds::ProblemKind;
use esplanade_model::{
    Crypto, Direction, Lifetime, Move, Observed, ObservedSa, Op, ReplayProtection, ReplayState, Reqid, Sa,
    SaDirection, SaId, Wanted, WantedSa,
};

use crate::crypto::same_crypto;
use crate::hash::{Map, Set};
use crate::stage::Stage;
use crate::{Found, Object, Plan, Start, Verdict, conflict, memory, replay};

pub(crate) fn diff(wanted: &Wanted, observed: &Observed, plan: &mut Plan) {
    let have: Map<_, _> = observed.sas.iter().map(|sa| (sa.id, sa)).collect();
    let foreign: Set<_> = observed.foreign_sas.iter().copied().collect();
    let mut kept: Set<_> = wanted.hold.iter().copied().collect();
    let ambiguous = ambiguous(observed);
    for (name, sa) in &wanted.sas {
        let id = sa.sa().id();
        kept.insert(id);
        let there = match have.get(&id) {
            Some(there) => Found::Ours(*there),
            None if foreign.contains(&id) => Found::Foreign,
            None => Found::Nothing,
        };
        let object = || Object { kind: ProblemKind::IpsecSA, name: name.clone() };
        match judge(sa, there) {
            _ if ambiguous.contains(&id) => plan.conflicts.push(conflict::ambiguous(&object(), id)),
            Verdict::Right => {}
            Verdict::Conflict => plan.conflicts.push(conflict::sa(&object(), id)),
            Verdict::Wrong => {
                let ops = match have.get(&id) {
                    Some(there) => replace(sa, there, Start::default()),
                    None => vec![add(sa, Start::default())],
                };
                for op in ops {
                    plan.add(stage(sa), Some(object()), op);
                }
            }
        }
    }
    // What is ambiguous goes once the other one has.
    let unwanted = observed.sas.iter().filter(|sa| !kept.contains(&sa.id) && !ambiguous.contains(&sa.id));
    let outbound = outbound_reqids(observed);
    for sa in unwanted {
        plan.add(removal_stage(sa, &outbound), None, Op::DeleteSa(sa.id, sa.mark));
    }
}

/// Names that several SAs have, ours among them: the kernel tells them apart by their marks only, and may take one for the
/// other (`__xfrm_state_lookup`).
fn ambiguous(observed: &Observed) -> Set<SaId> {
    let mut seen = Set::default();
    let foreign: Set<_> = observed.foreign_sas.iter().copied().collect();
    let ours = observed.sas.iter().map(|sa| sa.id);
    ours.filter(|id| foreign.contains(id) || !seen.insert(*id)).collect()
}

/// What is to be done about a wanted SA where the kernel has this.
pub fn judge(wanted: &WantedSa, there: Found<&ObservedSa>) -> Verdict {
    match there {
        Found::Ours(there) if there.sa.as_ref().is_some_and(|there| is_right(wanted, there)) => {
            Verdict::Right
        }
        Found::Ours(_) | Found::Nothing => Verdict::Wrong,
        Found::Foreign => Verdict::Conflict,
    }
}

/// Whether an SA of ours is the wanted one but for its addresses: then how it gets there.
pub fn moved(wanted: &WantedSa, there: &Sa) -> Option<Move> {
    let (from, to) = ((there.source, there.destination), (wanted.sa().source, wanted.sa().destination));
    // MIGRATE would count its lifetime from the beginning.
    let wears_out = [wanted.sa(), there].iter().any(|sa| sa.lifetime != Lifetime::default());
    // One message has ports for all that it moves. Without them some kernels keep an SA's own, and others take them away.
    let in_udp = there.encapsulation.is_some();
    // The kernel's own SA beside a tunnel of IPComp would stay where it is.
    let compresses = matches!(there.crypto, Crypto::Deflate);
    // Between other addresses it may be another device's work.
    let offloaded = [wanted.sa(), there].iter().any(|sa| sa.offload.is_some());
    if from == to || wears_out || in_udp || compresses || offloaded {
        return None;
    }
    // Under a name that isn't wanted nobody knows the key that the kernel hides.
    if there.crypto.is_redacted() {
        return None;
    }
    let here = Sa { source: to.0, destination: to.1, ..there.clone() };
    same(wanted, &here).then(|| Move {
        protocol: here.crypto.protocol(),
        mode: here.mode,
        reqid: here.reqid,
        from,
        to,
    })
}

/// The operations that put an SA in the place of one that is wrong, which must have been read right before. It goes on from
/// `start`; or from where that one is, if that is further.
pub fn replace(wanted: &WantedSa, there: &ObservedSa, start: Start) -> Vec<Op> {
    // UPDSA changes no more of it, and says that it did (`xfrm_state_update`).
    if there.sa.as_ref().is_some_and(|there| same(wanted, there)) {
        let right = there.sa.as_ref().is_some_and(|there| is_right(wanted, there));
        let set = start.state.map(|state| Op::SetReplayState { sa: wanted.clone(), state });
        let update = (!right).then(|| Op::UpdateSa(wanted.clone()));
        return update.into_iter().chain(set).collect();
    }
    let crypto = there.sa.as_ref().map(|there| &there.crypto);
    let carried_over = replay::carried_over(wanted, crypto, &there.state, replay::AFTER_DUMP);
    let state = match (carried_over, start.state) {
        (Some(there), Some(start)) => Some(ReplayState { sent: there.sent.max(start.sent), ..there }),
        (there, start) => there.or(start),
    };
    let used = memory::used_up(there.used).filter(|_| may_have_key(wanted, there));
    vec![Op::DeleteSa(there.id, there.mark), add(wanted, Start { state, used })]
}

/// One that is there has the wanted key, or nobody knows which.
pub fn may_have_key(wanted: &WantedSa, there: &ObservedSa) -> bool {
    there.sa.as_ref().is_none_or(|there| same_crypto(&wanted.sa().crypto, &there.crypto))
}

/// Where a sender that is there goes on from, if it must have sent so much and hasn't.
pub fn moved_on(wanted: &WantedSa, behind: Option<u64>) -> Start {
    let most = replay::last_number(wanted.sa().replay);
    let sent = behind.map(|must| must.saturating_add(replay::AFTER_DUMP).min(most));
    let state = sent.map(|sent| ReplayState { sent, ..ReplayState::default() });
    Start { state, used: None }
}

/// When an SA is brought into being.
pub fn stage(sa: &WantedSa) -> Stage {
    match sa {
        WantedSa::Inbound(_) => Stage::AddInboundSas,
        WantedSa::Outbound(_) => Stage::AddOutboundSas,
    }
}

/// When one that goes out, or doesn't, is removed.
pub fn stage_of_removal(outbound: bool) -> Stage {
    if outbound { Stage::RemoveOutboundSas } else { Stage::RemoveInboundSas }
}

/// The operation that makes an SA that isn't there.
pub fn add(sa: &WantedSa, Start { state, used }: Start) -> Op {
    match sa {
        WantedSa::Inbound(sa) => Op::AddInbound { sa: sa.clone(), state, used },
        WantedSa::Outbound(sa) => Op::AddOutbound { sa: sa.clone(), state, used },
    }
}

/// The reqids of outbound policies: where an SA in the kernel doesn't say which way it goes, the policies that use it do.
fn outbound_reqids(observed: &Observed) -> Set<u32> {
    let outbound = observed.policies.iter().filter(|policy| policy.key.direction == Direction::Out);
    let templates = outbound.filter_map(|policy| policy.policy.as_ref()).flat_map(|policy| &policy.templates);
    templates.filter_map(|template| template.reqid).map(Reqid::get).collect()
}

fn removal_stage(sa: &ObservedSa, outbound_reqids: &Set<u32>) -> Stage {
    if let Some(direction) = sa.sa.as_ref().and_then(|sa| sa.direction) {
        return stage_of_removal(direction == SaDirection::Out);
    }
    let used_outbound = sa.sa.as_ref().is_some_and(|sa| outbound_reqids.contains(&sa.reqid.get()));
    stage_of_removal(used_outbound || sa.state.sent > 0)
}

/// The kernel has just what is wanted.
fn is_right(wanted: &WantedSa, observed: &Sa) -> bool {
    wanted.sa().lifetime == observed.lifetime
        && wanted.sa().encapsulation == observed.encapsulation
        && same(wanted, observed)
}

/// The kernel has what is wanted, but for what UPDSA changes.
fn same(wanted: &WantedSa, observed: &Sa) -> bool {
    let Sa {
        source,
        destination,
        spi,
        mode,
        reqid,
        crypto,
        replay,
        selector,
        interface_id,
        // Its ports change in place; UDPSA adds and removes none.
        encapsulation,
        lifetime: _,
        direction,
        mark,
        output_mark,
        icmp_errors,
        cpu,
        iptfs,
        keepalive,
        offload,
    } = wanted.sa();
    *source == observed.source
        && *destination == observed.destination
        && *spi == observed.spi
        && *mode == observed.mode
        && *reqid == observed.reqid
        && *selector == observed.selector
        && *interface_id == observed.interface_id
        && *direction == observed.direction
        && *mark == observed.mark
        && *output_mark == observed.output_mark
        && *icmp_errors == observed.icmp_errors
        && *cpu == observed.cpu
        && *iptfs == observed.iptfs
        && *keepalive == observed.keepalive
        && *offload == observed.offload
        && encapsulation.is_some() == observed.encapsulation.is_some()
        && same_crypto(crypto, &observed.crypto)
        && match wanted {
            WantedSa::Inbound(_) => *replay == observed.replay,
            WantedSa::Outbound(_) => same_outbound(*replay, observed),
        }
}

/// A sender has no use for a window; the kernel keeps the smallest that it takes: none, and with extended sequence
/// numbers one packet unless it knows the SA's direction (`verify_replay`).
fn same_outbound(wanted: ReplayProtection, observed: &Sa) -> bool {
    let smallest = u32::from(wanted.extended_sequence_numbers && observed.direction.is_none());
    wanted.extended_sequence_numbers == observed.replay.extended_sequence_numbers
        && observed.replay.window <= smallest
}
