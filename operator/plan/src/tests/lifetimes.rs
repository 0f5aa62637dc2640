//! SAs that wear out.

use esplanade_crds::{Lifetime, LifetimeLimits, ProblemKind};

use super::build::mk_secret;
use super::world::World;

const OVER: &str = "its hard lifetime is over (100 packets): write a new key";

fn packets(limit: i64) -> Option<LifetimeLimits> {
    Some(LifetimeLimits { packets: Some(limit), ..LifetimeLimits::default() })
}

/// a-to-b ends after 100 packets.
fn limited() -> World {
    let mut world = World::two_nodes();
    world.sa("a-to-b").spec.lifetime = Some(Lifetime { soft: packets(90), hard: packets(100) });
    world.settle();
    world
}

/// As [`limited`], and over.
fn over() -> World {
    let mut world = limited();
    world.problem("a", ProblemKind::IpsecSA, "a-to-b", "Expired", OVER);
    let plan = world.plan();
    world.apply(&plan);
    world
}

/// How the SA ended, as both ends are told.
fn told(world: &mut World) -> [Option<String>; 2] {
    let plan = world.plan();
    ["a", "b"].map(|node| {
        let sas = &plan.node_states[node].0.security_associations;
        sas.iter().find(|sa| sa.name == "a-to-b").unwrap().expired.clone()
    })
}

fn new_keys(world: &mut World) {
    let mut secret = mk_secret(&[("enc", &[8; 32]), ("auth", &[9; 32])]);
    secret.resource_version = "8".into();
    world.snapshot.secrets.insert("keys".into(), secret);
}

#[test]
fn both_ends_are_told_of_the_limits() {
    let mut world = limited();
    let plan = world.plan();
    for node in ["a", "b"] {
        let sa = &plan.node_states[node].0.security_associations[0];
        assert_eq!(sa.lifetime, world.sa("a-to-b").spec.lifetime);
    }
    assert_eq!(plan.sa("a-to-b", "Expired"), "False InUse");
    assert_eq!(plan.sa("a-to-b", "Programmed"), "True Programmed: in the kernel of a, b");
    assert_eq!(plan.sa("b-to-a", "Expired"), "none");
}

#[test]
fn a_soft_limit_is_told_and_stops_nothing() {
    let mut world = limited();
    world.problem("a", ProblemKind::IpsecSA, "a-to-b", "Expiring", "it has reached its soft lifetime");
    let plan = world.plan();
    assert_eq!(plan.sa("a-to-b", "Expired"), "False Expiring: a: it has reached its soft lifetime");
    assert_eq!(plan.sa("a-to-b", "Programmed"), "True Programmed: in the kernel of a, b");
    assert_eq!(plan.policy("pods", "Programmed"), "True Programmed: in the kernel of a, b");
}

#[test]
fn what_ended_at_one_end_is_over_at_both() {
    let mut world = over();
    let both = || [(); 2].map(|()| Some(format!("a: {OVER}")));
    assert_eq!(told(&mut world), both());
    // The agents take it out, and have nothing more to say of it.
    world.agents_confirm();
    world.agent("a").problems.clear();
    assert_eq!(told(&mut world), both());
    let plan = world.plan();
    assert_eq!(plan.sa("a-to-b", "Expired"), format!("True Expired: a: {OVER}"));
    assert_eq!(plan.sa("a-to-b", "Programmed"), format!("False Expired: a: {OVER}"));
    assert!(plan.sa_status["a-to-b"].nodes.is_empty());
    assert_eq!(plan.sa("b-to-a", "Programmed"), "True Programmed: in the kernel of a, b");
    assert!(plan.policy("pods", "Programmed").starts_with("False Expired: IpsecSA a-to-b: a: its hard"));
}

#[test]
fn another_spi_or_limit_or_a_reboot_does_not_bring_it_back() {
    let mut world = over();
    world.agents_confirm();
    world.agent("a").problems.clear();
    world.sa("a-to-b").spec.spi = Some(0x2001);
    world.sa("a-to-b").spec.lifetime = None;
    assert!(told(&mut world).iter().all(Option::is_some));
    world.agent("a").boot_id = Some("another".into());
    assert!(told(&mut world).iter().all(Option::is_some));
    world.snapshot.secrets.clear();
    assert!(told(&mut world).iter().all(Option::is_some));
}

#[test]
fn new_keys_do_and_what_was_said_of_the_old_ones_does_not_count() {
    let mut world = over();
    new_keys(&mut world);
    let plan = world.plan();
    assert_eq!(told(&mut world), [None, None]);
    world.apply(&plan);
    // The agent hasn't got the new ones yet.
    assert_eq!(world.agent("a").problems.len(), 1);
    assert_eq!(told(&mut world), [None, None]);
    world.agent("a").problems.clear();
    world.agents_confirm();
    let plan = world.plan();
    assert_eq!(plan.sa("a-to-b", "Expired"), "False InUse");
    assert_eq!(plan.sa("a-to-b", "Programmed"), "True Programmed: in the kernel of a, b");
}

#[test]
fn a_problem_that_came_before_the_keys_were_told_does_not_count() {
    let mut world = limited();
    world.problem("a", ProblemKind::IpsecSA, "a-to-b", "Expired", OVER);
    new_keys(&mut world);
    assert_eq!(told(&mut world), [None, None]);
}

#[test]
fn limits_that_make_no_sense_are_refused_with_what_to_write() {
    let accepted = |lifetime| {
        let mut world = World::settled();
        world.sa("a-to-b").spec.lifetime = Some(lifetime);
        world.plan().sa("a-to-b", "Accepted")
    };
    let time = |time: &str| Some(LifetimeLimits { time: Some(time.into()), ..LifetimeLimits::default() });
    assert_eq!(accepted(Lifetime::default()), "True Accepted");
    assert_eq!(accepted(Lifetime { soft: time("1h"), hard: time("90m") }), "True Accepted");
    let lower = "False Invalid: a soft limit warns before the hard one ends the SA: write lower limits in \
                 lifetime.soft than in lifetime.hard";
    assert_eq!(accepted(Lifetime { soft: time("2h"), hard: time("90m") }), lower);
    assert_eq!(accepted(Lifetime { soft: packets(100), hard: packets(100) }), lower);
    assert_eq!(
        accepted(Lifetime { soft: None, hard: packets(0) }),
        "False Invalid: lifetime.hard: write 1 packet or byte at least"
    );
    for none in ["1d", "h", "", "0s", "5s1h", "-1s"] {
        assert_eq!(
            accepted(Lifetime { soft: None, hard: time(none) }),
            "False Invalid: lifetime.hard.time: write a length of time in hours, minutes and seconds, e.g. 24h",
            "{none:?}"
        );
    }
}
