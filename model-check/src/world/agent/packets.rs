//! What packets do to an agent.

use esplanade_keying::node::Input;
use esplanade_keying::{NodeUid, Sa};

use super::spi;
use crate::scenario::Scenario;
use crate::world::{Host, World, api, revision};

impl World {
    /// A packet for the peer has no SA, and asks for one: of whichever revision there is.
    pub(in crate::world) fn asked(&mut self, scenario: &Scenario, node: u16, peer: NodeUid) {
        for number in 0..api::REVISIONS {
            self.input(scenario, node, Input::Asked { peer, policy: revision(number) });
        }
    }

    /// What would be sent on to the peer then, and whether a key would be made.
    pub(in crate::world) fn wanted_if_asked(
        &self,
        scenario: &Scenario,
        node: u16,
        peer: NodeUid,
    ) -> (Option<Sa>, bool) {
        let Host { agent: Some(agent), clock, .. } = self.host(node) else { return (None, false) };
        let (mut decides, mut makes_key) = (agent.node.clone(), false);
        let mut spis = |sa: &Sa| Some(spi(scenario, node, sa));
        for number in 0..api::REVISIONS {
            let asked = Input::Asked { peer, policy: revision(number) };
            makes_key |= decides.step(asked, clock.read(self.now), &mut spis).make_key;
        }
        let mut wanted = decides.outbound().map(|wanted| wanted.sa);
        (wanted.find(|sa| sa.peer == peer), makes_key)
    }

    pub(in crate::world) fn packet_tells(&self, from: u16, to: u16) -> bool {
        let Some(sa) = self.arrives(from, to) else { return false };
        self.host(to).agent.as_ref().is_some_and(|agent| agent.node.would_learn(self.host(from).uid, sa.own))
    }

    /// The receiver's name of the SA that a packet would arrive on.
    fn arrives(&self, from: u16, to: u16) -> Option<Sa> {
        let (sender, receiver) = (self.host(from), self.host(to));
        let sa = sender.kernel.sends_on(receiver.uid)?;
        let here = Sa { peer: sender.uid, policy: sa.policy, own: sa.theirs, theirs: sa.own };
        receiver.kernel.inbound.contains(&here).then_some(here)
    }

    pub(in crate::world) fn packet(&mut self, scenario: &Scenario, from: u16, to: u16) {
        let Some(sa) = self.arrives(from, to) else { return };
        let peer = self.host(from).uid;
        self.input(scenario, to, Input::Authenticated { peer, own: sa.own });
    }
}
