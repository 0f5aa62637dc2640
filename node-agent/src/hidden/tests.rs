use std::path::Path;

use esplanade_model::{
    Authentication, Crypto, InboundSa, Key, Op, OutboundSa, ReplayProtection, ReplayState, Reqid, Sa, Spi,
    Wanted, WantedSa,
};
use esplanade_seal::KeyPair;
use esplanade_sync::Engine;
use esplanade_xfrm::fake::FakeKernel;

use super::{FILE, load};
use crate::pass::pass;

/// With a key of these bytes.
fn sa(key: u8) -> Sa {
    Sa {
        replay: ReplayProtection { window: 32, ..ReplayProtection::default() },
        ..Sa::tunnel(
            [192, 0, 2, 1].into(),
            [192, 0, 2, 2].into(),
            Spi::new(0x1000).unwrap(),
            Reqid::from_hash(1),
            Crypto::authenticate(Authentication::HmacSha256, Key::from([key; 32].as_slice())).unwrap(),
        )
    }
}

/// As a sender's is in the kernel: with no window.
fn sent_by(key: u8) -> Sa {
    Sa { replay: ReplayProtection::default(), ..sa(key) }
}

fn outbound(sa: Sa) -> WantedSa {
    WantedSa::Outbound(OutboundSa(sa))
}

fn inbound(sa: Sa) -> WantedSa {
    WantedSa::Inbound(InboundSa(sa))
}

fn want(engine: &mut Engine, sa: WantedSa) {
    engine.want(Wanted { sas: vec![("sa".into(), sa)], ..Wanted::default() });
}

fn engine(directory: &Path) -> Engine {
    let (hidden, _) = load(directory, &KeyPair::from_bytes(&[7; 32]), "boot-1").unwrap();
    Engine::default().with_hidden(hidden)
}

/// An audit; how many operations it took. What there is to be recorded is.
fn audit(kernel: &FakeKernel, engine: &mut Engine, directory: &Path) -> usize {
    let outcome = pass(&mut kernel.clone(), "a", engine, true).unwrap();
    assert!(outcome.in_sync, "{:?}", outcome.problems);
    let (_, record) = load(directory, &KeyPair::from_bytes(&[7; 32]), "boot-1").unwrap();
    if let Some(lines) = engine.take_hidden() {
        record.write(&lines);
    }
    outcome.operations
}

/// Where the last SA that was made goes on from.
fn start(kernel: &FakeKernel) -> Option<ReplayState> {
    match kernel.log().pop() {
        Some(Op::AddOutbound { state, .. } | Op::AddInbound { state, .. }) => state,
        other => panic!("{other:?}"),
    }
}

fn locked_down() -> (tempfile::TempDir, FakeKernel) {
    let kernel = FakeKernel::new();
    kernel.lock_down();
    (tempfile::tempdir().unwrap(), kernel)
}

#[test]
fn another_key_is_noticed_and_begins_anew() {
    for direction in [outbound, inbound] {
        let (directory, kernel) = locked_down();
        let mut engine = engine(directory.path());
        want(&mut engine, direction(sa(1)));
        assert_eq!(audit(&kernel, &mut engine, directory.path()), 1);
        assert_eq!(audit(&kernel, &mut engine, directory.path()), 0);
        kernel.count_traffic(sa(1).id(), 7, 7);
        want(&mut engine, direction(sa(2)));
        assert_eq!(audit(&kernel, &mut engine, directory.path()), 2);
        assert_eq!(start(&kernel), None);
        assert_eq!(kernel.sa(sa(2).id()).map(|sa| sa.crypto), Some(sa(2).crypto));
        assert_eq!(audit(&kernel, &mut engine, directory.path()), 0);
    }
}

#[test]
fn the_next_agent_knows_the_keys_and_reads_none() {
    for direction in [outbound, inbound] {
        let (directory, kernel) = locked_down();
        let mut first = engine(directory.path());
        want(&mut first, direction(sa(1)));
        assert_eq!(audit(&kernel, &mut first, directory.path()), 1);
        let text = std::fs::read_to_string(directory.path().join(FILE)).unwrap();
        assert!(!text.contains(&"01".repeat(8)), "{text}");
        let mut second = engine(directory.path());
        want(&mut second, direction(sa(1)));
        assert_eq!(audit(&kernel, &mut second, directory.path()), 0);
    }
}

/// An agent that ended between writing and recording left another key than it recorded: a sender's numbers go on.
#[test]
fn what_an_earlier_agent_recorded_never_lets_numbers_begin_again() {
    let (directory, kernel) = locked_down();
    let mut first = engine(directory.path());
    want(&mut first, outbound(sa(1)));
    audit(&kernel, &mut first, directory.path());
    assert!(kernel.replace_sa(sa(2).id(), Some(sent_by(2))));
    kernel.count_traffic(sa(2).id(), 7, 0);
    let mut second = engine(directory.path());
    want(&mut second, outbound(sa(2)));
    assert_eq!(audit(&kernel, &mut second, directory.path()), 2);
    assert!(start(&kernel).unwrap().sent > 7);
}

/// A receiver whose peer begins anew must do so as well.
#[test]
fn a_receiver_begins_anew_with_a_key_that_came_meanwhile() {
    let (directory, kernel) = locked_down();
    let mut first = engine(directory.path());
    want(&mut first, inbound(sa(1)));
    audit(&kernel, &mut first, directory.path());
    kernel.count_traffic(sa(1).id(), 0, 7);
    let mut second = engine(directory.path());
    want(&mut second, inbound(sa(2)));
    assert_eq!(audit(&kernel, &mut second, directory.path()), 2);
    assert_eq!(start(&kernel), None);
}

#[test]
fn an_sa_of_which_nothing_is_recorded_is_replaced_once_and_goes_on() {
    for direction in [outbound, inbound] {
        let (directory, kernel) = locked_down();
        let mut first = engine(directory.path());
        want(&mut first, direction(sa(1)));
        audit(&kernel, &mut first, directory.path());
        kernel.count_traffic(sa(1).id(), 7, 7);
        std::fs::write(directory.path().join(FILE), "boot-0\nnonsense\n").unwrap();
        let mut second = engine(directory.path());
        want(&mut second, direction(sa(1)));
        assert_eq!(audit(&kernel, &mut second, directory.path()), 2);
        let state = start(&kernel).unwrap();
        assert!(state.sent > 7 || state.received == 7, "{state:?}");
        assert_eq!(audit(&kernel, &mut second, directory.path()), 0);
    }
}

/// What somebody else has written since may have any key.
#[test]
fn an_sa_that_somebody_else_wrote_is_replaced() {
    use esplanade_xfrm::Watch;
    let (directory, kernel) = locked_down();
    let mut watch = kernel.watch().unwrap();
    let mut engine = engine(directory.path());
    want(&mut engine, outbound(sa(1)));
    audit(&kernel, &mut engine, directory.path());
    assert!(kernel.replace_sa(sa(1).id(), Some(sent_by(9))));
    for event in watch.look().unwrap().events {
        engine.notice(event, std::time::Duration::ZERO);
    }
    assert_eq!(audit(&kernel, &mut engine, directory.path()), 2);
    assert_eq!(kernel.sa(sa(1).id()).map(|sa| sa.crypto), Some(sa(1).crypto));
}

#[test]
fn a_kernel_that_shows_keys_leaves_nothing_to_record() {
    let directory = tempfile::tempdir().unwrap();
    let mut engine = engine(directory.path());
    want(&mut engine, outbound(sa(1)));
    assert_eq!(audit(&FakeKernel::new(), &mut engine, directory.path()), 1);
    assert!(!directory.path().join(FILE).exists());
}
