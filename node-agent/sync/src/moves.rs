//! SAs that are there between other addresses than they are wanted: a node's address changed. They and the templates that
//! name them move in place, so that nothing is sent from the beginning and nothing waits for a new SA.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use esplanade_diff::sas;
use esplanade_model::{MAX_MOVES, Mode, Move, Op, PolicyKey, Sa, SaId, Template};

use ipnet::IpNet;

use crate::engine::{Engine, PolicyThere, SaThere};
use crate::plan::Name;
use crate::to_read::ToRead;

/// What is to move, before anything else is done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moves {
    /// The operations. One that is refused costs nothing: the plan goes the long way then.
    pub ops: Vec<Op>,
    /// What has to be read again after them.
    pub names: Vec<Name>,
}

impl Engine {
    /// What moves. To be made after reading, and before [`Engine::plan`].
    pub fn moves(&self) -> Moves {
        let mut moves = Moves::default();
        let mut names = BTreeSet::new();
        let mut by_policy: BTreeMap<PolicyKey, Vec<Move>> = BTreeMap::new();
        for (old, new, one) in self.sas_that_move() {
            let mut carried = false;
            for key in self.carriers(&one) {
                let all = by_policy.entry(key).or_default();
                // The kernel takes each once (`xfrm_migrate_check`), and moves one SA for it: others go the long way.
                if !all.contains(&one) {
                    all.push(one);
                }
                names.insert(Name::Policy(key));
                carried = true;
            }
            if carried {
                names.extend([Name::Sa(old), Name::Sa(new)]);
            }
        }
        for (key, all) in by_policy {
            let chunks = all.chunks(MAX_MOVES).map(|some| Op::Migrate { key, moves: some.to_vec() });
            moves.ops.extend(chunks);
        }
        moves.names = names.into_iter().collect();
        moves
    }

    /// Each with its name so far, and its name from now on.
    fn sas_that_move(&self) -> Vec<(SaId, SaId, Move)> {
        // Nearly always nothing is wanted that isn't there, or nothing is there that isn't wanted.
        if self.own_sas == 0 || !self.wrong_sas.keys().any(|id| self.want.sa(id).is_some()) {
            return Vec::new();
        }
        let mut elsewhere: BTreeMap<_, Vec<Sa>> = BTreeMap::new();
        let unwanted = self.wrong_sas.keys().filter(|id| self.want.sa(id).is_none());
        for id in unwanted.filter(|id| matches!(self.sas.get(id), Some(SaThere::Ours { .. }))) {
            if let Some(sa) = self.memory.last(*id).and_then(|last| last.sa) {
                elsewhere.entry((id.spi, id.protocol)).or_default().push(sa);
            }
        }
        let mut found = Vec::new();
        for (id, there) in &self.wrong_sas {
            let Some(wanted) = self.want.sa(id) else { continue };
            match there {
                // The same name: only its source is another.
                Some(there) => {
                    let one = there.sa.as_ref().and_then(|sa| sas::moved(wanted, sa));
                    found.extend(one.map(|one| (*id, *id, one)));
                }
                None => {
                    let others = elsewhere.get(&(id.spi, id.protocol)).into_iter().flatten();
                    let one = others.filter_map(|sa| Some((sa.id(), *id, sas::moved(wanted, sa)?))).next();
                    found.extend(one);
                }
            }
        }
        found
    }

    /// The policies of ours in the kernel that name an SA: their templates move with it.
    fn carriers(&self, one: &Move) -> Vec<PolicyKey> {
        let carries = |key: &&PolicyKey| {
            let there = matches!(self.policies.get(key), Some(PolicyThere::Ours(_)));
            there
                && match self.want.policy(key) {
                    Some(wanted) => wanted.templates.iter().any(|template| names(template, one)),
                    // A policy between the nodes themselves, which another takes the place of. The kernel says if it isn't.
                    None => one.mode == Mode::Transport && is_between(key, one.from),
                }
        };
        self.wrong_policies.iter().filter(carries).copied().collect()
    }

    /// The moves were made, as far as the kernel was willing: what is to be read, from this time on.
    pub fn begin_reading_moved(&mut self, now: Duration, moves: &Moves) -> ToRead {
        for name in &moves.names {
            if let Name::Sa(id) = name {
                self.memory.moved(*id);
            }
        }
        self.begin_reading_back(now, &moves.names)
    }
}

fn names(template: &Template, one: &Move) -> bool {
    (template.protocol, template.mode, template.reqid) == (one.protocol, one.mode, Some(one.reqid))
        && template.tunnel.is_none_or(|ends| ends == one.to)
}

fn is_between(key: &PolicyKey, ends: (IpAddr, IpAddr)) -> bool {
    let (source, destination) = (key.selector.source(), key.selector.destination());
    let is = |network: IpNet, address| network == IpNet::from(address);
    (is(source, ends.0) && is(destination, ends.1)) || (is(source, ends.1) && is(destination, ends.0))
}
