//! What there is to say about what isn't as it should be.

use esplanade_crds::conditions::reason;
use esplanade_crds::{Problem, ProblemKind};
use esplanade_diff::{Object, conflict, exhausted};
use esplanade_model::SaId;

use crate::engine::{Engine, SaThere};
use crate::plan::Name;

impl Engine {
    /// What can't be had because somebody else has its place or its key is worn out, what will be worn out soon (`epoch`:
    /// seconds since 1970), and what was [said](Engine::say) about the rest, by name. `make` makes a problem of an object
    /// (none for what nobody asks for), a name and what was said.
    pub fn problems(&self, epoch: u64, make: impl Fn(Option<Object>, &str) -> Problem) -> Vec<Problem> {
        let conflicts = self.conflicts.iter().filter_map(|name| {
            let object = self.object(name)?;
            Some(match name {
                Name::Sa(id) if self.ambiguous.contains(id) => conflict::ambiguous(&object, *id),
                Name::Sa(id) => conflict::sa(&object, *id),
                Name::Policy(key) => conflict::policy(&object, key),
            })
        });
        let exhausted = self
            .exhausted
            .iter()
            .filter_map(|id| Some(exhausted::problem(&self.object(&Name::Sa(*id))?, *id)));
        let said = self.problems.iter().map(|(name, text)| make(self.object(name), text));
        conflicts.chain(exhausted).chain(self.wearing(epoch)).chain(said).collect()
    }

    /// What lifetimes have ended, or soon will.
    fn wearing(&self, epoch: u64) -> impl Iterator<Item = Problem> {
        let problem = |id: &SaId, category: &str, message: String| {
            let Object { kind, name } = self.object(&Name::Sa(*id))?;
            Some(Problem { kind, name, category: category.to_owned(), message })
        };
        let worn = self.worn.iter().filter_map(move |(id, why)| {
            let message = format!(
                "its hard lifetime is over ({why}): its traffic is dropped, and its key is never used again. Write a \
                 new key into the Secrets that it names"
            );
            problem(id, reason::EXPIRED, message)
        });
        let soft = self.soft.iter().filter(|id| matches!(self.sas.get(id), Some(SaThere::Ours { .. })));
        let soon = soft.filter_map(move |id| {
            let limits = self.want.sa(id)?.sa().lifetime.soft;
            let limit = limits.reached(&self.memory.used(id)?, epoch)?;
            let message = format!(
                "it has reached its soft lifetime ({limit}): write a new key and another spi before the hard one ends it"
            );
            problem(id, reason::EXPIRING, message)
        });
        worn.chain(soon)
    }

    /// The soft limit of packets or bytes that the SA has reached, in words.
    pub fn reached_soft_limit(&self, id: &SaId) -> Option<String> {
        if !self.soft.contains(id) {
            return None;
        }
        self.want.sa(id)?.sa().lifetime.soft.reached(&self.memory.used(id)?, 0)
    }

    /// Remembers what there is to say about something that is wrong, until it isn't any more.
    pub fn say(&mut self, name: Name, text: String) {
        if self.is_wrong(&name) {
            self.problems.insert(name, text);
        }
    }

    /// The object that asks for it; none for what is wanted without a name.
    pub fn object(&self, name: &Name) -> Option<Object> {
        Some(match name {
            Name::Sa(id) => Object { kind: ProblemKind::IpsecSA, name: self.want.sas.get(id)?.0.clone() },
            Name::Policy(key) => {
                let (name, _) = self.want.policies.get(key).filter(|(name, _)| !name.is_empty())?;
                Object { kind: ProblemKind::IpsecPolicy, name: name.clone() }
            }
        })
    }
}
