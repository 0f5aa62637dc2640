//! What agents say of an object.

use esplanade_crds::conditions::{self, reason};
use esplanade_crds::{IpsecNodeState, Problem, ProblemKind};

/// What a node's agent says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Report {
    /// It is in the kernel.
    Confirmed,
    /// Not yet.
    Waiting,
    /// It isn't, and why.
    Trouble {
        /// A condition's reason.
        reason: String,
        /// `node: what happened`.
        message: String,
    },
}

/// What the agent of `node` says of an object. `told` is whether the node state as it is now has the object
/// as it should be; `concerns` picks the problems that are the object's.
pub(super) fn report(
    node: &str,
    state: Option<&IpsecNodeState>,
    told: bool,
    concerns: impl Fn(&Problem) -> bool,
) -> Report {
    let (Some(state), true) = (state, told) else { return Report::Waiting };
    let Some(status) = &state.status else { return Report::Waiting };
    let trouble = |problem: &Problem| Report::Trouble {
        reason: problem.category.clone(),
        message: format!("{node}: {}", problem.message),
    };
    // A warning stands in nobody's way.
    let problems = || status.problems.iter().filter(|problem| !conditions::is_warning(&problem.category));
    if let Some(problem) = problems().find(|problem| concerns(problem)) {
        return trouble(problem);
    }
    if status.observed_generation.is_some() && status.observed_generation == state.metadata.generation {
        return Report::Confirmed;
    }
    // What stands in the way of everything on the node.
    match problems().find(|problem| problem.kind == ProblemKind::Node) {
        Some(problem) => trouble(problem),
        None => Report::Waiting,
    }
}

/// What all agents say of an object.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Nodes that confirm it, by name.
    pub(super) confirmed: Vec<String>,
    waiting: Vec<String>,
    /// Reasons and messages.
    pub(super) troubles: Vec<(String, String)>,
}

impl Reports {
    pub(super) fn add(&mut self, node: &str, report: Report) {
        match report {
            Report::Confirmed => self.confirmed.push(node.to_owned()),
            Report::Waiting => self.waiting.push(node.to_owned()),
            Report::Trouble { reason, message } => self.troubles.push((reason, message)),
        }
    }

    pub(super) fn all_confirmed(&self) -> bool {
        !self.confirmed.is_empty() && self.waiting.is_empty() && self.troubles.is_empty()
    }

    /// Reason and message of a condition Programmed.
    pub(super) fn in_words(&self) -> (String, String) {
        const FIRST: usize = 4;
        if let Some((reason, _)) = self.troubles.iter().find(|(reason, _)| reason != reason::PENDING) {
            return (reason.clone(), self.trouble_in_words(FIRST));
        }
        if !self.troubles.is_empty() {
            return (reason::PENDING.to_owned(), self.trouble_in_words(FIRST));
        }
        if !self.waiting.is_empty() {
            return (reason::PENDING.to_owned(), format!("waiting for {}", few(&self.waiting, FIRST)));
        }
        (reason::PROGRAMMED.to_owned(), format!("in the kernel of {}", few(&self.confirmed, FIRST)))
    }

    fn trouble_in_words(&self, first: usize) -> String {
        let messages: Vec<&str> = self.troubles.iter().map(|(_, message)| message.as_str()).collect();
        crate::finding::in_words(&messages, first).unwrap_or_default()
    }
}

fn few(names: &[String], first: usize) -> String {
    let shown = names.iter().take(first).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(first) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
