//! Moving policies and their SAs to other addresses.

use esplanade_model::{Capability, MAX_MOVES, Move, PolicyKey, Refusal, Sa, SaId, Used};

use super::entry::{PolicyEntry, SaEntry};
use super::{Databases, NOW};
use crate::fake::check;

impl Databases {
    /// `xfrm_migrate`: all of it or nothing.
    pub(super) fn migrate(&mut self, key: PolicyKey, moves: &[Move]) -> Result<(), Refusal> {
        if self.missing.contains(&Capability::Migrate) {
            return Err(check::refusal(libc::ENOPROTOOPT, None));
        }
        let index = self.index_of(key).ok_or_else(|| check::refusal(libc::ENOENT, None))?;
        let found: Vec<_> = moves.iter().map(|one| (one, self.found(one))).collect();
        // The new name of an SA may be taken (`xfrm_state_migrate`); its own, with another source, is not.
        let taken = |(one, id): &(&Move, Option<SaId>)| {
            id.is_some_and(|id| {
                let new = SaId { destination: one.to.1, ..id };
                new != id && self.sas.contains_key(&new)
            })
        };
        if moves.len() > MAX_MOVES || found.iter().any(taken) {
            return Err(check::refusal(libc::ENODATA, None));
        }
        let Some(PolicyEntry::Ours(policy)) = self.policies.get_mut(&index) else {
            return Err(check::refusal(libc::ENODATA, None));
        };
        let mut matched = false;
        for template in &mut policy.templates {
            for one in moves {
                let is_it = (template.protocol, template.mode, template.reqid)
                    == (one.protocol, one.mode, Some(one.reqid))
                    && template.tunnel.is_none_or(|ends| ends == one.from);
                if is_it {
                    matched = true;
                    template.tunnel = template.tunnel.map(|_| one.to);
                    break;
                }
            }
        }
        if !matched {
            return Err(check::refusal(libc::ENODATA, None));
        }
        for (one, id) in found {
            let Some(SaEntry::Ours { mark, sa: Some(mut sa), state, .. }) =
                id.and_then(|id| self.sas.remove(&id))
            else {
                continue;
            };
            (sa.source, sa.destination) = one.to;
            // What was used up isn't copied (`xfrm_state_clone`).
            let used = Used { added: NOW, ..Used::default() };
            self.sas.insert(sa.id(), SaEntry::Ours { mark, sa: Some(sa), state, used });
        }
        Ok(())
    }

    /// The SA that moves (`xfrm_migrate_state_find`).
    fn found(&self, one: &Move) -> Option<SaId> {
        let is_it = |sa: &Sa| {
            (sa.crypto.protocol(), sa.mode, sa.reqid, (sa.source, sa.destination))
                == (one.protocol, one.mode, one.reqid, one.from)
        };
        self.sas.iter().find_map(|(id, entry)| match entry {
            SaEntry::Ours { sa: Some(sa), .. } if is_it(sa) => Some(*id),
            _ => None,
        })
    }
}
