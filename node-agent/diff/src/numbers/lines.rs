//! The record as text: a line for each SA and key, and later lines about the same win.

use std::fmt::Write;
use std::time::Duration;

use esplanade_model::SaId;

use super::Count;
use crate::fingerprint::Fingerprint;
use crate::hidden::{Words, parse_id};

/// What is to be written of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writing {
    /// These lines at the end of what is there.
    Append(String),
    /// These lines instead of what is there: afterwards it is they, or what was there before.
    Replace(String),
}

/// Writes its line, with the end of it.
pub(super) fn write_line(lines: &mut String, id: SaId, key: Fingerprint, count: Count) {
    let Count { sent, at, over, added } = count;
    let over = if over { "over" } else { "open" };
    // Strings take whatever is written.
    let _ = writeln!(lines, "{key} {} {sent} {} {over} {added}", Words(id), at.as_millis());
}

/// The lines of a record that were written to their ends. An agent that dies while it writes leaves half a line at most, and
/// before it has made what that is about.
pub(super) fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}

pub(super) fn parse(line: &str) -> Option<(SaId, Fingerprint, Count)> {
    let mut words = line.split(' ');
    let key = Fingerprint::parse(words.next()?)?;
    let id = parse_id(&mut words)?;
    let sent = words.next()?.parse().ok()?;
    let at = Duration::from_millis(words.next()?.parse().ok()?);
    let over = match words.next()? {
        "over" => true,
        "open" => false,
        _ => return None,
    };
    let added = words.next()?.parse().ok()?;
    words.next().is_none().then_some((id, key, Count { sent, at, over, added }))
}
