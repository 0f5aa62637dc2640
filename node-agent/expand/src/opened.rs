//! Keys that were opened before.

use std::collections::HashMap;

use esplanade_crds::SealedKey;
use esplanade_model::Key;
use esplanade_seal::Usage;

/// The keys that the last expansion opened: opening one takes longer than all the rest for its SA. Wiped when dropped, and
/// each one as soon as no SA has it any more.
#[derive(Debug, Default)]
pub struct OpenedKeys {
    keys: HashMap<String, Vec<One>, foldhash::fast::FixedState>,
    fresh: usize,
}

#[derive(Debug)]
struct One {
    usage: Usage,
    sealed: SealedKey,
    key: Key,
}

impl OpenedKeys {
    /// How many keys the last expansion had to open, since they weren't known.
    pub fn fresh(&self) -> usize {
        self.fresh
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.keys.values().map(Vec::len).sum()
    }

    /// None are known.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What this sealed key of an SA was opened to. Sealed for another use or another SA it is another one: that is what
    /// opening would check.
    pub(crate) fn get(&self, sa: &str, usage: Usage, sealed: &SealedKey) -> Option<&Key> {
        let known = self.keys.get(sa)?.iter().find(|one| one.usage == usage && one.sealed == *sealed);
        known.map(|one| &one.key)
    }

    pub(crate) fn put(&mut self, sa: &str, usage: Usage, sealed: &SealedKey, key: Key, fresh: bool) {
        self.fresh += usize::from(fresh);
        let one = One { usage, sealed: sealed.clone(), key };
        self.keys.entry(sa.to_owned()).or_default().push(one);
    }
}
