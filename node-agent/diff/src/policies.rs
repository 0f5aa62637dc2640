//! Policies.

use std::hash::BuildHasher;

use esplanade_crds::ProblemKind;
use esplanade_model::{Observed, ObservedPolicy, Op, Policy, PolicyIndex, PolicyKey, Wanted};
use foldhash::fast::FixedState;

use crate::hash::{Map, Set};
use crate::stage::Stage;
use crate::{Found, Object, Plan, Verdict, conflict};

pub(crate) fn diff(wanted: &Wanted, observed: &Observed, plan: &mut Plan) {
    let have: Map<_, _> = observed.policies.iter().map(|policy| (policy.key, policy)).collect();
    let foreign: Set<_> = observed.foreign_policies.iter().copied().collect();
    // Of those that are to be given.
    let mut taken: Set<u32> = Set::default();
    let mut kept: Set<_> = Set::default();
    for (name, policy) in &wanted.policies {
        let key = policy.key();
        kept.insert(key);
        let there = match have.get(&key) {
            Some(there) => Found::Ours(*there),
            None if foreign.contains(&key) => Found::Foreign,
            None => Found::Nothing,
        };
        let object = || Object { kind: ProblemKind::IpsecPolicy, name: name.clone() };
        match judge(policy, there) {
            Verdict::Right => {}
            Verdict::Conflict => plan.conflicts.push(conflict::policy(&object(), &key)),
            Verdict::Wrong => {
                let there = have.get(&key).map(|there| there.index);
                let free = |index: u32| !observed.taken_indexes.contains(&index) && taken.insert(index);
                plan.add(Stage::adding_policy(key.direction), Some(object()), bring(policy, there, free));
            }
        }
    }
    for there in observed.policies.iter().filter(|policy| !kept.contains(&policy.key)) {
        plan.add(Stage::removing_policy(there.key.direction), None, remove(&there.key, there.index));
    }
}

/// What is to be done about a wanted policy where the kernel has this.
pub fn judge(wanted: &Policy, there: Found<&ObservedPolicy>) -> Verdict {
    match there {
        Found::Ours(there) if there.policy.as_ref() == Some(wanted) => Verdict::Right,
        Found::Ours(_) | Found::Nothing => Verdict::Wrong,
        Found::Foreign => Verdict::Conflict,
    }
}

/// The operation that brings a policy into being where it is wrong (it is `there`, under that index) or missing. `free`
/// says whether nobody has an index; the last one it is asked about is taken.
pub fn bring(wanted: &Policy, there: Option<PolicyIndex>, free: impl FnMut(u32) -> bool) -> Op {
    let policy = wanted.clone();
    match there {
        // In one step, without a gap for packets (`xfrm_policy_insert`).
        Some(index) => Op::UpdatePolicy { policy, index },
        None => Op::AddPolicy { index: free_index(&wanted.key(), free), policy },
    }
}

/// The operation that removes a policy.
pub fn remove(key: &PolicyKey, index: PolicyIndex) -> Op {
    let PolicyKey { direction, interface_id, mark, .. } = *key;
    Op::DeletePolicy { direction, index, interface_id, mark }
}

/// An index that nobody has: scattered by the key, so that two writers seldom want the same one.
fn free_index(key: &PolicyKey, mut free: impl FnMut(u32) -> bool) -> PolicyIndex {
    // The lower half is as good as any other.
    #[allow(clippy::cast_possible_truncation)]
    let mut slot = FixedState::default().hash_one(key) as u32;
    loop {
        let index = PolicyIndex::new(slot, key.direction);
        if free(index.get()) {
            return index;
        }
        slot = slot.wrapping_add(1);
    }
}
