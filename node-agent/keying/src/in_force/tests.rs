use esplanade_crds::Phase::{self, Encrypt, Enforce, Prepare};
use esplanade_crds::PhaseTarget;

use super::Untold::{Goes, Stays, SwitchedOff};
use super::{Said, Step, Untold, phases};

const OFF: PhaseTarget = PhaseTarget::Absent;
const ON: PhaseTarget = PhaseTarget::Enforce;

/// Of the policy `old`.
fn said(target: PhaseTarget, phase: Phase, reached: impl Into<Option<Phase>>) -> Said<'static> {
    Said { uid: "old", target, phase, reached: reached.into() }
}

/// What becomes of a revision in this phase.
fn untold(target: PhaseTarget, phase: Phase, told: &[Said<'_>]) -> Untold {
    said(target, phase, phase).untold(told)
}

#[test]
fn what_nobody_has_switched_off_stays() {
    assert_eq!(untold(ON, Enforce, &[]), Stays);
    assert_eq!(untold(ON, Prepare, &[]), Stays, "others may send by it");
    assert_eq!(untold(OFF, Encrypt, &[]), Goes);
}

#[test]
fn it_goes_when_another_is_where_it_leads() {
    for uid in ["old", "new"] {
        let another = |target, phase, reached| Said { uid, ..said(target, phase, reached) };
        assert_eq!(untold(ON, Enforce, &[another(ON, Enforce, Some(Encrypt))]), Stays);
        assert_eq!(untold(ON, Enforce, &[another(ON, Enforce, Some(Enforce))]), Goes);
        assert_eq!(untold(ON, Enforce, &[another(PhaseTarget::Encrypt, Encrypt, Some(Encrypt))]), Goes);
    }
}

#[test]
fn one_that_was_going_covers_until_its_successor_does() {
    let successor = [said(ON, Enforce, Prepare)];
    assert_eq!(untold(OFF, Enforce, &successor), Stays);
    assert_eq!(untold(OFF, Encrypt, &successor), Stays);
    assert_eq!(untold(OFF, Prepare, &successor), Goes, "it covers nothing");
}

#[test]
fn all_revisions_of_a_policy_are_switched_off_together() {
    assert_eq!(untold(ON, Enforce, &[said(OFF, Encrypt, Encrypt)]), SwitchedOff(Encrypt));
    assert_eq!(
        untold(ON, Enforce, &[said(OFF, Prepare, None), said(OFF, Encrypt, None)]),
        SwitchedOff(Encrypt)
    );
    assert_eq!(
        untold(ON, Prepare, &[said(OFF, Enforce, None)]),
        SwitchedOff(Prepare),
        "it doesn't go further"
    );
    // That another policy of its name is switched off says nothing of it.
    assert_eq!(untold(ON, Enforce, &[Said { uid: "another", ..said(OFF, Prepare, None) }]), Stays);
}

#[test]
fn clear_text_is_sent_until_what_is_sent_instead_arrives() {
    let step = |to, reached: Option<Phase>, surely| Step::new(to, reached, || surely);
    assert_eq!(phases(&[step(Encrypt, Some(Prepare), false)]), [Prepare]);
    assert_eq!(phases(&[step(Encrypt, Some(Prepare), true)]), [Encrypt]);
    assert_eq!(phases(&[step(Enforce, Some(Encrypt), false)]), [Enforce], "it is sent already");
    assert_eq!(phases(&[step(Enforce, None, false)]), [Enforce], "there was no clear text");
}

#[test]
fn no_revision_goes_lower_than_one_that_waits_leads() {
    let step = |to, reached: Phase, surely| Step::new(to, Some(reached), || surely);
    assert_eq!(phases(&[step(Prepare, Enforce, true), step(Enforce, Prepare, false)]), [Enforce, Prepare]);
    assert_eq!(phases(&[step(Prepare, Enforce, true), step(Encrypt, Prepare, false)]), [Encrypt, Prepare]);
    assert_eq!(phases(&[step(Prepare, Enforce, true), step(Enforce, Prepare, true)]), [Prepare, Enforce]);
}
