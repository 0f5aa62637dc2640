//! Which keys are worn out.

use std::collections::BTreeMap;
use std::fmt;

use esplanade_model::Sa;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What names a key in one direction, whatever the SPI. It tells nothing of the key to those who lack the salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fingerprint([u8; 32]);

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
#[error("line {0} is none of a record of worn out keys")]
pub struct BadRecord(usize);

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
            let line = |(fingerprint, mark): (&Fingerprint, &Mark)| {
                let digits: String = fingerprint.0.iter().map(|byte| format!("{byte:02x}")).collect();
                match mark {
                    Mark::Installed => format!("{digits} installed\n"),
                    Mark::Worn(words) => format!("{digits} worn {words}\n"),
                }
            };
            self.marks.iter().map(line).collect()
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Of the key of an SA. None for one that the kernel hides.
    pub(crate) fn fingerprint(&self, sa: &Sa) -> Option<Fingerprint> {
        if sa.crypto.is_redacted() {
            return None;
        }
        let mut hasher = Sha256::new_with_prefix(self.salt.as_slice());
        let mut part = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        part(sa.source.to_string().as_bytes());
        part(sa.destination.to_string().as_bytes());
        for (algorithm, key) in sa.crypto.keys() {
            part(algorithm.as_bytes());
            part(key.expose());
        }
        Some(Fingerprint(hasher.finalize().into()))
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
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some((Fingerprint(bytes), mark))
}
