//! No key in anything that is printed or written.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};

use super::build::{ENCRYPTION_KEY, INTEGRITY_KEY};
use super::world::World;
use crate::Plan;

fn contains_no_key(text: &str) {
    for key in [ENCRYPTION_KEY.as_slice(), INTEGRITY_KEY.as_slice()] {
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let listed = format!("{key:?}");
        for written in [
            String::from_utf8(key.to_vec()).unwrap(),
            STANDARD.encode(key),
            STANDARD_NO_PAD.encode(key),
            URL_SAFE.encode(key),
            hex.to_uppercase(),
            hex,
            listed.trim_matches(['[', ']']).to_owned(),
        ] {
            assert!(!text.contains(&written), "{written} is in {text}");
        }
    }
}

fn everything(plan: &Plan) -> String {
    let json = |value: serde_json::Result<String>| value.unwrap();
    [
        format!("{plan:?} {plan:#?}"),
        json(serde_json::to_string(&plan.node_states)),
        json(serde_json::to_string(&plan.peers)),
        json(serde_json::to_string(&plan.policy_status)),
        json(serde_json::to_string(&plan.sa_status)),
    ]
    .concat()
}

#[test]
fn a_plan_has_no_key_in_the_clear() {
    let mut world = World::settled();
    let plan = world.plan();
    assert!(!plan.node_states["a"].0.security_associations.is_empty());
    contains_no_key(&everything(&plan));
}

#[test]
fn what_is_wrong_with_a_key_says_nothing_of_it() {
    let mut world = World::two_nodes();
    let data = &mut world.snapshot.secrets.get_mut("keys").unwrap().data;
    for value in data.values_mut() {
        value.push(b'\n');
    }
    let plan = world.plan();
    assert!(plan.sa("a-to-b", "ResolvedRefs").contains("it ends in a newline"));
    contains_no_key(&everything(&plan));
}

#[test]
fn a_snapshot_prints_no_key() {
    let world = World::settled();
    contains_no_key(&format!("{:?} {:#?}", world.snapshot, world.snapshot));
}
