//! What is reported: the status of the node's IpsecNodeState.

use esplanade_crds::conditions::{self, DEGRADED, IN_SYNC, READY, RESTORED, reason};
use esplanade_crds::{
    AllocatedSpi, Counts, IpsecNodeStateStatus, Kernel, PolicyInKernel, Problem, ProblemKind, SealingKey,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::disturbance::Disturbance;

/// How many problems a status lists.
const PROBLEMS: usize = 32;
/// How many of them a condition's message has.
const IN_MESSAGE: usize = 4;
/// What a condition's message may have, in bytes.
const MESSAGE: usize = 32 * 1024;

/// What doesn't change while the agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name of the node.
    pub node: String,
    /// Where keys for it are sealed to.
    pub sealing_key: SealingKey,
    /// The kernel's boot id.
    pub boot_id: String,
    /// The kernel.
    pub kernel: Kernel,
}

/// What the last pass over the kernel came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// `metadata.uid` of the IpsecNodeState that the pass was made for.
    pub uid: Option<String>,
    /// `metadata.generation` that the pass was made for.
    pub generation: Option<i64>,
    /// The highest resourceVersion of the IpsecPeers that it was made for.
    pub peers_through: Option<u64>,
    /// With automatic keys: the kernel may lag behind `generation`, and be ahead of it later. None without any.
    pub confirmed: Option<bool>,
    /// What the kernel can do, once it has been asked.
    pub capabilities: Option<Vec<String>>,
    /// SPIs that the kernel chose.
    pub allocated: Vec<AllocatedSpi>,
    /// Policies with automatic keys in the kernel.
    pub policies: Vec<PolicyInKernel>,
    /// What somebody else has deleted last, since the agent started.
    pub disturbance: Option<Disturbance>,
    /// What it came to.
    pub result: PassResult,
}

/// What a pass came to.
#[derive(Debug, Clone, PartialEq)]
pub enum PassResult {
    /// The kernel was read, changed where necessary, and read back.
    Done {
        /// What is in it.
        counts: Counts,
        /// What could not be done.
        problems: Vec<Problem>,
        /// No difference is left.
        in_sync: bool,
    },
    /// The kernel could not be asked.
    Failed {
        /// A stable word.
        category: &'static str,
        /// What happened.
        message: String,
    },
}

/// The status after this report. Times of conditions that stay as they were in `previous` are kept; `now` is the time of
/// the others.
pub fn status(
    previous: Option<&IpsecNodeStateStatus>,
    identity: &Identity,
    report: &Report,
    now: &Time,
) -> IpsecNodeStateStatus {
    let same_boot = previous.filter(|status| status.boot_id.as_ref() == Some(&identity.boot_id));
    let capabilities = match &report.capabilities {
        Some(capabilities) => capabilities.clone(),
        // An agent that can't ask (yet) has what the one before it found.
        None => same_boot.and_then(|status| status.kernel.clone()).unwrap_or_default().capabilities,
    };
    let mut status = IpsecNodeStateStatus {
        sealing_key: Some(identity.sealing_key.clone()),
        boot_id: Some(identity.boot_id.clone()),
        kernel: Some(Kernel { capabilities, ..identity.kernel.clone() }),
        policies: report.policies.clone(),
        ..IpsecNodeStateStatus::default()
    };
    let (problems, in_sync) = match &report.result {
        PassResult::Done { counts, problems, in_sync } => {
            status.counts = Some(counts.clone());
            status.allocated = report.allocated.clone();
            (problems.clone(), *in_sync)
        }
        PassResult::Failed { category, message } => {
            status.counts = previous.and_then(|status| status.counts.clone());
            status.allocated = same_boot.map(|status| status.allocated.clone()).unwrap_or_default();
            let category = (*category).to_owned();
            (vec![of_node(identity, category, message.clone())], false)
        }
    };
    if problems.len() > PROBLEMS || matches!(report.result, PassResult::Failed { .. }) {
        // What isn't listed as a problem counts as done: so this generation isn't. A kernel forgets when it boots.
        status.observed_generation = same_boot.and_then(|status| status.observed_generation);
        status.peers_applied_through = same_boot.and_then(|status| status.peers_applied_through.clone());
    } else if let Some(confirmed) = report.confirmed {
        let before = same_boot.and_then(|status| status.observed_generation);
        status.observed_generation = if confirmed { report.generation } else { before };
        // What was once acknowledged stays so.
        let before = same_boot.and_then(|status| status.peers_applied_through.as_ref()?.parse().ok());
        status.peers_applied_through = report.peers_through.max(before).map(|version| version.to_string());
    } else {
        status.observed_generation = report.generation;
        status.peers_applied_through = report.peers_through.map(|version| version.to_string());
    }
    status.problems = listed(problems, identity);
    status.conditions = conditions(previous, report.generation, &status.problems, in_sync, now);
    let before = same_boot.and_then(|status| status.conditions.iter().find(|one| one.type_ == RESTORED));
    let disturbed = report.disturbance.as_ref().map(|one| restored(one, report.generation));
    // An agent before this one has seen it: it is so still.
    let kept = || Some(Condition { observed_generation: report.generation, ..before?.clone() });
    status.conditions.extend(disturbed.or_else(kept));
    status
}

fn of_node(identity: &Identity, category: String, message: String) -> Problem {
    Problem { kind: ProblemKind::Node, name: identity.node.clone(), category, message }
}

/// At most as many as a status may have; the last one says how many more there are.
fn listed(mut problems: Vec<Problem>, identity: &Identity) -> Vec<Problem> {
    if problems.len() > PROBLEMS {
        let more = problems.split_off(PROBLEMS - 1).len();
        let message = format!("{more} more objects have problems, which show when these are solved");
        problems.push(of_node(identity, reason::KERNEL_ERROR.to_owned(), message));
    }
    problems
}

fn conditions(
    previous: Option<&IpsecNodeStateStatus>,
    generation: Option<i64>,
    problems: &[Problem],
    in_sync: bool,
    now: &Time,
) -> Vec<Condition> {
    // A warning: all is as it should be.
    let problems: Vec<_> =
        problems.iter().filter(|problem| !conditions::is_warning(&problem.category)).collect();
    let trouble = problems.first().map(|first| (first.category.as_str(), in_words(&problems)));
    let (ready_reason, ready_message) = match &trouble {
        Some((category, message)) => (*category, message.clone()),
        None if in_sync => (reason::PROGRAMMED, "the kernel holds what the spec says".to_owned()),
        None => (reason::PENDING, "the kernel is still to be changed".to_owned()),
    };
    let ready = trouble.is_none() && in_sync;
    let (sync_reason, sync_message) = match &trouble {
        Some((category, message)) if !in_sync => (*category, message.clone()),
        _ if in_sync => (reason::PROGRAMMED, "the last dump showed no difference".to_owned()),
        _ => (reason::PENDING, "the last dump showed a difference".to_owned()),
    };
    let mut conditions =
        vec![(READY, ready, ready_reason, ready_message), (IN_SYNC, in_sync, sync_reason, sync_message)];
    if let Some((category, message)) = &trouble {
        conditions.push((DEGRADED, true, category, message.clone()));
    }
    let make = |(type_, is_true, reason, message): (&str, bool, &str, String)| {
        let status = if is_true { "True" } else { "False" };
        let before = previous.and_then(|status| status.conditions.iter().find(|one| one.type_ == type_));
        let since = before.filter(|before| before.status == status).map(|one| &one.last_transition_time);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: generation,
            last_transition_time: since.unwrap_or(now).clone(),
        }
    };
    conditions.into_iter().map(make).collect()
}

/// That something was put back: it stays until something is put back again, or the node boots.
fn restored(disturbance: &Disturbance, generation: Option<i64>) -> Condition {
    let mut message = disturbance.to_string();
    message.truncate(message.floor_char_boundary(MESSAGE));
    Condition {
        type_: RESTORED.to_owned(),
        status: if disturbance.back.is_some() { "True" } else { "False" }.to_owned(),
        reason: reason::DELETED_BY_OTHERS.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: whole_seconds(disturbance.last),
    }
}

/// What the API keeps of a time.
pub(crate) fn whole_seconds(time: jiff::Timestamp) -> Time {
    Time(jiff::Timestamp::from_second(time.as_second()).unwrap_or(time))
}

/// The first few problems in words.
fn in_words(problems: &[&Problem]) -> String {
    let one = |problem: &&Problem| match problem.kind {
        ProblemKind::Node => problem.message.clone(),
        kind => format!("{kind:?} {}: {}", problem.name, problem.message),
    };
    let mut text = problems.iter().take(IN_MESSAGE).map(one).collect::<Vec<_>>().join("; ");
    if let more @ 1.. = problems.len().saturating_sub(IN_MESSAGE) {
        text.push_str(&format!("; and {more} more"));
    }
    text.truncate(text.floor_char_boundary(MESSAGE));
    text
}

/// Nothing is different but the counts, or what was put back once more: worth a write, and not at once.
pub fn can_wait(a: &IpsecNodeStateStatus, b: &IpsecNodeStateStatus) -> bool {
    let without = |status: &IpsecNodeStateStatus| {
        let mut status = IpsecNodeStateStatus { counts: None, ..status.clone() };
        let restored = status.conditions.iter_mut().filter(|one| one.type_ == RESTORED);
        restored.for_each(|one| {
            one.message.clear();
            one.last_transition_time = Time(jiff::Timestamp::UNIX_EPOCH);
        });
        status
    };
    a != b && without(a) == without(b)
}

#[cfg(test)]
mod tests;
