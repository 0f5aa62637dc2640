//! A pass, and what is told of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use esplanade_crds::IpsecNodeStateSpec;
use esplanade_model::{Capabilities, Event};
use esplanade_xfrm::{Kernel, KernelError, Noticed};
use tokio::sync::mpsc;

use super::{State, moment};
use crate::desired::Input;
use crate::host;
use crate::keying::Progress;
use crate::pass::{Outcome, uptime};
use crate::state_file::FileError;
use crate::status::{PassResult, Report};
use crate::worker::{Done, News, Order};

/// What a pass has to do with.
pub(super) struct Turn<'a> {
    pub(super) kernel: &'a mut dyn Kernel,
    pub(super) capabilities: &'a Capabilities,
    /// Everything is to be read, whatever is known.
    pub(super) audit: bool,
    /// Whether the kernel's hash thresholds fit what is wanted has to be seen.
    pub(super) settings_are_open: bool,
}

/// Why a pass didn't come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum PassError {
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
    pub(super) fn pass(&mut self, order: Order, tell: &mpsc::UnboundedSender<News>) -> Done {
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
        let dropped = || host::dropped().ok();
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
}

/// Some policy's SAs are made when a packet asks for one.
fn makes_on_demand(spec: &IpsecNodeStateSpec) -> bool {
    spec.policies.iter().filter_map(|policy| policy.automatic.as_ref()).any(|keying| keying.on_demand)
}
