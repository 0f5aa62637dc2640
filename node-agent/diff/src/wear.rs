//! Which keys are worn out.

use std::collections::BTreeMap;
use std::fmt;

use esplanade_model::Sa;
use zeroize::Zeroizing;

use crate::fingerprint::Fingerprint;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Mark {
    /// An SA with a hard lifetime is in the kernel.
    Installed,
    /// A hard lifetime ended, and which.
    Worn(String),
}

/// The record of keys that hard lifetimes count for. It outlives the process: what was installed and is gone when the
/// next one looks may have been used up, and what is worn out stays so.
#[derive(Default, PartialEq, Eq)]
pub struct Wear {
    salt: Zeroizing<[u8; 32]>,
    marks: BTreeMap<Fingerprint, Mark>,
    changed: bool,
}

/// A line of a record that isn't one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {0} is none of such a record")]
pub struct BadRecord(pub(crate) usize);

impl BadRecord {
    /// There isn't even a whole line.
    pub const FIRST_LINE: Self = Self(0);
}

impl fmt::Debug for Wear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wear").field("marks", &self.marks.len()).field("changed", &self.changed).finish()
    }
}

impl Wear {
    /// Nothing is recorded. `salt` is secret, and the same for every reader of the record.
    pub fn new(salt: Zeroizing<[u8; 32]>) -> Self {
        Self { salt, ..Self::default() }
    }

    /// As [`Self::take_record`] wrote it, with the same salt.
    ///
    /// # Errors
    /// The text is no record.
    pub fn read(salt: Zeroizing<[u8; 32]>, text: &str) -> Result<Self, BadRecord> {
        let mut wear = Self::new(salt);
        for (line, number) in text.lines().zip(1..) {
            let (fingerprint, mark) = parse(line).ok_or(BadRecord(number))?;
            wear.marks.insert(fingerprint, mark);
        }
        Ok(wear)
    }

    /// The record, if it changed since it was last taken.
    pub fn take_record(&mut self) -> Option<String> {
        std::mem::take(&mut self.changed).then(|| {
            let line = |(fingerprint, mark): (&Fingerprint, &Mark)| match mark {
                Mark::Installed => format!("{fingerprint} installed\n"),
                Mark::Worn(words) => format!("{fingerprint} worn {words}\n"),
            };
            self.marks.iter().map(line).collect()
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Of the key of an SA in one direction, whatever the SPI. None for one that the kernel hides.
    pub(crate) fn fingerprint(&self, sa: &Sa) -> Option<Fingerprint> {
        if sa.crypto.is_redacted() {
            return None;
        }
        let ends = [sa.source, sa.destination].map(|end| end.to_string());
        Some(Fingerprint::of(&self.salt, ends.iter().map(String::as_bytes), &sa.crypto))
    }

    /// Why the key must not be used again.
    pub(crate) fn worn(&self, fingerprint: Fingerprint) -> Option<&str> {
        match self.marks.get(&fingerprint)? {
            Mark::Worn(words) => Some(words),
            Mark::Installed => None,
        }
    }

    pub(crate) fn is_installed(&self, fingerprint: Fingerprint) -> bool {
        self.marks.get(&fingerprint) == Some(&Mark::Installed)
    }

    pub(crate) fn install(&mut self, fingerprint: Fingerprint) {
        self.changed |= self.marks.insert(fingerprint, Mark::Installed) != Some(Mark::Installed);
    }

    /// The SA was deleted before its end.
    pub(crate) fn remove(&mut self, fingerprint: Fingerprint) {
        if self.is_installed(fingerprint) {
            self.marks.remove(&fingerprint);
            self.changed = true;
        }
    }

    pub(crate) fn wear_out(&mut self, fingerprint: Fingerprint, words: &str) {
        self.marks.insert(fingerprint, Mark::Worn(words.to_owned()));
        self.changed = true;
    }
}

fn parse(line: &str) -> Option<(Fingerprint, Mark)> {
    let (digits, rest) = line.split_once(' ')?;
    let mark = match rest.split_once(' ') {
        None if rest == "installed" => Mark::Installed,
        Some(("worn", words)) => Mark::Worn(words.to_owned()),
        _ => return None,
    };
    Some((Fingerprint::parse(digits)?, mark))
}
