//! What the agent needs of a kernel.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd};

use esplanade_model::{
    Capability, DefaultActions, Event, Observed, Op, PolicyKey, Reader, Refusal, ReplayState, SaId, Spi,
    Thresholds, Unnumbered, Used, WantedSa,
};

use crate::KernelError;
use crate::wire::Observer;

/// The XFRM databases of one network namespace.
pub trait Databases: Send {
    /// Reads both databases, SAs first.
    ///
    /// # Errors
    /// They could not be read as a whole: what the reader was told counts for nothing.
    fn read(&mut self, reader: &mut dyn Reader) -> Result<(), KernelError>;

    /// Reads these SAs and policies, whoever's they are. The reader is told of each, there or not.
    ///
    /// # Errors
    /// As for [`Databases::read`].
    fn look_up(
        &mut self,
        sas: &[SaId],
        policies: &[PolicyKey],
        reader: &mut dyn Reader,
    ) -> Result<(), KernelError>;

    /// Carries the operations out in order; the ones after a refused one too. Returns the refusals, each with the place of
    /// its operation, in order. Deleting what isn't there is a success.
    ///
    /// # Errors
    /// The kernel could not be asked, or its answers were lost: some of the operations may have been carried out. Read
    /// the databases again.
    fn carry_out(&mut self, ops: &mut dyn Iterator<Item = Op>) -> Result<Vec<(usize, Refusal)>, KernelError>;

    /// All of both databases.
    ///
    /// # Errors
    /// As for [`Databases::read`].
    fn dump(&mut self) -> Result<Observed, KernelError> {
        let mut observer = Observer::default();
        self.read(&mut observer)?;
        Ok(observer.finish())
    }

    /// [`Databases::carry_out`] with one result for each operation, in their order.
    ///
    /// # Errors
    /// As for [`Databases::carry_out`].
    fn apply(&mut self, ops: &[Op]) -> Result<Vec<Result<(), Refusal>>, KernelError> {
        let mut results = vec![Ok(()); ops.len()];
        for (at, refusal) in self.carry_out(&mut ops.iter().cloned())? {
            if let Some(result) = results.get_mut(at) {
                *result = Err(refusal);
            }
        }
        Ok(results)
    }
}

/// What a kernel does with all policies of one network namespace.
pub trait PolicySettings {
    /// Which policies the kernel hashes (GETSPDINFO): what it was told last, also where it isn't done with that yet.
    ///
    /// # Errors
    /// It could not be asked.
    fn thresholds(&mut self) -> Result<Thresholds, KernelError>;

    /// Has the kernel hash other policies (NEWSPDINFO); what it refuses changes nothing. It arranges all that are there anew,
    /// at a time of its own choosing.
    ///
    /// # Errors
    /// It could not be asked.
    fn set_thresholds(&mut self, thresholds: Thresholds) -> Result<Result<(), Refusal>, KernelError>;

    /// What becomes of packets that no policy covers (GETDEFAULT); none where the kernel doesn't know the question, before
    /// Linux 5.15: it lets them pass.
    ///
    /// # Errors
    /// It could not be asked.
    fn default_actions(&mut self) -> Result<Option<DefaultActions>, KernelError>;

    /// Has the kernel do something else with them from now on (SETDEFAULT).
    ///
    /// # Errors
    /// It could not be asked.
    fn set_default_actions(&mut self, actions: DefaultActions) -> Result<Result<(), Refusal>, KernelError>;
}

/// All that the agent needs of a kernel. After an error open it afresh: what the failed socket still holds, or has the
/// kernel do (a dump that nobody reads on), would stand in the way of the next request.
pub trait Kernel: Databases + PolicySettings {
    /// Asks what the kernel can do. Nothing changes by it but that it may load modules; a missing one costs it a
    /// modprobe under the lock that all changes take, so ask once.
    ///
    /// # Errors
    /// It could not be asked.
    fn probe(&mut self) -> Result<BTreeSet<Capability>, KernelError>;

    /// Lets the kernel choose an SPI (ALLOCSPI). It keeps it by a larval SA, which stays for 30 s
    /// (net.core.xfrm_acq_expires) unless [`Op::FillSa`] puts the SA in its place.
    ///
    /// # Errors
    /// The kernel could not be asked; or, inside, it refused.
    fn allocate_spi(&mut self, sa: &Unnumbered) -> Result<Result<Spi, Refusal>, KernelError>;

    /// Where an SA is, and what of its lifetime is used up (GETAE); none where there is no such SA. No keys come with it, and
    /// it finds an SA by its mark.
    ///
    /// # Errors
    /// It could not be asked.
    fn replay_state(&mut self, sa: &WantedSa) -> Result<Option<(ReplayState, Used)>, KernelError>;
}

/// What happened to the databases since the last look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Noticed {
    /// Somebody else than our [`Kernel`] changed something.
    pub changed: bool,
    /// Events were lost: anything may have changed.
    pub overrun: bool,
    /// What they changed, as far as it can be of interest, in order.
    pub events: Vec<Event>,
}

impl Noticed {
    /// There is something to be looked at.
    pub fn is_news(&self) -> bool {
        self.changed || self.overrun
    }

    /// A packet waits for something.
    pub fn is_urgent(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Asked { .. }))
    }
}

/// Tells of changes. Its file descriptor is non-blocking, and readable when there is something to look at.
pub trait Watch: AsFd + AsRawFd + Send {
    /// Takes in all that is there to be read; never blocks. If that has no end, it is an overrun: what is left unread is
    /// older than anything read from then on, so waiting for what comes next misses nothing.
    ///
    /// # Errors
    /// The socket is broken: open it afresh.
    fn look(&mut self) -> Result<Noticed, KernelError>;
}
