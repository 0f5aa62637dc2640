//! Several revisions of one policy: an edit of one that is in force makes another beside it.
//!
//! The new one walks its phases as any policy does. The one before stays as it is meanwhile, so that whatever both cover is
//! never sent or accepted in the clear, and then goes back step by step: what it alone covered is switched off.

use crate::phase::{Level, Participant, next};

/// What each participant is told next of a revision that an edit has replaced. `over`: its successor has taken over
/// ([`complete`](crate::complete)). `joins` says of a participant, by its place, that it has been told of neither: it is
/// told of both, for the others may insist on the earlier one.
pub fn replaced(participants: &[Participant], over: bool, joins: impl Fn(usize) -> bool) -> Vec<Level> {
    if is_going(participants, over) {
        return next(participants, Level::Absent);
    }
    let highest = highest(participants);
    let level = |(place, one): (usize, &Participant)| {
        if one.at() == Level::Absent && joins(place) { highest } else { one.at() }
    };
    participants.iter().enumerate().map(level).collect()
}

/// A revision that an edit has replaced is on its way out: its successor has taken over, or it was only prepared, so that
/// nobody has sent anything by it.
pub fn is_going(participants: &[Participant], over: bool) -> bool {
    over || highest(participants) <= Level::Prepare
}

/// What a participant is told of a revision that is switched off there, on its way to `level`; nothing any more once it is
/// to have none and has let go of it. Who doesn't answer is told of it until it does, for else it would keep it; but where
/// it is told of the newest revision as well (`succeeded`), that says what becomes of this one.
pub fn switched_off(one: &Participant, level: Level, succeeded: bool) -> Option<Level> {
    match level {
        // Its agent hasn't said yet that it has let go of it.
        _ if one.told == Level::Absent && one.reached > Level::Absent => None,
        Level::Absent if one.told == Level::Absent => None,
        Level::Absent if one.to == Level::Absent && (one.confirmed || succeeded) => None,
        Level::Absent => Some(one.told.min(Level::Prepare)),
        level => Some(level),
    }
}

fn highest(participants: &[Participant]) -> Level {
    participants.iter().map(Participant::at).max().unwrap_or_default()
}

/// What each participant is told next of each revision of a policy that is switched off; the participants of all revisions
/// are the same, in the same order. They go down together: nobody goes back from one revision to another that may be gone
/// elsewhere. And who lacks one that somebody sends by is told of it.
pub fn leave(revisions: &[Vec<Participant>]) -> Vec<Vec<Level>> {
    let Some(first) = revisions.first() else { return Vec::new() };
    let together = first.iter().enumerate().map(|(place, one)| {
        let at = revisions.iter().filter_map(|of| of.get(place)).map(Participant::at);
        Participant { told: at.max().unwrap_or_default(), reached: Level::Absent, ..*one }
    });
    let levels = next(&together.collect::<Vec<_>>(), Level::Absent);
    let lower = |of: &Vec<Participant>| {
        let least = if highest(of) > Level::Prepare { Level::Enforce } else { Level::Absent };
        let at = |one: &Participant| if one.at() == Level::Absent { least } else { one.at() };
        of.iter().zip(&levels).map(|(one, level)| at(one).min(*level)).collect::<Vec<_>>()
    };
    revisions.iter().map(lower).collect()
}

#[cfg(test)]
mod tests;
