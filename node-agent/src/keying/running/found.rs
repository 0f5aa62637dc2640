//! What an agent before this one left in the kernel.

use esplanade_crds::Phase;
use esplanade_keying::node::Seen;
use esplanade_keying::{KeyId, Sa};
use esplanade_model::Direction;
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
        // With all that there could be.
        let mut spec = (*input.spec).clone();
        spec.policies.iter_mut().for_each(|policy| policy.phase = Phase::Enforce);
        let expanded = esplanade_expand::expand(node, &spec, &input.peers, None, kernel);
        for policy in input.spec.policies.iter().filter(|policy| policy.automatic.is_some()) {
            let there = |direction: Direction| {
                let of_policy = expanded.wanted.policies.iter().filter(|(of, _)| *of == policy.name);
                let mut keys = of_policy.map(|(_, made)| made.key()).filter(|key| key.direction == direction);
                keys.any(|key| engine.has_policy(&key))
            };
            if there(Direction::In) || there(Direction::Forward) {
                let (sends, revision) = (there(Direction::Out), revision(policy));
                // What is there may be another revision's.
                let alone = input.spec.policies.iter().filter(|one| one.name == policy.name).count() == 1;
                let least = if alone { Phase::Encrypt } else { policy.phase };
                let known = known.phase(revision).unwrap_or(policy.phase.max(least));
                self.applied.insert(revision, if sends { known } else { Phase::Prepare });
            }
        }
    }
}
