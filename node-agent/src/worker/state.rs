//! The thread's own: what it knows, and how one pass follows on another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self as std_mpsc, RecvTimeoutError};
use std::time::Duration;

use esplanade_crds::{IpsecNodeStateSpec, Problem};
use esplanade_diff::{Memory, Writing};
use esplanade_expand::{OpenedKeys, expand_again};
use esplanade_model::{Capabilities, Event, PolicyKey, Wanted};
use esplanade_seal::KeyPair;
use esplanade_sync::Engine;
use esplanade_xfrm::{Kernel, KernelError, Noticed};
use tokio::sync::mpsc;

use super::{Done, Job, News, Open, Order, Recorded};
use crate::boot;
use crate::desired::Input;
use crate::disturbance::{Disturbances, Moment};
use crate::hidden;
use crate::host;
use crate::keying::{Keying, Progress};
use crate::mapping::Senders;
use crate::numbers;
use crate::offload::Offloading;
use crate::pass::{Outcome, recorded_pass, uptime};
use crate::ports::{Ports, Wants};
use crate::settings::Settings;
use crate::spis::Spis;
use crate::state_file::FileError;
use crate::status::{PassResult, Report};
use crate::wear::Record;

mod exempt;
mod keyed;
mod plain;
mod record;

use exempt::{exempted, not_blocked};
use keyed::Base;

/// The thread's own.
pub(super) struct State {
    node: String,
    release: String,
    keys: KeyPair,
    open: Open,
    ports: Box<dyn Ports>,
    kernel: Option<Box<dyn Kernel>>,
    /// Packets that lack an SA are told of.
    acquires: bool,
    /// What the kernel can do, asked once.
    capabilities: Option<Arc<Capabilities>>,
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
    boot: boot::Record,
    offloading: Offloading,
    /// Policies without which nothing may be dropped that no policy covers.
    exempt: Vec<PolicyKey>,
    /// Of the input of this version, which the engine knows.
    expanded: Option<(u64, Arc<Expanded>)>,
    keying: Keying,
    /// With automatic keys: what is wanted but their SAs.
    base: Option<Base>,
    disturbances: Disturbances,
}

/// How often the kernel is asked what it has dropped, if nothing happens: so much too much is told at most when something does.
const LOOK: Duration = Duration::from_secs(10);

/// What a spec comes to that the engine isn't told.
struct Expanded {
    problems: Vec<Problem>,
    ports: Wants,
}

/// What a pass has to do with.
struct Turn<'a> {
    kernel: &'a mut dyn Kernel,
    capabilities: &'a Capabilities,
    /// Everything is to be read, whatever is known.
    audit: bool,
    /// Whether the kernel's hash thresholds fit what is wanted has to be seen.
    settings_are_open: bool,
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

impl State {
    pub(super) fn new(
        (node, release): (&str, &str),
        keys: KeyPair,
        recorded: Recorded,
        keying: Keying,
        open: Open,
        ports: Box<dyn Ports>,
    ) -> Self {
        let Recorded { worn, numbers, hidden, settings, senders, boot } = recorded;
        Self {
            node: node.to_owned(),
            release: release.to_owned(),
            keys,
            open,
            ports,
            kernel: None,
            acquires: false,
            capabilities: None,
            engine: Engine::new(Memory::new(worn.0, numbers.0)).with_hidden(hidden.0),
            record: worn.1,
            numbers: numbers.1,
            hidden: hidden.1,
            settings,
            senders,
            boot,
            offloading: Offloading::default(),
            exempt: Vec::new(),
            opened: OpenedKeys::default(),
            spis: Spis::default(),
            numbered: None,
            expanded: None,
            keying,
            base: None,
            disturbances: Disturbances::default(),
        }
    }

    pub(super) fn work(mut self, todo: &std_mpsc::Receiver<Job>, tell: &mpsc::UnboundedSender<News>) {
        self.look();
        loop {
            let job = match todo.recv_timeout(LOOK) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => {
                    self.look();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
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

    /// At what the kernel has dropped.
    fn look(&mut self) {
        self.disturbances.looked(moment(), host::dropped().ok());
    }

    fn pass(&mut self, order: Order, tell: &mpsc::UnboundedSender<News>) -> Done {
        let Order { input, reasons } = order;
        let began = moment();
        let audit = reasons.audit;
        self.notice(reasons.noticed);
        let tried = self.try_pass(&input, audit, tell);
        let ended = moment();
        let (result, operations, surprises, losses) = match tried {
            Ok(Outcome { problems, counts, operations, in_sync, surprises, losses }) => {
                (PassResult::Done { counts, problems, in_sync }, operations, surprises, losses)
            }
            Err(error) => {
                let result = PassResult::Failed { category: error.category(), message: error.to_string() };
                (result, 0, 0, self.engine.take_losses())
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
        let dropped = host::dropped().ok();
        self.disturbances.passed((began, ended), losses, in_sync, !input.block, dropped);
        let needed = self.keying.is_needed(&input);
        let progress = self.keying.progress(&input.spec, in_sync).filter(|_| needed);
        let (confirmed, peers_through, publish, wake) = match progress {
            Some(Progress { confirmed, peers_through, publish, wake }) => {
                (Some(confirmed), peers_through, publish, wake.map(Duration::from_millis))
            }
            None if needed => (Some(false), None, None, None),
            None => (None, input.peers_through, None, None),
        };
        let again = needed && !losses.is_empty();
        let wake = wake.into_iter().chain(self.disturbances.due(ended.0)).min();
        let report = Report {
            uid: input.uid.clone(),
            generation: input.generation,
            peers_through,
            confirmed,
            capabilities: self.capabilities.as_deref().map(Capabilities::names),
            allocated: self.spis.allocated(),
            policies: self.keying.policies(),
            disturbance: self.disturbances.told().cloned(),
            result,
        };
        Done { report, operations, surprises, losses, publish, again, wake }
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
        let acquires = makes_on_demand(&input.spec);
        if acquires != self.acquires {
            (self.acquires, self.kernel) = (acquires, None);
        }
        let mut settings_are_open = audit;
        // After a pass that fails it isn't put back: a socket that failed isn't used again.
        let mut kernel = match self.kernel.take() {
            Some(kernel) => kernel,
            None => {
                settings_are_open = true;
                // What happens from here on is told, and what happened before will be read.
                self.engine.distrust();
                let (kernel, watch) = (self.open)(acquires)?;
                // Nobody listens any more only when the agent ends.
                let _ = tell.send(News::Opened(watch));
                kernel
            }
        };
        let capabilities = match &self.capabilities {
            Some(capabilities) => Arc::clone(capabilities),
            None => Arc::new(Capabilities::new(&self.release, kernel.probe()?)),
        };
        self.capabilities = Some(Arc::clone(&capabilities));
        let mut turn =
            Turn { kernel: kernel.as_mut(), capabilities: &capabilities, audit, settings_are_open };
        let mut refused = Vec::new();
        let spec = match &self.numbered {
            Some((version, spec)) if *version == input.version => Arc::clone(spec),
            _ => {
                (self.expanded, self.base) = (None, None);
                let (node, reported) = (&self.node, &input.allocated);
                refused = self.spis.choose(turn.kernel, node, &input.spec, reported, &capabilities)?;
                let spec = self.spis.number(node, &input.spec);
                self.numbered = Some((input.version, Arc::clone(&spec)));
                spec
            }
        };
        if self.offloading.devices_changed() {
            (self.expanded, self.base) = (None, None);
        }
        let result = self.numbered_pass(&Input { spec, ..input.clone() }, &mut turn);
        // The next pass leaves out what no device has taken: what is there now isn't what is wanted.
        if self.offloading.learn(&self.engine) {
            (self.expanded, self.base) = (None, None);
        }
        // The next pass chooses anew what there is no SA for.
        if result.is_err() || !refused.is_empty() {
            self.numbered = None;
        }
        let mut outcome = result?;
        self.kernel = Some(kernel);
        outcome.in_sync &= refused.is_empty();
        outcome.problems.extend(refused);
        Ok(outcome)
    }

    /// A pass for SAs that all have their SPIs.
    fn numbered_pass(&mut self, input: &Input, turn: &mut Turn<'_>) -> Result<Outcome, PassError> {
        if !input.block {
            self.settings.let_pass(turn.kernel)?;
        }
        if self.keying.is_needed(input) {
            self.expanded = None;
            self.keyed_pass(input, turn)
        } else {
            self.base = None;
            Ok(self.plain_pass(input, turn)?)
        }
    }

    /// What this spec comes to, with what must pass whatever is wanted.
    fn expand(
        &mut self,
        input: &Input,
        spec: &IpsecNodeStateSpec,
        capabilities: &Capabilities,
    ) -> (Wanted, Arc<Expanded>) {
        let (node, keys) = (&self.node, Some(&self.keys));
        let mut fresh = expand_again(node, spec, &input.peers, keys, capabilities, &mut self.opened);
        self.senders.follow(node, spec, &mut fresh);
        self.offloading.place(&mut fresh);
        let ports = Wants::of(&fresh.wanted);
        let (wanted, exempt) = exempted(node, input, fresh.wanted);
        self.exempt = exempt;
        self.boot.note(&wanted.policies);
        (wanted, Arc::new(Expanded { problems: fresh.problems, ports }))
    }

    fn keep_thresholds(&mut self, turn: &mut Turn<'_>) -> Result<(), KernelError> {
        if std::mem::take(&mut turn.settings_are_open) {
            self.settings.keep_thresholds(turn.kernel, &self.engine)?;
        }
        Ok(())
    }

    /// Brings the kernel to what the engine wants.
    fn write(&mut self, turn: &mut Turn<'_>) -> Result<Outcome, KernelError> {
        let audit = std::mem::take(&mut turn.audit);
        let keep = |writing: &Writing| self.numbers.write(writing);
        recorded_pass(turn.kernel, &self.node, &mut self.engine, audit, &keep)
    }

    /// What is done last, once nothing else is to be written: blocking what no policy covers, and closing ports.
    fn finish(
        &mut self,
        input: &Input,
        wants: &Wants,
        turn: &mut Turn<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), KernelError> {
        if input.block
            && let Err(why) = self.settings.block(turn.kernel, &self.engine, &self.exempt)?
        {
            outcome.in_sync = false;
            outcome.problems.push(not_blocked(&self.node, &why));
        }
        if outcome.in_sync {
            wants.close(self.ports.as_mut());
        }
        Ok(())
    }
}

fn moment() -> Moment {
    (uptime(), jiff::Timestamp::now())
}

/// Some policy's SAs are made when a packet asks for one.
fn makes_on_demand(spec: &IpsecNodeStateSpec) -> bool {
    spec.policies.iter().filter_map(|policy| policy.automatic.as_ref()).any(|keying| keying.on_demand)
}
