//! A kernel in memory that behaves like the real one in what we use of it; the suite in `tests/` runs against both.
//!
//! [`FakeKernel`] is a handle: clones share one kernel, so that a test can look at, disturb and watch the one that an
//! agent works on.

mod check;
mod databases;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use esplanade_model::{
    Action, Capability, DefaultActions, Event, Observed, Op, PolicyKey, Reader, Refusal, ReplayState, Reqid,
    Sa, SaId, SaRecord, Spi, Thresholds, Unnumbered, Used, WantedSa,
};

use crate::{Kernel, KernelError, PolicySettings};
use databases::Databases;
pub use databases::{ForeignPolicy, ForeignSa};
pub use watch::FakeWatch;

/// A handle on a kernel in memory.
#[derive(Debug, Clone, Default)]
pub struct FakeKernel(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    databases: Databases,
    thresholds: Thresholds,
    default_actions: Defaults,
    refused_sas: BTreeMap<SaId, Refusal>,
    refused_policies: BTreeMap<PolicyKey, Refusal>,
    failures: Vec<KernelError>,
    watchers: Vec<watch::Sender>,
    losing: bool,
    log: Vec<Op>,
}

/// What becomes of packets that no policy covers; none on a kernel that can't do anything else than let them pass.
#[derive(Debug)]
struct Defaults(Option<DefaultActions>);

impl Default for Defaults {
    fn default() -> Self {
        Self(Some(DefaultActions::all(Action::Allow)))
    }
}

impl FakeKernel {
    /// A kernel with empty databases.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A test that panicked elsewhere says so itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it answers, unless that is to fail.
    fn answer<T>(&self, answer: impl FnOnce(&mut Inner) -> T) -> Result<T, KernelError> {
        let mut inner = self.lock();
        match inner.failures.pop() {
            Some(error) => Err(error),
            None => Ok(answer(&mut inner)),
        }
    }

    /// Changes the databases as somebody else would: watchers hear of it, unless that is [`Self::losing`].
    fn disturb<T>(&self, event: Event, change: impl FnOnce(&mut Databases) -> T) -> T {
        let mut inner = self.lock();
        let result = change(&mut inner.databases);
        inner.tell(event);
        result
    }

    /// From now on (or no more) watchers don't hear of what somebody else does, nor that they don't: what a kernel never
    /// does.
    pub fn losing(&self, events: bool) {
        self.lock().losing = events;
    }

    /// What a dump shows.
    pub fn observed(&self) -> Observed {
        self.lock().databases.observed()
    }

    /// The operations carried out so far, refused ones not counted.
    pub fn log(&self) -> Vec<Op> {
        self.lock().log.clone()
    }

    /// Tells of what somebody else does: the functions here that say so. Operations are the agent's own.
    ///
    /// # Errors
    /// No more file descriptors.
    pub fn watch(&self) -> Result<FakeWatch, KernelError> {
        let (sender, watch) = watch::pair()?;
        self.lock().watchers.push(sender);
        Ok(watch)
    }

    /// Tells watchers that events were lost.
    pub fn overrun(&self) {
        self.lock().watchers.retain(watch::Sender::overrun);
    }

    /// A packet that a policy with this reqid wants to protect has no SA.
    pub fn ask(&self, reqid: Reqid) {
        self.lock().tell(Event::Asked { reqid });
    }

    /// Somebody else adds an SA.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn insert_foreign_sa(&self, sa: ForeignSa) -> Result<(), Refusal> {
        self.disturb(Event::Sa(sa.id), |databases| databases.add_foreign_sa(sa))
    }

    /// Somebody else adds a policy; returns its index.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn insert_foreign_policy(&self, policy: ForeignPolicy) -> Result<u32, Refusal> {
        self.disturb(Event::Policy(policy.key), |databases| databases.add_foreign_policy(policy))
    }

    /// What others put there, as it is now.
    pub fn foreign(&self) -> (Vec<ForeignSa>, Vec<(u32, ForeignPolicy)>) {
        self.lock().databases.foreign()
    }

    /// Somebody else deletes an SA; tells whether there was one.
    pub fn remove_sa(&self, id: SaId) -> bool {
        let mut inner = self.lock();
        let record = inner.databases.remove_sa(id);
        let there = record.is_some();
        inner.tell(match record {
            Some(SaRecord::Ours(last)) => Event::SaEnded(last),
            _ => Event::Sa(id),
        });
        there
    }

    /// Its time is over (net.core.xfrm_acq_expires): larval SAs go.
    pub fn expire_larval_sas(&self) {
        self.lock().databases.remove_larval_sas();
    }

    /// From now on all SPIs are taken that it may choose from.
    pub fn leave_no_spi(&self) {
        self.lock().databases.no_spi_left = true;
    }

    /// How many larval SAs there are.
    pub fn larval_sas(&self) -> usize {
        self.lock().databases.larval_sas()
    }

    /// The SA has reached its soft lifetime; tells whether there is one.
    pub fn warn_of_sa(&self, id: SaId) -> bool {
        let there = self.observed().sas.into_iter().find(|sa| sa.id == id);
        if let Some(sa) = &there {
            self.lock().tell(Event::SaExpired { id, hard: false, used: sa.used });
        }
        there.is_some()
    }

    /// The SA's hard lifetime ends, and with it the SA; tells whether there was one.
    pub fn expire_sa(&self, id: SaId) -> bool {
        let mut inner = self.lock();
        let Some(SaRecord::Ours(last)) = inner.databases.remove_sa(id) else { return false };
        inner.tell(Event::SaExpired { id, hard: true, used: last.used });
        true
    }

    /// Somebody else deletes a policy; tells whether there was one.
    pub fn remove_policy(&self, key: PolicyKey) -> bool {
        self.disturb(Event::Policy(key), |databases| databases.remove_policy(key))
    }

    /// Somebody else flushes both databases.
    pub fn flush(&self) {
        self.disturb(Event::Flushed, Databases::flush);
    }

    /// Somebody else puts another SA of ours in the place of one: none is an SA that we could not have written.
    /// Tells whether there was one.
    pub fn replace_sa(&self, id: SaId, sa: Option<Sa>) -> bool {
        self.disturb(Event::Sa(id), |databases| databases.replace_sa(id, sa))
    }

    /// Traffic: sets an SA's sequence numbers, and counts as many packets of 100 bytes. Tells whether there is such an SA. Watchers hear nothing of it.
    pub fn count_traffic(&self, id: SaId, sent: u64, received: u64) -> bool {
        self.lock().databases.count_traffic(id, sent, received)
    }

    /// From now on the kernel can't do this.
    pub fn without(&self, capability: Capability) {
        self.lock().databases.missing.insert(capability);
    }

    /// From now on the kernel shows zeroes in place of keys, as under lockdown.
    pub fn lock_down(&self) {
        self.lock().databases.hides_keys = true;
    }

    /// An SA of ours, with its keys whatever the kernel shows.
    pub fn sa(&self, id: SaId) -> Option<Sa> {
        self.lock().databases.sa(id)
    }

    /// From now on the kernel is one from before Linux 5.15: it knows of no SETDEFAULT.
    pub fn without_default_actions(&self) {
        self.lock().default_actions = Defaults(None);
    }

    /// From now on operations on this SA are refused.
    pub fn refuse_sa(&self, id: SaId, refusal: Refusal) {
        self.lock().refused_sas.insert(id, refusal);
    }

    /// From now on operations on this policy are refused.
    pub fn refuse_policy(&self, key: PolicyKey, refusal: Refusal) {
        self.lock().refused_policies.insert(key, refusal);
    }

    /// Ends [`Self::refuse_sa`] and [`Self::refuse_policy`].
    pub fn refuse_nothing(&self) {
        let mut inner = self.lock();
        inner.refused_sas.clear();
        inner.refused_policies.clear();
    }

    /// The next call of [`Kernel`]'s functions fails, and does nothing.
    pub fn fail_next(&self, error: KernelError) {
        self.lock().failures.insert(0, error);
    }
}

impl Inner {
    fn tell(&mut self, event: Event) {
        if !self.losing {
            self.watchers.retain(|watcher| watcher.changed(event.clone()));
        }
    }

    fn injected(&self, op: &Op) -> Option<Refusal> {
        let sa = |id: &SaId| self.refused_sas.get(id);
        let policy = |key: &PolicyKey| self.refused_policies.get(key);
        match op {
            Op::AddInbound { sa: added, .. } => sa(&added.0.id()),
            Op::AddOutbound { sa: added, .. } => sa(&added.0.id()),
            Op::FillSa { sa: filled, .. } => sa(&filled.0.id()),
            Op::UpdateSa(wanted) | Op::SetReplayState { sa: wanted, .. } => sa(&wanted.sa().id()),
            Op::DeleteSa(id, _) => sa(id),
            Op::AddPolicy { policy: added, .. } | Op::UpdatePolicy { policy: added, .. } => {
                policy(&added.key())
            }
            Op::Migrate { key, .. } => policy(key),
            Op::DeletePolicy { index, .. } => {
                self.databases.policy_key(index.get()).as_ref().and_then(policy)
            }
        }
        .cloned()
    }

    fn carry_out(&mut self, op: &Op) -> Result<(), Refusal> {
        if let Some(refusal) = self.injected(op) {
            return Err(refusal);
        }
        self.databases.carry_out(op)?;
        self.log.push(op.clone());
        Ok(())
    }
}

impl crate::Databases for FakeKernel {
    fn read(&mut self, reader: &mut dyn Reader) -> Result<(), KernelError> {
        self.answer(|inner| inner.databases.read(reader))
    }

    fn look_up(
        &mut self,
        sas: &[SaId],
        policies: &[PolicyKey],
        reader: &mut dyn Reader,
    ) -> Result<(), KernelError> {
        self.answer(|inner| inner.databases.look_up(sas, policies, reader))
    }

    fn carry_out(&mut self, ops: &mut dyn Iterator<Item = Op>) -> Result<Vec<(usize, Refusal)>, KernelError> {
        self.answer(|inner| {
            ops.enumerate().filter_map(|(at, op)| Some((at, inner.carry_out(&op).err()?))).collect()
        })
    }
}

impl PolicySettings for FakeKernel {
    fn thresholds(&mut self) -> Result<Thresholds, KernelError> {
        self.answer(|inner| inner.thresholds)
    }

    fn set_thresholds(&mut self, thresholds: Thresholds) -> Result<Result<(), Refusal>, KernelError> {
        self.answer(|inner| {
            check::thresholds(thresholds)?;
            inner.thresholds = thresholds;
            Ok(())
        })
    }

    fn default_actions(&mut self) -> Result<Option<DefaultActions>, KernelError> {
        self.answer(|inner| inner.default_actions.0)
    }

    fn set_default_actions(&mut self, actions: DefaultActions) -> Result<Result<(), Refusal>, KernelError> {
        self.answer(|inner| {
            // The kernel tells everyone, whoever asked.
            inner.watchers.retain(watch::Sender::something);
            let there = inner.default_actions.0.as_mut().ok_or_else(|| check::refusal(libc::EINVAL, None))?;
            *there = actions;
            Ok(())
        })
    }
}

impl Kernel for FakeKernel {
    fn probe(&mut self) -> Result<BTreeSet<Capability>, KernelError> {
        self.answer(|inner| inner.databases.capabilities().collect())
    }

    fn allocate_spi(&mut self, sa: &Unnumbered) -> Result<Result<Spi, Refusal>, KernelError> {
        self.answer(|inner| inner.databases.allocate_spi(sa))
    }

    fn replay_state(&mut self, sa: &WantedSa) -> Result<Option<(ReplayState, Used)>, KernelError> {
        self.answer(|inner| inner.databases.state(sa))
    }
}

#[cfg(test)]
mod tests;
