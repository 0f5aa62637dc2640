//! The one thread that writes to the kernel.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::mpsc as std_mpsc;
use std::thread;

use esplanade_crds::conditions::reason;
use esplanade_crds::{Problem, ProblemKind};
use esplanade_diff::Memory;
use esplanade_expand::{OpenedKeys, exemptions, expand_again, passing_through};
use esplanade_model::{Capabilities, Policy, PolicyKey};
use esplanade_seal::KeyPair;
use esplanade_sync::Engine;
use esplanade_xfrm::{Kernel, KernelError, Noticed, Watch};
use tokio::sync::mpsc;

use crate::desired::Input;
use crate::pass::{Outcome, pass, uptime};
use crate::settings::{NotBlocked, Settings};
use crate::status::{PassResult, Report};
use crate::wear::Record;

/// A kernel, and what tells of others' changes to it. Whoever opens it afresh gets both.
pub type Opened = (Box<dyn Kernel>, Box<dyn Watch>);

/// Opens the kernel; again after anything failed.
pub type Open = Box<dyn FnMut() -> Result<Opened, KernelError> + Send>;

/// What the thread has to tell.
pub enum News {
    /// The kernel was opened (again): this tells of others' changes from now on.
    Opened(Box<dyn Watch>),
    /// A pass ended.
    Done(Done),
}

/// A pass that ended.
#[derive(Debug)]
pub struct Done {
    /// What it came to, with everything that is wrong with the objects it was made for.
    pub report: Report,
    /// How many operations it took.
    pub operations: usize,
    /// See [`Outcome::surprises`].
    pub surprises: usize,
}

impl Done {
    /// Nothing is left to do.
    pub fn in_sync(&self) -> bool {
        matches!(self.report.result, PassResult::Done { in_sync: true, .. })
    }
}

/// What the thread is to do next.
enum Job {
    Pass(Box<Order>),
    Reopen,
}

/// What a pass is made for.
#[derive(Debug, Default)]
pub struct Reasons {
    /// What others did since the pass before.
    pub noticed: Noticed,
    /// Everything is to be read, whatever is known.
    pub audit: bool,
}

struct Order {
    input: Input,
    reasons: Reasons,
}

/// The handle on the thread. It ends when this is dropped, after the pass it is at.
pub struct Worker {
    jobs: std_mpsc::Sender<Job>,
    news: mpsc::UnboundedReceiver<News>,
}

/// The thread is gone.
#[derive(Debug, thiserror::Error)]
#[error("the thread that writes to the kernel has ended")]
pub struct WorkerGone;

impl Worker {
    /// Starts the thread, which opens the kernel for its first pass. `release` is the kernel's, `memory` what earlier
    /// processes recorded, and where that goes on: of keys, and of the kernel's settings.
    ///
    /// # Errors
    /// No more threads.
    pub fn start(
        node: &str,
        release: &str,
        keys: KeyPair,
        memory: (Memory, Record, Settings),
        open: Open,
    ) -> std::io::Result<Self> {
        let (jobs, todo) = std_mpsc::channel();
        let (tell, news) = mpsc::unbounded_channel();
        let state = State {
            node: node.to_owned(),
            release: release.to_owned(),
            keys,
            open,
            kernel: None,
            capabilities: None,
            engine: Engine::new(memory.0),
            record: memory.1,
            settings: memory.2,
            exempt: Vec::new(),
            opened: OpenedKeys::default(),
            expanded: None,
        };
        thread::Builder::new().name("kernel".to_owned()).spawn(move || state.work(&todo, &tell))?;
        Ok(Self { jobs, news })
    }

    /// Orders a pass.
    ///
    /// # Errors
    /// The thread is gone.
    pub fn pass(&self, input: Input, reasons: Reasons) -> Result<(), WorkerGone> {
        self.jobs.send(Job::Pass(Box::new(Order { input, reasons }))).map_err(|_| WorkerGone)
    }

    /// The kernel is to be opened afresh for the next pass.
    ///
    /// # Errors
    /// The thread is gone.
    pub fn reopen(&self) -> Result<(), WorkerGone> {
        self.jobs.send(Job::Reopen).map_err(|_| WorkerGone)
    }

    /// Waits for news.
    ///
    /// # Errors
    /// The thread is gone.
    pub async fn news(&mut self) -> Result<News, WorkerGone> {
        self.news.recv().await.ok_or(WorkerGone)
    }
}

/// The thread's own.
struct State {
    node: String,
    release: String,
    keys: KeyPair,
    open: Open,
    kernel: Option<Box<dyn Kernel>>,
    /// What the kernel can do, asked once.
    capabilities: Option<Capabilities>,
    engine: Engine,
    opened: OpenedKeys,
    record: Record,
    settings: Settings,
    /// Policies without which nothing may be dropped that no policy covers.
    exempt: Vec<PolicyKey>,
    /// The problems of the input of this version, which the engine knows.
    expanded: Option<(u64, Vec<Problem>)>,
}

impl State {
    fn work(mut self, todo: &std_mpsc::Receiver<Job>, tell: &mpsc::UnboundedSender<News>) {
        while let Ok(job) = todo.recv() {
            match job {
                Job::Reopen => self.kernel = None,
                Job::Pass(order) => {
                    let done = self.pass(*order, tell);
                    if tell.send(News::Done(done)).is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn pass(&mut self, order: Order, tell: &mpsc::UnboundedSender<News>) -> Done {
        let Order { input, reasons } = order;
        let audit = reasons.audit;
        self.notice(reasons.noticed);
        let (result, operations, surprises) = match self.try_pass(&input, audit, tell) {
            Ok(Outcome { problems, counts, operations, in_sync, surprises }) => {
                (PassResult::Done { counts, problems, in_sync }, operations, surprises)
            }
            Err(error) => {
                // A socket that failed isn't used again.
                self.kernel = None;
                (PassResult::Failed { category: error.category(), message: error.to_string() }, 0, 0)
            }
        };
        if let Some(record) = self.engine.take_record() {
            self.record.write(&record);
        }
        let report = Report {
            generation: input.generation,
            peers_through: input.peers_through,
            capabilities: self.capabilities.as_ref().map(Capabilities::names),
            result,
        };
        Done { report, operations, surprises }
    }

    fn notice(&mut self, noticed: Noticed) {
        let now = uptime();
        noticed.events.into_iter().for_each(|event| self.engine.notice(event, now));
        if noticed.overrun {
            self.engine.distrust();
        }
    }

    /// What the pass came to, with everything that is wrong with the objects that it was made for.
    fn try_pass(
        &mut self,
        input: &Input,
        audit: bool,
        tell: &mpsc::UnboundedSender<News>,
    ) -> Result<Outcome, KernelError> {
        let mut settings_are_open = audit;
        let kernel = match &mut self.kernel {
            Some(kernel) => kernel,
            None => {
                settings_are_open = true;
                // What happens from here on is told, and what happened before will be read.
                self.engine.distrust();
                let (kernel, watch) = (self.open)()?;
                // Nobody listens any more only when the agent ends.
                let _ = tell.send(News::Opened(watch));
                self.kernel.insert(kernel)
            }
        };
        let capabilities = match &mut self.capabilities {
            Some(capabilities) => capabilities,
            None => self.capabilities.insert(Capabilities::new(&self.release, kernel.probe()?)),
        };
        let expanded = match &mut self.expanded {
            Some((version, problems)) if *version == input.version => problems,
            stale => {
                let (keys, opened) = (Some(&self.keys), &mut self.opened);
                let fresh = expand_again(&self.node, &input.spec, &input.peers, keys, capabilities, opened);
                let mut wanted = fresh.wanted;
                if let Some(api_server) = &input.block {
                    let own = own_addresses(&self.node, input);
                    let exempt = exemptions(api_server, own.iter().copied());
                    self.exempt = exempt.iter().map(Policy::key).collect();
                    // Of two with one name the first counts.
                    let through = passing_through(&wanted.policies, &own);
                    let exempt = exempt.into_iter().map(|policy| (String::new(), policy));
                    wanted.policies = exempt.chain(wanted.policies).chain(through).collect();
                }
                self.engine.want(wanted);
                settings_are_open = true;
                &mut stale.insert((input.version, fresh.problems)).1
            }
        };
        if input.block.is_none() {
            self.settings.let_pass(kernel.as_mut())?;
        }
        if settings_are_open {
            self.settings.keep_thresholds(kernel.as_mut(), &self.engine)?;
        }
        let mut outcome = pass(kernel.as_mut(), &self.node, &mut self.engine, audit)?;
        if input.block.is_some()
            && let Err(why) = self.settings.block(kernel.as_mut(), &self.engine, &self.exempt)?
        {
            outcome.in_sync = false;
            outcome.problems.push(not_blocked(&self.node, &why));
        }
        let mut problems = input.problems.clone();
        problems.extend(expanded.iter().cloned());
        problems.extend(outcome.problems);
        Ok(Outcome { problems, ..outcome })
    }
}

/// What the node's IpsecPeer says that its addresses are.
fn own_addresses(node: &str, input: &Input) -> BTreeSet<IpAddr> {
    let own = input.peers.get(node).into_iter().flat_map(|peer| &peer.addresses);
    own.filter_map(|address| address.parse().ok()).collect()
}

fn not_blocked(node: &str, why: &NotBlocked) -> Problem {
    let category = match why {
        NotBlocked::Unknown => reason::UNSUPPORTED_BY_KERNEL,
        NotBlocked::Missing(_) => reason::CONFLICTED,
        NotBlocked::Refused(_) => reason::KERNEL_ERROR,
    };
    let (name, message) = (node.to_owned(), why.to_string());
    Problem { kind: ProblemKind::Node, name, category: category.to_owned(), message }
}

#[cfg(test)]
mod tests;
