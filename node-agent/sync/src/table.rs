//! One of the kernel's databases as it was last read.

use std::hash::Hash;

use esplanade_model::Glance;
use hashbrown::HashTable;

use crate::named::hash;

/// How many records may have gone between two that follow on each other before the second isn't recognised.
const AHEAD: usize = 8;
/// No place.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// The records of a database, by their names. What has no name that one of ours could have is kept as well, to be
/// recognised.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    slots: Vec<Option<Slot<K, V>>>,
    free: Vec<u32>,
    /// Slots by their names, which stand in them only.
    names: HashTable<u32>,
    /// The slots in the order of the last whole reading: the kernel keeps to it.
    order: Vec<u32>,
    round: Option<Round>,
    rounds: u32,
}

#[derive(Debug)]
struct Slot<K, V> {
    name: Option<K>,
    /// None: it is in doubt, and to be read again.
    glance: Option<Glance>,
    round: u32,
    /// Its place in the order.
    place: u32,
    value: V,
}

/// A whole reading.
#[derive(Debug)]
struct Round {
    /// Where in the last order it is.
    at: usize,
    order: Vec<u32>,
}

/// What a glance came to.
#[derive(Debug)]
pub(crate) enum Seen<'a, K, V> {
    Unknown,
    Same(&'a mut V),
    /// But for the counters, which are `Glance`'s now.
    Counted(Option<K>, &'a mut V),
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            names: HashTable::new(),
            order: Vec::new(),
            round: None,
            rounds: 0,
        }
    }
}

impl<K: Copy + Eq + Hash, V> Table<K, V> {
    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn get(&self, name: &K) -> Option<&V> {
        self.get_with_place(name).map(|(_, value)| value)
    }

    /// The same, with its slot.
    pub(crate) fn get_with_place(&self, name: &K) -> Option<(u32, &V)> {
        let at = self.find(name)?;
        Some((at, &self.slot(at)?.value))
    }

    /// The same, which probably has this slot.
    pub(crate) fn get_at(&self, at: u32, name: &K) -> Option<&V> {
        let there = self.slot(at).filter(|slot| slot.name.as_ref() == Some(name));
        there.map(|slot| &slot.value).or_else(|| self.get(name))
    }

    /// The slot of this name.
    fn find(&self, name: &K) -> Option<u32> {
        // Where nothing is there yet, not even the hash is needed.
        if self.names.is_empty() {
            return None;
        }
        let is_it = |at: &u32| self.slot(*at).is_some_and(|slot| slot.name.as_ref() == Some(name));
        self.names.find(hash(name), is_it).copied()
    }

    /// Those that have a name.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots.iter().flatten().filter_map(|slot| Some((slot.name.as_ref()?, &slot.value)))
    }

    fn slot(&self, at: u32) -> Option<&Slot<K, V>> {
        self.slots.get(at as usize)?.as_ref()
    }

    /// The record is the one under this name, in whatever place.
    pub(crate) fn is(&self, name: &K, glance: Glance) -> bool {
        let slot = self.find(name).and_then(|at| self.slot(at));
        slot.and_then(|slot| slot.glance).is_some_and(|known| known.print == glance.print)
    }

    /// A record of this name was read in this whole reading.
    pub(crate) fn is_read(&self, name: &K) -> bool {
        let slot = self.find(name).and_then(|at| self.slot(at));
        self.round.is_some() && slot.is_some_and(|slot| slot.round == self.rounds)
    }

    /// It isn't recognised until it was read again.
    pub(crate) fn doubt(&mut self, name: &K) {
        let slot = self.find(name).and_then(|at| self.slots.get_mut(at as usize)?.as_mut());
        if let Some(slot) = slot {
            slot.glance = None;
        }
    }

    /// All records follow, from the first.
    pub(crate) fn begin(&mut self) {
        self.rounds = self.rounds.wrapping_add(1);
        let order = self.round.take().map(|round| round.order).unwrap_or_default();
        let mut round = Round { at: 0, order };
        round.order.clear();
        self.round = Some(round);
    }

    /// All records were read; those that weren't among them.
    pub(crate) fn end(&mut self) -> Vec<(Option<K>, V)> {
        let Some(round) = self.round.take() else { return Vec::new() };
        let (seen, now) = (round.order.len(), self.rounds);
        // The old order's room is used again.
        let mut spare = std::mem::replace(&mut self.order, round.order);
        spare.clear();
        let mut gone = Vec::new();
        if seen != self.len() {
            for at in 0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX) {
                if self.slot(at).is_some_and(|slot| slot.round != now) {
                    gone.extend(self.take(at));
                }
            }
        }
        gone
    }

    /// Whether the next record is known.
    pub(crate) fn glance(&mut self, glance: Glance) -> Seen<'_, K, V> {
        let Some(round) = &mut self.round else { return Seen::Unknown };
        let upcoming = self.order.iter().enumerate().skip(round.at).take(AHEAD);
        let known = |at: u32| match self.slots.get(at as usize) {
            Some(Some(slot)) => slot.glance.is_some_and(|known| known.print == glance.print),
            _ => false,
        };
        let found = upcoming.map(|(place, at)| (place, *at)).find(|(_, at)| known(*at));
        let Some((place, at)) = found else { return Seen::Unknown };
        round.at = place + 1;
        let Some(Some(slot)) = self.slots.get_mut(at as usize) else { return Seen::Unknown };
        mark(slot, at, round, self.rounds);
        if slot.glance == Some(glance) {
            return Seen::Same(&mut slot.value);
        }
        slot.glance = Some(glance);
        Seen::Counted(slot.name, &mut slot.value)
    }

    /// Takes a record in; what was there under its name.
    pub(crate) fn put(&mut self, name: Option<K>, glance: Glance, value: V) -> Option<V> {
        let known = name.and_then(|name| self.find(&name));
        let at = known.unwrap_or_else(|| {
            let slot = self.free.pop();
            slot.unwrap_or_else(|| {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            })
        });
        let place = self.slots.get_mut(at as usize)?;
        let before = place.take();
        let (round, where_it_was) = before.as_ref().map_or((0, NOWHERE), |slot| (slot.round, slot.place));
        let slot = place.insert(Slot { name, glance: Some(glance), round, place: where_it_was, value });
        if let Some(round) = &mut self.round {
            // What follows on it in the order probably follows on it now.
            if self.order.get(where_it_was as usize) == Some(&at) && slot.round != self.rounds {
                round.at = where_it_was as usize + 1;
            }
            mark(slot, at, round, self.rounds);
        }
        if let (Some(name), None) = (name, known) {
            let Self { names, slots, .. } = self;
            // Of a slot in the table only: each has a name.
            let again = |at: &u32| {
                let slot = slots.get(*at as usize).and_then(Option::as_ref);
                slot.and_then(|slot| slot.name.as_ref()).map_or(0, hash)
            };
            names.insert_unique(hash(&name), at, again);
        }
        before.map(|slot| slot.value)
    }

    pub(crate) fn remove(&mut self, name: &K) -> Option<V> {
        let at = self.find(name)?;
        self.take(at).map(|(_, value)| value)
    }

    fn take(&mut self, at: u32) -> Option<(Option<K>, V)> {
        let slot = self.slots.get_mut(at as usize)?.take()?;
        self.free.push(at);
        // Whoever gets the slot isn't found in its place.
        if let Some(place) = self.order.get_mut(slot.place as usize).filter(|there| **there == at) {
            *place = NOWHERE;
        }
        if let Some(name) = &slot.name
            && let Ok(entry) = self.names.find_entry(hash(name), |other| *other == at)
        {
            entry.remove();
        }
        Some((slot.name, slot.value))
    }
}

/// It was read in this round.
fn mark<K, V>(slot: &mut Slot<K, V>, at: u32, round: &mut Round, now: u32) {
    if slot.round != now {
        slot.round = now;
        slot.place = u32::try_from(round.order.len()).unwrap_or(NOWHERE);
        round.order.push(at);
    }
}

#[cfg(test)]
mod tests;
