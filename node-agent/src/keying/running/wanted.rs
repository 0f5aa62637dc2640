//! The SAs that the protocol wants, as the kernel is to have them.

use std::collections::BTreeSet;
use std::sync::Arc;

use esplanade_crds::conditions::reason;
use esplanade_crds::{NodePolicy, Problem, ProblemKind};
use esplanade_expand::{AutomaticSa, unsupported};
use esplanade_keying::Sa;
use esplanade_model::{AUTOMATIC, Missing, SaId, Wanted, WantedSa};
use esplanade_sync::Engine;

use super::{Given, Running};
use crate::keying::material::{Carried, direction};

/// An SA; none where the two nodes have no addresses for it.
type Made = Result<Option<WantedSa>, Missing>;

impl Running {
    /// An SA as the kernel is to have it, and its policy; none if it can't be derived.
    fn made(&mut self, given: Given<'_>, sa: &Sa, inbound: bool) -> Option<(Arc<NodePolicy>, Made)> {
        let Given { node, input, kernel } = given;
        let derived = self.material.derive(sa, inbound)?.clone();
        let Carried { policy, addresses } = self.material.carried.get(&sa.policy)?;
        let other = &self.material.peers.get(&sa.peer)?.name;
        let (addresses, direction) = (*addresses, direction(inbound));
        let made = AutomaticSa { node, other, policy, addresses, direction };
        Some((Arc::clone(policy), made.make(&input.peers, derived.spi, derived.crypto, kernel)))
    }

    pub(super) fn id_of(&mut self, given: Given<'_>, sa: &Sa, inbound: bool) -> Option<SaId> {
        let (_, made) = self.made(given, sa, inbound)?;
        Some(made.ok()??.sa().id())
    }

    pub(in crate::keying) fn want(
        &mut self,
        given: Given<'_>,
        engine: &Engine,
        wanted: &mut Wanted,
    ) -> Vec<Problem> {
        let automatic = given.input.spec.policies.iter().filter(|policy| policy.automatic.is_some());
        let mut problems: Vec<Problem> =
            automatic.filter_map(|policy| self.material.closed(policy)).collect();
        problems.extend(self.behind.as_ref().map(|why| Problem {
            kind: ProblemKind::Node,
            name: given.node.to_owned(),
            category: reason::ROTATION_BEHIND.to_owned(),
            message: format!(
                "keys wear out faster than they can be renewed ({why}): the next rotation waits until the one before is over. \
                 Write a longer rotateEvery, or higher maxPackets and maxBytes"
            ),
        }));
        let others: BTreeSet<SaId> = wanted.sas.iter().map(|(_, sa)| sa.sa().id()).collect();
        let inbound = self.node.inbound().keys().map(|sa| (*sa, true));
        // One that was there goes on past where it had come to, or not at all (R7).
        let outbound = self.node.outbound().map(|wanted| ((wanted.sa, false), wanted.past));
        let outbound: Vec<_> = outbound.collect();
        let sas: Vec<((Sa, bool), Option<u64>)> = inbound.map(|sa| (sa, None)).chain(outbound).collect();
        for ((sa, inbound), past) in sas {
            let Some((policy, made)) = self.made(given, &sa, inbound) else { continue };
            let made = match made {
                Ok(Some(made)) => made,
                Ok(None) => continue,
                Err(missing) => {
                    problems.push(unsupported(&missing, &policy));
                    continue;
                }
            };
            let id = made.sa().id();
            if past.is_some() && !engine.remembers(&id) {
                continue;
            }
            if others.contains(&id) {
                if inbound {
                    self.taken.insert(sa);
                }
                continue;
            }
            self.ids.insert((sa, inbound), id);
            wanted.sas.push((format!("{AUTOMATIC}{}", policy.name), made));
        }
        if let Some((until, ids)) = &self.held {
            if self.now < *until {
                wanted.hold.extend(ids);
            } else {
                self.held = None;
            }
        }
        problems.dedup();
        problems
    }
}
