//! The one thread that writes to the kernel.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::Duration;

use esplanade_crds::conditions::reason;
use esplanade_crds::{IpsecNodeStateSpec, Phase, Problem, ProblemKind};
use esplanade_diff::{Hidden, Memory, Numbers, Wear, Writing};
use esplanade_expand::{
    OpenedKeys, exemptions, expand_again, keepalives, passing_through, path_mtu, uncovered,
};
use esplanade_keying::Time;
use esplanade_model::{Capabilities, Event, Policy, PolicyKey, Wanted};
use esplanade_seal::KeyPair;
use esplanade_sync::Engine;
use esplanade_xfrm::{Kernel, KernelError, Noticed, Watch};
use tokio::sync::mpsc;

use crate::desired::Input;
use crate::hidden;
use crate::host;
use crate::keying::{Keying, Progress, PublishKeys, of_policy};
use crate::mapping::Senders;
use crate::numbers;
use crate::offload::Offloading;
use crate::pass::{Outcome, read_everything, recorded_pass, uptime};
use crate::ports::{Ports, Wants};
use crate::settings::{NotBlocked, Settings};
use crate::spis::Spis;
use crate::state_file::FileError;
use crate::status::{PassResult, Report};
use crate::wear::Record;

mod record;

/// A kernel, and what tells of others' changes to it. Whoever opens it afresh gets both.
pub type Opened = (Box<dyn Kernel>, Box<dyn Watch>);

/// Opens the kernel; again after anything failed. With `true` packets that lack an SA are told of as well.
pub type Open = Box<dyn FnMut(bool) -> Result<Opened, KernelError> + Send>;

/// What earlier processes recorded, and where that goes on.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Which keys are worn out.
    pub worn: (Wear, Record),
    /// How far senders have come.
    pub numbers: (Numbers, numbers::Record),
    /// Which keys SAs have, where the kernel doesn't show them.
    pub hidden: (Hidden, hidden::Record),
    /// What was set for all policies.
    pub settings: Settings,
    /// Where senders behind address translations are.
    pub senders: Senders,
}

/// What the thread has to tell.
pub enum News {
    /// The kernel was opened (again): this tells of others' changes from now on.
    Opened(Box<dyn Watch>),
    /// A pass ended.
    Done(Box<Done>),
    /// The thread has recorded what the next agent needs, and ends.
    Left,
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
    /// Keys to publish.
    pub publish: Option<PublishKeys>,
    /// The next pass is due after so long, if nothing happens before.
    pub wake: Option<Duration>,
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
    Leave,
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
    /// Starts the thread, which opens the kernel for its first pass. `release` is the kernel's, `recorded` what
    /// earlier processes left.
    ///
    /// # Errors
    /// No more threads.
    pub fn start(
        node: &str,
        release: &str,
        keys: KeyPair,
        recorded: Recorded,
        keying: Keying,
        open: Open,
        ports: Box<dyn Ports>,
    ) -> std::io::Result<Self> {
        let (jobs, todo) = std_mpsc::channel();
        let (tell, news) = mpsc::unbounded_channel();
        let state = State {
            node: node.to_owned(),
            release: release.to_owned(),
            keys,
            open,
            ports,
            kernel: None,
            acquires: false,
            capabilities: None,
            engine: Engine::new(Memory::new(recorded.worn.0, recorded.numbers.0))
                .with_hidden(recorded.hidden.0),
            record: recorded.worn.1,
            numbers: recorded.numbers.1,
            hidden: recorded.hidden.1,
            settings: recorded.settings,
            senders: recorded.senders,
            offloading: Offloading::default(),
            exempt: Vec::new(),
            opened: OpenedKeys::default(),
            spis: Spis::default(),
            numbered: None,
            expanded: None,
            keying,
            base: None,
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

    /// Lets the thread end, after what it is at.
    ///
    /// # Errors
    /// The thread is gone.
    pub fn leave(&self) -> Result<(), WorkerGone> {
        self.jobs.send(Job::Leave).map_err(|_| WorkerGone)
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
    ports: Box<dyn Ports>,
    kernel: Option<Box<dyn Kernel>>,
    /// Packets that lack an SA are told of.
    acquires: bool,
    /// What the kernel can do, asked once.
    capabilities: Option<Capabilities>,
    engine: Engine,
    opened: OpenedKeys,
    spis: Spis,
    /// The spec of the input of this version, with the SPIs that the kernel chose.
    numbered: Option<(u64, Arc<IpsecNodeStateSpec>)>,
    record: Record,
    numbers: numbers::Record,
    hidden: hidden::Record,
    settings: Settings,
    senders: Senders,
    offloading: Offloading,
    /// Policies without which nothing may be dropped that no policy covers.
    exempt: Vec<PolicyKey>,
    /// Of the input of this version, which the engine knows.
    expanded: Option<(u64, Expanded)>,
    keying: Keying,
    /// With automatic keys: what is wanted but their SAs.
    base: Option<Base>,
}

/// What the engine isn't told.
struct Expanded {
    problems: Vec<Problem>,
    ports: Wants,
}

/// What an input of this version comes to with policies in these phases.
struct Base {
    version: u64,
    phases: Vec<Phase>,
    wanted: Wanted,
    problems: Vec<Problem>,
    ports: Wants,
}

/// Why a pass didn't come to its end.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("the files of automatic keys: {0}")]
    Ring(#[from] FileError),
    #[error("the time since boot: {0}")]
    Clock(#[from] std::io::Error),
}

impl PassError {
    fn category(&self) -> &'static str {
        match self {
            Self::Kernel(error) => error.category(),
            Self::Ring(_) => "KeyRingError",
            Self::Clock(_) => "ClockError",
        }
    }
}

/// What is wanted with automatic keys follows from what is there: so many passes follow on each other at once. More are
/// made after a moment.
const ROUNDS: usize = 8;

impl State {
    fn work(mut self, todo: &std_mpsc::Receiver<Job>, tell: &mpsc::UnboundedSender<News>) {
        while let Ok(job) = todo.recv() {
            match job {
                Job::Reopen => self.kernel = None,
                Job::Leave => {
                    self.leave();
                    let _ = tell.send(News::Left);
                    return;
                }
                Job::Pass(order) => {
                    let done = self.pass(*order, tell);
                    if tell.send(News::Done(Box::new(done))).is_err() {
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
        if let Some(record) = self.engine.take_hidden() {
            self.hidden.write(&record);
        }
        self.record_numbers(false);
        let in_sync = matches!(result, PassResult::Done { in_sync: true, .. });
        let needed = self.keying.is_needed(&input);
        let progress = self.keying.progress(&input.spec, in_sync).filter(|_| needed);
        let (confirmed, peers_through, publish, wake) = match progress {
            Some(Progress { confirmed, peers_through, publish, wake }) => {
                (Some(confirmed), peers_through, publish, wake.map(Duration::from_millis))
            }
            None if needed => (Some(false), None, None, None),
            None => (None, input.peers_through, None, None),
        };
        let report = Report {
            generation: input.generation,
            peers_through,
            confirmed,
            capabilities: self.capabilities.as_ref().map(Capabilities::names),
            allocated: self.spis.allocated(),
            policies: self.keying.policies(),
            result,
        };
        Done { report, operations, surprises, publish, wake }
    }

    fn notice(&mut self, noticed: Noticed) {
        let now = uptime();
        for event in noticed.events {
            if let Event::SaMapped { id, source, port } = event
                && self.senders.came_from(id, SocketAddr::new(source, port))
            {
                (self.expanded, self.base) = (None, None);
            }
            if let Event::Asked { reqid } = event {
                self.keying.asked(reqid);
            }
            self.engine.notice(event, now);
        }
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
    ) -> Result<Outcome, PassError> {
        let input = &self.keying.complete(input);
        let mut settings_are_open = audit;
        let acquires = makes_on_demand(&input.spec);
        if acquires != self.acquires {
            (self.acquires, self.kernel) = (acquires, None);
        }
        let kernel = match &mut self.kernel {
            Some(kernel) => kernel,
            None => {
                settings_are_open = true;
                // What happens from here on is told, and what happened before will be read.
                self.engine.distrust();
                let (kernel, watch) = (self.open)(acquires)?;
                // Nobody listens any more only when the agent ends.
                let _ = tell.send(News::Opened(watch));
                self.kernel.insert(kernel)
            }
        };
        let capabilities = match &mut self.capabilities {
            Some(capabilities) => capabilities,
            None => self.capabilities.insert(Capabilities::new(&self.release, kernel.probe()?)),
        };
        let mut refused = Vec::new();
        let spec = match &self.numbered {
            Some((version, spec)) if *version == input.version => Arc::clone(spec),
            _ => {
                (self.expanded, self.base) = (None, None);
                let (node, reported) = (&self.node, &input.allocated);
                refused = self.spis.choose(kernel.as_mut(), node, &input.spec, reported, capabilities)?;
                let spec = self.spis.number(node, &input.spec);
                self.numbered = Some((input.version, Arc::clone(&spec)));
                spec
            }
        };
        if self.offloading.devices_changed() {
            (self.expanded, self.base) = (None, None);
        }
        let result = self.numbered_pass(&Input { spec, ..input.clone() }, audit, settings_are_open);
        // The next pass leaves out what no device has taken: what is there now isn't what is wanted.
        if self.offloading.learn(&self.engine) {
            (self.expanded, self.base) = (None, None);
        }
        // The next pass chooses anew what there is no SA for.
        if result.is_err() || !refused.is_empty() {
            self.numbered = None;
        }
        let mut outcome = result?;
        outcome.in_sync &= refused.is_empty();
        outcome.problems.extend(refused);
        Ok(outcome)
    }

    /// A pass for SAs that all have their SPIs.
    fn numbered_pass(
        &mut self,
        input: &Input,
        audit: bool,
        mut settings_are_open: bool,
    ) -> Result<Outcome, PassError> {
        if self.keying.is_needed(input) {
            self.expanded = None;
            return self.keyed_pass(input, audit, settings_are_open);
        }
        self.base = None;
        // Both were there a moment ago.
        let (Some(kernel), Some(capabilities)) = (&mut self.kernel, &self.capabilities) else {
            return Ok(Outcome::default());
        };
        let expanded = match &mut self.expanded {
            Some((version, expanded)) if *version == input.version => expanded,
            stale => {
                let (keys, opened) = (Some(&self.keys), &mut self.opened);
                let (node, spec) = (&self.node, &input.spec);
                let mut fresh = expand_again(node, spec, &input.peers, keys, capabilities, opened);
                self.senders.follow(node, spec, &mut fresh);
                self.offloading.place(&mut fresh);
                let ports = Wants::of(&fresh.wanted);
                let (wanted, exempt) = exempted(&self.node, input, fresh.wanted);
                self.exempt = exempt;
                self.engine.want(wanted);
                settings_are_open = true;
                self.spis.fill(kernel.as_mut(), &mut self.engine)?;
                &mut stale.insert((input.version, Expanded { problems: fresh.problems, ports })).1
            }
        };
        if !input.block {
            self.settings.let_pass(kernel.as_mut())?;
        }
        if settings_are_open {
            self.settings.keep_thresholds(kernel.as_mut(), &self.engine)?;
        }
        let closed = expanded.ports.open(self.ports.as_mut());
        let keep = |writing: &Writing| self.numbers.write(writing);
        let mut outcome = recorded_pass(kernel.as_mut(), &self.node, &mut self.engine, audit, &keep)?;
        if input.block
            && let Err(why) = self.settings.block(kernel.as_mut(), &self.engine, &self.exempt)?
        {
            outcome.in_sync = false;
            outcome.problems.push(not_blocked(&self.node, &why));
        }
        if outcome.in_sync {
            expanded.ports.close(self.ports.as_mut());
        }
        outcome.in_sync &= closed.is_empty();
        let mut problems = input.problems.clone();
        problems.extend(expanded.problems.iter().cloned());
        problems.extend(outcome.problems);
        problems.extend(closed);
        Ok(Outcome { problems, ..outcome })
    }

    /// A pass with automatic keys: what they want of the kernel, until they want nothing more.
    fn keyed_pass(
        &mut self,
        input: &Input,
        audit: bool,
        mut settings_are_open: bool,
    ) -> Result<Outcome, PassError> {
        let Self {
            node,
            keys,
            kernel,
            capabilities,
            engine,
            opened,
            spis,
            keying,
            base,
            settings,
            senders,
            offloading,
            exempt,
            ports,
            numbers,
            ..
        } = self;
        // Both were there a moment ago.
        let (Some(kernel), Some(capabilities)) = (kernel.as_deref_mut(), capabilities.as_ref()) else {
            return Ok(Outcome::default());
        };
        if !keying.runs(input) && keying.can_start(input) {
            read_everything(kernel, engine)?;
            keying.start(input, keys, engine, capabilities, Time(host::since_boot()?));
        }
        keying.take(input, keys, capabilities, Time(host::since_boot()?));
        if !input.block {
            settings.let_pass(kernel)?;
        }
        let mut total = Outcome::default();
        for round in 0..ROUNDS {
            keying.save()?;
            let (spec, shape) = (keying.spec(&input.spec), keying.shape(&input.spec));
            let phases: Vec<Phase> = spec.policies.iter().map(|policy| policy.phase).collect();
            let base = match &mut *base {
                Some(base) if base.version == input.version && base.phases == phases => base,
                stale => {
                    let mut fresh = expand_again(node, &spec, &input.peers, Some(keys), capabilities, opened);
                    senders.follow(node, &spec, &mut fresh);
                    offloading.place(&mut fresh);
                    let ports = Wants::of(&fresh.wanted);
                    let (wanted, now_exempt) = exempted(node, input, fresh.wanted);
                    (*exempt, settings_are_open) = (now_exempt, true);
                    let (version, problems) = (input.version, fresh.problems);
                    stale.insert(Base { version, phases, wanted, problems, ports })
                }
            };
            let mut wanted = base.wanted.clone();
            let of_keys = keying.want(input, engine, capabilities, &mut wanted);
            engine.want(wanted);
            spis.fill(kernel, engine)?;
            if std::mem::take(&mut settings_are_open) {
                settings.keep_thresholds(kernel, engine)?;
            }
            let closed = base.ports.open(ports.as_mut());
            keying.intend(&spec, &input.peers)?;
            let keep = |writing: &Writing| numbers.write(writing);
            let result = recorded_pass(kernel, node, engine, audit && round == 0, &keep);
            keying.passed(engine, &spec, &input.peers, result.is_ok());
            let outcome = result?;
            let mut problems = input.problems.clone();
            problems.extend(base.problems.iter().cloned());
            problems.extend(of_keys);
            problems.extend(outcome.problems.into_iter().filter_map(of_policy));
            let all_open = closed.is_empty();
            problems.extend(closed);
            total = Outcome {
                problems,
                operations: total.operations + outcome.operations,
                surprises: total.surprises + outcome.surprises,
                ..outcome
            };
            if keying.shape(&input.spec) == shape {
                keying.save()?;
                if input.block
                    && let Err(why) = settings.block(kernel, engine, exempt)?
                {
                    total.in_sync = false;
                    total.problems.push(not_blocked(node, &why));
                }
                if total.in_sync {
                    base.ports.close(ports.as_mut());
                }
                total.in_sync &= all_open;
                return Ok(total);
            }
        }
        Ok(Outcome { in_sync: false, ..total })
    }
}

/// Some policy's SAs are made when a packet asks for one.
fn makes_on_demand(spec: &IpsecNodeStateSpec) -> bool {
    spec.policies.iter().filter_map(|policy| policy.automatic.as_ref()).any(|keying| keying.on_demand)
}

/// What is wanted with what must pass whatever is wanted; the names of what must pass a default action that blocks.
fn exempted(node: &str, input: &Input, mut wanted: Wanted) -> (Wanted, Vec<PolicyKey>) {
    let api_server = &input.api_server;
    let mut exempt = uncovered(api_server, &wanted.policies);
    let (mut keys, mut through) = (Vec::new(), Vec::new());
    if input.block {
        let own = own_addresses(node, input);
        exempt.extend(exemptions(api_server, own.iter().copied()));
        exempt.extend(keepalives(&wanted.sas));
        exempt.extend(path_mtu(&wanted.policies, &own));
        keys = exempt.iter().map(Policy::key).collect();
        through = passing_through(&wanted.policies, &own);
    }
    // Of two with one name the first counts.
    let exempt = exempt.into_iter().map(|policy| (String::new(), policy));
    wanted.policies = exempt.chain(wanted.policies).chain(through).collect();
    (wanted, keys)
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
