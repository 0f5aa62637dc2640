use super::{leave, replaced, switched_off};
use crate::phase::Level::{self, Absent, Encrypt, Enforce, Prepare};
use crate::phase::Participant;

fn at(told: Level) -> Participant {
    Participant { told, to: Enforce, reached: Absent, confirmed: true, trouble: false, skipped: false }
}

#[test]
fn an_earlier_revision_stays_until_its_successor_has_taken_over() {
    let nobody = |_| false;
    assert_eq!(replaced(&[at(Enforce), at(Encrypt)], false, nobody), [Enforce, Encrypt]);
    assert_eq!(replaced(&[at(Enforce), at(Enforce)], true, nobody), [Encrypt, Encrypt]);
    assert_eq!(replaced(&[at(Encrypt), at(Encrypt)], true, nobody), [Prepare, Prepare]);
}

#[test]
fn one_that_joins_is_told_of_it_and_one_that_has_done_with_it_is_not() {
    assert_eq!(replaced(&[at(Enforce), at(Absent)], false, |place| place == 1), [Enforce, Enforce]);
    assert_eq!(replaced(&[at(Enforce), at(Absent)], false, |_| false), [Enforce, Absent]);
}

#[test]
fn one_that_was_only_prepared_goes_at_once() {
    assert_eq!(replaced(&[at(Prepare), at(Prepare)], false, |_| false), [Absent, Absent]);
    // But not where a kernel is further than was told.
    let further = Participant { reached: Encrypt, ..at(Prepare) };
    assert_eq!(replaced(&[at(Prepare), further], false, |_| false), [Prepare, Encrypt]);
}

#[test]
fn all_revisions_are_switched_off_together() {
    let now = [vec![at(Enforce), at(Enforce)], vec![at(Encrypt), at(Prepare)]];
    assert_eq!(leave(&now), [[Encrypt, Encrypt], [Encrypt, Prepare]]);
    let now = [vec![at(Encrypt), at(Encrypt)], vec![at(Encrypt), at(Prepare)]];
    assert_eq!(leave(&now), [[Prepare, Prepare], [Prepare, Prepare]]);
    assert_eq!(
        leave(&[vec![at(Prepare), at(Prepare)], vec![at(Prepare), at(Prepare)]]),
        [[Absent, Absent]; 2]
    );
    assert_eq!(leave(&[]), [] as [Vec<Level>; 0]);
}

#[test]
fn who_lacks_a_revision_that_somebody_sends_by_is_told_of_it_while_it_goes() {
    // The second was given up when the edit began.
    let now = [vec![at(Enforce), at(Enforce)], vec![at(Encrypt), at(Absent)]];
    assert_eq!(leave(&now), [[Encrypt, Encrypt], [Encrypt, Encrypt]]);
    let now = [vec![at(Encrypt), at(Encrypt)], vec![at(Prepare), at(Absent)]];
    assert_eq!(leave(&now), [[Prepare, Prepare], [Prepare, Absent]]);
}

#[test]
fn what_is_switched_off_is_told_until_the_node_has_let_go_of_it() {
    let off = |one: Participant, level| switched_off(&one, level, false);
    let leaves = |told| Participant { to: Absent, ..at(told) };
    assert_eq!(off(at(Enforce), Encrypt), Some(Encrypt));
    // First that it is meant.
    assert_eq!(off(at(Prepare), Absent), Some(Prepare));
    assert_eq!(off(leaves(Prepare), Absent), None);
    assert_eq!(off(at(Absent), Absent), None);
    // Who doesn't answer hasn't heard of it, wherever it is.
    let silent = Participant { confirmed: false, skipped: true, ..leaves(Enforce) };
    assert_eq!(off(silent, Absent), Some(Prepare));
    assert_eq!(switched_off(&silent, Absent, true), None, "the newest revision says what becomes of it");
}
