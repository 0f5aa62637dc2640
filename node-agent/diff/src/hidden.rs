//! Which keys SAs have where the kernel doesn't show them.
//!
//! Under lockdown (`confidentiality`) the kernel shows zeroes in place of keys (`xfrm_redact`). Whether an SA has the key that
//! is wanted is judged by a record of what was written then. It tells nothing of the keys to those who lack the salt.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use esplanade_model::{Key, ObservedSa, Protocol, SaId, Spi, WantedSa};
use foldhash::fast::FixedState;
use zeroize::Zeroizing;

use crate::crypto::same_crypto;
use crate::fingerprint::Fingerprint;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    key: Fingerprint,
    /// It was written by this process. What an earlier one recorded last may not be what it wrote last.
    own: bool,
}

/// The record, and what of it isn't known yet.
#[derive(Default)]
pub struct Hidden {
    salt: Zeroizing<[u8; 32]>,
    marks: BTreeMap<SaId, Mark>,
    /// Just written as wanted, and to be read back.
    fresh: HashSet<SaId, FixedState>,
    changed: bool,
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hidden").field("marks", &self.marks.len()).finish_non_exhaustive()
    }
}

impl Hidden {
    /// As [`Self::take_record`] wrote it, with the same salt, which is secret. Lines that say something else are passed over:
    /// of those SAs nothing is known.
    pub fn read(salt: Zeroizing<[u8; 32]>, text: &str) -> Self {
        let marks = text.lines().filter_map(parse).collect();
        Self { salt, marks, ..Self::default() }
    }

    /// The record of the SAs that are `there`, if it changed since it was last taken.
    pub fn take_record(&mut self, there: impl Fn(&SaId) -> bool) -> Option<String> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.marks.retain(|id, _| there(id));
        let line = |(id, mark): (&SaId, &Mark)| format!("{} {}\n", Words(*id), mark.key);
        Some(self.marks.iter().map(line).collect())
    }

    /// The SA was just written as it is wanted.
    pub fn written(&mut self, id: SaId) {
        self.fresh.insert(id);
    }

    /// All that was written was read back.
    pub fn end_reading(&mut self) {
        self.fresh.clear();
    }

    /// Somebody else may have written this SA.
    pub fn doubt(&mut self, id: SaId) {
        self.changed |= self.marks.remove(&id).is_some();
    }

    /// Puts into an SA that was read what its keys are: those that are wanted, or some that nobody wants. Where it isn't known
    /// it becomes one that we can't read, which is replaced, and goes on where it was as if the key were the same.
    pub fn reveal(&mut self, observed: &mut ObservedSa, wanted: Option<&WantedSa>) {
        let id = observed.id;
        let fresh = self.fresh.remove(&id);
        let Some(sa) = observed.sa.as_mut().filter(|sa| sa.crypto.is_redacted()) else { return };
        let Some(wanted) = wanted else { return };
        let crypto = &wanted.sa().crypto;
        let key = Fingerprint::of(&self.salt, [], crypto);
        if fresh {
            self.changed |= self.marks.insert(id, Mark { key, own: true }) != Some(Mark { key, own: true });
        }
        match self.marks.get(&id) {
            Some(mark) if mark.key == key => {
                if same_crypto(crypto, &sa.crypto) {
                    sa.crypto = crypto.clone();
                }
            }
            // A sender's numbers don't begin again on the word of an earlier process: it may have ended between writing
            // and recording.
            Some(mark) if mark.own || matches!(wanted, WantedSa::Inbound(_)) => {
                let other = mark.key;
                sa.crypto = sa.crypto.with_keys(|length| stand_in(&other, length));
            }
            Some(_) | None => observed.sa = None,
        }
    }
}

/// A key that nobody has.
fn stand_in(key: &Fingerprint, length: usize) -> Key {
    Key::new(Zeroizing::new(key.bytes().iter().copied().cycle().take(length).collect()))
}

/// The name of an SA as the words of a record.
pub(crate) struct Words(pub(crate) SaId);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SaId { destination, protocol, spi } = self.0;
        write!(f, "{destination} {protocol:?} {}", spi.get())
    }
}

/// As it was written.
pub(crate) fn parse_id<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<SaId> {
    let destination = words.next()?.parse().ok()?;
    let protocol = words.next()?;
    let protocol = [Protocol::Esp, Protocol::Ah].into_iter().find(|one| format!("{one:?}") == protocol)?;
    let spi = Spi::new(words.next()?.parse().ok()?)?;
    Some(SaId { destination, protocol, spi })
}

fn parse(line: &str) -> Option<(SaId, Mark)> {
    let mut words = line.split(' ');
    let id = parse_id(&mut words)?;
    let key = Fingerprint::parse(words.next()?)?;
    Some((id, Mark { key, own: false }))
}
