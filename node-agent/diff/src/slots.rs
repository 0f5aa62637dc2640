//! Places that are used again.

use std::hash::BuildHasher;

use esplanade_model::SaId;
use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// What was put in keeps its place, and tables can name it by that.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    places: Vec<Option<Box<T>>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn get(&self, at: u32) -> Option<&T> {
        self.places.get(at as usize)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.places.get_mut(at as usize)?.as_deref_mut()
    }

    /// Its place.
    pub(crate) fn put(&mut self, one: T) -> u32 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(place) = self.places.get_mut(at as usize) {
            *place = Some(Box::new(one));
        }
        at
    }

    pub(crate) fn take(&mut self, at: u32) -> Option<T> {
        let one = self.places.get_mut(at as usize)?.take()?;
        self.free.push(at);
        Some(*one)
    }

    /// In the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten().map(|one| &**one)
    }

    /// In the order of their places.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().flatten().map(|one| &mut **one)
    }
}

/// Out of a table of places.
pub(crate) fn remove(table: &mut HashTable<u32>, hash: u64, at: u32) {
    if let Ok(entry) = table.find_entry(hash, |other| *other == at) {
        entry.remove();
    }
}

/// What an SA is found by in a table of places.
pub(crate) fn name(id: SaId) -> u64 {
    FixedState::default().hash_one(id)
}
