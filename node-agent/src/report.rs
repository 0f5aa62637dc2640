//! Writing the status: only when it changes, and with patience.

use std::time::Duration;

use esplanade_crds::{GROUP, IpsecNodeState, IpsecNodeStateStatus, VERSION};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::desired::Target;
use crate::status::{Identity, Report, can_wait, status, whole_seconds};

/// The field manager of the status.
pub const FIELD_MANAGER: &str = "esplanade-node-agent";

/// Counts of what others have in the kernel may change all the time, and others may delete what is ours again and again.
const COUNTS_PAUSE: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// What there is to report, and where.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latest {
    /// Where the status goes, as it is at the API server.
    pub target: Option<Target>,
    /// What the last pass came to.
    pub report: Option<Report>,
}

/// What is to be done about the status.
#[derive(Debug, Clone, PartialEq)]
enum Todo {
    Nothing,
    Later(Instant),
    Write(Box<IpsecNodeStateStatus>),
}

/// Keeps the status up to date.
pub struct Reporter {
    identity: Identity,
    api: Api<IpsecNodeState>,
    written: Option<Written>,
}

/// The last status written, what the API server made of it, and when.
#[derive(Debug, Clone)]
struct Written {
    sent: IpsecNodeStateStatus,
    answer: Target,
    at: Instant,
}

impl Reporter {
    /// For the IpsecNodeState of this name.
    pub fn new(client: Client, identity: Identity) -> Self {
        Self { identity, api: Api::all(client), written: None }
    }

    /// Works until the sender is gone.
    pub async fn run(mut self, mut latest: watch::Receiver<Latest>) {
        let mut failures = 0;
        loop {
            let todo = {
                let latest = latest.borrow_and_update();
                todo(
                    &latest,
                    &self.identity,
                    self.written.as_ref(),
                    Instant::now(),
                    &whole_seconds(jiff::Timestamp::now()),
                )
            };
            match todo {
                Todo::Nothing => {
                    if latest.changed().await.is_err() {
                        return;
                    }
                }
                Todo::Later(at) => {
                    tokio::select! {
                        changed = latest.changed() => if changed.is_err() { return },
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                Todo::Write(status) => {
                    let uid = latest.borrow().target.as_ref().map(|target| target.uid.clone());
                    match self.write(*status, uid).await {
                        Ok(()) => failures = 0,
                        Err(error) => {
                            tracing::warn!(%error, "the status can't be written");
                            sleep(pause(failures, rand::random())).await;
                            failures += 1;
                        }
                    }
                }
            }
        }
    }

    async fn write(&mut self, sent: IpsecNodeStateStatus, uid: Option<String>) -> kube::Result<()> {
        let name = self.identity.node.as_str();
        // The uid: an object made anew under the name is not the one that this is about.
        let object = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "IpsecNodeState",
            "metadata": {"name": name, "uid": uid},
            "status": sent,
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let answer = self.api.patch_status(name, &parameters, &Patch::Apply(object)).await?;
        tracing::debug!("status written");
        self.written = Some(Written { sent, answer: Target::of(&answer), at: Instant::now() });
        Ok(())
    }
}

/// What is to be done: nothing where the status is there already, or was written and the watch hasn't told yet.
fn todo(latest: &Latest, identity: &Identity, written: Option<&Written>, now: Instant, time: &Time) -> Todo {
    let (Some(target), Some(report)) = (&latest.target, &latest.report) else { return Todo::Nothing };
    // The object was deleted and made anew since the pass: its generations are others, and the next pass is for it.
    if report.uid.as_ref() != Some(&target.uid) {
        return Todo::Nothing;
    }
    // The watch may be behind the answer, and the answer may have fields of others: what was sent counts until somebody
    // changed it.
    let written = written.filter(|written| {
        let answer = &written.answer;
        let is_behind = target.version <= answer.version && !has_turned_back(target, written);
        answer.uid == target.uid && (is_behind || target.status == answer.status)
    });
    let current = written.map(|written| &written.sent).or(target.status.as_ref());
    let believed = current.map(|current| match written {
        Some(_) => current.clone(),
        None => of_this_history(current, target),
    });
    let next = status(believed.as_ref(), identity, report, time);
    let Some(current) = current else { return Todo::Write(Box::new(next)) };
    if *current == next {
        return Todo::Nothing;
    }
    match written {
        Some(written) if can_wait(current, &next) && now < written.at + COUNTS_PAUSE => {
            Todo::Later(written.at + COUNTS_PAUSE)
        }
        _ => Todo::Write(Box::new(next)),
    }
}

/// A list that began after the status was written has the object as it was before: etcd was restored from a backup.
fn has_turned_back(target: &Target, written: &Written) -> bool {
    let later = target.listed.is_some_and(|began| Instant::from_std(began) > written.at);
    later && target.version < written.answer.version
}

/// What of a status found in an object can be true: what acknowledges a later resourceVersion, or a later generation, was
/// written by an agent that had seen what was there before etcd was restored from a backup.
fn of_this_history(found: &IpsecNodeStateStatus, object: &Target) -> IpsecNodeStateStatus {
    let mut status = found.clone();
    let through = status.peers_applied_through.as_ref().and_then(|through| through.parse().ok());
    if through > object.version {
        status.peers_applied_through = None;
    }
    if status.observed_generation > object.generation {
        status.observed_generation = None;
    }
    status
}

/// 1 s, 2 s, 4 s … 30 s, shortened at random by up to a half.
fn pause(failures: u32, random: f64) -> Duration {
    let longest = FIRST_RETRY.saturating_mul(1 << failures.min(16)).min(LAST_RETRY);
    longest.mul_f64(1.0 - random / 2.0)
}

#[cfg(test)]
mod tests;
