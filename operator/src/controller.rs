//! The loop: events change the index; a while after the first change the plan is made anew, and what differs from what
//! is there gets written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use esplanade_crds::{IpsecNodeState, IpsecPeer};
use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ListParams;
use kube::runtime::events::Recorder;
use kube::{Api, Client, Resource};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, interval};

use crate::lease::Leadership;
use crate::metrics::Metrics;

mod announce;
pub mod cache;
pub mod change;
pub mod error;
pub mod index;
mod retry;
mod secrets;
mod watch;
mod write;

pub use write::{SPEC_MANAGER, STATUS_MANAGER};

use announce::Announcer;
use cache::{Event, Unreadable};
use change::{Change, Kind, What};
use error::Category;
use index::{Index, Input};
use retry::Retries;
use secrets::Secrets;
use write::Writer;

/// Changes that come within this time of the first go into the same plan.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// A plan whose Secrets couldn't be read is made again after this; one that waits for a time, this after that.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// How often the API server is asked how far it is.
const HISTORY: Duration = Duration::from_secs(30);
/// How long that may take.
const ANSWER: Duration = Duration::from_secs(5);
/// Requests at a time.
const CONCURRENCY: usize = 16;

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// Somebody else may lead by now.
    #[error("the Lease was lost")]
    NotLeading,
    /// What was seen has never been, as far as the API server knows.
    #[error("the API server is at resourceVersion {now}, and was at {seen}: etcd was restored from a backup")]
    TurnedBack {
        /// The highest that was seen.
        seen: u64,
        /// The one that it is at.
        now: u64,
    },
    /// The watches are gone.
    #[error("the watches ended")]
    WatchesEnded,
}

/// Turns cluster objects into one desired state per node, for as long as this process leads.
pub struct Controller {
    namespace: String,
    leadership: Leadership,
    events: mpsc::Receiver<Input>,
    // Ends the watches when dropped.
    _watches: JoinSet<()>,
    index: Index,
    secrets: Secrets,
    writer: Writer,
    announcer: Announcer,
    retries: Retries,
    told: BTreeSet<(Kind, Unreadable)>,
    next: Option<Instant>,
    peers: Api<IpsecPeer>,
    history: Interval,
    metrics: Metrics,
}

impl Controller {
    /// Starts the watches. Secrets are those of `namespace`; `recorder` makes Events about users' objects.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        leadership: Leadership,
        metrics: Metrics,
        recorder: Recorder,
    ) -> Self {
        let (events, watches) = watch::start(&client, namespace);
        let writer = Writer::new(client.clone(), leadership.slack());
        Self {
            namespace: namespace.to_owned(),
            leadership,
            events,
            _watches: watches,
            index: Index::default(),
            secrets: Secrets::new(client.clone(), namespace),
            writer,
            announcer: Announcer::start(recorder),
            retries: Retries::default(),
            told: BTreeSet::new(),
            next: None,
            peers: Api::all(client),
            history: interval(HISTORY),
            metrics,
        }
    }

    /// Keeps the index up to date without writing anything: another leads. Never returns but with an error.
    pub async fn stand_by(&mut self) -> Ended {
        loop {
            tokio::select! {
                _ = self.history.tick() => {
                    if let Some(ended) = self.has_turned_back().await {
                        return ended;
                    }
                }
                event = self.events.recv() => {
                    let Some(event) = event else { return Ended::WatchesEnded };
                    self.apply(event);
                }
            }
        }
    }

    /// The watches don't tell when etcd was restored from a backup, but wait until it is where they were.
    async fn has_turned_back(&self) -> Option<Ended> {
        let seen = self.index.newest()?;
        let first = ListParams::default().limit(1);
        let list = tokio::time::timeout(ANSWER, self.peers.list_metadata(&first)).await.ok()?;
        let list =
            list.inspect_err(|error| tracing::debug!(%error, "the API server doesn't say how far it is"));
        let now = list.ok()?.metadata.resource_version?.parse().ok()?;
        (now < seen).then_some(Ended::TurnedBack { seen, now })
    }

    /// Plans and writes. Returns when this process leads no longer.
    pub async fn lead(&mut self) -> Ended {
        self.next = Some(Instant::now());
        loop {
            let due = self.next.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                biased;
                // Before the events: a steady stream of them must not put the plan off.
                () = tokio::time::sleep_until(due), if self.next.is_some() => {
                    if let Some(ended) = self.round().await {
                        return ended;
                    }
                }
                _ = self.history.tick() => {
                    if let Some(ended) = self.has_turned_back().await {
                        return ended;
                    }
                }
                event = self.events.recv() => {
                    let Some(event) = event else { return Ended::WatchesEnded };
                    self.announce_what_agents_tell(&event);
                    if self.apply(event) {
                        self.wake(DEBOUNCE);
                    }
                }
            }
        }
    }

    fn apply(&mut self, event: Input) -> bool {
        if matches!(event, Input::Interrupted) {
            tracing::info!("listing everything anew");
            let client = self.peers.clone().into_client();
            self.secrets = Secrets::new(client.clone(), &self.namespace);
            (self.events, self._watches) = watch::start(&client, &self.namespace);
        }
        let new = self.index.apply(event);
        self.metrics.listed(self.index.incomplete().is_empty());
        new
    }

    /// Lets the next round begin after `pause` at the latest.
    fn wake(&mut self, pause: Duration) {
        let at = Instant::now() + pause;
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    async fn round(&mut self) -> Option<Ended> {
        self.next = None;
        let incomplete = self.index.incomplete();
        if !incomplete.is_empty() {
            tracing::debug!(?incomplete, "not everything has been listed yet");
            return None;
        }
        let snapshot = self.index.snapshot(&self.namespace, BTreeMap::new());
        let wanted = esplanade_plan::secrets_wanted(&snapshot.sas, &snapshot.policies);
        if let Err(error) = self.secrets.refresh(&wanted, &self.index.secrets).await {
            // Without them the plan would say that they aren't there.
            self.metrics.unread(error.category);
            tracing::warn!(category = %error.category, %error, "no plan for now");
            self.wake(READ_AGAIN);
            return None;
        }
        let snapshot = esplanade_plan::Snapshot { secrets: self.secrets.known().clone(), ..snapshot };
        let began = Instant::now();
        let plan = esplanade_plan::plan(&snapshot, &now(), &mut rand::rng());
        self.metrics.planned(began.elapsed());
        if let Some(again) = &plan.again {
            let pause = again.0.duration_since(jiff::Timestamp::now());
            self.wake(Duration::try_from(pause).unwrap_or_default() + READ_AGAIN);
        }
        let unreadable: BTreeSet<(Kind, Unreadable)> = self.index.unreadable().collect();
        self.told.retain(|one| unreadable.contains(one));
        let changes = change::changes(&self.index, &plan, &self.told);
        self.retries.keep(|key| changes.iter().any(|change| change.key() == *key));
        self.make(changes).await
    }

    /// Writes, kind by kind in the changes' order, several objects at a time.
    async fn make(&mut self, changes: Vec<Change>) -> Option<Ended> {
        let now = Instant::now();
        let due: Vec<Change> =
            changes.into_iter().filter(|change| self.retries.is_due(&change.key(), now)).collect();
        for stage in due.chunk_by(|a, b| a.kind() == b.kind()) {
            let (writer, leadership) = (&self.writer, &self.leadership);
            let mut results = futures::stream::iter(stage)
                .map(async |change| {
                    // At each write, not once a round: a round can take long.
                    if !leadership.held() {
                        return (change, None);
                    }
                    (change, Some(writer.write(change).await))
                })
                .buffer_unordered(CONCURRENCY);
            let mut answers = Vec::new();
            while let Some(answer) = results.next().await {
                answers.push(answer);
            }
            drop(results);
            for (change, result) in answers {
                let Some(result) = result else { return Some(Ended::NotLeading) };
                self.conclude(change, result);
            }
        }
        self.metrics.waiting(self.retries.count());
        if let Some(next) = self.retries.next() {
            self.wake(next.saturating_duration_since(Instant::now()));
        }
        None
    }

    fn conclude(&mut self, change: &Change, result: Result<Input, error::WriteError>) {
        match result {
            Ok(input) => {
                self.metrics.written(change.kind());
                tracing::info!(kind = %change.kind(), name = change.name, "written");
                self.retries.done(&change.key());
                self.announce(change);
                if let What::Unreadable(kind, error) = &change.what {
                    self.told.insert((*kind, error.clone()));
                }
                if self.index.apply(input) {
                    self.wake(DEBOUNCE);
                }
            }
            Err(error) if error.category == Category::Gone && change.kind() >= Kind::IpsecSA => {
                // A user removed it a moment ago; the watch will tell.
                tracing::debug!(%error, "nothing to write to");
            }
            Err(error) => {
                self.metrics.failed(change.kind(), error.category);
                tracing::warn!(category = %error.category, %error, "write failed");
                self.retries.failed(change.key(), error.category, Instant::now(), rand::random());
            }
        }
    }

    /// Makes Events of what others have done to nodes' kernels. What was so when this process began to watch, or when nobody led, is
    /// in the conditions only.
    fn announce_what_agents_tell(&self, event: &Input) {
        let Input::NodeState(Event::Changed(seen) | Event::Listed(seen)) = event else { return };
        let (Some(before), Ok(now)) = (self.index.node_states.get(&seen.name), &seen.object) else { return };
        let [before, told] = [before, now].map(|object: &IpsecNodeState| {
            object.status.as_ref().map_or(&[][..], |status| status.conditions.as_slice())
        });
        self.announcer.told_by_agent(&now.object_ref(&()), before, told);
    }

    /// Makes Events of what a status says now and didn't before.
    fn announce(&self, change: &Change) {
        let (about, before, now) = match &change.what {
            What::SaStatus { status, .. } => {
                let Some(object) = self.index.sas.get(&change.name) else { return };
                let before = object.status.as_ref().map(|status| &status.conditions);
                (object.object_ref(&()), before, &status.conditions)
            }
            What::PolicyStatus { status, .. } => {
                let Some(object) = self.index.policies.get(&change.name) else { return };
                let before = object.status.as_ref().map(|status| &status.conditions);
                (object.object_ref(&()), before, &status.conditions)
            }
            _ => return,
        };
        self.announcer.changed(&about, before.map_or(&[], Vec::as_slice), now);
    }
}

/// Now, in whole seconds: what the API keeps of a time.
fn now() -> Time {
    let now = jiff::Timestamp::now();
    Time(jiff::Timestamp::from_second(now.as_second()).unwrap_or(now))
}
