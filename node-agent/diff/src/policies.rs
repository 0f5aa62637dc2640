//! Policies.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use esplanade_crds::ProblemKind;
use esplanade_model::{Observed, Op, PolicyIndex, PolicyKey, Wanted};

use crate::stage::Stage;
use crate::{Object, Plan, conflict};

pub(crate) fn diff(wanted: &Wanted, observed: &Observed, plan: &mut Plan) {
    let have: BTreeMap<_, _> = observed.policies.iter().map(|policy| (policy.key, policy)).collect();
    let foreign: BTreeSet<_> = observed.foreign_policies.iter().copied().collect();
    let mut taken = observed.taken_indexes.clone();
    let mut kept = BTreeSet::new();
    for (name, policy) in &wanted.policies {
        let object = Object { kind: ProblemKind::IpsecPolicy, name: name.clone() };
        let key = policy.key();
        kept.insert(key);
        let stage = Stage::adding_policy(key.direction);
        match have.get(&key) {
            Some(there) if there.policy.as_ref() == Some(policy) => {}
            // In one step, without a gap for packets (`xfrm_policy_insert`).
            Some(there) => {
                let update = Op::UpdatePolicy { policy: policy.clone(), index: there.index };
                plan.add(stage, Some(&object), update);
            }
            None if foreign.contains(&key) => plan.conflicts.push(conflict::policy(&object, &key)),
            None => {
                let index = free_index(&key, &mut taken);
                plan.add(stage, Some(&object), Op::AddPolicy { policy: policy.clone(), index });
            }
        }
    }
    for there in observed.policies.iter().filter(|policy| !kept.contains(&policy.key)) {
        let PolicyKey { direction, interface_id, .. } = there.key;
        let delete = Op::DeletePolicy { direction, index: there.index, interface_id };
        plan.add(Stage::removing_policy(direction), None, delete);
    }
}

/// An index that nobody has: scattered by the key, so that two writers seldom want the same one. Takes it.
fn free_index(key: &PolicyKey, taken: &mut BTreeSet<u32>) -> PolicyIndex {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    // The lower half is as good as any other.
    #[allow(clippy::cast_possible_truncation)]
    let mut slot = hasher.finish() as u32;
    loop {
        let index = PolicyIndex::new(slot, key.direction);
        if taken.insert(index.get()) {
            return index;
        }
        slot = slot.wrapping_add(1);
    }
}
