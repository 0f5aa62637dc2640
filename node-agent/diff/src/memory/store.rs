//! The SAs that are remembered, and how they are found.

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;

use esplanade_model::{Crypto, Sa, SaId};
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::Known;
use crate::slots::{Slots, name, remove};

/// Each is there once, by its name. It is found by its SPI and by its key as well: an SA may have been known under other
/// addresses, or under another SPI.
#[derive(Debug, Default)]
pub(super) struct Store {
    slots: Slots<Known>,
    by_name: HashTable<u32>,
    by_spi: HashTable<u32>,
    /// Those that could be read, by a print of ends and key.
    by_key: HashTable<u32>,
}

impl Store {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, id: SaId) -> Option<u32> {
        // Where nothing is known yet, not even the hash is needed.
        if self.is_empty() {
            return None;
        }
        self.by_name.find(name(id), |at| self.slots.get(*at).is_some_and(|known| known.id == id)).copied()
    }

    pub(super) fn get(&self, id: SaId) -> Option<&Known> {
        self.slots.get(self.find(id)?)
    }

    /// For all but its name and its key.
    pub(super) fn get_mut(&mut self, id: SaId) -> Option<&mut Known> {
        self.slots.get_mut(self.find(id)?)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Known> {
        self.slots.iter_mut()
    }

    /// Takes it in, instead of any other of its name.
    pub(super) fn put(&mut self, known: Known) {
        self.take(known.id);
        let (id, key) = (known.id, key_of(&known));
        let at = self.slots.put(known);
        let Self { slots, by_name, by_spi, by_key } = self;
        let of = |at: &u32| slots.get(*at);
        by_name.insert_unique(name(id), at, |at| of(at).map_or(0, |known| name(known.id)));
        by_spi.insert_unique(spi(id), at, |at| of(at).map_or(0, |known| spi(known.id)));
        if let Some(print) = key {
            let again = |at: &u32| of(at).and_then(key_of).unwrap_or_default();
            by_key.insert_unique(print, at, again);
        }
    }

    /// Forgets it.
    pub(super) fn take(&mut self, id: SaId) -> Option<Known> {
        let at = self.find(id)?;
        let known = self.slots.take(at)?;
        remove(&mut self.by_name, name(id), at);
        remove(&mut self.by_spi, spi(id), at);
        if let Some(print) = key_of(&known) {
            remove(&mut self.by_key, print, at);
        }
        Some(known)
    }

    /// Forgets those that aren't to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(&SaId) -> bool) {
        let ids = self.slots.iter().map(|known| known.id);
        let gone: Vec<_> = ids.filter(|id| !keep(id)).collect();
        gone.into_iter().for_each(|id| drop(self.take(id)));
    }

    /// Those with this SPI and protocol, between whichever addresses.
    pub(super) fn of_spi(&self, id: SaId) -> impl Iterator<Item = &Known> {
        let found = self.by_spi.iter_hash(spi(id)).filter_map(|at| self.slots.get(*at));
        found.filter(move |known| (known.id.spi, known.id.protocol) == (id.spi, id.protocol))
    }

    /// Those that may have the same ends and the same key.
    pub(super) fn of_key(&self, sa: &Sa) -> impl Iterator<Item = &Known> {
        self.by_key.iter_hash(key(sa.source, sa.destination, &sa.crypto)).filter_map(|at| self.slots.get(*at))
    }
}

fn spi(id: SaId) -> u64 {
    FixedState::default().hash_one((id.spi.get(), id.protocol.number()))
}

fn key_of(known: &Known) -> Option<u64> {
    known.sa.as_ref().map(|sa| key(sa.source(), known.id.destination, sa.crypto()))
}

/// Of ends and key.
fn key(source: IpAddr, destination: IpAddr, crypto: &Crypto) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    (source, destination).hash(&mut hasher);
    crypto.keys().for_each(|(_, key)| hasher.write(key.expose()));
    hasher.finish()
}
