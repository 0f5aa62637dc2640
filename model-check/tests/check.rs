//! Every scenario of `make test`, to its end; and that each rule's breaking is noticed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use esplanade_model_check::check::check;
use esplanade_model_check::scenario::{Budget, SHORT};
use esplanade_model_check::world::Promise::{self, NoBlackHole, NoClearText, NoReuse, Progress};
use esplanade_model_check::{Mutation, Scenario};

fn scenario(name: &str) -> Scenario {
    *SHORT.iter().find(|one| one.name == name).expect("no such scenario")
}

/// Steps looked at, at the most: more than any scenario takes. One that would go on without end fails by its number of states.
const STEPS: usize = 2_000_000;

/// Holds, in just as many states as docs/keying.md says.
fn holds(name: &str) {
    let scenario = scenario(name);
    let outcome = check(&scenario, 1, Some(STEPS));
    assert!(outcome.counterexample.is_none(), "{:?}", outcome.counterexample);
    let page = include_str!("../../docs/keying.md");
    let line = format!("| {name} | {} | {} | {} |", scenario.nodes, outcome.states, outcome.depth);
    assert!(page.contains(&line), "docs/keying.md lacks {line}: run make model");
}

macro_rules! hold {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { holds($name); })*

        #[test]
        fn none_is_left_out() {
            assert_eq!(SHORT.iter().map(|one| one.name).collect::<Vec<_>>(), [$($name),*]);
        }
    };
}

hold! {
    rotations: "rotations",
    broken_watches: "broken watches",
    packets: "packets",
    crashes: "crashes",
    flushes: "flushes",
    reboots: "reboots",
    collisions: "collisions",
    three_nodes: "three nodes",
    joins: "joins",
    cut_off: "cut off",
    phases: "phases",
    phases_and_crashes: "phases, crashes",
    phases_and_a_late_operator: "phases, late operator",
    edits: "edits",
    edits_undone: "edits, undone",
    edits_and_rotations: "edits, rotations",
    edits_and_crashes: "edits, crashes",
    edits_and_a_node_that_is_cut_off: "edits, cut off",
    switched_off_while_a_node_is_cut_off: "switched off, cut off",
    edits_and_a_late_operator: "edits, late operator",
    objects_that_are_lost: "objects lost",
    objects_that_are_lost_and_rotations: "objects lost, rotations",
    objects_that_are_lost_and_crashes: "objects lost, crashes",
    objects_that_are_lost_and_edits: "objects lost, edits",
    peers_that_are_lost: "peers lost",
    objects_that_turn_old: "restored",
    a_policy_that_the_backup_lacks: "restored, applied again",
    sas_on_demand: "on demand",
    sas_on_demand_and_phases: "on demand, phases",
    sas_on_demand_and_crashes: "on demand, crashes",
}

/// With the rule broken, that promise is.
fn noticed(mutation: Mutation, in_scenario: &str, promise: Promise) {
    let scenario = Scenario { mutation: Some(mutation), ..scenario(in_scenario) };
    let outcome = check(&scenario, 1, None);
    let found = outcome.counterexample.map(|(promise, _)| promise);
    assert_eq!(found, Some(promise), "{mutation:?} in {in_scenario}, {} states", outcome.states);
}

#[test]
fn r1_inbound_before_publishing() {
    noticed(Mutation::PublishFirst, "rotations", NoBlackHole);
}

#[test]
fn r2_inbound_on_sight() {
    noticed(Mutation::NotOnSight, "rotations", NoBlackHole);
}

#[test]
fn r3_the_watermark_is_what_is_in_the_kernel() {
    noticed(Mutation::WatermarkSeen, "rotations", NoBlackHole);
}

#[test]
fn r4_only_what_is_acknowledged_is_sent_on() {
    noticed(Mutation::NewestAtOnce, "rotations", NoBlackHole);
}

#[test]
fn r5_a_key_is_retired_when_its_successor_is_acknowledged() {
    noticed(Mutation::RetireUnacknowledged, "rotations", NoBlackHole);
}

#[test]
fn r5_and_nothing_is_on_its_way() {
    noticed(Mutation::NoDrain, "rotations", NoBlackHole);
}

#[test]
fn r6_a_restarted_agent_has_its_ring() {
    noticed(Mutation::ForgetRing, "crashes", NoBlackHole);
}

#[test]
fn r6_and_lists_what_is_there_now() {
    noticed(Mutation::StaleList, "crashes", NoBlackHole);
}

#[test]
fn r7_no_sa_starts_twice() {
    noticed(Mutation::FromZero, "flushes", NoReuse);
}

#[test]
fn r8_soft_limits_rotate() {
    noticed(Mutation::NoRotation, "rotations", Progress);
}

#[test]
fn phases_wait_for_confirmations() {
    noticed(Mutation::Unconfirmed, "phases", NoBlackHole);
}

#[test]
fn a_revision_stays_until_its_successor_has_taken_over() {
    noticed(Mutation::DropPredecessor, "phases", NoClearText);
}

#[test]
fn an_edit_is_followed_when_all_are_prepared() {
    noticed(Mutation::SwitchAtOnce, "edits", NoBlackHole);
}

#[test]
fn not_being_told_is_not_being_told_off() {
    noticed(Mutation::NotToldIsOff, "restored, applied again", NoClearText);
}

#[test]
fn nor_is_an_earlier_phase() {
    noticed(Mutation::GoDown, "objects lost", NoClearText);
}

#[test]
fn who_does_not_answer_is_told_off_until_it_does() {
    noticed(Mutation::OffUnheard, "switched off, cut off", NoBlackHole);
}

#[test]
fn a_report_is_about_one_object() {
    noticed(Mutation::ReportToAnother, "objects lost", NoBlackHole);
}

#[test]
fn inbound_sas_are_there_before_anybody_asks() {
    noticed(Mutation::InboundOnDemand, "on demand, phases", NoBlackHole);
}

/// A model in which nothing happens shows nothing.
#[test]
fn every_bound_of_a_scenario_is_used() {
    for scenario in SHORT {
        let budget = scenario.budget;
        assert_ne!(budget, Budget::default(), "{}", scenario.name);
        assert!(
            usize::from(budget.edits) == scenario.edits.len() || scenario.edits.is_empty(),
            "{}",
            scenario.name
        );
    }
}
