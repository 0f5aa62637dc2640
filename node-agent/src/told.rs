//! The agent's log: what is new, once.

use std::collections::BTreeSet;

use esplanade_crds::Problem;
use esplanade_sync::Losses;

use crate::desired::{DELETION_GRACE, NotYet};
use crate::status::PassResult;
use crate::worker::Done;

/// What has been logged.
#[derive(Default)]
pub(crate) struct Told {
    waiting: Option<NotYet>,
    problems: BTreeSet<(String, String)>,
    failure: Option<String>,
    in_sync: bool,
}

impl Told {
    /// There is something to do again.
    pub(crate) fn not_waiting(&mut self) {
        self.waiting = None;
    }

    /// There is nothing that a pass could do.
    pub(crate) fn waiting(&mut self, reason: NotYet) {
        if self.waiting.replace(reason) == Some(reason) {
            return;
        }
        match reason {
            NotYet::Lists => tracing::debug!("waiting for the API server's lists"),
            NotYet::NoNodeState => {
                tracing::info!("no IpsecNodeState of this node: leaving the kernel as it is")
            }
            NotYet::Deleted(_) => tracing::warn!(
                "the IpsecNodeState was deleted: clearing the kernel in {} s unless it comes back",
                DELETION_GRACE.as_secs()
            ),
        }
    }

    /// A pass ended.
    pub(crate) fn done(&mut self, done: &Done) {
        let newly_in_sync = done.in_sync() && !self.in_sync;
        self.in_sync = done.in_sync();
        match &done.report.result {
            PassResult::Failed { category, message } => {
                if self.failure.as_ref() != Some(message) {
                    tracing::error!(category, "{message}");
                    self.failure = Some(message.clone());
                }
            }
            PassResult::Done { counts, problems, .. } => {
                self.failure = None;
                if done.surprises > 0 {
                    let found = done.surprises;
                    tracing::warn!(found, "the kernel held something else than its events had told");
                }
                if !done.losses.is_empty() {
                    let Losses { sas, policies } = done.losses;
                    tracing::warn!(sas, policies, "somebody else deleted what is ours: putting it back");
                }
                if done.operations > 0 {
                    let (operations, sas, policies) =
                        (done.operations, counts.security_associations, counts.policies);
                    tracing::info!(operations, sas, policies, "kernel changed");
                }
                if newly_in_sync {
                    tracing::info!(generation = done.report.generation, "in sync");
                }
                let now = problems.iter().map(key).collect();
                let before = std::mem::replace(&mut self.problems, now);
                for problem in problems.iter().filter(|problem| !before.contains(&key(problem))) {
                    let Problem { kind, name, category, message } = problem;
                    tracing::warn!(?kind, name, category, "{message}");
                }
            }
        }
    }
}

fn key(problem: &Problem) -> (String, String) {
    (format!("{:?} {}", problem.kind, problem.name), problem.message.clone())
}
