//! IP traffic flow security.

use esplanade_model::{
    Authentication, Capability, Crypto, InboundSa, Iptfs, Mode, OutboundSa, Sa, SaDirection, WantedSa,
};

use super::objects::{inbound, key, outbound, sa};
use super::table::{SAME_NAME, of_sa, sync};
use super::{Subject, apply, refused, sas};

/// What the kernel doesn't do by itself.
const IPTFS: Iptfs = Iptfs {
    packet_size: 400,
    dont_fragment: true,
    initial_delay: 2_000,
    queue: 5_000,
    reorder_window: 7,
    drop_time: 30_000,
};

fn of(direction: SaDirection, iptfs: Iptfs) -> Sa {
    Sa { mode: Mode::Iptfs, direction: Some(direction), iptfs, ..sa(1) }
}

/// One that has no IPTFS takes the mode, and shows nothing of the rest.
fn has_it(kernel: &mut dyn Subject) -> bool {
    kernel.probe().unwrap().contains(&Capability::Iptfs)
}

pub(crate) fn iptfs_reads_back(kernel: &mut dyn Subject) {
    if !has_it(kernel) {
        return;
    }
    for direction in [SaDirection::In, SaDirection::Out] {
        let outbound = direction == SaDirection::Out;
        let wanted = |sa: Sa| match outbound {
            true => WantedSa::Outbound(OutboundSa(sa)),
            false => WantedSa::Inbound(InboundSa(sa)),
        };
        let plain = of(direction, Iptfs::default());
        let other_mode = Sa { mode: Mode::Tunnel, ..plain.clone() };
        let all = of(direction, if outbound { IPTFS.outbound() } else { IPTFS.inbound() });
        sync(kernel, &of_sa(wanted(sa(1))), "a tunnel");
        for to in [&plain, &all, &plain, &other_mode, &all] {
            assert_eq!(sync(kernel, &of_sa(wanted(to.clone())), "IPTFS"), SAME_NAME);
            let read = &sas(kernel)[&to.id()];
            assert_eq!((read.mode, read.iptfs, read.direction), (to.mode, to.iptfs, to.direction));
            assert_eq!(sync(kernel, &of_sa(wanted(to.clone())), "IPTFS"), "");
        }
    }
}

pub(crate) fn iptfs_that_the_kernel_cannot_do_is_refused(kernel: &mut dyn Subject) {
    if !has_it(kernel) {
        return;
    }
    let out = || of(SaDirection::Out, Iptfs::default());
    let crypto = Crypto::authenticate(Authentication::HmacSha256, key(32)).unwrap();
    let small = Iptfs { packet_size: 1, ..Iptfs::default() };
    for (op, words) in [
        (outbound(Sa { crypto, ..out() }), "IP-TFS mode only supported with ESP"),
        (inbound(Sa { direction: None, ..out() }), "IP-TFS mode requires in or out direction attribute"),
        (
            outbound(of(SaDirection::Out, small)),
            "Packet size must be 0 or greater than IPTFS/ESP header length",
        ),
    ] {
        let refusal = refused(apply(kernel, &[op]), 0);
        assert_eq!((refusal.errno, refusal.message.as_deref()), (libc::EINVAL, Some(words)));
    }
    assert!(sas(kernel).is_empty());
}
