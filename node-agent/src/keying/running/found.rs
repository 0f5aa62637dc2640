//! What an agent before this one left in the kernel.

use std::collections::BTreeMap;

use esplanade_crds::{IpsecNodeStateSpec, NodePolicy, Phase};
use esplanade_keying::node::Seen;
use esplanade_keying::{KeyId, Sa};
use esplanade_model::{Direction, PolicyKey};
use esplanade_sync::Engine;

use super::{Given, Running};
use crate::keying::in_force::InForce;
use crate::keying::material::{Material, revision};

impl Running {
    /// The SAs that an agent before this one left and that can be told.
    pub(super) fn identify(&mut self, given: Given<'_>, engine: &Engine) -> Vec<Seen> {
        let mut seen = Vec::new();
        for sa in self.thinkable() {
            for inbound in [true, false] {
                let Some(id) = self.id_of(given, &sa, inbound) else { continue };
                let Some(sent) = engine.sent(&id) else { continue };
                self.ids.insert((sa, inbound), id);
                if inbound {
                    self.inbound.insert(sa);
                    seen.push(Seen::Inbound(sa, true));
                } else {
                    self.outbound.insert(sa, sent);
                    seen.push(Seen::Outbound(sa, Some(sent)));
                }
            }
        }
        seen
    }

    fn thinkable(&self) -> Vec<Sa> {
        let Material { pairs, peers, carried, .. } = &self.material;
        let mut all = Vec::new();
        for (peer, record) in peers.iter().filter(|(peer, _)| **peer != self.me) {
            for policy in carried.keys() {
                for own in pairs.keys() {
                    let sa = |theirs: &KeyId| Sa { peer: *peer, policy: *policy, own: *own, theirs: *theirs };
                    all.extend(record.key_ids().map(sa));
                }
            }
        }
        all
    }

    /// The phases that the kernel is at, by its policies: it sends protected where an outbound one is there.
    pub(super) fn phases_found(&mut self, given: Given<'_>, known: &InForce, engine: &Engine) {
        let Given { node, input, kernel } = given;
        let expand = |spec: &IpsecNodeStateSpec| {
            let expanded = esplanade_expand::expand(node, spec, &input.peers, None, kernel);
            let keys = expanded.wanted.policies.into_iter().map(|(of, made)| (made.key(), of));
            keys.collect::<BTreeMap<PolicyKey, String>>()
        };
        let as_told = expand(&input.spec);
        for policy in input.spec.policies.iter().filter(|policy| policy.automatic.is_some()) {
            // With all that there could be of it.
            let spec = IpsecNodeStateSpec {
                policies: vec![NodePolicy { phase: Phase::Enforce, ..policy.clone() }],
                ..Default::default()
            };
            let (all, revision) = (expand(&spec), revision(policy));
            let known = known.phase(revision);
            // Where that isn't known, what is there may be another policy's, which is for the same packets.
            let is_anothers =
                |key: &PolicyKey| known.is_none() && as_told.get(key).is_some_and(|of| *of != policy.name);
            let there = |direction: Direction| {
                let mut keys = all.keys().filter(|key| key.direction == direction && !is_anothers(key));
                keys.any(|key| engine.has_policy(key))
            };
            if there(Direction::In) || there(Direction::Forward) {
                // What is there may be another revision's.
                let alone = input.spec.policies.iter().filter(|one| one.name == policy.name).count() == 1;
                let least = if alone { Phase::Encrypt } else { policy.phase };
                let known = known.unwrap_or(policy.phase.max(least));
                self.applied.insert(revision, if there(Direction::Out) { known } else { Phase::Prepare });
            }
        }
    }
}
