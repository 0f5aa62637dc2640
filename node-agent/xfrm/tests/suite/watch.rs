//! Noticing changes.

use esplanade_model::{Direction, Op, PolicyKey};
use esplanade_xfrm::Noticed;

use super::objects::{add, id, inbound, policy, sa, selector, v4};
use super::{Subject, must};

pub(crate) fn own_changes_are_no_news(kernel: &mut dyn Subject) {
    let mut watch = kernel.start_watch();
    assert_eq!(watch.look().unwrap(), Noticed::default());
    must(kernel, &[inbound(sa(1)), add(policy(Direction::In, 1), 1), Op::DeleteSa(sa(1).id())]);
    assert_eq!(watch.look().unwrap(), Noticed::default());
}

pub(crate) fn changes_of_others_are_noticed(kernel: &mut dyn Subject) {
    let mut watch = kernel.start_watch();
    let changed = Noticed { changed: true, overrun: false };
    kernel.add_foreign_sa(v4(1), id(v4(2), 0x1000), 1);
    must(kernel, &[inbound(sa(1))]);
    assert_eq!(watch.look().unwrap(), changed);
    assert_eq!(watch.look().unwrap(), Noticed::default());
    kernel.add_foreign_policy(
        PolicyKey { direction: Direction::In, selector: selector(1), interface_id: 0 },
        None,
    );
    assert_eq!(watch.look().unwrap(), changed);
    assert_eq!(watch.look().unwrap(), Noticed::default());
}
