//! Status of IpsecPolicies.

use esplanade_crds::conditions::{self, reason};
use esplanade_crds::{Action, IpsecPolicyStatus, NodeCounts, Phase, Problem, ProblemKind, Protocol};

use super::Context;
use super::agents::{Report, Reports, report};
use super::conditions::{Conditions, Truth};
use super::levels::Levels;
use super::resource_version::{covers, newest};
use crate::accept::{End, PolicyIntent};
use crate::finding::Finding;
use crate::participants::Participants;
use crate::policies::{Policy, State};

/// How many problems the status has in words.
const PROBLEMS: usize = 8;

const MISSING: &str = "something it names is missing: see condition ResolvedRefs";

/// What became of an IpsecPolicy.
pub(crate) fn policy(name: &str, policy: &Policy<'_>, context: &Context<'_>) -> IpsecPolicyStatus {
    let previous = policy.object.status.as_ref().map(|status| status.conditions.as_slice());
    let generation = policy.object.metadata.generation;
    let conditions = Conditions::new(previous.unwrap_or_default(), generation, context.now);
    match &policy.state {
        State::Accepted { intent, participants, .. } => {
            accepted(name, intent, participants, conditions, context)
        }
        State::Refused { finding, kept_at } => {
            let protects = policy.object.spec.action == Action::Protect;
            refused(name, finding, kept_at, protects, conditions, context)
        }
        State::Unresolved { finding, kept_at } => unresolved(name, finding, kept_at, conditions, context),
    }
}

fn accepted(
    name: &str,
    intent: &PolicyIntent,
    participants: &Participants,
    mut conditions: Conditions<'_>,
    context: &Context<'_>,
) -> IpsecPolicyStatus {
    let findings = context.assignment.findings(name);
    let uid = context.uid(name);
    let mut reports = Reports::default();
    let peers = published(name, participants, context);
    for (node, _) in participants.nodes() {
        reports.add(node, node_report((name, uid), node, peers, context));
    }
    let levels = Levels::of(name, intent, participants, context);
    // All that the nodes were told; which isn't all there is to the policy while something is missing.
    let confirmed = reports.all_confirmed();
    let programmed =
        confirmed && findings.is_empty() && levels.as_ref().is_none_or(|levels| levels.all_there);
    let protects = |level: Option<Phase>| level >= Some(Phase::Encrypt);
    let protected = levels.as_ref().map_or(confirmed, |levels| {
        // What an edit leaves as it is stays protected while the nodes follow it.
        levels.replaces && protects(levels.kept) || confirmed && protects(levels.least)
    });
    let desired = participants.nodes().count();

    conditions.set(conditions::ACCEPTED, true, reason::ACCEPTED, "");
    conditions.set_by(conditions::RESOLVED_REFS, (reason::RESOLVED_REFS, ""), findings, "");
    if desired == 0 {
        let see = "the policy concerns no Node: see condition ResolvedRefs";
        conditions.set(conditions::PROGRAMMED, false, reason::NOT_READY, see);
    } else {
        let (reason, message) = if !confirmed || programmed {
            reports.in_words()
        } else if findings.is_empty() {
            (reason::PENDING.to_owned(), "switched on step by step: see phase".to_owned())
        } else {
            (reason::NOT_READY.to_owned(), MISSING.to_owned())
        };
        conditions.set(conditions::PROGRAMMED, programmed, &reason, &message);
    }
    if let Some(protect) = &intent.protect {
        encrypted(&mut conditions, protect.protocol, findings.is_empty(), protected);
    }
    if let Some(message) = context.contradictions.get(name) {
        conditions.set(conditions::CONFLICTED, true, reason::CONFLICTED, message);
    }
    let phase =
        if !findings.is_empty() || reports.troubles.iter().any(|(reason, _)| reason != reason::PENDING) {
            "Degraded"
        } else if programmed {
            "Ready"
        } else {
            match levels {
                Some(levels) if levels.replaces => "Updating",
                levels => levels.and_then(|levels| levels.least).map_or("Pending", in_a_word),
            }
        };
    let problems = findings.iter().map(|finding| &finding.message);
    let problems = problems.chain(reports.troubles.iter().map(|(_, message)| message));
    IpsecPolicyStatus {
        phase: Some(phase.to_owned()),
        nodes: Some(counts(desired, reports.confirmed.len())),
        problems: problems.take(PROBLEMS).cloned().collect(),
        conditions: conditions.finish(),
    }
}

fn encrypted(conditions: &mut Conditions<'_>, protocol: Protocol, resolved: bool, programmed: bool) {
    if protocol == Protocol::IPComp {
        let message =
            "IPComp alone compresses and encrypts nothing: write protocol: ESP and compression: Deflate";
        conditions.set(conditions::ENCRYPTED, false, reason::NOT_ENCRYPTED, message);
        return;
    }
    let (reason, message) = match (resolved, programmed) {
        (true, true) => (conditions::ENCRYPTED, "traffic between all participants is encrypted"),
        (false, _) => (reason::NOT_READY, MISSING),
        (true, false) => (reason::PENDING, "not in every kernel: see condition Programmed"),
    };
    conditions.set(conditions::ENCRYPTED, resolved && programmed, reason, message);
}

fn refused(
    name: &str,
    finding: &Finding,
    kept_at: &[String],
    protects: bool,
    mut conditions: Conditions<'_>,
    context: &Context<'_>,
) -> IpsecPolicyStatus {
    let reports = kept_reports(name, kept_at, context);
    let (suffix, see) = if kept_at.is_empty() {
        ("", "not accepted: see condition Accepted")
    } else {
        (
            "; until then the nodes keep the policy as it was before",
            "not accepted (see condition Accepted): the nodes keep the policy as it was before",
        )
    };
    let message = format!("{}{suffix}", finding.message);
    conditions.set(conditions::ACCEPTED, false, finding.reason, &message);
    conditions.set(conditions::RESOLVED_REFS, Truth::Unknown, reason::NOT_READY, see);
    conditions.set(conditions::PROGRAMMED, false, reason::NOT_READY, see);
    if protects {
        conditions.set(conditions::ENCRYPTED, Truth::Unknown, reason::NOT_READY, see);
    }
    IpsecPolicyStatus {
        phase: Some("Rejected".to_owned()),
        nodes: Some(counts(kept_at.len(), reports.confirmed.len())),
        problems: vec![message],
        conditions: conditions.finish(),
    }
}

/// The policy's PPK isn't there: where it isn't in force, nothing is switched on; where it is, it stays as it is.
fn unresolved(
    name: &str,
    finding: &Finding,
    kept_at: &[String],
    mut conditions: Conditions<'_>,
    context: &Context<'_>,
) -> IpsecPolicyStatus {
    let reports = kept_reports(name, kept_at, context);
    let (suffix, see) = if kept_at.is_empty() {
        ("; until then nothing is switched on", MISSING)
    } else {
        (
            "; until then the nodes keep the policy as it was before, with the PPK that they have",
            "its PPK is missing (see condition ResolvedRefs): the nodes keep the policy as it was before",
        )
    };
    let message = format!("{}{suffix}", finding.message);
    conditions.set(conditions::ACCEPTED, true, reason::ACCEPTED, "");
    conditions.set(conditions::RESOLVED_REFS, false, finding.reason, &message);
    conditions.set(conditions::PROGRAMMED, false, reason::NOT_READY, see);
    let encrypted = if kept_at.is_empty() { Truth::False } else { Truth::Unknown };
    conditions.set(conditions::ENCRYPTED, encrypted, reason::NOT_READY, see);
    IpsecPolicyStatus {
        phase: Some("Degraded".to_owned()),
        nodes: Some(counts(kept_at.len(), reports.confirmed.len())),
        problems: vec![message],
        conditions: conditions.finish(),
    }
}

/// What the nodes say that keep a policy as it was before.
fn kept_reports(name: &str, kept_at: &[String], context: &Context<'_>) -> Reports {
    let mut reports = Reports::default();
    for node in kept_at {
        let concerns = |problem: &Problem| concerns_policy(problem, name, &[]);
        reports.add(node, report(node, context.cluster.state(node), true, concerns));
    }
    reports
}

/// What a node says of a policy and of the SAs that carry its traffic. `peers` is how far it has to know the others.
fn node_report((name, uid): (&str, &str), node: &str, peers: Option<&str>, context: &Context<'_>) -> Report {
    let Context { cluster, assignment, states, .. } = context;
    if let Some(why) = states.unsealed.get(&(name.to_owned(), node.to_owned())) {
        return Report::Trouble { reason: why.reason.to_owned(), message: why.message.clone() };
    }
    let wanted = states.policies(node, name);
    let mut told = !wanted.is_empty()
        && wanted.iter().all(|wanted| wanted.uid == uid)
        && cluster.installed_revisions(node, name).eq(wanted);
    let sas: Vec<&str> = assignment.sas(name).filter(|sa| ends_at(sa, node, context)).collect();
    for sa in &sas {
        if let Some(pending) = states.pending.get(&((*sa).to_owned(), node.to_owned())) {
            return Report::Trouble { reason: pending.reason.to_owned(), message: pending.message.clone() };
        }
        if let Some(over) = states.sa(node, sa).and_then(|planned| planned.expired.as_ref()) {
            let message = format!("IpsecSA {sa}: {over}");
            return Report::Trouble { reason: reason::EXPIRED.to_owned(), message };
        }
        told &= cluster.installed_sa(node, sa) == states.sa(node, sa);
    }
    // What stands in the way of that is told before.
    let follows =
        cluster.applied_through(node).zip(peers).is_some_and(|(applied, peers)| covers(applied, peers));
    match report(node, cluster.state(node), told, |problem| concerns_policy(problem, name, &sas)) {
        Report::Confirmed if !follows => Report::Waiting,
        report => report,
    }
}

fn ends_at(sa: &str, node: &str, context: &Context<'_>) -> bool {
    let Some(Ok(accepted)) = context.sas.get(sa).map(|sa| &sa.state) else { return false };
    [&accepted.intent.source, &accepted.intent.destination]
        .iter()
        .any(|end| matches!(end, End::Node(name) if name == node))
}

fn in_a_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Prepare => "Prepare",
        Phase::Encrypt => "Encrypt",
        Phase::Enforce => "Enforce",
    }
}

/// The newest resource version of the participants' IpsecPeers, if all say what they should of the policy.
fn published<'a>(policy: &str, participants: &Participants, context: &Context<'a>) -> Option<&'a str> {
    let versions: Option<Vec<&str>> = participants
        .nodes()
        .map(|(node, _)| {
            let (now, wanted) = (context.cluster.peer(node)?, context.peers.get(node)?);
            let selectors = wanted.selectors.iter().filter(|one| one.policy == policy);
            let same = now.spec.addresses == wanted.addresses
                && context.cluster.published(node, policy).into_iter().eq(selectors);
            now.metadata.resource_version.as_deref().filter(|_| same)
        })
        .collect();
    newest(versions?)
}

fn concerns_policy(problem: &Problem, policy: &str, sas: &[&str]) -> bool {
    match problem.kind {
        ProblemKind::IpsecPolicy => problem.name == policy,
        ProblemKind::IpsecSA => sas.contains(&problem.name.as_str()),
        ProblemKind::Node => false,
    }
}

fn counts(desired: usize, ready: usize) -> NodeCounts {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    NodeCounts { desired: number(desired), ready: number(ready), summary: format!("{ready}/{desired}") }
}
