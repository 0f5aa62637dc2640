//! What a kernel says that it can do.

use esplanade_model::{Capabilities, Direction, InboundSa, Op, WantedSa};

use super::objects::{FAMILIES, add, every_crypto, inbound, policy, sa, spi};
use super::{Subject, apply, must};

pub(crate) fn probing_changes_nothing(kernel: &mut dyn Subject) {
    let first = kernel.probe().unwrap();
    assert!(!first.is_empty());
    must(kernel, &[inbound(sa(1)), add(policy(Direction::In, 1), 1)]);
    let before = kernel.raw();
    let mut watch = kernel.start_watch();
    assert_eq!(kernel.probe().unwrap(), first);
    assert_eq!(kernel.raw(), before);
    assert_eq!(watch.look().unwrap(), esplanade_xfrm::Noticed::default());
}

pub(crate) fn what_a_probe_finds_can_be_had(kernel: &mut dyn Subject) {
    let capabilities = Capabilities::new("", kernel.probe().unwrap());
    let mut number = 0;
    for ends in FAMILIES {
        let (source, destination) = ends();
        for crypto in every_crypto() {
            number += 1;
            let sa =
                esplanade_model::Sa { source, destination, crypto, spi: spi(0x1000 + number), ..sa(number) };
            let had = apply(kernel, &[Op::AddInbound { sa: InboundSa(sa.clone()), state: None, used: None }]);
            let required = capabilities.require_sa(&WantedSa::Inbound(InboundSa(sa.clone())));
            assert_eq!(had[0].is_ok(), required.is_ok(), "{sa:?}: {had:?}, {required:?}");
        }
    }
}
