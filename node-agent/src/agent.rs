//! The loop: what the API server and the kernel tell wakes passes, and what passes come to is reported.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use esplanade_seal::KeyPair;
use esplanade_xfrm::{KernelError, Noticed};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use kube::Client;
use tokio::sync::watch as latest;
use tokio::task::JoinSet;

use crate::desired::{Desired, NotYet};
use crate::keying::{Keying, PublishKeys};
use crate::metrics::Metrics;
use crate::notices::Notices;
use crate::ports::Ports;
use crate::publish;
use crate::report::{Latest, Reporter};
use crate::schedule::{DEBOUNCE, Schedule};
use crate::status::Identity;
use crate::told::Told;
use crate::watch::{Change, watch, watch_api_server, watch_history};
use crate::worker::{News, Open, Reasons, Recorded, Worker, WorkerGone};

/// How long a pass that runs may take when the agent is to end: a part of it could be missing else until the next
/// start.
const LAST_PASS: Duration = Duration::from_secs(5);

/// Beyond so many events it is quicker to read everything.
const MANY_EVENTS: usize = 100_000;

/// Why the loop ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// A defect: it logged why.
    #[error(transparent)]
    Worker(#[from] WorkerGone),
    /// A defect.
    #[error("the watches ended")]
    Watches,
    /// What was seen has never been, as far as the API server knows: the next process begins from what is.
    #[error(
        "the API server is at resourceVersion {now}, and was at {seen}: etcd was restored from a backup. Beginning anew; the \
         kernel stays as it is"
    )]
    TurnedBack {
        /// The highest that was seen.
        seen: u64,
        /// The one that it is at.
        now: u64,
    },
    /// The process can't go on.
    #[error("waiting for the kernel's events: {0}")]
    Notices(#[source] std::io::Error),
}

/// A node's agent.
pub struct Agent {
    desired: Desired,
    changes: BoxStream<'static, Change>,
    worker: Worker,
    notices: Option<Notices>,
    /// What others did that no pass was made for yet.
    noticed: Noticed,
    schedule: Schedule,
    latest: latest::Sender<Latest>,
    publish: latest::Sender<Option<PublishKeys>>,
    /// Ends the reporter when dropped.
    _reporter: JoinSet<()>,
    told: Told,
    metrics: Metrics,
}

impl Agent {
    /// Starts the watches and the thread that writes to the kernel. The API server is at these addresses, and where it says.
    /// `block`: what no policy covers is to be dropped.
    ///
    /// # Errors
    /// No more threads.
    #[allow(clippy::too_many_arguments)] // each is a part of its own, made by main
    pub fn start(
        client: Client,
        identity: Identity,
        keys: KeyPair,
        recorded: Recorded,
        state_dir: &Path,
        open: Open,
        ports: Box<dyn Ports>,
        resync: Duration,
        metrics: Metrics,
        api_server: BTreeSet<SocketAddr>,
        block: bool,
    ) -> std::io::Result<Self> {
        let node = identity.node.clone();
        let keying = Keying::new(&node, state_dir, &identity.boot_id);
        let worker = Worker::start(&node, &identity.kernel.release, keys, recorded, keying, open, ports)?;
        let changes = stream::select(watch(&client, &node), watch_api_server(&client, block));
        let changes = stream::select(changes, watch_history(&client)).boxed();
        let desired = Desired::new(&node, &identity.boot_id, api_server, block);
        let (latest, to_report) = latest::channel(Latest::default());
        let (publish, to_publish) = latest::channel(None);
        let mut reporter = JoinSet::new();
        reporter.spawn(publish::run(client.clone(), node.clone(), to_publish));
        reporter.spawn(Reporter::new(client, identity).run(to_report));
        Ok(Self {
            desired,
            changes,
            worker,
            notices: None,
            noticed: Noticed::default(),
            schedule: Schedule::new(resync, Instant::now()),
            latest,
            publish,
            _reporter: reporter,
            told: Told::default(),
            metrics,
        })
    }

    /// Works until it can't go on. Nothing is lost when this is dropped.
    pub async fn run(&mut self) -> Ended {
        loop {
            if let Err(ended) = self.step().await {
                return ended;
            }
        }
    }

    /// Lets the pass that runs come to its end, and record what the next agent needs. What the kernel holds stays there.
    pub async fn finish(mut self) {
        let last = async {
            if self.worker.leave().is_err() {
                return;
            }
            while !matches!(self.worker.news().await, Ok(News::Left) | Err(WorkerGone)) {}
        };
        if tokio::time::timeout(LAST_PASS, last).await.is_err() {
            tracing::warn!("the pass over the kernel takes long: ending in the middle of it");
        }
    }

    async fn step(&mut self) -> Result<(), Ended> {
        let due = self.schedule.due();
        tokio::select! {
            change = self.changes.next() => self.change(change.ok_or(Ended::Watches)?)?,
            noticed = changed(&mut self.notices) => self.noticed(noticed)?,
            news = self.worker.news() => self.news(news?)?,
            () = at(due) => self.begin()?,
        }
        Ok(())
    }

    fn change(&mut self, change: Change) -> Result<(), Ended> {
        let now = Instant::now();
        let something_new = match change {
            Change::NodeState(event) => self.desired.node_state(*event, now),
            Change::Peer(event) => self.desired.peer(*event),
            Change::ApiServer(event) => self.desired.api_server(*event),
            Change::History(now) => match self.desired.turned_back(now) {
                Some(seen) => return Err(Ended::TurnedBack { seen, now }),
                None => false,
            },
        };
        if something_new {
            self.schedule.wake(now + DEBOUNCE);
        }
        let target = self.desired.target();
        self.latest.send_if_modified(|latest| {
            let new = latest.target.as_ref() != target;
            if new {
                latest.target = target.cloned();
            }
            new
        });
        Ok(())
    }

    fn noticed(&mut self, noticed: Result<Noticed, KernelError>) -> Result<(), Ended> {
        match noticed {
            Ok(noticed) => {
                if noticed.is_urgent() {
                    self.schedule.wake(Instant::now());
                }
                self.keep(noticed);
            }
            Err(error) => {
                tracing::warn!(%error, "the kernel's events are lost: opening it afresh");
                self.notices = None;
                self.worker.reopen()?;
            }
        }
        self.schedule.others_changed_something(Instant::now());
        Ok(())
    }

    fn keep(&mut self, noticed: Noticed) {
        if noticed.is_news() {
            let (events, overrun) = (noticed.events.len(), noticed.overrun);
            tracing::debug!(events, overrun, "somebody else changed the kernel's databases");
            self.metrics.noticed(events, overrun);
        }
        self.noticed.overrun |= noticed.overrun;
        self.noticed.events.extend(noticed.events);
        if self.noticed.events.len() > MANY_EVENTS {
            self.noticed = Noticed { overrun: true, ..Noticed::default() };
        }
    }

    fn begin(&mut self) -> Result<(), Ended> {
        // All that is known at this moment counts.
        if let Some(Ok(noticed)) = self.notices.as_mut().map(Notices::now) {
            self.keep(noticed);
        }
        let now = Instant::now();
        match self.desired.input(now) {
            Ok(input) => {
                self.told.not_waiting();
                let audit = self.schedule.begin(now, rand::random());
                self.metrics.begun(now);
                let noticed = std::mem::take(&mut self.noticed);
                self.worker.pass(input, Reasons { noticed, audit })?;
            }
            Err(reason) => {
                self.schedule.pass_over(now, rand::random());
                if reason != NotYet::Lists {
                    self.metrics.idle();
                }
                if let NotYet::Deleted(until) = reason {
                    self.schedule.wake(until);
                }
                self.told.waiting(reason);
            }
        }
        Ok(())
    }

    fn news(&mut self, news: News) -> Result<(), Ended> {
        match news {
            // Only asked for at the end.
            News::Left => {}
            News::Opened(watch) => {
                self.metrics.opened();
                self.notices = Some(Notices::new(watch).map_err(Ended::Notices)?);
            }
            News::Done(done) => {
                if done.in_sync() {
                    self.schedule.succeeded(Instant::now());
                } else {
                    self.schedule.failed(Instant::now(), rand::random());
                }
                if done.again {
                    // No sooner than what others do: they could keep the agent busy with it.
                    self.schedule.others_changed_something(Instant::now());
                }
                self.metrics.done(&done, Instant::now());
                self.told.done(&done);
                if let Some(wake) = done.wake {
                    self.schedule.wake(Instant::now() + wake);
                }
                self.publish.send_if_modified(|keys| {
                    let new = *keys != done.publish;
                    *keys = done.publish.clone();
                    new
                });
                self.latest.send_modify(|latest| latest.report = Some(done.report));
            }
        }
        Ok(())
    }
}

async fn changed(notices: &mut Option<Notices>) -> Result<Noticed, KernelError> {
    match notices {
        Some(notices) => notices.changed().await,
        None => std::future::pending().await,
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
