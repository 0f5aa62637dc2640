//! Many orders in larger clusters, and what a rotation costs in a large one.

use esplanade_model_check::simulate::{Cost, cost_of_a_rotation, walk};

#[test]
fn walks_keep_every_promise_and_come_to_rest() {
    for seed in 0..40 {
        let nodes = 3 + u16::try_from(seed % 6).unwrap_or(0);
        let walk = walk(nodes, 500, seed);
        assert!(walk.broken.is_none(), "seed {seed}, {nodes} nodes, {} steps: {:?}", walk.steps, walk.broken);
        assert!(walk.rests, "seed {seed}, {nodes} nodes: doesn't come to rest");
    }
}

#[test]
fn a_rotation_costs_two_writes_and_four_sas_on_each_other_node() {
    // The new key, then without the old one; and elsewhere in each direction one SA more, then one less.
    let cost = Cost { writes: 2, elsewhere: 4, lost: 0 };
    assert_eq!(cost_of_a_rotation(3), cost);
    assert_eq!(cost_of_a_rotation(100), cost);
}
