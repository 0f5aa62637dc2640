#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use esplanade_crds::{Counts, Problem, ProblemKind};
use esplanade_metrics::prometheus_client::encoding::text;

use super::Metrics;
use crate::status::{PassResult, Report};
use crate::worker::Done;

fn done(operations: usize, result: PassResult) -> Done {
    Done {
        report: Report {
            uid: None,
            generation: None,
            peers_through: None,
            confirmed: None,
            policies: vec![],
            disturbance: None,
            capabilities: None,
            allocated: vec![],
            result,
        },
        operations,
        surprises: 0,
        losses: Default::default(),
        again: false,
        publish: None,
        wake: None,
    }
}

fn problem(category: &str) -> Problem {
    let (name, message) = ("pods".to_owned(), "words".to_owned());
    Problem { kind: ProblemKind::IpsecPolicy, name, category: category.to_owned(), message }
}

fn lines(metrics: &Metrics) -> Vec<String> {
    let mut text = String::new();
    text::encode(&mut text, &metrics.answers(false).registry).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn has(metrics: &Metrics, expected: &[&str]) {
    let lines = lines(metrics);
    for line in expected {
        assert!(lines.iter().any(|found| found == line), "{line} isn't in {lines:#?}");
    }
}

#[test]
fn what_others_delete_is_counted() {
    let metrics = Metrics::default();
    let result = PassResult::Done { counts: Counts::default(), problems: vec![], in_sync: true };
    let losses = esplanade_sync::Losses { sas: 2, policies: 6 };
    for _ in 0..2 {
        metrics.done(&Done { losses, ..done(8, result.clone()) }, Instant::now());
    }
    has(
        &metrics,
        &[
            "esplanade_agent_deleted_by_others_total{kind=\"security_association\"} 4",
            "esplanade_agent_deleted_by_others_total{kind=\"policy\"} 12",
        ],
    );
}

#[test]
fn passes_are_counted_by_what_they_came_to() {
    let metrics = Metrics::default();
    let start = Instant::now();
    let counts = Counts {
        security_associations: 2,
        policies: 6,
        foreign_security_associations: 1,
        foreign_policies: 3,
    };
    metrics.begun(start);
    let problems = vec![problem("Conflicted"), problem("KernelError"), problem("KernelError")];
    let result = PassResult::Done { counts: counts.clone(), problems, in_sync: false };
    metrics.done(&done(5, result), start + Duration::from_secs(2));
    let before = [
        "esplanade_agent_problems{category=\"KernelError\"} 2",
        "esplanade_agent_last_in_sync_timestamp_seconds 0",
    ];
    has(&metrics, &before);
    metrics.begun(start);
    let result = PassResult::Done { counts, problems: vec![problem("Conflicted")], in_sync: true };
    metrics.done(&done(1, result), start + Duration::from_millis(2));
    metrics
        .done(&done(0, PassResult::Failed { category: "AnswersLost", message: "words".to_owned() }), start);
    metrics.opened();
    metrics.noticed(1, false);
    metrics.noticed(1, true);
    has(
        &metrics,
        &[
            "esplanade_agent_passes_total{result=\"in_sync\"} 1",
            "esplanade_agent_passes_total{result=\"incomplete\"} 1",
            "esplanade_agent_passes_total{result=\"failed\"} 1",
            "esplanade_agent_pass_duration_seconds_sum 2.002",
            "esplanade_agent_pass_duration_seconds_count 2",
            "esplanade_agent_operations_total 6",
            "esplanade_agent_refusals_total{category=\"KernelError\"} 2",
            "esplanade_agent_refusals_total{category=\"Conflicted\"} 2",
            "esplanade_agent_refusals_total{category=\"AnswersLost\"} 1",
            "esplanade_agent_problems{category=\"AnswersLost\"} 1",
            "esplanade_agent_security_associations{owner=\"ours\"} 2",
            "esplanade_agent_security_associations{owner=\"foreign\"} 1",
            "esplanade_agent_policies{owner=\"ours\"} 6",
            "esplanade_agent_policies{owner=\"foreign\"} 3",
            "esplanade_agent_kernel_events_total{kind=\"change\"} 2",
            "esplanade_agent_kernel_events_total{kind=\"overrun\"} 1",
            "esplanade_agent_kernel_opens_total 1",
        ],
    );
    let lines = lines(&metrics);
    assert!(!lines.contains(&"esplanade_agent_last_in_sync_timestamp_seconds 0".to_owned()));
    assert!(!lines.iter().any(|line| line.starts_with("esplanade_agent_problems{category=\"KernelError\"}")));
}

#[test]
fn ready_is_who_reached_the_kernel() {
    let metrics = Metrics::default();
    assert_eq!(metrics.ready(), Err("no pass over the kernel has ended yet".to_owned()));
    metrics.idle();
    assert_eq!(metrics.ready(), Ok(()));
    let failed = PassResult::Failed { category: "SocketUnavailable", message: "no CAP_NET_ADMIN".to_owned() };
    metrics.done(&done(0, failed), Instant::now());
    assert_eq!(metrics.ready(), Err("no CAP_NET_ADMIN".to_owned()));
    // What is wrong with an object isn't cured by another agent.
    let problems = vec![problem("KernelError")];
    let result = PassResult::Done { counts: Counts::default(), problems, in_sync: false };
    metrics.done(&done(0, result), Instant::now());
    assert_eq!(metrics.ready(), Ok(()));
}

#[test]
fn healthy_is_whose_passes_end() {
    let metrics = Metrics::default();
    let start = Instant::now();
    metrics.begun(start);
    assert_eq!(metrics.healthy(start + Duration::from_secs(300)), Ok(()));
    let words = "a pass over the kernel has been running for 301 s";
    assert_eq!(metrics.healthy(start + Duration::from_secs(301)), Err(words.to_owned()));
    let result = PassResult::Done { counts: Counts::default(), problems: vec![], in_sync: true };
    metrics.done(&done(0, result), start + Duration::from_secs(302));
    assert_eq!(metrics.healthy(start + Duration::from_secs(9999)), Ok(()));
}
