#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use netlink_packet_core::Emitable;
use netlink_packet_xfrm::constants::{
    AF_INET6, XFRM_MSG_EXPIRE, XFRM_MSG_FLUSHSA, XFRM_MSG_NEWSA, XFRM_MSG_REPORT,
};
use netlink_packet_xfrm::{Address, UserExpire, UserReport, UserSaInfo};
use proptest::prelude::*;

use super::{Content, Owner, Shown, names};
use crate::wire::reply::{Message, Messages};

fn message(message_type: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(message_type.to_ne_bytes());
    bytes.extend([0; 2]);
    bytes.extend(7u32.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(body);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn shown(message_type: u16, body: &[u8]) -> Shown {
    Shown::of(&Messages::of(&message(message_type, body)).next().unwrap().unwrap())
}

fn json(shown: &Shown) -> serde_json::Value {
    serde_json::to_value(shown).unwrap()
}

fn emitted(structure: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; structure.buffer_len()];
    structure.emit(&mut bytes);
    bytes
}

fn with_attributes(attributes: &[Vec<u8>]) -> serde_json::Value {
    let body = [emitted(&UserSaInfo::default()), attributes.concat()].concat();
    json(&shown(XFRM_MSG_NEWSA, &body))["attributes"].clone()
}

#[test]
fn what_is_unknown_is_its_number_and_its_bytes() {
    let attributes = [attribute(60, &[1, 2, 3, 4]), attribute(61 | 0x8000, &[9]), attribute(62, &[])];
    let expected = serde_json::json!([
        {"name": 60, "value": {"bytes": "01020304"}},
        {"name": 61, "value": {"nested": true, "bytes": "09"}},
        {"name": 62, "value": {"bytes": ""}},
    ]);
    assert_eq!(with_attributes(&attributes), expected);
    let sa = UserSaInfo { mode: 9, flags: 0x81, family: 77, ..UserSaInfo::default() };
    let shown = json(&shown(XFRM_MSG_NEWSA, &emitted(&sa)));
    assert_eq!(shown["sa"]["mode"], 9);
    assert_eq!(shown["sa"]["flags"], serde_json::json!(["noecn", "esn"]));
}

#[test]
fn a_known_attribute_of_another_length_is_its_bytes() {
    let attributes = [attribute(21, &[1, 2, 3, 4]), attribute(31, &[1, 2, 3, 4, 5]), attribute(5, &[1; 63])];
    for (at, name) in [(0, "MARK"), (1, "IF_ID"), (2, "TMPL")] {
        let one = &with_attributes(&attributes)[at];
        assert_eq!(one["name"], name);
        assert!(one["value"]["bytes"].as_str().unwrap().starts_with("010"), "{one}");
    }
}

#[test]
fn every_attribute_of_today_has_a_value_of_its_own() {
    let number = 5u32.to_ne_bytes();
    let attributes = [
        attribute(22, &number),
        attribute(24, &4u32.to_ne_bytes()),
        attribute(33, &[2]),
        attribute(34, &number),
        attribute(35, &number),
        attribute(36, &number),
        attribute(37, &5u16.to_ne_bytes()),
        attribute(38, &[]),
        attribute(39, &number),
        attribute(40, &number),
        attribute(41, &number),
        attribute(28, &[3, 0, 0, 0, 6, 0, 0, 0]),
        attribute(27, &[]),
    ];
    insta::assert_snapshot!(with_attributes(&attributes));
}

/// Where a key is, and where one could be.
#[test]
fn keys_stay_here() {
    const KEY: [u8; 32] = [0xa5; 32];
    let name = |name: &str| {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(64, 0);
        bytes
    };
    let plain = [name("cbc(aes)"), 256u32.to_ne_bytes().to_vec(), KEY.to_vec()].concat();
    let icv = [&plain[..68], &128u32.to_ne_bytes(), &KEY].concat();
    for kind in [1, 2, 3, 18, 20] {
        let whole = if kind > 3 { &icv } else { &plain };
        for length in 0..=whole.len() {
            let body = [emitted(&UserSaInfo::default()), attribute(kind, &whole[..length])].concat();
            let text = json(&shown(XFRM_MSG_NEWSA, &body)).to_string();
            assert!(!text.contains("a5a5"), "{kind} {length}: {text}");
        }
        // An attribute whose end is missing, and a message that nobody knows.
        let body = [emitted(&UserSaInfo::default()), attribute(kind, whole)].concat();
        for (message_type, body) in [(XFRM_MSG_NEWSA, &body[..body.len() - 4]), (0x50, &body), (0, &body)] {
            let text = json(&shown(message_type, body)).to_string();
            assert!(!text.contains("a5a5"), "{kind}: {text}");
        }
    }
}

#[test]
fn a_message_cut_short_says_so() {
    for (message_type, length) in [
        (0x10, 224),
        (0x11, 24),
        (0x13, 168),
        (0x14, 64),
        (0x17, 280),
        (0x18, 232),
        (0x1b, 176),
        (0x1e, 48),
        (0x20, 60),
        (0x21, 64),
        (0x22, 4),
        (0x26, 64),
        (0x28, 3),
        (0x29, 132),
        (XFRM_MSG_FLUSHSA, 1),
    ] {
        let short = shown(message_type, &vec![0; length - 1]);
        assert_eq!(short.content, Content::Unreadable { withheld_bytes: length - 1 }, "{message_type:#x}");
        let whole = shown(message_type, &vec![0; length]);
        assert!(!matches!(whole.content, Content::Unreadable { .. }), "{message_type:#x}");
    }
}

/// Linux sends it only for Mobile IPv6.
#[test]
fn a_report_says_what_was_refused() {
    let mut report = UserReport { proto: 60, ..UserReport::default() };
    report.selector.family = AF_INET6;
    report.selector.saddr = Address::from_ip(&"2001:db8::1".parse().unwrap());
    report.selector.prefixlen_s = 128;
    let care_of = Address::from_ip(&"2001:db8::9".parse().unwrap());
    let body = [emitted(&report), attribute(14, &care_of.addr)].concat();
    insta::assert_snapshot!(json(&shown(XFRM_MSG_REPORT, &body)));
}

/// `struct xfrm_user_migrate_state` has no recording: no kernel here sends it.
#[test]
fn one_sa_that_moves_says_where() {
    let mut body = Vec::new();
    body.extend([[192, 0, 2, 2], [0; 4], [0; 4], [0; 4]].concat());
    body.extend(0x1001u32.to_be_bytes());
    body.extend(2u16.to_ne_bytes());
    body.extend([50, 0]);
    body.extend([[192, 0, 2, 3], [0; 4], [0; 4], [0; 4]].concat());
    body.extend([[192, 0, 2, 1], [0; 4], [0; 4], [0; 4]].concat());
    body.extend([7u32.to_ne_bytes(), u32::MAX.to_ne_bytes()].concat());
    body.extend([0; 40]);
    body.extend([2, 0, 0, 0]);
    body.extend([0; 12]);
    body.extend([0x5000_0001u32.to_ne_bytes(), 5u32.to_ne_bytes()].concat());
    body.extend([2, 0, 0, 0]);
    insta::assert_snapshot!(json(&shown(names::MIGRATE_STATE, &body)));
}

#[test]
fn an_sa_that_expires_is_its_owners() {
    let mut expire = UserExpire { hard: 1, ..UserExpire::default() };
    assert_eq!(shown(XFRM_MSG_EXPIRE, &emitted(&expire)).owner, Some(Owner::Foreign));
    let spi = esplanade_model::Spi::new(0x1001).unwrap();
    expire.state.id.spi = spi.get();
    expire.state.reqid = esplanade_model::Reqid::from_hash(1).get();
    expire.state.seq = esplanade_model::Cookie::for_spi(spi).get();
    assert_eq!(shown(XFRM_MSG_EXPIRE, &emitted(&expire)).owner, Some(Owner::Ours));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any body of any message, also behind a whole fixed part.
    #[test]
    fn anything_is_shown(
        // Below are netlink's own.
        message_type in 5u16..0x40,
        head in 0usize..300,
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let body = [vec![0; head], bytes].concat();
        let datagram = message(message_type, &body);
        let message: Message<'_> = Messages::of(&datagram).next().unwrap().unwrap();
        let shown = Shown::of(&message);
        prop_assert!(serde_json::to_string(&shown).is_ok());
        prop_assert!(shown.unread_bytes <= body.len());
        prop_assert!(shown.attributes.len() <= body.len() / 4);
    }
}
