use esplanade_crds::{Counts, IpsecNodeStateStatus, Kernel, Problem, ProblemKind, SealingKey};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::disturbance::Disturbance;

use super::{Identity, PassResult, Report, can_wait, status};

fn identity() -> Identity {
    Identity {
        node: "a".into(),
        sealing_key: SealingKey { id: "0011223344556677".into(), public_key: "AAAA".into() },
        boot_id: "boot-1".into(),
        kernel: Kernel { release: "7.3.4".into(), capabilities: vec![] },
    }
}

fn capabilities() -> Vec<String> {
    vec!["AES-GCM-16-128".into(), "SADirection".into()]
}

fn time(second: i64) -> Time {
    Time(jiff::Timestamp::from_second(second).unwrap())
}

fn problem(name: &str, message: &str) -> Problem {
    let (name, message) = (name.to_owned(), message.to_owned());
    Problem { kind: ProblemKind::IpsecSA, name, category: "KernelError".into(), message }
}

fn done(generation: i64, problems: Vec<Problem>, in_sync: bool) -> Report {
    let counts = Counts { security_associations: 2, policies: 3, ..Counts::default() };
    let result = PassResult::Done { counts, problems, in_sync };
    Report {
        uid: Some("uid".into()),
        generation: Some(generation),
        peers_through: Some(90),
        confirmed: None,
        policies: vec![],
        disturbance: None,
        capabilities: Some(capabilities()),
        allocated: vec![],
        result,
    }
}

fn failed(generation: i64) -> Report {
    let message = "the kernel did not answer within 5 s".to_owned();
    let result = PassResult::Failed { category: "KernelSilent", message };
    Report {
        uid: Some("uid".into()),
        generation: Some(generation),
        peers_through: Some(95),
        confirmed: None,
        policies: vec![],
        disturbance: None,
        capabilities: None,
        allocated: vec![],
        result,
    }
}

fn condition<'a>(status: &'a IpsecNodeStateStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|one| one.type_ == type_)
}

/// Status, reason and message of each condition.
fn conditions(status: &IpsecNodeStateStatus) -> Vec<String> {
    let all = status.conditions.iter();
    all.map(|one| format!("{}={} {}: {}", one.type_, one.status, one.reason, one.message)).collect()
}

#[test]
fn all_is_well() {
    let status = status(None, &identity(), &done(4, vec![], true), &time(100));
    assert_eq!(status.observed_generation, Some(4));
    assert_eq!(status.peers_applied_through.as_deref(), Some("90"));
    assert_eq!(status.boot_id.as_deref(), Some("boot-1"));
    assert_eq!(status.sealing_key, Some(identity().sealing_key));
    assert_eq!(status.counts.as_ref().unwrap().policies, 3);
    assert_eq!(
        conditions(&status),
        [
            "Ready=True Programmed: the kernel holds what the spec says",
            "InSync=True Programmed: the last dump showed no difference",
        ]
    );
    assert!(status.conditions.iter().all(|one| one.observed_generation == Some(4)));
}

#[test]
fn a_refusal_is_told_in_the_kernels_words() {
    let problems = vec![problem("a-to-b", "adding …: Requested AEAD algorithm not found")];
    let status = status(None, &identity(), &done(4, problems.clone(), false), &time(100));
    assert_eq!(status.observed_generation, Some(4), "all but what is listed is done");
    assert_eq!(status.problems, problems);
    let message = "IpsecSA a-to-b: adding …: Requested AEAD algorithm not found";
    assert_eq!(
        conditions(&status),
        [
            format!("Ready=False KernelError: {message}"),
            format!("InSync=False KernelError: {message}"),
            format!("Degraded=True KernelError: {message}"),
        ]
    );
}

#[test]
fn what_the_kernel_has_no_part_in_leaves_it_in_sync() {
    let mut unsealable = problem("a-to-b", "this node has no sealing key");
    unsealable.category = "Unsealable".into();
    let status = status(None, &identity(), &done(4, vec![unsealable], true), &time(100));
    assert_eq!(condition(&status, "Ready").unwrap().reason, "Unsealable");
    assert_eq!(condition(&status, "InSync").unwrap().status, "True");
    assert!(condition(&status, "Degraded").is_some());
}

#[test]
fn a_pass_that_failed_acknowledges_nothing_new() {
    let before = status(None, &identity(), &done(4, vec![], true), &time(100));
    let after = status(Some(&before), &identity(), &failed(5), &time(200));
    assert_eq!(after.observed_generation, Some(4));
    assert_eq!(after.peers_applied_through.as_deref(), Some("90"));
    assert_eq!(after.counts, before.counts);
    assert_eq!(after.problems.len(), 1);
    assert_eq!(after.problems[0].kind, ProblemKind::Node);
    assert_eq!(conditions(&after)[2], "Degraded=True KernelSilent: the kernel did not answer within 5 s");
    // A kernel that booted since has none of it.
    let rebooted = Identity { boot_id: "boot-2".into(), ..identity() };
    let after = status(Some(&before), &rebooted, &failed(5), &time(200));
    assert_eq!((after.observed_generation, after.peers_applied_through), (None, None));
}

#[test]
fn times_are_those_of_the_last_change_of_status() {
    let first = status(None, &identity(), &done(4, vec![], true), &time(100));
    let same = status(Some(&first), &identity(), &done(4, vec![], true), &time(200));
    assert_eq!(same, first);
    let broken = status(Some(&same), &identity(), &done(5, vec![problem("x", "no")], true), &time(300));
    let since = |status, type_| condition(status, type_).unwrap().last_transition_time.clone();
    assert_eq!(since(&broken, "Ready"), time(300));
    assert_eq!(since(&broken, "InSync"), time(100));
    assert_eq!(since(&broken, "Degraded"), time(300));
    let worse = status(Some(&broken), &identity(), &done(5, vec![problem("y", "no")], true), &time(400));
    assert_eq!(since(&worse, "Ready"), time(300), "another message is no transition");
    let healed = status(Some(&worse), &identity(), &done(5, vec![], true), &time(500));
    assert_eq!(since(&healed, "Ready"), time(500));
    assert_eq!(condition(&healed, "Degraded"), None);
}

#[test]
fn what_was_put_back_is_told_until_it_happens_again_or_the_node_boots() {
    let disturbed = |second: i64, back: Option<u64>| {
        let (first, back) = (time(second).0, back.map(std::time::Duration::from_millis));
        let losses = esplanade_sync::Losses { sas: 2, policies: 6 };
        let disturbance = Disturbance { first, last: first, losses, back, open: false, dropped: None };
        Report { disturbance: Some(disturbance), ..done(4, vec![], true) }
    };
    let restored = |status: &IpsecNodeStateStatus| condition(status, "Restored").cloned();
    let first = status(None, &identity(), &disturbed(100, None), &time(105));
    let told = restored(&first).unwrap();
    assert_eq!((told.status.as_str(), told.reason.as_str()), ("False", "DeletedByOthers"));
    let back = status(Some(&first), &identity(), &disturbed(100, Some(7)), &time(107));
    let told = restored(&back).unwrap();
    assert_eq!((told.status.as_str(), told.last_transition_time.clone()), ("True", time(100)));
    assert!(
        told.message.starts_with("somebody else deleted 2 SAs and 6 policies at 1970-"),
        "{}",
        told.message
    );
    // It is nothing that stands in anybody's way.
    assert_eq!(condition(&back, "Ready").unwrap().status, "True");
    // Another agent knows nothing of it.
    let later = status(Some(&back), &identity(), &done(4, vec![], true), &time(200));
    assert_eq!(restored(&later), Some(told.clone()));
    let newer = status(Some(&later), &identity(), &done(5, vec![], true), &time(250));
    assert_eq!(restored(&newer), Some(Condition { observed_generation: Some(5), ..told }));
    let once_more = status(Some(&later), &identity(), &disturbed(300, Some(7)), &time(301));
    assert_eq!(restored(&once_more).unwrap().last_transition_time, time(300));
    assert!(can_wait(&later, &once_more) && !can_wait(&first, &back) && !can_wait(&later, &later));
    let none = status(None, &identity(), &done(4, vec![], true), &time(200));
    assert!(!can_wait(&none, &once_more));
    let rebooted = Identity { boot_id: "boot-2".into(), ..identity() };
    assert_eq!(restored(&status(Some(&once_more), &rebooted, &done(4, vec![], true), &time(400))), None);
}

#[test]
fn more_problems_than_fit_acknowledge_nothing() {
    let before = status(None, &identity(), &done(4, vec![], true), &time(100));
    let many = |count| (0..count).map(|n| problem(&format!("sa-{n}"), "no")).collect::<Vec<_>>();
    let full = status(Some(&before), &identity(), &done(5, many(32), false), &time(200));
    assert_eq!((full.problems.len(), full.observed_generation), (32, Some(5)));
    let over = status(Some(&before), &identity(), &done(5, many(40), false), &time(200));
    assert_eq!((over.problems.len(), over.observed_generation), (32, Some(4)));
    let last = over.problems.last().unwrap();
    assert_eq!(last.kind, ProblemKind::Node);
    assert_eq!(last.message, "9 more objects have problems, which show when these are solved");
    assert!(condition(&over, "Ready").unwrap().message.ends_with("IpsecSA sa-3: no; and 28 more"));
}

#[test]
fn a_message_has_a_limit() {
    let long = vec![problem("x", &"é".repeat(40_000))];
    let status = status(None, &identity(), &done(4, long, false), &time(100));
    assert!(condition(&status, "Ready").unwrap().message.len() <= 32 * 1024);
}

#[test]
fn counts_alone() {
    let one = status(None, &identity(), &done(4, vec![], true), &time(100));
    let mut other = one.clone();
    assert!(!can_wait(&one, &other));
    other.counts.as_mut().unwrap().foreign_policies = 7;
    assert!(can_wait(&one, &other));
    other.observed_generation = Some(5);
    assert!(!can_wait(&one, &other));
}

#[test]
fn what_the_kernel_can_do_is_kept_until_it_boots_again() {
    let before = status(None, &identity(), &done(4, vec![], true), &time(100));
    let kernel = Kernel { release: "7.3.4".into(), capabilities: capabilities() };
    assert_eq!(before.kernel, Some(kernel.clone()));
    let after = status(Some(&before), &identity(), &failed(5), &time(200));
    assert_eq!(after.kernel, Some(kernel));
    let rebooted = Identity { boot_id: "boot-2".into(), ..identity() };
    assert_eq!(status(Some(&before), &rebooted, &failed(5), &time(200)).kernel, Some(identity().kernel));
}
