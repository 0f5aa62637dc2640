//! SPIs that the kernel chooses.

use esplanade_model::{
    Capability, Crypto, InboundSa, Mark, Mode, Op, ReplayState, Sa, SaDirection, Spi, Unnumbered,
};

use super::objects::{FAMILIES, inbound, replay, sa};
use super::{Subject, apply, must, refused, sas};

fn unnumbered(sa: &Sa) -> Unnumbered {
    Unnumbered {
        source: sa.source,
        destination: sa.destination,
        protocol: sa.crypto.protocol(),
        mode: sa.mode,
        reqid: sa.reqid,
        interface_id: sa.interface_id,
        mark: sa.mark,
        direction: sa.direction,
    }
}

/// The SA under an SPI that the kernel chose.
fn numbered(kernel: &mut dyn Subject, sa: Sa) -> Sa {
    let spi = kernel.allocate_spi(&unnumbered(&sa)).unwrap().unwrap();
    assert!(Spi::allocated(sa.crypto.protocol()).contains(&spi.get()), "{spi}");
    Sa { spi, ..sa }
}

fn fill(sa: &Sa, state: Option<ReplayState>) -> Op {
    Op::FillSa { sa: InboundSa(sa.clone()), state, used: None }
}

/// Whatever it is.
pub(crate) fn an_sa_takes_the_place_of_a_larval_one(kernel: &mut dyn Subject) {
    let knows_directions = kernel.probe().unwrap().contains(&Capability::Direction);
    let mut wanted = std::collections::BTreeMap::new();
    for (source, destination) in FAMILIES.map(|ends| ends()) {
        for mode in [Mode::Tunnel, Mode::Transport] {
            for (interface_id, mark) in [(0, Mark::NONE), (7, Mark::masked(5, 0xff))] {
                for direction in [None, Some(SaDirection::In)] {
                    if direction.is_some() && !knows_directions {
                        continue;
                    }
                    let like = sa(1);
                    let asked = Sa { source, destination, mode, interface_id, mark, direction, ..like };
                    let sa = numbered(kernel, asked);
                    assert_eq!(sas(kernel), wanted, "nothing of ours is there yet");
                    must(kernel, &[fill(&sa, None)]);
                    // A second of its name is none: the SPIs are all different.
                    assert_eq!(wanted.insert(sa.id(), sa), None);
                    assert_eq!(sas(kernel), wanted);
                }
            }
        }
    }
    assert_eq!(kernel.raw().len(), wanted.len(), "no larval SA is left");
}

pub(crate) fn a_larval_sa_keeps_its_spi(kernel: &mut dyn Subject) {
    let sa = numbered(kernel, sa(1));
    assert_eq!(refused(apply(kernel, &[inbound(sa.clone())]), 0).errno, libc::EEXIST);
    must(kernel, &[Op::DeleteSa(sa.id(), sa.mark)]);
    assert_eq!(kernel.raw(), Vec::<Vec<u8>>::new());
    // Then there is nothing to fill, and the name is free.
    assert_eq!(refused(apply(kernel, &[fill(&sa, None)]), 0).errno, libc::ESRCH);
    must(kernel, &[inbound(sa.clone())]);
    assert_eq!(sas(kernel), [(sa.id(), sa)].into());
}

pub(crate) fn a_filled_sa_goes_on_where_it_is_told(kernel: &mut dyn Subject) {
    let sa = numbered(kernel, Sa { replay: replay(64), ..sa(1) });
    let state = ReplayState { sent: 0, received: 4711, bitmap: vec![0b101, 1 << 31] };
    must(kernel, &[fill(&sa, Some(state.clone()))]);
    assert_eq!(kernel.dump().unwrap().sas.remove(0).state, state);
    // It is an SA like any other now.
    let other = numbered(kernel, sa.clone());
    assert_ne!(other.spi, sa.spi);
    assert_eq!(sas(kernel), [(sa.id(), sa)].into());
}

/// Its index has 16 bits, and the kernel takes no range beyond them (`verify_spi_info`).
pub(crate) fn an_index_of_ipcomp_is_chosen(kernel: &mut dyn Subject) {
    if !kernel.probe().unwrap().contains(&Capability::CompressionDeflate) {
        return;
    }
    let sa =
        numbered(kernel, Sa { crypto: Crypto::Deflate, replay: replay(0), mode: Mode::Transport, ..sa(1) });
    assert_eq!(sas(kernel), [].into());
    must(kernel, &[fill(&sa, None)]);
    assert_eq!(sas(kernel), [(sa.id(), sa)].into());
}
