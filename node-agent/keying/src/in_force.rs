//! How far a node's kernel has each revision of a policy: what it is told, but clear text isn't given up before what is
//! sent instead arrives, and doesn't come back unless the policy is switched off.

use esplanade_crds::{Phase, PhaseTarget};

/// A revision as a node is told of it, or was: `IpsecNodeState.spec.policies[]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said<'a> {
    /// `uid`: the IpsecPolicy's.
    pub uid: &'a str,
    /// `target`: where it is to end.
    pub target: PhaseTarget,
    /// `phase`: where it is told to be.
    pub phase: Phase,
    /// Where the kernel has it; none before the first pass with it.
    pub reached: Option<Phase>,
}

/// What becomes of a revision that the kernel has and that the node is told of no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untold {
    /// It goes.
    Goes,
    /// It stays as it is: nobody has said that it is to be switched off, or what comes in its place isn't there yet.
    Stays,
    /// It is switched off with the policy's other revisions, and is now to be here.
    SwitchedOff(Phase),
}

impl Said<'_> {
    /// As it is now, before what is to come in its place.
    fn is_there(&self) -> bool {
        let end = self.target.phase().filter(|end| *end > Phase::Prepare);
        end.is_some() && self.reached >= end
    }

    /// What becomes of it, now that the node is told of these revisions of policies of its name, and not of this one.
    pub fn untold(&self, told: &[Said<'_>]) -> Untold {
        // Whoever is where it leads knows that all others send by it, if that is further than Encrypt: what they sent by this
        // one must arrive until then.
        if told.iter().any(Said::is_there) {
            return Untold::Goes;
        }
        let mut own = told.iter().filter(|said| said.uid == self.uid).peekable();
        let reached = self.reached.unwrap_or_default();
        if own.peek().is_none() {
            return if self.target == PhaseTarget::Absent { Untold::Goes } else { Untold::Stays };
        }
        if own.clone().any(|said| said.target != PhaseTarget::Absent) {
            // One that was going, and covers what its successor doesn't yet.
            let covers = self.target != PhaseTarget::Absent || reached > Phase::Prepare;
            return if covers { Untold::Stays } else { Untold::Goes };
        }
        // They go down together.
        Untold::SwitchedOff(reached.min(own.map(|said| said.phase).max().unwrap_or_default()))
    }
}

/// A revision that the node is told of, or that stays though it isn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    to: Phase,
    reached: Option<Phase>,
    waits: bool,
}

impl Step {
    /// `to`: where it is to be (`NodePolicy::phase_from`); `reached`: where the kernel has it. `surely`: what would be sent on
    /// its SAs arrives ([`Node::sends_surely`](crate::node::Node::sends_surely)); asked only where that decides.
    pub fn new(to: Phase, reached: Option<Phase>, surely: impl FnOnce() -> bool) -> Self {
        let waits = to > Phase::Prepare && reached == Some(Phase::Prepare) && !surely();
        Self { to, reached, waits }
    }
}

/// Where the kernel is to have each of these revisions of one policy. While one waits until what is sent arrives, no other
/// goes lower than where that one leads.
pub fn phases(steps: &[Step]) -> Vec<Phase> {
    let waiting = steps.iter().filter(|step| step.waits).map(|step| step.to).max();
    let phase = |step: &Step| match waiting {
        _ if step.waits => Phase::Prepare,
        Some(waiting) => step.to.max(step.reached.unwrap_or_default().min(waiting)),
        None => step.to,
    };
    steps.iter().map(phase).collect()
}

#[cfg(test)]
mod tests;
