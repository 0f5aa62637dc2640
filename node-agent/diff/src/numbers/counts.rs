//! What is recorded of each SA with each key it has or had.

use esplanade_model::SaId;
use hashbrown::HashTable;

use super::Count;
use crate::fingerprint::Fingerprint;
use crate::slots::{Slots, name, remove};

/// How far an SA had come with one key.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: SaId,
    pub(super) key: Fingerprint,
    pub(super) count: Count,
    /// It is in the kernel, and this process has made or found it. Of one name there is one such at most.
    pub(super) live: bool,
}

/// Each is there once, by name and key, and is found by either.
#[derive(Debug, Default)]
pub(super) struct Counts {
    slots: Slots<Entry>,
    by_name: HashTable<u32>,
    by_key: HashTable<u32>,
}

impl Counts {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    fn find(&self, id: SaId, key: Fingerprint) -> Option<u32> {
        let is_it = |at: &u32| self.slots.get(*at).is_some_and(|one| (one.id, one.key) == (id, key));
        self.by_name.find(name(id), is_it).copied()
    }

    pub(super) fn get(&self, id: SaId, key: Fingerprint) -> Option<&Entry> {
        self.slots.get(self.find(id, key)?)
    }

    pub(super) fn get_mut(&mut self, id: SaId, key: Fingerprint) -> Option<&mut Entry> {
        self.slots.get_mut(self.find(id, key)?)
    }

    /// What was there before. A new one isn't live.
    pub(super) fn put(&mut self, id: SaId, key: Fingerprint, count: Count) -> Option<Count> {
        if let Some(there) = self.get_mut(id, key) {
            return Some(std::mem::replace(&mut there.count, count));
        }
        let at = self.slots.put(Entry { id, key, count, live: false });
        let Self { slots, by_name, by_key } = self;
        by_name.insert_unique(name(id), at, |at| slots.get(*at).map_or(0, |one| name(one.id)));
        by_key.insert_unique(key.hash(), at, |at| slots.get(*at).map_or(0, |one| one.key.hash()));
        None
    }

    pub(super) fn remove(&mut self, id: SaId, key: Fingerprint) {
        let Some(at) = self.find(id, key) else { return };
        self.slots.take(at);
        remove(&mut self.by_name, name(id), at);
        remove(&mut self.by_key, key.hash(), at);
    }

    /// Those of one SA, with whichever keys.
    pub(super) fn of_id(&self, id: SaId) -> impl Iterator<Item = &Entry> {
        let found = self.by_name.iter_hash(name(id)).filter_map(|at| self.slots.get(*at));
        found.filter(move |one| one.id == id)
    }

    /// Those of one key, whichever SAs had it.
    pub(super) fn of_key(&self, key: Fingerprint) -> impl Iterator<Item = &Entry> {
        let found = self.by_key.iter_hash(key.hash()).filter_map(|at| self.slots.get(*at));
        found.filter(move |one| one.key == key)
    }

    /// The key of one that is live.
    pub(super) fn live_key(&self, id: SaId) -> Option<Fingerprint> {
        self.of_id(id).find(|one| one.live).map(|one| one.key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.slots.iter_mut()
    }
}
