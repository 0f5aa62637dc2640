//! Noticing changes.

use esplanade_model::{Direction, Event, Mark, Op, PolicyKey, ReplayState};
use esplanade_xfrm::Noticed;

use super::objects::{add, delete, id, inbound, inbound_at, outbound_at, policy, sa, selector, v4};
use super::{Subject, must};

fn told(events: Vec<Event>) -> Noticed {
    Noticed { changed: true, overrun: false, events }
}

pub(crate) fn own_changes_are_no_news(kernel: &mut dyn Subject) {
    let mut watch = kernel.start_watch();
    assert_eq!(watch.look().unwrap(), Noticed::default());
    must(kernel, &[inbound(sa(1)), add(policy(Direction::In, 1), 1), Op::DeleteSa(sa(1).id(), Mark::NONE)]);
    assert_eq!(watch.look().unwrap(), Noticed::default());
}

pub(crate) fn changes_of_others_are_noticed(kernel: &mut dyn Subject) {
    let mut watch = kernel.start_watch();
    let theirs = id(v4(2), 0x1000);
    kernel.add_foreign_sa(v4(1), theirs, 1);
    must(kernel, &[inbound(sa(1))]);
    assert_eq!(watch.look().unwrap(), told(vec![Event::Sa(theirs)]));
    assert_eq!(watch.look().unwrap(), Noticed::default());
    let key =
        PolicyKey { direction: Direction::In, selector: selector(1), interface_id: 0, mark: Mark::NONE };
    kernel.add_foreign_policy(key, None);
    assert_eq!(watch.look().unwrap(), told(vec![Event::Policy(key)]));
    assert_eq!(watch.look().unwrap(), Noticed::default());
}

/// What is told is in the order in which it happened, without what we did in between: whoever reads it again after its last
/// event has seen all.
pub(crate) fn what_others_do_between_own_changes_is_told(kernel: &mut dyn Subject) {
    let mut watch = kernel.start_watch();
    let mut told_of = Vec::new();
    for sent in [4711, 4712] {
        must(kernel, &[outbound_at(sa(1), ReplayState { sent, ..ReplayState::default() })]);
        let last = kernel.dump().unwrap().sas.remove(0);
        kernel.remove_as_another(&[sa(1).id()], &[]);
        told_of.push(Event::SaEnded(last));
    }
    must(kernel, &[inbound(sa(1))]);
    assert_eq!(watch.look().unwrap(), told(told_of));
    assert_eq!(kernel.dump().unwrap().sas.len(), 1);
}

/// Whoever deletes an SA, the kernel tells how far it had come.
pub(crate) fn the_last_of_a_deleted_sa_is_told(kernel: &mut dyn Subject) {
    let sent = ReplayState { sent: 4711, ..ReplayState::default() };
    let received = ReplayState { sent: 0, received: 70, bitmap: vec![0xf0f1] };
    must(kernel, &[outbound_at(sa(1), sent), inbound_at(sa(2), received), add(policy(Direction::Out, 1), 1)]);
    let mut watch = kernel.start_watch();
    let before = kernel.dump().unwrap();
    let key = policy(Direction::Out, 1).key();
    kernel.remove_as_another(&[sa(1).id(), sa(2).id()], &[key]);
    let mut events: Vec<_> = before.sas.into_iter().map(Event::SaEnded).collect();
    events.sort_by_key(|event| match event {
        Event::SaEnded(last) => last.id.spi,
        _ => unreachable!(),
    });
    events.push(Event::Policy(key));
    assert_eq!(watch.look().unwrap(), told(events));
    let left = kernel.dump().unwrap();
    assert_eq!((left.sas.len(), left.policies.len()), (0, 0));
    must(kernel, &[Op::DeleteSa(sa(1).id(), Mark::NONE), delete(Direction::Out, 1)]);
}
