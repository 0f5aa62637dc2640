//! The agent's kernel layer as the agent runs it, with the time at which the kernel has everything.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use esplanade_model::{Op, PolicyKey, Reader, Refusal, SaId};
use esplanade_node_agent::pass;
use esplanade_sync::Engine;
use esplanade_xfrm::{Databases, Events, KernelError, Netlink, Watch};

/// The layer on the kernel of this thread's network namespace.
pub struct Layer {
    /// What decides.
    pub engine: Engine,
    /// Tells of others' changes.
    pub watch: Events,
    kernel: Timed,
}

/// What a pass took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// Until the kernel had answered the last operation; until the end where there was none.
    pub written: Duration,
    /// Until it was read back.
    pub whole: Duration,
    /// Operations.
    pub operations: usize,
}

impl Layer {
    /// Opens the kernel.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn open() -> Result<Self> {
        let kernel = Netlink::open()?;
        let watch = kernel.watch()?;
        Ok(Self { engine: Engine::default(), watch, kernel: Timed { kernel, written: None } })
    }

    /// A pass, after `prepare` told the engine what is new.
    ///
    /// # Errors
    /// The kernel refused something, or something is left to do.
    pub fn pass(&mut self, audit: bool, prepare: impl FnOnce(&mut Engine)) -> Result<Took> {
        self.kernel.written = None;
        let start = Instant::now();
        prepare(&mut self.engine);
        let outcome = pass::pass(&mut self.kernel, "bench", &mut self.engine, audit)?;
        let whole = start.elapsed();
        let problem = outcome.problems.first().map(|problem| problem.message.clone());
        ensure!(problem.is_none(), "the kernel refused an operation: {}", problem.unwrap_or_default());
        ensure!(outcome.in_sync, "the kernel shows something else than what was written");
        ensure!(outcome.surprises == 0, "the kernel changed by itself");
        let written = self.kernel.written.map_or(whole, |at| at - start);
        Ok(Took { written, whole, operations: outcome.operations })
    }

    /// Takes in what others did, as the agent does before each pass.
    ///
    /// # Errors
    /// The socket is broken, or events were lost.
    pub fn notice(&mut self) -> Result<usize> {
        let noticed = self.watch.look().context("looking at events")?;
        ensure!(!noticed.overrun, "events were lost");
        let count = noticed.events.len();
        noticed.events.into_iter().for_each(|event| self.engine.notice(event, Duration::ZERO));
        Ok(count)
    }
}

/// A kernel, and when it had last answered operations.
struct Timed {
    kernel: Netlink,
    written: Option<Instant>,
}

impl Databases for Timed {
    fn read(&mut self, reader: &mut dyn Reader) -> Result<(), KernelError> {
        self.kernel.read(reader)
    }

    fn look_up(
        &mut self,
        sas: &[SaId],
        policies: &[PolicyKey],
        reader: &mut dyn Reader,
    ) -> Result<(), KernelError> {
        self.kernel.look_up(sas, policies, reader)
    }

    fn carry_out(&mut self, ops: &mut dyn Iterator<Item = Op>) -> Result<Vec<(usize, Refusal)>, KernelError> {
        let refusals = self.kernel.carry_out(ops)?;
        self.written = Some(Instant::now());
        Ok(refusals)
    }
}
