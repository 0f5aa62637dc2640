use super::Level::{Absent, Encrypt, Enforce, Prepare};
use super::{Level, Participant, complete, next};

fn at(told: Level) -> Participant {
    Participant { told, to: Enforce, reached: Absent, confirmed: true, trouble: false, skipped: false }
}

fn moving(told: Level) -> Participant {
    Participant { confirmed: false, ..at(told) }
}

fn dead(told: Level) -> Participant {
    Participant { skipped: true, ..moving(told) }
}

#[test]
fn switching_on_goes_step_by_step() {
    assert_eq!(next(&[at(Absent), at(Absent)], Enforce), [Prepare, Prepare]);
    assert_eq!(next(&[at(Prepare), moving(Prepare)], Enforce), [Prepare, Prepare]);
    assert_eq!(next(&[at(Prepare), at(Prepare)], Enforce), [Encrypt, Encrypt]);
    // One has been told, the other not yet (the operator died between the two): it needn't wait.
    assert_eq!(next(&[moving(Encrypt), at(Prepare)], Enforce), [Encrypt, Encrypt]);
    assert_eq!(next(&[at(Encrypt), at(Encrypt)], Enforce), [Enforce, Enforce]);
    assert_eq!(next(&[at(Enforce), at(Enforce)], Enforce), [Enforce, Enforce]);
}

#[test]
fn permissive_stays_at_encrypt() {
    assert_eq!(next(&[at(Encrypt), at(Encrypt)], Encrypt), [Encrypt, Encrypt]);
    assert_eq!(next(&[at(Enforce), at(Enforce)], Encrypt), [Encrypt, Encrypt]);
}

#[test]
fn switching_off_goes_the_same_way_back() {
    assert_eq!(next(&[at(Enforce), at(Enforce)], Absent), [Encrypt, Encrypt]);
    assert_eq!(next(&[at(Encrypt), moving(Encrypt)], Absent), [Encrypt, Encrypt]);
    assert_eq!(next(&[at(Encrypt), at(Encrypt)], Absent), [Prepare, Prepare]);
    assert_eq!(next(&[at(Prepare), at(Prepare)], Absent), [Absent, Absent]);
    assert_eq!(next(&[at(Absent), at(Prepare)], Absent), [Absent, Absent]);
}

#[test]
fn trouble_holds_up_the_way_there_and_not_the_way_back() {
    let trouble = |told| Participant { trouble: true, ..at(told) };
    assert_eq!(next(&[at(Prepare), trouble(Prepare)], Enforce), [Prepare, Prepare]);
    assert_eq!(next(&[at(Encrypt), trouble(Encrypt)], Absent), [Prepare, Prepare]);
}

#[test]
fn who_does_not_answer_is_not_waited_for_and_is_told_the_same() {
    assert_eq!(next(&[at(Prepare), at(Prepare), dead(Prepare)], Enforce), [Encrypt, Encrypt, Prepare]);
    assert_eq!(
        next(&[moving(Encrypt), moving(Encrypt), dead(Prepare)], Enforce),
        [Encrypt, Encrypt, Encrypt]
    );
    assert_eq!(next(&[at(Encrypt), at(Encrypt), dead(Enforce)], Absent), [Prepare, Prepare, Encrypt]);
    // It answers again: it has to confirm before the next step.
    assert_eq!(next(&[at(Encrypt), at(Encrypt), moving(Encrypt)], Enforce), [Encrypt, Encrypt, Encrypt]);
}

#[test]
fn with_nobody_there_the_dead_still_go_step_by_step() {
    assert_eq!(next(&[dead(Absent), dead(Absent)], Enforce), [Prepare, Prepare]);
    assert_eq!(next(&[], Enforce), []);
}

#[test]
fn who_joins_goes_where_the_others_are() {
    assert_eq!(next(&[at(Enforce), at(Enforce), at(Absent)], Enforce), [Enforce, Enforce, Enforce]);
    assert_eq!(next(&[at(Encrypt), at(Encrypt), at(Absent)], Enforce), [Encrypt, Encrypt, Encrypt]);
}

#[test]
fn who_has_joined_since_hurries_nobody_on_the_way_back() {
    // One that joined while the policy was being deleted has never been told of it.
    assert_eq!(next(&[at(Enforce), at(Absent), dead(Enforce)], Absent), [Encrypt, Absent, Enforce]);
}

#[test]
fn who_is_there_already_stays() {
    assert_eq!(next(&[dead(Absent), at(Prepare), at(Prepare)], Absent)[0], Absent);
}

#[test]
fn turning_round_half_way_keeps_everybody_within_a_level() {
    // Told to go back, not known to have done so: nobody insists on what it may not do any more.
    assert_eq!(next(&[moving(Prepare), at(Encrypt)], Enforce), [Prepare, Encrypt]);
    assert_eq!(next(&[at(Prepare), at(Encrypt)], Enforce), [Encrypt, Encrypt]);
}

#[test]
fn what_was_told_and_forgotten_is_where_the_nodes_say_they_are() {
    let was = |told, reached| Participant { reached, confirmed: false, ..at(told) };
    // Made anew, or restored: told to begin, and further already.
    assert_eq!(next(&[was(Prepare, Enforce), was(Prepare, Enforce)], Enforce), [Enforce, Enforce]);
    assert_eq!(next(&[was(Absent, Enforce), was(Absent, Encrypt)], Enforce), [Enforce, Encrypt]);
    // Who hasn't said so yet, or has nothing to say, goes where the others are, if need be step by step.
    assert_eq!(next(&[was(Absent, Absent), was(Prepare, Encrypt)], Enforce), [Encrypt, Encrypt]);
    assert_eq!(next(&[at(Prepare), was(Prepare, Enforce)], Enforce), [Encrypt, Enforce]);
    // Should they be less far, or nowhere, by now, they are told where they are, confirm that, and go down in step.
    for target in [Encrypt, Absent] {
        assert_eq!(next(&[was(Prepare, Enforce), was(Prepare, Encrypt)], target), [Enforce, Encrypt]);
    }
    // On the way back they are ahead of what they were told, until they have done it.
    let falls = |told, to, reached| Participant { to, ..was(told, reached) };
    let falling = [falls(Encrypt, Absent, Enforce), falls(Encrypt, Absent, Enforce)];
    assert_eq!(next(&falling, Absent), [Encrypt, Encrypt]);
    let falling = [falls(Encrypt, Encrypt, Enforce), falls(Encrypt, Encrypt, Encrypt)];
    assert_eq!(next(&falling, Encrypt), [Encrypt, Encrypt]);
}

#[test]
fn confirmed_is_the_generation_and_every_peer() {
    let confirmed = |observed, through, newest| Participant::has_confirmed(observed, 4, through, newest);
    assert!(confirmed(Some(4), Some(10), Some(10)));
    assert!(!confirmed(Some(3), Some(10), Some(10)));
    assert!(!confirmed(None, Some(10), Some(10)));
    assert!(!confirmed(Some(4), Some(9), Some(10)));
    assert!(!confirmed(Some(4), None, Some(1)));
    assert!(!confirmed(Some(4), Some(10), None));
}

#[test]
fn a_revision_is_complete_when_all_that_answer_have_it() {
    assert!(complete(&[at(Enforce), dead(Prepare)], Enforce));
    assert!(!complete(&[dead(Enforce), dead(Enforce)], Enforce), "nobody answers");
    assert!(complete(&[], Enforce), "it selects nobody");
    assert!(!complete(&[at(Enforce), at(Encrypt)], Enforce));
    assert!(!complete(&[at(Enforce), moving(Enforce)], Enforce));
    assert!(!complete(&[Participant { trouble: true, ..at(Enforce) }], Enforce));
}
