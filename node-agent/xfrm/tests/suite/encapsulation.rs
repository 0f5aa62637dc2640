//! ESP in UDP.

use esplanade_model::{
    Authentication, Crypto, InboundSa, Mode, Op, OutboundSa, Refusal, Reqid, Sa, UdpEncapsulation, WantedSa,
};

use super::objects::{FAMILIES, inbound, key, outbound, sa, spi};
use super::{Subject, apply, must, refused, sas};

fn ports(source_port: u16, destination_port: u16) -> Option<UdpEncapsulation> {
    Some(UdpEncapsulation { source_port, destination_port })
}

fn in_udp(number: u32, encapsulation: Option<UdpEncapsulation>) -> Sa {
    Sa { encapsulation, ..sa(number) }
}

pub(crate) fn udp_ports_read_back(kernel: &mut dyn Subject) {
    let mut all = Vec::new();
    for family in FAMILIES {
        let (source, destination) = family();
        for mode in [Mode::Transport, Mode::Tunnel, Mode::Beet] {
            for (from, to) in [(4500, 4500), (1, u16::MAX), (0x1234, 0x5678)] {
                let spi = spi(0x100 + u32::try_from(all.len()).unwrap());
                all.push(Sa { source, destination, mode, spi, ..in_udp(1, ports(from, to)) });
            }
        }
    }
    must(kernel, &all.iter().cloned().map(inbound).collect::<Vec<_>>());
    let read = sas(kernel);
    assert_eq!(all.len(), 18);
    for sa in all {
        assert_eq!(read.get(&sa.id()), Some(&sa));
    }
}

/// In the SA that is there, with all else as it was.
pub(crate) fn an_update_changes_udp_ports(kernel: &mut dyn Subject) {
    let (into, out) = (in_udp(1, ports(4500, 4500)), in_udp(2, ports(4500, 4500)));
    must(kernel, &[inbound(into.clone()), outbound(out.clone())]);
    let out = kernel.dump().unwrap().sas.into_iter().find(|sa| sa.id == out.id()).unwrap().sa.unwrap();
    let other = |sa: &Sa| Sa { encapsulation: ports(4500, 40_000), reqid: Reqid::from_hash(9), ..sa.clone() };
    must(
        kernel,
        &[
            Op::UpdateSa(WantedSa::Inbound(InboundSa(other(&into)))),
            Op::UpdateSa(WantedSa::Outbound(OutboundSa(other(&out)))),
        ],
    );
    for before in [into, out] {
        let after = Sa { encapsulation: ports(4500, 40_000), ..before };
        assert_eq!(sas(kernel).get(&after.id()), Some(&after));
    }
}

pub(crate) fn an_update_adds_no_encapsulation(kernel: &mut dyn Subject) {
    for (there, asked) in [(None, ports(4500, 4500)), (ports(4500, 4500), None)] {
        must(kernel, &[inbound(in_udp(1, there))]);
        let update = Op::UpdateSa(WantedSa::Inbound(InboundSa(in_udp(1, asked))));
        assert_eq!(refused(apply(kernel, &[update]), 0).errno, libc::EINVAL);
        assert_eq!(sas(kernel).get(&sa(1).id()), Some(&in_udp(1, there)));
        must(kernel, &[Op::DeleteSa(sa(1).id(), sa(1).mark)]);
    }
    let gone = Op::UpdateSa(WantedSa::Inbound(InboundSa(in_udp(1, None))));
    assert_eq!(refused(apply(kernel, &[gone]), 0).errno, libc::ESRCH);
}

pub(crate) fn ah_in_udp_is_refused(kernel: &mut dyn Subject) {
    let crypto = Crypto::authenticate(Authentication::HmacSha256, key(32)).unwrap();
    let ah = Sa { crypto, ..in_udp(1, ports(4500, 4500)) };
    let words = "AH is not compatible with encapsulation";
    let refusal = Refusal { errno: libc::EINVAL, message: Some(words.to_owned()) };
    assert_eq!(refused(apply(kernel, &[inbound(ah)]), 0), refusal);
}
