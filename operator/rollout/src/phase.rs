//! How far a policy is switched on at each node, one step at a time, so that no packet is lost.
//!
//! Two nodes understand each other if they are no more than one level apart: who doesn't send protected yet is
//! understood by who doesn't insist on it, and who sends protected is understood by who has the inbound SAs.

use esplanade_crds::Phase;

/// How far a policy is switched on at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// Not known.
    #[default]
    Absent,
    /// Inbound SAs; clear text is sent, both are accepted.
    Prepare,
    /// What is sent is protected; clear text is still accepted.
    Encrypt,
    /// Clear text is dropped.
    Enforce,
}

impl From<Phase> for Level {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Prepare => Self::Prepare,
            Phase::Encrypt => Self::Encrypt,
            Phase::Enforce => Self::Enforce,
        }
    }
}

impl Level {
    /// As it is told to a node; none for one that isn't told of the policy.
    pub fn phase(self) -> Option<Phase> {
        match self {
            Self::Absent => None,
            Self::Prepare => Some(Phase::Prepare),
            Self::Encrypt => Some(Phase::Encrypt),
            Self::Enforce => Some(Phase::Enforce),
        }
    }

    fn up(self) -> Self {
        match self {
            Self::Absent => Self::Prepare,
            Self::Prepare => Self::Encrypt,
            Self::Encrypt | Self::Enforce => Self::Enforce,
        }
    }

    fn down(self) -> Self {
        match self {
            Self::Absent | Self::Prepare => Self::Absent,
            Self::Encrypt => Self::Prepare,
            Self::Enforce => Self::Encrypt,
        }
    }
}

/// A node that the policy concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Participant {
    /// What its IpsecNodeState says.
    pub told: Level,
    /// Where that says that it leads; [`Level::Enforce`] if it says nothing of the policy.
    pub to: Level,
    /// Where its kernel is, as its agent says. It can be further than told where its IpsecNodeState was made anew, or is an
    /// older one that was restored.
    pub reached: Level,
    /// Its kernel is at what it was told, as far as it can be, and knows the other participants' keys.
    pub confirmed: bool,
    /// Something of the policy can't be had there: the others wait before they rely on it.
    pub trouble: bool,
    /// It hasn't answered for so long that nobody waits for it.
    pub skipped: bool,
}

impl Participant {
    /// Where it is, or will be: what it was told, or where it was before that was forgotten, for it doesn't go down but on
    /// the way to what it was told to end at.
    pub(crate) fn at(&self) -> Level {
        self.told.max(self.reached.min(self.to))
    }

    /// Whether a node's kernel is at what it was told: its `status.observedGeneration` is the object's `generation`, and
    /// `status.peersAppliedThrough` covers the participants' IpsecPeers (`newest`: the newest of their resourceVersions,
    /// none if one hasn't published a key).
    pub fn has_confirmed(
        observed: Option<i64>,
        generation: i64,
        applied_through: Option<u64>,
        newest: Option<u64>,
    ) -> bool {
        observed == Some(generation) && newest.is_some() && applied_through >= newest
    }
}

/// The policy is switched on as far as it should be, everywhere: an earlier revision of it can go. Where nobody answers it
/// isn't known to be anywhere.
pub fn complete(participants: &[Participant], target: Level) -> bool {
    let nobody = !participants.is_empty() && participants.iter().all(|one| one.skipped);
    let mut waited_for = participants.iter().filter(|one| !one.skipped);
    !nobody && waited_for.all(|one| one.told == target && one.confirmed && !one.trouble)
}

/// What each participant is to be told next, on the way to `target`.
///
/// A step is taken when every participant that answers is known to be no more than one level from where it leads. One
/// that has just been told to take the same step needn't have confirmed it. A node that joins goes where the others are:
/// it has no traffic yet that could be lost, and nothing of it is ever sent in the clear. So does one that doesn't
/// answer: it catches up before it sends, once it comes back.
pub fn next(participants: &[Participant], target: Level) -> Vec<Level> {
    let at: Vec<(Level, &Participant)> = participants.iter().map(|one| (one.at(), one)).collect();
    let waited_for = || at.iter().filter(|(_, one)| !one.skipped);
    let highest = waited_for().map(|(at, _)| *at).max().unwrap_or_default();
    // Who has joined since needn't have been told of it.
    let lowest = waited_for().map(|(at, _)| *at).filter(|at| *at > Level::Absent).min().unwrap_or_default();
    let may_rise =
        |to: Level| waited_for().all(|(at, one)| *at >= to || at.up() == to && one.confirmed && !one.trouble);
    let may_fall = |to: Level| waited_for().all(|(at, one)| *at <= to || at.down() == to && one.confirmed);
    let step = |(at, one): &(Level, &Participant)| {
        let at = *at;
        if at == target {
            return at;
        }
        if one.skipped && waited_for().next().is_some() {
            return if at < target { highest.min(target) } else { lowest.max(target) };
        }
        match at.cmp(&target) {
            std::cmp::Ordering::Less if at == Level::Absent => highest.clamp(Level::Prepare, target),
            std::cmp::Ordering::Less if may_rise(at.up()) => at.up(),
            std::cmp::Ordering::Greater if may_fall(at.down()) => at.down(),
            _ => at,
        }
    };
    at.iter().map(step).collect()
}

#[cfg(test)]
mod tests;
