//! Status of IpsecSAs.

use esplanade_crds::conditions::{self, reason};
use esplanade_crds::{IpsecSAStatus, Problem, ProblemKind};

use super::Context;
use super::agents::{Report, Reports, report};
use super::conditions::{Conditions, Truth};
use crate::accept::End;
use crate::cluster::Cluster;
use crate::node_state::NodeStates;
use crate::resolve::{Accepted, Sa};

/// What became of an IpsecSA.
pub(crate) fn sa(name: &str, sa: &Sa<'_>, context: &Context<'_>) -> IpsecSAStatus {
    let Context { cluster, states: planned, now, .. } = *context;
    let previous = sa.object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut conditions = Conditions::new(previous, sa.object.metadata.generation, now);
    let accepted = match &sa.state {
        Ok(accepted) => accepted,
        Err(finding) => {
            conditions.set(conditions::ACCEPTED, false, finding.reason, &finding.message);
            let see = "not accepted: see condition Accepted";
            conditions.set(conditions::RESOLVED_REFS, Truth::Unknown, reason::NOT_READY, see);
            conditions.set(conditions::PROGRAMMED, false, reason::NOT_READY, see);
            return IpsecSAStatus { spi: None, nodes: Vec::new(), conditions: conditions.finish() };
        }
    };
    conditions.set(conditions::ACCEPTED, true, reason::ACCEPTED, "");

    let reports = reports(name, accepted, cluster, planned);
    let kept = reports.iter().any(|(node, _)| planned.sa(node, name).is_some());
    let suffix = if kept { "; until then the nodes keep the keys they have" } else { "" };
    let unresolved = accepted.unresolved();
    conditions.set_by(conditions::RESOLVED_REFS, (reason::RESOLVED_REFS, ""), &unresolved, suffix);

    let over = lifetime(name, accepted, context, &mut conditions);
    let mut all = Reports::default();
    for (node, report) in reports {
        all.add(&node, report);
    }
    if let Some(over) = over {
        conditions.set(conditions::PROGRAMMED, false, reason::EXPIRED, over);
        all = Reports::default();
    } else if kept || unresolved.is_empty() {
        let (reason, message) = all.in_words();
        conditions.set(conditions::PROGRAMMED, all.all_confirmed(), &reason, &message);
    } else {
        let see = "something it names is missing: see condition ResolvedRefs";
        conditions.set(conditions::PROGRAMMED, false, reason::NOT_READY, see);
    }
    if let Some(algorithm) = accepted.intent.insecure {
        let mut message = format!(
            "{algorithm} with a manual key: should a sender start again from sequence number 0 with the \
             same key, confidentiality and integrity are lost (RFC 8221 §3)"
        );
        if let Some(other) = context.sas.with_key_of(name) {
            message
                .push_str(&format!("; they are now: IpsecSA {other} has the same key, write one for each"));
        }
        conditions.set(conditions::INSECURE_KEYING, true, reason::INSECURE_ALGORITHM, &message);
    }
    IpsecSAStatus { spi: accepted.spi, nodes: all.confirmed, conditions: conditions.finish() }
}

/// Sets condition Expired of one that has a lifetime, or had; how it ended, if it did.
fn lifetime<'a>(
    name: &str,
    sa: &Accepted<'_>,
    context: &Context<'a>,
    conditions: &mut Conditions<'_>,
) -> Option<&'a str> {
    let Context { cluster, states, .. } = *context;
    let nodes = || {
        [&sa.intent.source, &sa.intent.destination].into_iter().filter_map(|end| match end {
            End::Node(node) => Some(node.as_str()),
            End::Address(_) => None,
        })
    };
    if let Some(over) = nodes().find_map(|node| states.sa(node, name)?.expired.as_deref()) {
        conditions.set(conditions::EXPIRED, true, reason::EXPIRED, over);
        return Some(over);
    }
    if sa.intent.lifetime.is_some() {
        let warning = nodes().find_map(|node| {
            let problems = &cluster.state(node)?.status.as_ref()?.problems;
            let concerns = |problem: &&Problem| {
                problem.kind == ProblemKind::IpsecSA
                    && problem.name == name
                    && problem.category == reason::EXPIRING
            };
            Some(format!("{node}: {}", problems.iter().find(concerns)?.message))
        });
        match warning {
            Some(warning) => conditions.set(conditions::EXPIRED, false, reason::EXPIRING, &warning),
            None => conditions.set(conditions::EXPIRED, false, reason::IN_USE, ""),
        }
    }
    None
}

/// What its ends say.
fn reports(
    name: &str,
    sa: &Accepted<'_>,
    cluster: &Cluster<'_>,
    planned: &NodeStates,
) -> Vec<(String, Report)> {
    let mut nodes: Vec<&String> = [&sa.intent.source, &sa.intent.destination]
        .into_iter()
        .filter_map(|end| match end {
            End::Node(node) => Some(node),
            End::Address(_) => None,
        })
        .collect();
    nodes.sort();
    let concerns =
        |problem: &esplanade_crds::Problem| problem.kind == ProblemKind::IpsecSA && problem.name == name;
    nodes
        .into_iter()
        .map(|node| {
            let pending = planned.pending.get(&(name.to_owned(), node.clone()));
            let report = match (pending, planned.sa(node, name)) {
                (Some(pending), _) => {
                    Report::Trouble { reason: pending.reason.to_owned(), message: pending.message.clone() }
                }
                (None, Some(wanted)) => {
                    let told = cluster.installed_sa(node, name) == Some(wanted);
                    report(node, cluster.state(node), told, concerns)
                }
                (None, None) => Report::Trouble {
                    reason: reason::NOT_READY.to_owned(),
                    message: format!("{node}: something it names is missing: see condition ResolvedRefs"),
                },
            };
            (node.clone(), report)
        })
        .collect()
}
