//! Keepalives for address translations.

use std::num::NonZeroU32;

use esplanade_model::{Capability, OutboundSa, Sa, SaDirection, UdpEncapsulation, WantedSa};

use super::objects::{replay, sa};
use super::table::{SAME_NAME, of_sa, sync};
use super::{Subject, sas};

pub(crate) fn keepalives_read_back(kernel: &mut dyn Subject) {
    // One that has none ignores them, so that nothing of them is sent there.
    if !kernel.probe().unwrap().contains(&Capability::NatKeepalive) {
        return;
    }
    let encapsulation = Some(UdpEncapsulation { source_port: 4500, destination_port: 40_000 });
    let of = |keepalive: Option<u32>| Sa {
        encapsulation,
        keepalive: keepalive.and_then(NonZeroU32::new),
        direction: Some(SaDirection::Out),
        replay: replay(0),
        ..sa(1)
    };
    let sync = |kernel: &mut dyn Subject, sa: Sa| {
        sync(kernel, &of_sa(WantedSa::Outbound(OutboundSa(sa))), "keepalives")
    };
    sync(kernel, of(None));
    for keepalive in [Some(20), Some(3600), None, Some(1)] {
        let wanted = of(keepalive);
        assert_eq!(sync(kernel, wanted.clone()), SAME_NAME);
        assert_eq!(sas(kernel)[&wanted.id()], wanted);
        assert_eq!(sync(kernel, wanted), "");
    }
}
