//! IpsecSAs without `spi`: the receiver's kernel chooses one.

use esplanade_crds::AllocatedSpi;

use super::build::address_end;
use super::world::World;
use crate::Plan;

const CHOSEN: u32 = 0xa000_0001;
const WRITTEN: u32 = 0x1001;

/// Under which SPI a sends, under which b is told to receive, and which ones b keeps besides.
fn spis(plan: &Plan) -> (Option<u32>, Option<u32>, Vec<u32>) {
    let of = |node: &str| {
        let sas = &plan.node_states[node].0.security_associations;
        sas.iter().find(|sa| sa.name == "a-to-b").and_then(|sa| sa.spi)
    };
    let retiring = plan.node_states["b"].0.retiring.iter().map(|one| one.association.spi.unwrap()).collect();
    (of("a"), of("b"), retiring)
}

fn without_spi() -> World {
    let mut world = World::two_nodes();
    world.sa("a-to-b").spec.spi = None;
    world
}

fn chooses(world: &mut World, spi: u32) {
    world.agent("b").allocated = vec![AllocatedSpi { name: "a-to-b".into(), spi }];
}

fn step(world: &mut World) -> Plan {
    let plan = world.plan();
    world.apply(&plan);
    plan
}

#[test]
fn nobody_sends_before_the_receiver_has_chosen() {
    let mut world = without_spi();
    world.settle();
    let plan = step(&mut world);
    assert_eq!((plan.installed_at("a"), plan.installed_at("b")), (vec!["b-to-a"], vec!["a-to-b", "b-to-a"]));
    assert_eq!(spis(&plan), (None, None, vec![]));
    assert_eq!(plan.sa_status["a-to-b"].spi, None);
    assert_eq!(plan.sa("a-to-b", "Accepted"), "True Accepted");
    assert_eq!(plan.sa("a-to-b", "Programmed"), "False Pending: b hasn't chosen an SPI yet");
    assert_eq!(plan.sa("b-to-a", "Programmed"), "True Programmed: in the kernel of a, b");

    // It may know the SPI, and not have the SA yet.
    chooses(&mut world, CHOSEN);
    let done = world.agent("b").observed_generation.take();
    let plan = step(&mut world);
    assert_eq!((spis(&plan), plan.sa_status["a-to-b"].spi), ((None, None, vec![]), Some(CHOSEN)));
    let waits = format!("False Pending: a sends nothing until b takes what comes under spi {CHOSEN}");
    assert!(plan.sa("a-to-b", "Programmed").starts_with(&waits), "{}", plan.sa("a-to-b", "Programmed"));
    world.agent("b").observed_generation = done;
    assert_eq!(spis(&step(&mut world)), (Some(CHOSEN), None, vec![]));
    world.agents_confirm();
    let plan = step(&mut world);
    assert_eq!(plan.sa("a-to-b", "Programmed"), "True Programmed: in the kernel of a, b");
    assert_eq!(plan.sa_status["a-to-b"].spi, Some(CHOSEN));
    // The object of b is written once, whatever it chose.
    assert_eq!(plan.node_states["b"].0, world.state("b").spec);
}

/// A node that boots chooses anew.
#[test]
fn the_sender_follows() {
    let mut world = without_spi();
    world.settle();
    chooses(&mut world, CHOSEN);
    world.settle();
    chooses(&mut world, CHOSEN + 1);
    let done = world.agent("b").observed_generation.take();
    assert_eq!(spis(&step(&mut world)), (Some(CHOSEN), None, vec![]));
    world.agent("b").observed_generation = done;
    assert_eq!(spis(&step(&mut world)), (Some(CHOSEN + 1), None, vec![]));
    // What a kernel forgot nobody has to keep; what can't be known now leaves the sender alone.
    world.agent("b").allocated.clear();
    assert_eq!(spis(&step(&mut world)).0, Some(CHOSEN + 1));
}

#[test]
fn leaving_it_out_later_loses_no_packet() {
    let mut world = World::settled();
    world.sa("a-to-b").spec.spi = None;
    assert_eq!(spis(&step(&mut world)), (Some(WRITTEN), None, vec![WRITTEN]));
    // However long it takes.
    world.settle();
    world.second += 100;
    assert_eq!(spis(&step(&mut world)), (Some(WRITTEN), None, vec![WRITTEN]));
    chooses(&mut world, CHOSEN);
    assert_eq!(spis(&step(&mut world)), (Some(CHOSEN), None, vec![WRITTEN]));
    world.agents_confirm();
    assert_eq!(spis(&step(&mut world)), (Some(CHOSEN), None, vec![WRITTEN]));
    world.second += 10;
    assert_eq!(spis(&step(&mut world)), (Some(CHOSEN), None, vec![]));
}

#[test]
fn writing_one_later_loses_no_packet() {
    let mut world = without_spi();
    world.settle();
    chooses(&mut world, CHOSEN);
    world.settle();
    world.sa("a-to-b").spec.spi = Some(WRITTEN);
    assert_eq!(spis(&step(&mut world)), (Some(CHOSEN), Some(WRITTEN), vec![CHOSEN]));
    world.agents_confirm();
    // Its agent forgets what it isn't asked for any more.
    world.agent("b").allocated.clear();
    assert_eq!(spis(&step(&mut world)), (Some(WRITTEN), Some(WRITTEN), vec![CHOSEN]));
    world.agents_confirm();
    step(&mut world);
    world.second += 11;
    assert_eq!(spis(&step(&mut world)), (Some(WRITTEN), Some(WRITTEN), vec![]));
}

#[test]
fn a_gateway_sends_under_what_the_status_shows() {
    let mut world = without_spi();
    world.sa("a-to-b").spec.source = address_end("198.51.100.7");
    world.settle();
    assert_eq!(step(&mut world).installed_at("b"), ["a-to-b", "b-to-a"]);
    chooses(&mut world, CHOSEN);
    world.settle();
    assert_eq!(step(&mut world).sa_status["a-to-b"].spi, Some(CHOSEN));
}

#[test]
fn nobody_would_choose_for_a_gateway() {
    let mut world = without_spi();
    world.sa("a-to-b").spec.destination = address_end("198.51.100.7");
    assert_eq!(
        world.plan().sa("a-to-b", "Accepted"),
        "False Invalid: the receiver's kernel chooses an spi that is left out, and destination isn't a node of the \
         cluster: write spi: 256 to 4294967295, as the other end has it"
    );
}

/// Who writes what a kernel has chosen comes too late, however old his object is.
#[test]
fn what_was_chosen_is_taken() {
    let mut world = without_spi();
    world.settle();
    chooses(&mut world, CHOSEN);
    world.settle();
    let mut other = world.sa("a-to-b").clone();
    other.metadata.name = Some("a-also".into());
    other.metadata.creation_timestamp = Some(super::build::at(-10));
    other.spec.spi = Some(CHOSEN);
    world.snapshot.sas.push(other);
    let plan = step(&mut world);
    assert!(
        plan.sa("a-also", "Accepted").starts_with("False Conflicted: IpsecSA a-to-b has spi"),
        "{plan:?}"
    );
    assert_eq!(spis(&plan).0, Some(CHOSEN));
}
