use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU64;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use esplanade_crds::ProblemKind;
use esplanade_diff::{Memory, Numbers, Wear};
use esplanade_model::{
    Authentication, Crypto, Event, Key, Lifetime, Limits, OutboundSa, Reqid, Sa, Spi, Wanted, WantedSa,
};
use esplanade_seal::KeyPair;
use esplanade_sync::Engine;
use esplanade_xfrm::Watch;
use esplanade_xfrm::fake::FakeKernel;

use super::{FILE, load};
use crate::pass::{Outcome, pass};

fn keys() -> KeyPair {
    KeyPair::from_bytes(&[7; 32])
}

/// An SA that ends after 100 packets.
fn sa() -> Sa {
    let hard = Limits { packets: NonZeroU64::new(100), ..Limits::default() };
    Sa {
        lifetime: Lifetime { hard, ..Lifetime::default() },
        ..Sa::tunnel(
            [192, 0, 2, 1].into(),
            [192, 0, 2, 2].into(),
            Spi::new(0x1000).unwrap(),
            Reqid::from_hash(1),
            Crypto::authenticate(Authentication::HmacSha256, Key::from([7; 32].as_slice())).unwrap(),
        )
    }
}

fn engine(wear: Wear) -> Engine {
    let sa = WantedSa::Outbound(OutboundSa(sa()));
    let mut engine = Engine::new(Memory::new(wear, Numbers::default()));
    engine.want(Wanted { sas: vec![("limited".into(), sa)], ..Wanted::default() });
    engine
}

fn made(kernel: &FakeKernel, engine: &mut Engine) -> Outcome {
    pass(&mut kernel.clone(), "a", engine, false).unwrap()
}

fn hear(engine: &mut Engine, watch: &mut impl Watch) {
    let events = watch.look().unwrap().events;
    events.into_iter().for_each(|event| engine.notice(event, Duration::ZERO));
}

fn problems(outcome: &Outcome) -> BTreeMap<&str, &str> {
    let of_sa = outcome.problems.iter().filter(|problem| problem.kind == ProblemKind::IpsecSA);
    of_sa.map(|problem| (problem.name.as_str(), problem.category.as_str())).collect()
}

#[test]
fn an_sa_that_expired_stays_away_from_the_next_agent_too() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = FakeKernel::new();
    let mut watch = kernel.watch().unwrap();
    let (wear, record) = load(directory.path(), &keys(), "boot-1").unwrap();
    let mut first = engine(wear);
    assert_eq!(made(&kernel, &mut first).operations, 1);
    kernel.expire_sa(sa().id());
    hear(&mut first, &mut watch);
    for _ in 0..2 {
        let outcome = made(&kernel, &mut first);
        assert_eq!((outcome.operations, outcome.in_sync), (0, true));
        assert_eq!(problems(&outcome), [("limited", "Expired")].into());
    }
    record.write(&first.take_record().unwrap());
    let path = directory.path().join(FILE);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);

    for boot in ["boot-1", "boot-2"] {
        let (next, _) = load(directory.path(), &keys(), boot).unwrap();
        assert_eq!(problems(&made(&kernel, &mut engine(next))), [("limited", "Expired")].into(), "{boot}");
    }
}

#[test]
fn one_that_ended_while_no_agent_ran_does_too_but_for_a_boot() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = FakeKernel::new();
    let (wear, record) = load(directory.path(), &keys(), "boot-1").unwrap();
    let mut first = engine(wear);
    made(&kernel, &mut first);
    record.write(&first.take_record().unwrap());
    kernel.flush();
    let (next, _) = load(directory.path(), &keys(), "boot-1").unwrap();
    assert_eq!(problems(&made(&kernel, &mut engine(next))), [("limited", "Expired")].into());
    let (rebooted, _) = load(directory.path(), &keys(), "boot-2").unwrap();
    assert_eq!(made(&kernel, &mut engine(rebooted)).operations, 1);
}

#[test]
fn a_flushed_one_comes_back_and_counts_on() {
    let kernel = FakeKernel::new();
    let mut watch = kernel.watch().unwrap();
    let mut engine = engine(Wear::default());
    made(&kernel, &mut engine);
    kernel.count_traffic(sa().id(), 60, 0);
    pass(&mut kernel.clone(), "a", &mut engine, true).unwrap();
    kernel.flush();
    hear(&mut engine, &mut watch);
    assert_eq!(made(&kernel, &mut engine).operations, 1);
    assert_eq!(kernel.observed().sas[0].used.packets, 60);
}

#[test]
fn how_an_sa_ended_is_waited_for() {
    let kernel = FakeKernel::new();
    let mut engine = engine(Wear::default());
    made(&kernel, &mut engine);
    kernel.flush();
    engine.distrust();
    for _ in 0..2 {
        let outcome = made(&kernel, &mut engine);
        assert_eq!((outcome.operations, outcome.in_sync, outcome.problems.len()), (0, false, 0));
    }
    engine.notice(Event::Flushed, Duration::ZERO);
    let outcome = made(&kernel, &mut engine);
    assert_eq!((outcome.operations, outcome.in_sync), (1, true));
}

#[test]
fn what_is_no_record_is_not_taken_for_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(FILE), "boot-1\nnonsense\n").unwrap();
    let error = load(directory.path(), &keys(), "boot-1").unwrap_err().to_string();
    assert!(error.contains("line 1") && error.contains("Remove it"), "{error}");
}
