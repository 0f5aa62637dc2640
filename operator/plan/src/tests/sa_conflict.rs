//! Two IpsecSAs that a kernel couldn't tell apart.

use super::build::{address_end, at, mk_sa};
use super::world::World;

fn collides(name: &str, created: i64) -> World {
    let mut world = World::settled();
    let mut other = mk_sa(name, "a", "b", 0x1001);
    other.metadata.creation_timestamp = Some(at(created));
    world.snapshot.sas.insert(0, other);
    world
}

#[test]
fn the_older_one_counts() {
    let mut world = collides("0-newer", 5);
    let plan = world.plan();
    assert_eq!(
        plan.sa("0-newer", "Accepted"),
        "False Conflicted: IpsecSA a-to-b has spi 4097 for ESP to 10.0.0.2 already: write another spi, \
         unique among the SAs to one destination"
    );
    assert_eq!(plan.sa("a-to-b", "Programmed"), "True Programmed: in the kernel of a, b");
    assert_eq!(plan.installed_at("b"), ["a-to-b", "b-to-a"]);
}

#[test]
fn of_the_same_age_the_name_decides() {
    let plan = collides("a-first", 0).plan();
    assert_eq!(plan.sa("a-first", "Accepted"), "True Accepted");
    assert!(plan.sa("a-to-b", "Accepted").starts_with("False Conflicted: IpsecSA a-first has spi 4097"));
}

#[test]
fn another_protocol_or_destination_is_another_sa() {
    let mut world = World::settled();
    world.snapshot.sas.push(mk_sa("to-a", "b", "a", 0x1001));
    let mut out = mk_sa("out", "a", "b", 0x1001);
    out.spec.destination = address_end("198.51.100.7");
    world.snapshot.sas.push(out);
    let mut ah = mk_sa("ah", "a", "b", 0x1001);
    ah.spec.protocol = esplanade_crds::Protocol::AH;
    ah.spec.encryption = None;
    world.snapshot.sas.push(ah);
    let plan = world.plan();
    for name in ["to-a", "out", "ah", "a-to-b"] {
        assert_eq!(plan.sa(name, "Accepted"), "True Accepted", "{name}");
    }
}

#[test]
fn a_bad_one_takes_no_spi() {
    let mut world = collides("0-older", -5);
    world.sa("0-older").spec.reqid = Some(1);
    assert_eq!(world.plan().sa("a-to-b", "Accepted"), "True Accepted");
}
