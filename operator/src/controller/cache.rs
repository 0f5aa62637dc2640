//! What was seen of one kind: from its watch, and from the answers to own writes.
//!
//! An answer is newer than what the watch has delivered so far, and counts at once: without it, the next plan would
//! start from before the last one's writes.

use std::collections::BTreeMap;
use std::mem;

/// One object as a watch or an answer has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen<T> {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.resourceVersion`; none if it isn't a number.
    pub version: Option<u64>,
    /// The object, or why it can't be read.
    pub object: Result<T, Unreadable>,
}

/// An object that doesn't fit its type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unreadable {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// What is wrong with it.
    pub error: String,
}

/// What a watch says.
#[derive(Debug, Clone)]
pub enum Event<T> {
    /// A new list begins.
    ListStart,
    /// An object of the list.
    Listed(Seen<T>),
    /// The list is complete: what it doesn't have is gone.
    ListEnd,
    /// An object appeared or changed.
    Changed(Seen<T>),
    /// An object is gone.
    Gone {
        /// `metadata.name`.
        name: String,
        /// `metadata.resourceVersion` of its removal.
        version: Option<u64>,
    },
}

/// The objects of one kind by name.
#[derive(Debug)]
pub struct Cache<T> {
    objects: BTreeMap<String, Seen<T>>,
    listing: BTreeMap<String, Seen<T>>,
    complete: bool,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listing: BTreeMap::new(), complete: false }
    }
}

impl<T: PartialEq> Cache<T> {
    /// Takes in an event; returns whether anything is different now.
    pub fn apply(&mut self, event: Event<T>) -> bool {
        match event {
            Event::ListStart => {
                self.listing = BTreeMap::new();
                false
            }
            Event::Listed(seen) => {
                self.listing.insert(seen.name.clone(), seen);
                false
            }
            Event::ListEnd => self.replace(),
            Event::Changed(seen) => self.put(seen),
            Event::Gone { name, version } => {
                let stays = self.objects.get(&name).is_none_or(|known| newer(known.version, version));
                !stays && self.objects.remove(&name).is_some()
            }
        }
    }

    /// Takes in an object unless a newer one is known; returns whether it is different from the one before.
    pub fn put(&mut self, seen: Seen<T>) -> bool {
        match self.objects.get_mut(&seen.name) {
            Some(known) if newer(known.version, seen.version) => false,
            Some(known) => mem::replace(known, seen).object != known.object,
            None => {
                self.objects.insert(seen.name.clone(), seen);
                true
            }
        }
    }

    fn replace(&mut self) -> bool {
        let before = mem::replace(&mut self.objects, mem::take(&mut self.listing));
        let mut changed = !mem::replace(&mut self.complete, true);
        changed |= self.objects.keys().any(|name| !before.contains_key(name));
        for (name, known) in before {
            match self.objects.get_mut(&name) {
                Some(listed) if newer(known.version, listed.version) => *listed = known,
                Some(listed) => changed |= listed.object != known.object,
                None => changed = true,
            }
        }
        changed
    }

    /// A list has to come before anything counts, and all of it does: after etcd was restored from a backup objects are at
    /// earlier resourceVersions than they were.
    pub fn begin_anew(&mut self) {
        self.complete = false;
        self.listing = BTreeMap::new();
        self.objects.values_mut().for_each(|seen| seen.version = None);
    }

    /// The newest resourceVersion of its objects.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        self.objects.values().filter_map(|seen| seen.version).max()
    }

    /// Whether a whole list has been seen.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The objects that can be read, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.objects.iter().filter_map(|(name, seen)| Some((name.as_str(), seen.object.as_ref().ok()?)))
    }

    /// An object that can be read.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        self.objects.get(name)?.object.as_ref().ok()
    }

    /// Whether there is an object of this name, readable or not.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.objects.contains_key(name)
    }

    /// The objects that can't be read, by name.
    pub fn unreadable(&self) -> impl Iterator<Item = (&str, &Unreadable)> {
        self.objects.iter().filter_map(|(name, seen)| Some((name.as_str(), seen.object.as_ref().err()?)))
    }
}

/// Whether `known` is certainly newer than `seen`.
fn newer(known: Option<u64>, seen: Option<u64>) -> bool {
    matches!((known, seen), (Some(known), Some(seen)) if known > seen)
}

#[cfg(test)]
mod tests;
