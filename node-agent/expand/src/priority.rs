//! Where our policies stand among all policies of a kernel.
//!
//! | kernel priority | what |
//! |---|---|
//! | 8 000 | what passes on a node that drops all that no policy covers ([`exempt`](crate::exempt)) |
//! | 9 000 | neighbour discovery, always let through |
//! | 10 000 … 138 095 | `10 000 + (priority * 4 + rank) * 32 + place` |
//! | 140 000 | what passes there unless another policy is for it |
//!
//! `priority` is the IpsecPolicy's, 0 to 1000; `rank` is 0 for Discard, 1 for Protect, 2 for Bypass; `place` is the
//! position by name among this node's policies of the same priority and action, at most 31: beyond that, the kernel
//! looks at the older one first. The lowest priority counts (`xfrm_policy_lookup_bytype`). For comparison: strongSwan's
//! begin at 68 541, libreswan's at 1 048 576.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use esplanade_crds::NodePolicy;

/// Above everything else of ours.
pub(crate) const EXEMPT: u32 = 8_000;
/// Above all IpsecPolicies.
pub(crate) const NEIGHBOUR_DISCOVERY: u32 = 9_000;
/// Below all of ours.
pub(crate) const LAST: u32 = 140_000;

const FIRST: u32 = 10_000;
const PLACES: u32 = 32;

/// The policies in the order in which they count, with their kernel priorities. Revisions of one policy, the newest of which
/// is the last one, have the newest's place; but the kernel looks first at the one that is switched on furthest.
pub(crate) fn in_order(policies: &[NodePolicy]) -> Vec<(u32, &NodePolicy)> {
    let newest: BTreeMap<&str, &NodePolicy> =
        policies.iter().map(|policy| (policy.name.as_str(), policy)).collect();
    let mut sorted: Vec<_> = newest.into_iter().collect();
    sorted.sort_by_key(|(name, newest)| (newest.priority, newest.action.rank(), *name));
    let mut places: BTreeMap<u32, u32> = BTreeMap::new();
    let mut all = Vec::new();
    for (name, newest) in sorted {
        let group = u32::from(newest.priority) * 4 + newest.action.rank();
        let place = places.entry(group).or_insert(0);
        let mut revisions: Vec<&NodePolicy> =
            policies.iter().rev().filter(|policy| policy.name == name).collect();
        revisions.sort_by_key(|policy| Reverse(policy.phase));
        for (behind, policy) in (0_u32..).zip(revisions) {
            let place = (*place + behind.min(1)).min(PLACES - 1);
            all.push((FIRST + group * PLACES + place, policy));
        }
        *place += 1;
    }
    all
}

#[cfg(test)]
mod tests;
