//! Many orders in larger clusters, and what a rotation costs in a large one.

use esplanade_model_check::simulate::{Cost, WALKS, cost_of_a_rotation, walk};
use esplanade_model_check::world::Work;

#[test]
fn walks_keep_every_promise_and_come_to_rest() {
    for (number, budget) in WALKS.into_iter().enumerate() {
        for seed in 0..200 {
            let nodes = 3 + u16::try_from(seed % 6).unwrap_or(0);
            let walk = walk(nodes, 500, seed, budget);
            let which = format!("walk {number}, seed {seed}, {nodes} nodes");
            let broken = walk.shrunk();
            assert!(broken.is_none(), "{which}, {} steps: {broken:?}", walk.steps);
            assert!(walk.rests, "{which}: doesn't come to rest");
        }
    }
}

#[test]
fn a_rotation_costs_as_much_among_a_thousand_nodes_as_among_three() {
    // The new key, then without the old one. Elsewhere in each direction one SA more, then one less, each derived once,
    // and both events acknowledged. The operator tells the node, once, that all have the new one.
    let elsewhere = Work { sas: 4, derived: 1, events: 2, reports: 2 };
    let cost = Cost { writes: 2, told: 1, elsewhere, lost: 0 };
    for nodes in [3, 100, 1000] {
        assert_eq!(cost_of_a_rotation(nodes), cost, "{nodes} nodes");
    }
}
