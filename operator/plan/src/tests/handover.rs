//! Another SPI for an SA that carries traffic.

use esplanade_crds::ProblemKind;

use super::build::{address_end, at, key, mk_secret};
use super::world::World;
use crate::Plan;

const OLD: u32 = 0x1001;
const NEW: u32 = 0x2001;

/// Under which SPI a sends, under which b receives, and which ones b keeps besides.
fn spis(plan: &Plan) -> (u32, u32, Vec<u32>) {
    let spi = |node: &str| {
        let sas = &plan.node_states[node].0.security_associations;
        sas.iter().find(|sa| sa.name == "a-to-b").unwrap().spi.unwrap()
    };
    let retiring = plan.node_states["b"].0.retiring.iter().map(|one| one.association.spi.unwrap()).collect();
    assert!(plan.node_states["a"].0.retiring.is_empty());
    (spi("a"), spi("b"), retiring)
}

/// The cluster has settled, and a user writes another SPI.
fn moved() -> World {
    let mut world = World::settled();
    world.sa("a-to-b").spec.spi = Some(NEW);
    world
}

/// The agent of one node does what it has been told, and the other one nothing.
fn confirms(world: &mut World, node: &str) {
    let other = if node == "a" { "b" } else { "a" };
    let before = world.agent(other).clone();
    world.agents_confirm();
    *world.agent(other) = before;
}

fn step(world: &mut World) -> Plan {
    let plan = world.plan();
    world.apply(&plan);
    plan
}

#[test]
fn the_receiver_comes_first_and_lets_the_old_one_go_last() {
    let mut world = moved();
    let plan = step(&mut world);
    assert_eq!(spis(&plan), (OLD, NEW, vec![OLD]));
    assert_eq!(
        plan.sa("a-to-b", "Programmed"),
        format!("False Pending: a sends under spi {OLD} until b takes what comes under {NEW}")
    );
    // As long as b hasn't done it, whatever a says.
    confirms(&mut world, "a");
    assert_eq!(spis(&step(&mut world)), (OLD, NEW, vec![OLD]));
    confirms(&mut world, "b");
    assert_eq!(spis(&step(&mut world)), (NEW, NEW, vec![OLD]));
    // As long as a hasn't gone over.
    confirms(&mut world, "b");
    let plan = step(&mut world);
    assert_eq!(spis(&plan), (NEW, NEW, vec![OLD]));
    assert_eq!(
        (plan.again.clone(), plan.sa("a-to-b", "Programmed").as_str()),
        (None, "False Pending: waiting for a")
    );
    confirms(&mut world, "a");
    let plan = step(&mut world);
    // What is on its way arrives.
    assert_eq!(plan.again, Some(at(world.second + 10)));
    assert_eq!(spis(&plan), (NEW, NEW, vec![OLD]));
    world.agents_confirm();
    let plan = step(&mut world);
    assert_eq!(plan.sa("a-to-b", "Programmed"), "True Programmed: in the kernel of a, b");
    assert_eq!(spis(&plan), (NEW, NEW, vec![OLD]));
    world.second += 10;
    let plan = step(&mut world);
    assert_eq!((spis(&plan), plan.again), ((NEW, NEW, vec![]), None));
}

/// What each has to do for the other doesn't undo what it has done itself.
#[test]
fn both_directions_at_once_come_to_an_end() {
    let mut world = moved();
    world.sa("b-to-a").spec.spi = Some(NEW + 1);
    let until = |plan: &Plan| {
        ["a", "b"].map(|node| plan.node_states[node].0.retiring.first().and_then(|one| one.until.clone()))
    };
    let mut before = [None, None];
    for _ in 0..8 {
        world.second = 10;
        let plan = step(&mut world);
        let now = until(&plan);
        for (before, now) in before.iter().zip(&now) {
            assert!(before.is_none() || before == now, "{before:?} {now:?}");
        }
        before = now;
        for node in ["a", "b"] {
            confirms(&mut world, node);
            step(&mut world);
        }
    }
    assert!(before.iter().all(Option::is_some));
    world.second += 10;
    step(&mut world);
    world.agents_confirm();
    let plan = step(&mut world);
    assert_eq!(until(&plan), [None, None]);
    assert_eq!(plan.sa("a-to-b", "Programmed"), "True Programmed: in the kernel of a, b");
}

#[test]
fn a_receiver_that_can_not_leaves_the_sender_where_it_is() {
    let mut world = moved();
    step(&mut world);
    world.agents_confirm();
    world.problem("b", ProblemKind::IpsecSA, "a-to-b", "Conflicted", "somebody has it");
    let plan = step(&mut world);
    assert_eq!(spis(&plan), (OLD, NEW, vec![OLD]));
    assert_eq!(
        plan.sa("a-to-b", "Programmed"),
        format!(
            "False Conflicted: a sends under spi {OLD} until b takes what comes under {NEW}; b: somebody has it"
        )
    );
    // Another attempt.
    world.agent("b").problems.clear();
    world.sa("a-to-b").spec.spi = Some(0x3001);
    assert_eq!(spis(&step(&mut world)), (OLD, 0x3001, vec![OLD, NEW]));
    world.agents_confirm();
    assert_eq!(spis(&step(&mut world)), (0x3001, 0x3001, vec![OLD, NEW]));
}

#[test]
fn changed_back_it_is_as_before() {
    let mut world = moved();
    step(&mut world);
    world.agents_confirm();
    world.sa("a-to-b").spec.spi = Some(OLD);
    let plan = step(&mut world);
    assert_eq!(spis(&plan), (OLD, OLD, vec![NEW]));
    assert_eq!(plan.sa("a-to-b", "Programmed"), "False Pending: waiting for b");
}

#[test]
fn new_keys_go_with_it() {
    let mut world = moved();
    world.snapshot.secrets.insert("others".into(), mk_secret(&[("enc", &[8; 32]), ("auth", &[9; 32])]));
    let spec = &mut world.sa("a-to-b").spec;
    spec.encryption.as_mut().unwrap().key_secret_ref = Some(key("others", "enc"));
    spec.integrity.as_mut().unwrap().key_secret_ref = key("others", "auth");
    let before = world.state("a").spec.security_associations.clone();
    let plan = step(&mut world);
    // Just as it was.
    assert_eq!(plan.node_states["a"].0.security_associations, before);
    assert_eq!(spis(&plan), (OLD, NEW, vec![OLD]));
    world.agents_confirm();
    let plan = step(&mut world);
    assert_ne!(plan.node_states["a"].0.security_associations, before);
    assert_eq!(spis(&plan), (NEW, NEW, vec![OLD]));
}

#[test]
fn what_can_not_be_there_beside_the_old_one_changes_at_once() {
    let mut world = moved();
    world.sa("a-to-b").spec.interface_id = 7;
    assert_eq!(spis(&world.plan()), (NEW, NEW, vec![]));

    // Packets may not have the mark of the old one any more.
    let mut world = moved();
    let mark = Some(esplanade_crds::Mark { value: 7, mask: 0xff });
    world.policy("pods").spec.mark = mark;
    world.sa("a-to-b").spec.mark = mark;
    assert_eq!(spis(&world.plan()), (NEW, NEW, vec![]));

    // Nobody knows when somebody outside goes over.
    let mut world = World::settled();
    let mut sa = world.sa("a-to-b").clone();
    sa.metadata.name = Some("out".into());
    sa.spec.destination = address_end("198.51.100.7");
    world.snapshot.sas.push(sa);
    world.settle();
    world.sa("out").spec.spi = Some(NEW);
    let plan = world.plan();
    assert!(
        plan.node_states["a"]
            .0
            .security_associations
            .iter()
            .any(|sa| sa.name == "out" && sa.spi == Some(NEW))
    );
}

#[test]
fn a_rebooted_receiver_has_nothing_to_keep() {
    let mut world = moved();
    step(&mut world);
    let other = super::world::key_pair("c").public().clone();
    let key = esplanade_crds::SealingKey { id: other.id(), public_key: other.to_base64() };
    world.agent("b").sealing_key = Some(key);
    assert_eq!(spis(&world.plan()), (OLD, NEW, vec![]));
}
