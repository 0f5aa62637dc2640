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

use std::collections::BTreeMap;

use esplanade_crds::{Action, NodePolicy};

/// Above everything else of ours.
pub(crate) const EXEMPT: u32 = 8_000;
/// Above all IpsecPolicies.
pub(crate) const NEIGHBOUR_DISCOVERY: u32 = 9_000;
/// Below all of ours.
pub(crate) const LAST: u32 = 140_000;

const FIRST: u32 = 10_000;
const PLACES: u32 = 32;

fn rank(action: Action) -> u32 {
    match action {
        Action::Discard => 0,
        Action::Protect => 1,
        Action::Bypass => 2,
    }
}

/// The policies in the order in which they count, with their kernel priorities.
pub(crate) fn in_order(policies: &[NodePolicy]) -> Vec<(u32, &NodePolicy)> {
    let mut sorted: Vec<_> = policies.iter().collect();
    sorted.sort_by_key(|policy| (policy.priority, rank(policy.action), policy.name.as_str()));
    let mut places: BTreeMap<u32, u32> = BTreeMap::new();
    sorted
        .into_iter()
        .map(|policy| {
            let group = u32::from(policy.priority) * 4 + rank(policy.action);
            let place = places.entry(group).or_insert(0);
            let kernel = FIRST + group * PLACES + (*place).min(PLACES - 1);
            *place += 1;
            (kernel, policy)
        })
        .collect()
}

#[cfg(test)]
mod tests;
