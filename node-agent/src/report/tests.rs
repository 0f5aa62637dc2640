use std::time::Duration;

use esplanade_crds::{Counts, IpsecNodeStateStatus, Kernel, SealingKey};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::time::Instant;

use super::{COUNTS_PAUSE, Latest, Todo, Written, pause, todo};
use crate::desired::Target;
use crate::status::{Identity, PassResult, Report};

fn identity() -> Identity {
    Identity {
        node: "a".into(),
        sealing_key: SealingKey { id: "0011223344556677".into(), public_key: "AAAA".into() },
        boot_id: "boot-1".into(),
        kernel: Kernel::default(),
    }
}

fn report(generation: i64, foreign: u32) -> Option<Report> {
    let counts = Counts { foreign_policies: foreign, ..Counts::default() };
    let result = PassResult::Done { counts, problems: vec![], in_sync: true };
    Some(Report {
        uid: Some("uid".into()),
        generation: Some(generation),
        peers_through: None,
        confirmed: None,
        policies: vec![],
        disturbance: None,
        capabilities: None,
        allocated: vec![],
        result,
    })
}

fn target(version: u64, status: Option<&IpsecNodeStateStatus>) -> Option<Target> {
    let (uid, status) = ("uid".into(), status.cloned());
    Some(Target { uid, version: Some(version), generation: Some(7), status, listed: None })
}

fn decide(latest: &Latest, written: Option<&Written>, at: Instant) -> Todo {
    let time = Time(jiff::Timestamp::from_second(100).unwrap());
    todo(latest, &identity(), written, at, &time)
}

/// The status written for a report, and the answer to it.
fn written(report: &Option<Report>, at: Instant) -> Written {
    let latest = Latest { target: target(10, None), report: report.clone() };
    let Todo::Write(sent) = decide(&latest, None, at) else { panic!("the first status is written") };
    Written { answer: target(11, Some(&sent)).unwrap(), sent: *sent, at }
}

#[test]
fn nothing_without_an_object_or_a_report() {
    let now = Instant::now();
    assert_eq!(decide(&Latest { target: None, report: report(1, 0) }, None, now), Todo::Nothing);
    assert_eq!(decide(&Latest { target: target(1, None), report: None }, None, now), Todo::Nothing);
}

#[test]
fn written_once() {
    let now = Instant::now();
    let report = report(1, 0);
    let written = written(&report, now);
    // Before the watch tells of it, and after.
    for target in [target(10, None), target(11, Some(&written.sent))] {
        let latest = Latest { target, report: report.clone() };
        assert_eq!(decide(&latest, Some(&written), now), Todo::Nothing);
    }
    // By an agent before this one.
    let latest = Latest { target: target(11, Some(&written.sent)), report };
    assert_eq!(decide(&latest, None, now), Todo::Nothing);
}

#[test]
fn written_again_where_a_later_list_has_the_object_as_it_was_before() {
    let now = Instant::now();
    let report = report(1, 0);
    let written = written(&report, now);
    let listed = |began: Option<Instant>| {
        let listed = began.map(Instant::into_std);
        let target = target(10, None).map(|target| Target { listed, ..target });
        decide(&Latest { target, report: report.clone() }, Some(&written), now)
    };
    // The list may have been on its way when it was written.
    assert_eq!([listed(None), listed(Some(now))], [Todo::Nothing, Todo::Nothing]);
    assert!(matches!(listed(Some(now + Duration::from_millis(1))), Todo::Write(_)));
}

#[test]
fn written_again_when_it_changes_or_the_object_is_another() {
    let now = Instant::now();
    let old = report(1, 0);
    let written = written(&old, now);
    let changed = Latest { target: target(11, Some(&written.sent)), report: report(2, 0) };
    assert!(matches!(decide(&changed, Some(&written), now), Todo::Write(_)));
    let other =
        Target { uid: "other".into(), version: Some(12), generation: Some(1), ..target(12, None).unwrap() };
    let other = Some(other);
    // The pass that it is about was made for the one before, whose generations say nothing of this one's.
    let latest = Latest { target: other.clone(), report: old.clone() };
    assert_eq!(decide(&latest, Some(&written), now), Todo::Nothing);
    let report = old.map(|report| Report { uid: Some("other".into()), ..report });
    let latest = Latest { target: other, report };
    assert!(matches!(decide(&latest, Some(&written), now), Todo::Write(_)));
}

#[test]
fn what_somebody_else_made_of_it_is_put_right_and_what_they_added_stays() {
    let now = Instant::now();
    let report = report(1, 0);
    let mut written = written(&report, now);
    let tampered = IpsecNodeStateStatus { observed_generation: Some(99), ..written.sent.clone() };
    let latest = Latest { target: target(12, Some(&tampered)), report: report.clone() };
    let Todo::Write(next) = decide(&latest, Some(&written), now) else { panic!("it is written again") };
    assert_eq!(*next, written.sent);
    // The API server's answer has somebody else's field beside ours: that is no difference.
    written.answer = target(13, Some(&tampered)).unwrap();
    let latest = Latest { target: target(13, Some(&tampered)), report };
    assert_eq!(decide(&latest, Some(&written), now), Todo::Nothing);
}

/// etcd was restored: resourceVersions count from where they were then.
#[test]
fn an_acknowledgement_that_an_object_can_not_have_had_is_taken_back() {
    let now = Instant::now();
    let known = |through: u64| {
        report(1, 0).map(|report| Report { confirmed: Some(true), peers_through: Some(through), ..report })
    };
    let found = |through: &str| IpsecNodeStateStatus {
        peers_applied_through: Some(through.to_owned()),
        boot_id: Some("boot-1".to_owned()),
        ..IpsecNodeStateStatus::default()
    };
    let reported = |version, through| {
        let latest = Latest { target: target(version, Some(&found(through))), report: known(5) };
        let Todo::Write(next) = decide(&latest, None, now) else { panic!("it is written") };
        next.peers_applied_through
    };
    assert_eq!(reported(10, "9").as_deref(), Some("9"), "what was once acknowledged stays so");
    assert_eq!(reported(10, "9000").as_deref(), Some("5"));
    // Nor a generation; while the present one isn't confirmed, the last one that was stays.
    let observed = |generation| {
        let status = IpsecNodeStateStatus { observed_generation: Some(generation), ..found("9") };
        let report = known(5).map(|report| Report { confirmed: Some(false), ..report });
        let Todo::Write(next) = decide(&Latest { target: target(10, Some(&status)), report }, None, now)
        else {
            panic!("it is written")
        };
        next.observed_generation
    };
    assert_eq!((observed(7), observed(8)), (Some(7), None));
}

#[test]
fn counts_alone_wait_for_a_while() {
    let now = Instant::now();
    let written = written(&report(1, 0), now);
    let latest = Latest { target: target(11, Some(&written.sent)), report: report(1, 5) };
    assert_eq!(decide(&latest, Some(&written), now), Todo::Later(now + COUNTS_PAUSE));
    let later = now + COUNTS_PAUSE;
    assert!(matches!(decide(&latest, Some(&written), later), Todo::Write(_)));
}

#[test]
fn pauses_grow_to_a_limit() {
    let seconds = |failures, random| pause(failures, random).as_secs_f64();
    assert_eq!([0, 1, 4, 5, 100].map(|failures| seconds(failures, 0.0)), [1.0, 2.0, 16.0, 30.0, 30.0]);
    assert_eq!(pause(1, 1.0), Duration::from_secs(1));
}
