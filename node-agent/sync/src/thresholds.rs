//! Which policies the kernel should find by a hash.
//!
//! A policy whose networks have shorter prefixes than the thresholds goes into a tree, which is as quick to look up, and
//! slow to change: Linux 6.1 walks all of it for each policy that comes, every kernel does for each that is replaced. Longer
//! prefixes are cut to the thresholds, so policies that agree in their first bits become one list. Most policies of a
//! cluster have one pair of lengths (the pods' networks): that pair is the threshold, and the few others may lie in the tree.

use std::collections::BTreeMap;

use esplanade_model::{Direction, Policy, Threshold, Thresholds};
use ipnet::IpNet;

use crate::engine::Engine;

/// For fewer policies of a family it isn't worth having the kernel arrange all of them anew.
pub const MANY: usize = 128;

/// How many wanted policies have which prefix lengths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lengths {
    v4: BTreeMap<Threshold, usize>,
    v6: BTreeMap<Threshold, usize>,
}

impl Lengths {
    /// Of these policies.
    pub fn of<'p>(policies: impl IntoIterator<Item = &'p Policy>) -> Self {
        let mut lengths = Self::default();
        for policy in policies {
            let (source, destination) = (policy.selector.source(), policy.selector.destination());
            let (local, remote) = match policy.direction {
                Direction::Out => (source, destination),
                Direction::In | Direction::Forward => (destination, source),
            };
            let family = match source {
                IpNet::V4(_) => &mut lengths.v4,
                IpNet::V6(_) => &mut lengths.v6,
            };
            let pair = Threshold { local: local.prefix_len(), remote: remote.prefix_len() };
            *family.entry(pair).or_default() += 1;
        }
        lengths
    }

    /// The best thresholds where these are there now.
    pub fn best(&self, there: Thresholds) -> Thresholds {
        let own = Thresholds::default();
        Thresholds { v4: best(&self.v4, there.v4, own.v4), v6: best(&self.v6, there.v6, own.v6) }
    }
}

/// Where nothing is wanted, a kernel's own. A change must be worth it: what is there stays while it fits half as many.
fn best(lengths: &BTreeMap<Threshold, usize>, there: Threshold, own: Threshold) -> Threshold {
    if lengths.is_empty() {
        return own;
    }
    if lengths.values().sum::<usize>() < MANY {
        return there;
    }
    // Of several as common, the longest: a list is worse than the tree. With none at all everything would be one list.
    let hashed = lengths.iter().filter(|(pair, _)| pair.local + pair.remote > 0);
    let Some((commonest, count)) = hashed.max_by_key(|(_, count)| **count) else { return there };
    match lengths.get(&there) {
        Some(fit) if fit * 2 >= *count => there,
        _ => *commonest,
    }
}

/// What is to be done about a kernel's thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Nothing: they are as they should be.
    Right,
    /// They should be these.
    Change(Thresholds),
    /// Nothing: somebody else set them.
    Foreign,
}

/// What is to be done where these are `there`, and these are what we set last, if ever. A family's are ours if they are a
/// kernel's own, or what we set.
pub fn setting(lengths: &Lengths, there: Thresholds, ours: Option<Thresholds>) -> Setting {
    let own = Thresholds::default();
    let best = lengths.best(there);
    let v4_is_free = there.v4 == own.v4 || ours.is_some_and(|ours| ours.v4 == there.v4);
    let v6_is_free = there.v6 == own.v6 || ours.is_some_and(|ours| ours.v6 == there.v6);
    let next = Thresholds {
        v4: if v4_is_free { best.v4 } else { there.v4 },
        v6: if v6_is_free { best.v6 } else { there.v6 },
    };
    match next {
        next if next != there => Setting::Change(next),
        _ if best != there => Setting::Foreign,
        _ => Setting::Right,
    }
}

impl Engine {
    /// Of the policies that are wanted. Takes time in proportion to them.
    pub fn lengths(&self) -> Lengths {
        Lengths::of(self.want.policies.values().map(|(_, policy)| policy))
    }
}

#[cfg(test)]
mod tests;
