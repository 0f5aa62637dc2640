#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use esplanade_model::{
    Aead, Crypto, InboundSa, Key, Offload, OutboundSa, ReplayProtection, Reqid, Sa, SaDirection, Spi, Wanted,
    WantedSa,
};

use super::{Asked, Device, place};
use crate::Expansion;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn sa(from: &str, to: &str, offload: Option<SaDirection>) -> Sa {
    let crypto = Crypto::aead(Aead::AesGcm128, Key::from([7; 20].as_slice())).unwrap();
    let offload = offload.map(|way| Offload { device: 0, way });
    Sa { offload, ..Sa::tunnel(ip(from), ip(to), Spi::MIN, Reqid::from_hash(1), crypto) }
}

/// Of one SA out, one in, and one that asks for nothing.
fn wanted(replay: ReplayProtection) -> Expansion {
    let out = Sa { replay, ..sa("192.0.2.1", "192.0.2.2", Some(SaDirection::Out)) };
    let sas = [
        ("out", WantedSa::Outbound(OutboundSa(out))),
        ("in", WantedSa::Inbound(InboundSa(sa("192.0.2.2", "192.0.2.1", Some(SaDirection::In))))),
        ("plain", WantedSa::Outbound(OutboundSa(sa("192.0.2.1", "192.0.2.3", None)))),
    ];
    let sas = sas.into_iter().map(|(name, sa)| (name.to_owned(), sa)).collect();
    Expansion { wanted: Wanted { sas, ..Wanted::default() }, problems: vec![] }
}

fn devices(address: &str, index: u32) -> BTreeMap<IpAddr, Device> {
    [(ip(address), Device { index, name: "eth7".to_owned() })].into()
}

/// The SAs that are left with their devices, what is said of others, and what was asked.
type Placed = (Vec<(String, Option<u32>)>, Vec<String>, BTreeSet<Asked>);

fn placed(at: &str, index: u32, refused: &BTreeSet<Asked>) -> Placed {
    let mut expansion = wanted(ReplayProtection::default());
    let asked = place(&mut expansion, &devices(at, index), refused);
    let sas = expansion.wanted.sas.iter();
    let sas = sas.map(|(name, sa)| (name.clone(), sa.sa().offload.map(|offload| offload.device))).collect();
    let said = expansion.problems.iter().map(|one| format!("{} {}: {}", one.name, one.category, one.message));
    (sas, said.collect(), asked)
}

#[test]
fn the_device_is_the_one_with_the_sas_own_address() {
    let (sas, said, asked) = placed("192.0.2.1", 7, &BTreeSet::new());
    let names = [("out".to_owned(), Some(7)), ("in".to_owned(), Some(7)), ("plain".to_owned(), None)];
    assert_eq!((sas, said), (names.into(), vec![]));
    assert_eq!(asked.iter().map(|one| one.device).collect::<Vec<_>>(), [7, 7]);
}

#[test]
fn without_a_device_the_others_go_on() {
    let (sas, said, asked) = placed("192.0.2.2", 7, &BTreeSet::new());
    assert_eq!(sas, [("plain".to_owned(), None)]);
    let words = "UnsupportedByKernel: no network device of this node has 192.0.2.1, so that none can take its work: \
                 remove offload";
    assert_eq!(said, ["out", "in"].map(|name| format!("{name} {words}")));
    assert!(asked.is_empty());
}

#[test]
fn what_a_device_did_not_take_is_not_asked_of_it_again() {
    let (.., asked) = placed("192.0.2.1", 7, &BTreeSet::new());
    let out: BTreeSet<_> =
        asked.iter().filter(|one| one.id.destination == ip("192.0.2.2")).cloned().collect();
    assert_eq!(out.len(), 1);
    let (sas, said, again) = placed("192.0.2.1", 7, &out);
    assert_eq!(sas.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["in", "plain"]);
    assert_eq!(again, asked);
    assert_eq!(
        said,
        [
            "out UnsupportedByKernel: network device eth7 takes no work of this SA: remove offload, or give the node a \
          device that does ESP with its algorithms"
        ]
    );
    // Another device may, and this one may take another SA.
    assert_eq!(placed("192.0.2.1", 8, &out).1, [""; 0]);
    let mut other = wanted(ReplayProtection { window: 64, extended_sequence_numbers: true });
    place(&mut other, &devices("192.0.2.1", 7), &out);
    assert_eq!(other.problems, []);
}
