//! `kubectl esplanade status`: what isn't as it should be, in words.

use std::fmt::Write as _;

use esplanade_crds::conditions::{
    ACCEPTED, CONFLICTED, DEGRADED, ENCRYPTED, EXPIRED, IN_SYNC, INSECURE_KEYING, PROGRAMMED, READY,
    RESOLVED_REFS, RESTORED,
};
use esplanade_crds::{IpsecNodeState, IpsecPolicy, IpsecSA, Problem};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};

/// What to print, and whether everything is as it should be.
pub(crate) struct Report {
    pub(crate) text: String,
    pub(crate) fine: bool,
}

/// Conditions of one kind: those that should be True, and those that should not.
struct Expected {
    good: &'static [&'static str],
    bad: &'static [&'static str],
}

const POLICY: Expected =
    Expected { good: &[ACCEPTED, RESOLVED_REFS, PROGRAMMED, ENCRYPTED], bad: &[CONFLICTED] };
const SA: Expected =
    Expected { good: &[ACCEPTED, RESOLVED_REFS, PROGRAMMED], bad: &[EXPIRED, INSECURE_KEYING] };
const NODE: Expected = Expected { good: &[READY, IN_SYNC, RESTORED], bad: &[DEGRADED] };

/// Looks through all objects.
pub(crate) fn report(policies: &[IpsecPolicy], sas: &[IpsecSA], states: &[IpsecNodeState]) -> Report {
    let mut text = String::new();
    let mut counts = Vec::new();
    let mut fine = true;
    let policies = policies.iter().map(|policy| {
        let status = policy.status.as_ref();
        let mut lines = of(&policy.metadata, status.map(|s| s.conditions.as_slice()), &POLICY, "operator");
        let problems = status.map(|s| s.problems.as_slice()).unwrap_or_default();
        lines.extend(
            problems
                .iter()
                .filter(|problem| !told(problem, status.map(|s| s.conditions.as_slice())))
                .cloned(),
        );
        (format!("IpsecPolicy {}", name(&policy.metadata)), lines)
    });
    fine &= section(&mut text, &mut counts, ["policy", "policies"], policies);
    let sas = sas.iter().map(|sa| {
        let conditions = sa.status.as_ref().map(|s| s.conditions.as_slice());
        (format!("IpsecSA {}", name(&sa.metadata)), of(&sa.metadata, conditions, &SA, "operator"))
    });
    fine &= section(&mut text, &mut counts, ["SA", "SAs"], sas);
    let states = states.iter().map(|state| {
        let status = state.status.as_ref();
        let mut lines = of(&state.metadata, status.map(|s| s.conditions.as_slice()), &NODE, "node's agent");
        lines.extend(status.into_iter().flat_map(|s| &s.problems).map(problem));
        (format!("Node {}", name(&state.metadata)), lines)
    });
    fine &= section(&mut text, &mut counts, ["node", "nodes"], states);
    let verdict = if fine { "all as it should be" } else { "see above" };
    let _ = writeln!(text, "{}: {verdict}", counts.join(", "));
    Report { text, fine }
}

/// Adds those that have something to say; true if none has.
fn section(
    text: &mut String,
    counts: &mut Vec<String>,
    noun: [&str; 2],
    objects: impl Iterator<Item = (String, Vec<String>)>,
) -> bool {
    let (mut all, mut wrong) = (0, 0);
    for (title, lines) in objects {
        all += 1;
        if lines.is_empty() {
            continue;
        }
        wrong += 1;
        let _ = writeln!(text, "{title}");
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
    }
    let noun = if all == 1 { noun[0] } else { noun[1] };
    counts.push(if wrong == 0 { format!("{all} {noun}") } else { format!("{wrong} of {all} {noun}") });
    wrong == 0
}

/// What an object's conditions say against it.
fn of(meta: &ObjectMeta, conditions: Option<&[Condition]>, expected: &Expected, writer: &str) -> Vec<String> {
    let conditions = conditions.unwrap_or_default();
    if conditions.is_empty() {
        return vec![format!("no conditions yet: is the {writer} running?")];
    }
    let stale = |condition: &Condition| {
        condition.observed_generation.zip(meta.generation).is_some_and(|(observed, now)| observed < now)
    };
    let mut lines = Vec::new();
    if conditions.iter().any(stale) {
        lines.push(format!("changed since the {writer} looked at it"));
    }
    let wrong = |condition: &&Condition| {
        let kind = condition.type_.as_str();
        (expected.good.contains(&kind) && condition.status != "True")
            || (expected.bad.contains(&kind) && condition.status == "True")
    };
    lines.extend(conditions.iter().filter(wrong).map(condition));
    lines
}

fn condition(condition: &Condition) -> String {
    let Condition { type_, status, reason, message, .. } = condition;
    format!("{type_} is {status} ({reason}): {message}")
}

/// Whether a condition has said the same already.
fn told(problem: &str, conditions: Option<&[Condition]>) -> bool {
    conditions.unwrap_or_default().iter().any(|condition| condition.message.contains(problem))
}

fn problem(problem: &Problem) -> String {
    let Problem { kind, name, category, message } = problem;
    format!("{kind:?} {name}: {message} ({category})")
}

fn name(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests;
