//! What others put into the databases.

use esplanade_model::{Direction, Mark, Op, PolicyIndex, PolicyKey};

use super::objects::{
    DIRECTIONS, add, add_all, delete, id, inbound, policy, sa, selector, selector_v6, v4, v6,
};
use super::{Subject, apply, must, refused};

/// strongSwan's, Cilium's and an index of nobody's.
fn inhabit(kernel: &mut dyn Subject) {
    kernel.add_foreign_sa(v4(1), id(v4(2), 0xc123_4567), 1);
    kernel.add_foreign_sa(v6(1), id(v6(2), 0x1000_0000), 16389);
    // One of the tags is not enough.
    kernel.add_foreign_sa(v4(1), id(v4(3), 0x1000), 0x5000_0001);
    for direction in DIRECTIONS {
        kernel.add_foreign_policy(
            PolicyKey { direction, selector: selector(200), interface_id: 0, mark: Mark::NONE },
            None,
        );
        kernel.add_foreign_policy(
            PolicyKey { direction, selector: selector_v6(200), interface_id: 0, mark: Mark::NONE },
            Some(8000 + direction.kernel()),
        );
    }
}

pub(crate) fn others_are_left_alone(kernel: &mut dyn Subject) {
    inhabit(kernel);
    let before = kernel.raw();
    assert_eq!(before.len(), 9);
    let observed = kernel.dump().unwrap();
    assert_eq!((observed.sas, observed.policies), (vec![], vec![]));
    assert_eq!((observed.foreign_sa_count, observed.foreign_policy_count), (3, 6));

    let mut ops: Vec<_> = (0..20).map(|number| inbound(sa(number))).collect();
    ops.extend(add_all(DIRECTIONS.map(|direction| policy(direction, 1))));
    must(kernel, &ops);
    let during = kernel.raw();
    assert_eq!(during.len(), 9 + 23);
    assert!(before.iter().all(|record| during.contains(record)));

    let mut ops: Vec<_> = (0..20).map(|number| Op::DeleteSa(sa(number).id(), Mark::NONE)).collect();
    ops.extend(DIRECTIONS.into_iter().zip(0..).map(|(direction, slot)| delete(direction, slot)));
    must(kernel, &ops);
    assert_eq!(kernel.raw(), before);
}

pub(crate) fn names_of_others_collide(kernel: &mut dyn Subject) {
    let key = policy(Direction::Out, 1).key();
    kernel.add_foreign_sa(v4(9), sa(1).id(), 1);
    kernel.add_foreign_policy(key, None);
    let before = kernel.raw();
    let observed = kernel.dump().unwrap();
    assert_eq!(observed.foreign_sas, [sa(1).id()]);
    assert_eq!(observed.foreign_policies, [key]);

    let refusal = refused(apply(kernel, &[inbound(sa(1))]), 0);
    assert_eq!(refusal.errno, libc::EEXIST, "{refusal}");
    let refusal = refused(apply(kernel, &[add(policy(Direction::Out, 1), 1)]), 0);
    assert_eq!(refusal.errno, libc::EEXIST, "{refusal}");
    assert_eq!(kernel.raw(), before);
}

pub(crate) fn indexes_of_others_are_taken(kernel: &mut dyn Subject) {
    let key =
        PolicyKey { direction: Direction::In, selector: selector(200), interface_id: 0, mark: Mark::NONE };
    let index = PolicyIndex::new(77, Direction::In).get();
    kernel.add_foreign_policy(key, Some(index));
    let observed = kernel.dump().unwrap();
    assert_eq!(observed.policies, []);
    assert_eq!(observed.foreign_policies, [key]);
    assert_eq!(observed.taken_indexes.into_iter().collect::<Vec<_>>(), [index]);
}
