use super::{leave, replaced};
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
