//! IPComp.

use esplanade_model::{Crypto, Mode, Op, Refusal, Sa, UdpEncapsulation};

use super::objects::{FAMILIES, inbound, outbound, replay, sa, spi};
use super::{Subject, apply, must, refused, sas};

fn ipcomp(number: u32) -> Sa {
    Sa { crypto: Crypto::Deflate, replay: replay(0), ..sa(number) }
}

/// A tunnel has a helper of the kernel's own beside it, which is nobody's.
pub(crate) fn ipcomp_reads_back(kernel: &mut dyn Subject) {
    let mut all = Vec::new();
    for family in FAMILIES {
        let (source, destination) = family();
        for mode in [Mode::Transport, Mode::Tunnel] {
            for number in [0x101, 0xffff] {
                let spi = spi(number - u32::from(mode == Mode::Transport));
                all.push(Sa { source, destination, mode, spi, ..ipcomp(1) });
            }
        }
    }
    must(kernel, &all.iter().cloned().map(inbound).collect::<Vec<_>>());
    let read = sas(kernel);
    assert_eq!((read.len(), all.len()), (8, 8));
    for sa in &all {
        assert_eq!(read.get(&sa.id()), Some(sa));
    }
    assert_eq!(kernel.dump().unwrap().foreign_sa_count, 0);
    must(kernel, &all.iter().map(|sa| Op::DeleteSa(sa.id(), sa.mark)).collect::<Vec<_>>());
    assert!(sas(kernel).is_empty());
    must(kernel, &[outbound(ipcomp(1))]);
    assert_eq!(sas(kernel).get(&ipcomp(1).id()), Some(&ipcomp(1)));
}

pub(crate) fn unfit_ipcomp_is_refused(kernel: &mut dyn Subject) {
    let udp = UdpEncapsulation { source_port: 4500, destination_port: 4500 };
    for (unfit, words) in [
        (Sa { spi: spi(0x1_0000), ..ipcomp(1) }, "SPI is too large for COMP (must be < 0x10000)"),
        (Sa { mode: Mode::Beet, ..ipcomp(1) }, "Unsupported XFRM mode for IPcomp"),
        (Sa { encapsulation: Some(udp), ..ipcomp(1) }, "IPComp is not compatible with encapsulation"),
    ] {
        let refusal = Refusal { errno: libc::EINVAL, message: Some(words.to_owned()) };
        assert_eq!(refused(apply(kernel, &[inbound(unfit)]), 0), refusal);
    }
    assert!(sas(kernel).is_empty());
}
