//! How the record is read, and written so that what one SA costs doesn't depend on how many there are.

use zeroize::Zeroizing;

use super::count::Count;
use super::lines::{Writing, parse, whole_lines, write_line};
use super::{Numbers, ROOM};
use crate::wear::BadRecord;

/// Keys that are remembered besides those of SAs that are there.
const AT_MOST: usize = 1 << 14;

/// So much is appended however short the record is, in bytes: some lines.
const SOME: usize = 1024;

/// About as long as a line is, in bytes.
const LINE: usize = 128;

/// Lengths of a record that this process has written, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// When it was written anew.
    whole: usize,
    /// What was appended since.
    appended: usize,
}

impl Written {
    /// With lines of this length behind it; none where it is better written anew.
    fn and(self, length: usize) -> Option<Self> {
        let appended = self.appended + length;
        (appended <= self.whole.max(SOME)).then_some(Self { appended, ..self })
    }
}

impl Numbers {
    /// As [`Self::record`] wrote it in this boot, with the same salt, which is secret. Half a line at the end counts for
    /// nothing: nobody has made an SA on the strength of it.
    ///
    /// # Errors
    /// The text is no record.
    pub fn read(salt: Zeroizing<[u8; 32]>, text: &str) -> Result<Self, BadRecord> {
        let mut numbers = Self { salt, ..Self::default() };
        for (line, number) in whole_lines(text).zip(1..) {
            match parse(line).ok_or(BadRecord(number))? {
                (id, key, Count::NOTHING) => numbers.counts.remove(id, key),
                (id, key, count) => drop(numbers.counts.put(id, key, count)),
            }
        }
        Ok(numbers)
    }

    /// Records with `keep` what changed since that was last done. What can't be appended is written as a whole, and so is
    /// the first that a process writes: what is there may end with half a line.
    ///
    /// # Errors
    /// Those of `keep`: nothing of what changed counts as recorded.
    pub fn record<E>(&mut self, keep: impl Fn(&Writing) -> Result<(), E>) -> Result<(), E> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        if !self.append(&keep) {
            // Until that has been done nobody knows what is there.
            self.written = None;
            self.limit();
            let mut lines = String::with_capacity(self.counts.len() * LINE);
            self.counts.iter().for_each(|one| write_line(&mut lines, one.id, one.key, one.count));
            let whole = lines.len();
            keep(&Writing::Replace(lines))?;
            self.written = Some(Written { whole, appended: 0 });
        }
        self.unwritten.clear();
        self.unwritten.shrink_to(ROOM);
        Ok(())
    }

    /// Appends what changed; whether that was possible and is the shorter way.
    fn append<E>(&mut self, keep: impl Fn(&Writing) -> Result<(), E>) -> bool {
        let Some(written) = self.written else { return false };
        let (mut lines, mut with_them) = (String::new(), written);
        for (id, key) in &self.unwritten {
            let count = self.counts.get(*id, *key).map_or(Count::NOTHING, |one| one.count);
            write_line(&mut lines, *id, *key, count);
            match written.and(lines.len()) {
                Some(written) => with_them = written,
                None => return false,
            }
        }
        let appended = keep(&Writing::Append(lines)).is_ok();
        self.written = appended.then_some(with_them);
        appended
    }

    /// Forgets the oldest of those that are over where there are too many.
    fn limit(&mut self) {
        let live = self.counts.iter().filter(|one| one.live).count();
        let too_many = self.counts.len().saturating_sub(live + AT_MOST);
        if too_many == 0 {
            return;
        }
        let over = self.counts.iter().filter(|one| one.count.over);
        let mut over: Vec<_> = over.map(|one| (one.count.at, one.id, one.key)).collect();
        over.sort_unstable();
        over.into_iter().take(too_many).for_each(|(_, id, key)| self.counts.remove(id, key));
    }
}
