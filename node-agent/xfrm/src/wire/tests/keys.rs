//! Keys stay where they belong.

use netlink_packet_xfrm::XfrmAttrs;

use super::{add, sa};
use crate::wire::attributes::Attributes;
use crate::wire::batch::{Datagram, Limits};
use crate::wire::{Decode, SaRecord, crypto, encode};

#[test]
fn nothing_prints_keys() {
    let request = encode(&add());
    let key = format!("{:?}", [0xa5u8; 8]);
    let key = key.trim_matches(['[', ']']);
    assert!(format!("{:?}", request.body.to_vec()).contains(key));
    for text in [
        format!("{request:?}"),
        format!("{:?}", SaRecord::decode(&request.body).unwrap()),
        format!("{:#?}", add()),
    ] {
        assert!(!text.contains(key) && !text.contains("a5a5"), "{text}");
    }
}

#[test]
fn a_datagram_never_moves() {
    let mut datagram = Datagram::new(Limits { bytes: 2000, messages: 10 }, 1);
    datagram.begin(1);
    let place = datagram.bytes().as_ptr();
    while datagram.operation(&add()).unwrap() {
        assert_eq!(datagram.bytes().as_ptr(), place);
    }
    assert!(datagram.len() > 1);
    datagram.wipe();
    assert!(datagram.is_empty());
}

#[test]
fn the_length_of_the_icv_is_always_said() {
    let mut attributes = Attributes::default();
    crypto::encode(&sa().crypto, &mut attributes);
    let said = |attribute: &XfrmAttrs| matches!(attribute, XfrmAttrs::AuthenticationAlgTrunc(alg) if alg.alg_trunc_len == 128);
    assert!(attributes.as_slice().iter().any(said));
    assert!(!attributes.as_slice().iter().any(|one| matches!(one, XfrmAttrs::AuthenticationAlg(_))));
}

#[test]
fn a_request_is_made_without_growing() {
    let request = encode(&add());
    assert_eq!(request.body.len(), request.body.capacity());
}
