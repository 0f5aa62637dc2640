//! What is found by a name that it carries itself.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash};

use esplanade_model::{Policy, PolicyKey, SaId, WantedSa};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// What carries its name in the kernel.
pub(crate) trait Named {
    /// The name.
    type Name: Eq + Hash;

    fn name(&self) -> Self::Name;
}

impl Named for WantedSa {
    type Name = SaId;

    fn name(&self) -> SaId {
        self.sa().id()
    }
}

impl Named for Policy {
    type Name = PolicyKey;

    fn name(&self) -> PolicyKey {
        self.key()
    }
}

/// Each once, with the API object that asks for it. A map would keep each name twice.
#[derive(Debug)]
pub(crate) struct ByName<T> {
    all: Vec<(String, T)>,
    places: HashTable<u32>,
}

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self { all: Vec::new(), places: HashTable::new() }
    }
}

impl<T: Named> ByName<T> {
    /// All of these, where they lie; of two with one name the first.
    pub(crate) fn of(mut all: Vec<(String, T)>) -> Self {
        all.shrink_to_fit();
        let mut places = HashTable::with_capacity(all.len());
        let mut again = BTreeSet::new();
        for (at, (_, one)) in (0..).zip(&all) {
            let name = one.name();
            let of = |at: &u32| all.get(*at as usize).map(|(_, one)| one.name());
            let is_it = |at: &u32| of(at).is_some_and(|other| other == name);
            match places.entry(hash(&name), is_it, |at| of(at).map_or(0, |name| hash(&name))) {
                Entry::Vacant(place) => drop(place.insert(at)),
                Entry::Occupied(_) => drop(again.insert(at)),
            }
        }
        if again.is_empty() {
            return Self { all, places };
        }
        let mut at = 0..;
        all.retain(|_| at.next().is_some_and(|at| !again.contains(&at)));
        Self::of(all)
    }

    fn place(&self, name: &T::Name) -> Option<u32> {
        // Where all is to go, nothing is wanted: then not even the hash is needed.
        if self.all.is_empty() {
            return None;
        }
        let is_it = |at: &u32| self.all.get(*at as usize).is_some_and(|(_, one)| one.name() == *name);
        self.places.find(hash(name), is_it).copied()
    }

    pub(crate) fn contains(&self, name: &T::Name) -> bool {
        self.place(name).is_some()
    }

    pub(crate) fn get(&self, name: &T::Name) -> Option<&(String, T)> {
        self.get_with_place(name).map(|(_, one)| one)
    }

    /// The same, with where it stands until one is taken out.
    pub(crate) fn get_with_place(&self, name: &T::Name) -> Option<(u32, &(String, T))> {
        let place = self.place(name)?;
        Some((place, self.all.get(place as usize)?))
    }

    /// The same, which probably stands in this place.
    pub(crate) fn get_at(&self, place: u32, name: &T::Name) -> Option<&(String, T)> {
        let there = self.all.get(place as usize).filter(|(_, one)| one.name() == *name);
        there.or_else(|| self.get(name))
    }

    /// Takes it in; what was there instead of it.
    pub(crate) fn put(&mut self, object: String, one: T) -> Option<T> {
        let name = one.name();
        if let Some(place) = self.place(&name) {
            let there = self.all.get_mut(place as usize)?;
            return Some(std::mem::replace(there, (object, one)).1);
        }
        let place = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push((object, one));
        let Self { all, places } = self;
        let again = |at: &u32| all.get(*at as usize).map_or(0, |(_, one)| hash(&one.name()));
        places.insert_unique(hash(&name), place, again);
        None
    }

    /// Takes it out; the last gets its place.
    pub(crate) fn take(&mut self, name: &T::Name) -> Option<T> {
        let place = self.place(name)?;
        self.forget(name, place);
        let last = u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX);
        let (_, one) = self.all.swap_remove(place as usize);
        if let Some((_, moved)) = self.all.get(place as usize)
            && let Some(at) = self.places.find_mut(hash(&moved.name()), |at| *at == last)
        {
            *at = place;
        }
        Some(one)
    }

    fn forget(&mut self, name: &T::Name, place: u32) {
        if let Ok(entry) = self.places.find_entry(hash(name), |at| *at == place) {
            entry.remove();
        }
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &(String, T)> {
        self.all.iter()
    }

    /// The names of all.
    pub(crate) fn names(&self) -> impl Iterator<Item = T::Name> {
        self.all.iter().map(|(_, one)| one.name())
    }
}

/// What a name's place in a table follows from.
pub(crate) fn hash<K: Hash>(name: &K) -> u64 {
    FixedState::default().hash_one(name)
}

#[cfg(test)]
mod tests {
    use super::{ByName, Named};

    impl Named for (u8, char) {
        type Name = u8;

        fn name(&self) -> u8 {
            self.0
        }
    }

    #[test]
    fn each_is_found_by_its_name_wherever_it_stands() {
        let named = |name: u8| (name.to_string(), (name, 'a'));
        let again = (3..9).map(|name: u8| ("again".to_owned(), (name, 'z')));
        let mut all = ByName::of((0..50).map(named).chain(again).collect());
        for name in 50..100 {
            assert_eq!(all.put(name.to_string(), (name, 'a')), None);
        }
        assert_eq!(all.put("other".to_owned(), (7, 'b')), Some((7, 'a')));
        for name in (0..100).step_by(3) {
            assert_eq!(all.take(&name), Some((name, 'a')));
            assert_eq!(all.take(&name), None);
        }
        for name in 0..100u8 {
            let expected = match name {
                7 => Some(("other".to_owned(), (7, 'b'))),
                _ if name % 3 == 0 => None,
                _ => Some((name.to_string(), (name, 'a'))),
            };
            assert_eq!(all.get(&name), expected.as_ref());
            assert_eq!(all.contains(&name), expected.is_some());
        }
        assert_eq!(all.names().count(), 66);
    }
}
