//! The fuzzer's corpus, recorded from real kernels: read as it is, and broken in the ways that a fuzzer breaks it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../fuzz/reader.rs"]
mod reader;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use esplanade_model::{Event, Reqid};
use esplanade_xfrm::wire::reply::{Message, Messages};
use esplanade_xfrm::wire::{Decode, PolicyRecord, SaRecord, decode_event};
use proptest::prelude::*;
use proptest::sample::Index;

/// By the names of the files.
static CORPUS: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decode");
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |file: std::fs::DirEntry| {
        let name = file.file_name().into_string().unwrap();
        (name, std::fs::read(file.path()).unwrap())
    };
    files.map(|file| read(file.unwrap())).collect()
});

/// The files of a kind, of which there must be some.
fn of_kind(kind: &str) -> impl Iterator<Item = (&String, Vec<Message<'_>>)> {
    let files: Vec<_> = CORPUS.iter().filter(|(name, _)| name.starts_with(kind)).collect();
    assert!(!files.is_empty(), "nothing was recorded of {kind}");
    files.into_iter().map(|(name, bytes)| {
        let messages = Messages::of(bytes).map(|message| message.unwrap());
        (name, messages.collect())
    })
}

fn sas(kind: &str) -> impl Iterator<Item = (&String, SaRecord)> {
    of_kind(kind).map(|(name, messages)| (name, SaRecord::decode(messages[0].body).unwrap()))
}

fn policies(kind: &str) -> impl Iterator<Item = (&String, PolicyRecord)> {
    of_kind(kind).map(|(name, messages)| (name, PolicyRecord::decode(messages[0].body).unwrap()))
}

#[test]
fn records_read_as_what_they_were_recorded_as() {
    for (name, record) in sas("sa-ours-") {
        assert!(matches!(record, SaRecord::Ours(one) if one.sa.is_some()), "{name}");
    }
    for (name, record) in sas("sa-unlike-") {
        assert!(matches!(record, SaRecord::Ours(one) if one.sa.is_none()), "{name}");
    }
    let mut own = Vec::new();
    for (name, record) in sas("sa-foreign-") {
        match record {
            SaRecord::Foreign(_) => {}
            SaRecord::OfKernel => own.push(name),
            SaRecord::Ours(_) | SaRecord::Larval => panic!("{name}"),
        }
    }
    assert_eq!(own.len(), 1, "the kernel's own beside the tunnel of IPComp: {own:?}");
    for (name, record) in sas("sa-larval-") {
        assert!(matches!(record, SaRecord::Larval), "{name}");
    }
    for (name, record) in policies("policy-ours-") {
        assert!(matches!(record, PolicyRecord::Ours(one) if one.policy.is_some()), "{name}");
    }
    for (name, record) in policies("policy-foreign-") {
        assert!(matches!(record, PolicyRecord::Foreign { .. }), "{name}");
    }
    for (name, messages) in of_kind("done-") {
        assert_eq!(messages[0].done(), Ok(()), "{name}");
    }
    for (name, messages) in of_kind("answer-") {
        assert!(messages.iter().all(|message| message.error().is_ok()), "{name}");
    }
    for kind in ["event-", "datagram-", "totals-"] {
        assert!(of_kind(kind).all(|(_, messages)| !messages.is_empty()));
    }
}

/// What each recorded event is about.
/// Where `struct xfrm_user_acquire` and, behind an attribute's header, that of the template before its reqid end.
const REQID_OF_ACQUIRE: usize = 16 + 280 + 4 + 44;

#[test]
fn a_packet_that_lacks_an_sa_names_the_reqid_of_its_policy() {
    let (_, recorded) = CORPUS.iter().find(|(name, _)| name.starts_with("event-acquire")).unwrap();
    let reqid = Reqid::from_hash(7);
    let mut ours = recorded.clone();
    ours[REQID_OF_ACQUIRE..REQID_OF_ACQUIRE + 4].copy_from_slice(&reqid.get().to_ne_bytes());
    let message = Messages::of(&ours).next().unwrap().unwrap();
    assert_eq!(decode_event(&message), Some(Event::Asked { reqid }));
}

#[test]
fn events_say_what_they_are_about() {
    let events = |kind: &str| {
        let events = of_kind(kind).map(|(name, messages)| (name.clone(), decode_event(&messages[0])));
        events.collect::<Vec<_>>()
    };
    // None: an SA of a protocol that we don't write.
    for kind in ["event-newsa", "event-updsa", "event-delsa-foreign"] {
        for (name, event) in events(kind) {
            assert!(matches!(event, Some(Event::Sa(_)) | None), "{name}: {event:?}");
        }
    }
    // Of an SA twice, and of a policy in between.
    let [(_, soft), (_, policy), (_, hard)] = &events("event-expire")[..] else {
        panic!("others were recorded")
    };
    assert!(matches!(soft, Some(Event::SaExpired { hard: false, .. })), "{soft:?}");
    assert!(matches!(hard, Some(Event::SaExpired { hard: true, .. })), "{hard:?}");
    assert!(matches!(policy, Some(Event::Policy(_))), "{policy:?}");
    for (name, event) in events("event-mapping") {
        let Some(Event::SaMapped { id, source, port }) = event else { panic!("{name}: {event:?}") };
        assert_eq!((source, port, id.spi.get()), ("198.51.100.2".parse().unwrap(), 4501, 0x200), "{name}");
    }
    for (name, event) in events("event-delsa-0") {
        assert!(matches!(event, Some(Event::SaEnded(ref last)) if last.sa.is_some()), "{name}: {event:?}");
    }
    for (name, event) in events("event-acquire") {
        assert_eq!(event, None, "{name}: of somebody else's policy");
    }
    for kind in ["event-newpolicy", "event-updpolicy", "event-delpolicy"] {
        for (name, event) in events(kind) {
            assert!(matches!(event, Some(Event::Policy(_))), "{name}: {event:?}");
        }
    }
    for (kind, expected) in [("event-flush-state", Event::Flushed), ("event-flush-policy", Event::Anything)] {
        for (name, event) in events(kind) {
            assert_eq!(event, Some(expected.clone()), "{name}");
        }
    }
    for (name, event) in events("event-default") {
        assert_eq!(event, None, "{name}");
    }
}

#[test]
fn everything_recorded_is_read() {
    for (name, bytes) in CORPUS.iter() {
        println!("{name}");
        reader::read(bytes);
    }
}

/// The fuzzer and the repository both want it small.
#[test]
fn the_corpus_is_small() {
    assert!(CORPUS.values().map(Vec::len).sum::<usize>() < 200_000);
    assert!(CORPUS.values().all(|bytes| bytes.len() <= 4096));
}

/// An attribute that no kernel has yet: 60, plain and nested, with and without a value.
fn unknown_attributes() -> [Vec<u8>; 3] {
    let attribute = |kind: u16, value: &[u8]| {
        let length = u16::try_from(4 + value.len()).unwrap();
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
    };
    [attribute(60, &[]), attribute(60, &[1, 2, 3, 4]), attribute(60 | 0x8000, &attribute(1, &[9; 8]))]
}

/// An SA with something unheard of isn't one that we could have written, but it stays ours; others' stay theirs.
#[test]
fn an_unknown_attribute_never_goes_unnoticed() {
    for unknown in unknown_attributes() {
        let with = |messages: &[Message<'_>]| [messages[0].body, &unknown].concat();
        for (name, messages) in of_kind("sa-") {
            let (before, after) =
                (SaRecord::decode(messages[0].body).unwrap(), SaRecord::decode(&with(&messages)).unwrap());
            match (before, after) {
                (SaRecord::Ours(before), SaRecord::Ours(after)) => {
                    assert_eq!((before.id, before.state, None), (after.id, after.state, after.sa), "{name}");
                }
                (before, after) => assert_eq!(before, after, "{name}"),
            }
        }
        for (name, messages) in of_kind("policy-") {
            let (before, after) = (
                PolicyRecord::decode(messages[0].body).unwrap(),
                PolicyRecord::decode(&with(&messages)).unwrap(),
            );
            match (before, after) {
                (PolicyRecord::Ours(before), PolicyRecord::Ours(after)) => {
                    assert_eq!(
                        (before.index, before.key, None),
                        (after.index, after.key, after.policy),
                        "{name}"
                    );
                }
                (before, after) => assert_eq!(before, after, "{name}"),
            }
        }
    }
}

/// One step of breaking bytes.
#[derive(Debug, Clone)]
enum Change {
    Set(Index, u8),
    /// Lengths and kinds are numbers of two or four bytes.
    Number(Index, u32, bool),
    Cut(Index),
    Remove(Index, usize),
    Repeat(Index, usize),
    /// Goes on as another file does.
    Splice(Index, Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    let number = prop_oneof![0u32..40, Just(0xffff), Just(u32::MAX), any::<u32>()];
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        4 => (at(), number, any::<bool>()).prop_map(|(at, number, wide)| Change::Number(at, number, wide)),
        1 => at().prop_map(Change::Cut),
        1 => (at(), 1usize..64).prop_map(|(at, length)| Change::Remove(at, length)),
        1 => (at(), 1usize..64).prop_map(|(at, length)| Change::Repeat(at, length)),
        2 => (at(), at(), at()).prop_map(|(at, file, from)| Change::Splice(at, file, from)),
    ]
}

fn file(index: &Index) -> &'static [u8] {
    CORPUS.values().nth(index.index(CORPUS.len())).unwrap()
}

impl Change {
    fn make(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let end = bytes.len();
        match self {
            Self::Set(at, byte) => bytes[at.index(end)] = *byte,
            Self::Number(at, number, wide) => {
                let at = at.index(end) / 4 * 4;
                let width = if *wide { 4 } else { 2 };
                for (to, from) in bytes[at..].iter_mut().zip(&number.to_ne_bytes()[..width]) {
                    *to = *from;
                }
            }
            Self::Cut(at) => bytes.truncate(at.index(end)),
            Self::Remove(at, length) => {
                let at = at.index(end);
                bytes.drain(at..end.min(at + length));
            }
            Self::Repeat(at, length) => {
                let at = at.index(end);
                let piece = bytes[at..end.min(at + length)].to_vec();
                bytes.splice(at..at, piece);
            }
            Self::Splice(at, other, from) => {
                let other = file(other);
                bytes.truncate(at.index(end));
                bytes.extend(&other[from.index(other.len())..]);
            }
        }
    }
}

/// The first message's length as it is now: what was changed would be behind its end, or the message cut short.
fn mend_length(bytes: &mut [u8]) {
    let length = u32::try_from(bytes.len()).unwrap();
    if let Some(place) = bytes.first_chunk_mut() {
        *place = length.to_ne_bytes();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn what_is_broken_is_read(
        start in any::<Index>(),
        changes in proptest::collection::vec(change(), 1..6),
        mend in any::<bool>(),
    ) {
        let mut bytes = file(&start).to_vec();
        for change in &changes {
            change.make(&mut bytes);
        }
        if mend {
            mend_length(&mut bytes);
        }
        reader::read(&bytes);
    }
}
