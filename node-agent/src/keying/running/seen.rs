//! What the protocol is told of the kernel after a pass.

use std::collections::{BTreeMap, BTreeSet};

use esplanade_keying::node::{self, Seen};
use esplanade_keying::{KeyId, NodeUid, Sa};
use esplanade_sync::{Engine, Name};

use super::Running;

impl Running {
    /// What the kernel holds after a pass.
    pub(super) fn look(&mut self, engine: &mut Engine) {
        let lost = engine.take_lost();
        let mut seen = Vec::new();
        for ((sa, inbound), id) in &self.ids {
            let sent = engine.sent(id);
            if *inbound {
                let there = sent.is_some() && !engine.is_wrong(&Name::Sa(*id));
                if there != self.inbound.contains(sa) {
                    seen.push(Seen::Inbound(*sa, there));
                    if there {
                        self.inbound.insert(*sa)
                    } else {
                        self.inbound.remove(sa)
                    };
                }
                if engine.is_taken(id) && self.node.inbound().contains_key(sa) {
                    self.taken.insert(*sa);
                }
                continue;
            }
            let before = self.outbound.get(sa).copied();
            if before.is_some() && (sent.is_none() || lost.contains(id)) {
                seen.push(Seen::Outbound(*sa, None));
                self.outbound.remove(sa);
            }
            if let Some(sent) = sent
                && (before != Some(sent) || lost.contains(id))
            {
                seen.push(Seen::Outbound(*sa, Some(sent)));
                self.outbound.insert(*sa, sent);
            }
        }
        if !seen.is_empty() {
            self.step(node::Input::Kernel(seen));
        }
        for sa in std::mem::take(&mut self.taken) {
            self.step(node::Input::Taken(sa));
        }
        self.hear(engine);
        self.look_at_limits(engine);
    }

    /// An SA that has reached its soft limit has its key renewed (R8). Also one whose event was lost: what counts is how much it
    /// has carried.
    fn look_at_limits(&mut self, engine: &Engine) {
        let outbound = self.ids.iter().filter(|((_, inbound), _)| !inbound);
        let reached = outbound.filter_map(|((sa, _), id)| Some((sa.own, engine.reached_soft_limit(id)?)));
        let reached: BTreeMap<KeyId, String> = reached.collect();
        for own in reached.keys() {
            self.step(node::Input::Expired(*own));
        }
        let newest = self.node.records().last().filter(|_| self.node.is_behind());
        self.behind = newest.and_then(|newest| match reached.get(&newest.id) {
            Some(limit) => Some(format!("an SA under the newest has carried {limit}")),
            None if newest.rotate <= self.now => Some("the newest is older than rotateEvery".to_owned()),
            None => None,
        });
    }

    /// Whoever has sent under a key has it, whether the operator knows it or not (R4).
    fn hear(&mut self, engine: &Engine) {
        let new = |sa: &&Sa| self.node.would_learn(sa.peer, sa.own);
        let received = |sa: &Sa| engine.received(self.ids.get(&(*sa, true))?);
        let heard = self.inbound.iter().filter(new).filter(|sa| received(sa) > Some(0));
        let heard: BTreeSet<(NodeUid, KeyId)> = heard.map(|sa| (sa.peer, sa.own)).collect();
        for (peer, own) in heard {
            self.step(node::Input::Authenticated { peer, own });
        }
    }
}
