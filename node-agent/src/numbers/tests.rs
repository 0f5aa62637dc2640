use std::fs;
use std::os::unix::fs::MetadataExt;

use esplanade_crds::conditions::reason;
use esplanade_diff::{Memory, Wear};
use esplanade_model::{
    Authentication, Cipher, Crypto, Key, Op, OutboundSa, ReplayProtection, ReplayState, Reqid, Sa, Spi,
    Wanted, WantedSa,
};
use esplanade_seal::KeyPair;
use esplanade_sync::Engine;
use esplanade_xfrm::fake::FakeKernel;

use super::{FILE, Record, load};
use crate::pass::{Outcome, recorded_pass, uptime};

/// Packets that an SA that can't be seen is taken to send in a second.
const A_SECOND: u64 = 1 << 21;

fn keys() -> KeyPair {
    KeyPair::from_bytes(&[7; 32])
}

fn sa() -> Sa {
    let key = || Key::from([7; 32].as_slice());
    let crypto =
        Crypto::encrypt_then_authenticate(Cipher::AesCbc256, key(), Authentication::HmacSha256, key())
            .unwrap();
    Sa {
        replay: ReplayProtection { window: 64, extended_sequence_numbers: true },
        ..Sa::tunnel(
            [192, 0, 2, 1].into(),
            [192, 0, 2, 2].into(),
            Spi::new(0x1000).unwrap(),
            Reqid::from_hash(1),
            crypto,
        )
    }
}

fn wanted() -> WantedSa {
    WantedSa::Outbound(OutboundSa(sa()))
}

/// An agent, as far as it has to do with this.
struct Agent {
    kernel: FakeKernel,
    engine: Engine,
    record: Record,
}

impl Agent {
    /// Starts.
    fn new(directory: &std::path::Path, kernel: &FakeKernel, boot: &str) -> Self {
        let (numbers, record) = load(directory, &keys(), boot).unwrap();
        let mut engine = Engine::new(Memory::new(Wear::default(), numbers));
        engine.want(Wanted { sas: vec![("a-to-b".into(), wanted())], ..Wanted::default() });
        Self { kernel: kernel.clone(), engine, record }
    }

    fn pass(&mut self) -> Outcome {
        let keep = |record: &str| self.record.write(record);
        let outcome = recorded_pass(&mut self.kernel, "a", &mut self.engine, true, &keep).unwrap();
        if let Some(record) = self.engine.take_numbers(uptime(), true) {
            self.record.write(&record).unwrap();
        }
        outcome
    }
}

fn sent(kernel: &FakeKernel) -> u64 {
    kernel.observed().sas[0].state.sent
}

#[test]
fn the_next_agent_goes_on_past_what_this_one_saw() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = FakeKernel::new();
    let mut first = Agent::new(directory.path(), &kernel, "boot-1");
    assert_eq!((first.pass().in_sync, sent(&kernel)), (true, 0));
    kernel.count_traffic(sa().id(), 5000, 0);
    first.pass();
    let path = directory.path().join(FILE);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("boot-1\n") && text.contains(" 192.0.2.2 Esp 4096 5000 "), "{text}");
    kernel.flush();
    Agent::new(directory.path(), &kernel, "boot-1").pass();
    let after = sent(&kernel);
    assert!((5000 + A_SECOND..5000 + 60 * A_SECOND).contains(&after), "{after}");
    // With the boot all that the kernel counted is gone.
    kernel.flush();
    Agent::new(directory.path(), &kernel, "boot-2").pass();
    assert_eq!(sent(&kernel), 0);
}

#[test]
fn an_sa_is_recorded_before_it_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = FakeKernel::new();
    let mut agent = Agent::new(directory.path(), &kernel, "boot-1");
    let path = directory.path().join(FILE);
    let keep = |record: &str| {
        assert_eq!(kernel.observed().sas.len(), 0);
        agent.record.write(record)
    };
    recorded_pass(&mut kernel.clone(), "a", &mut agent.engine, false, &keep).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    // The agent ended right after that, and somebody flushed.
    kernel.flush();
    Agent::new(directory.path(), &kernel, "boot-1").pass();
    assert!(sent(&kernel) >= A_SECOND);
}

#[test]
fn what_can_not_be_recorded_is_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = FakeKernel::new();
    let mut agent = Agent::new(directory.path(), &kernel, "boot-1");
    // It can't be replaced by a file.
    fs::create_dir_all(directory.path().join(FILE).join("in-the-way")).unwrap();
    let keep = |record: &str| agent.record.write(record);
    let outcome = recorded_pass(&mut kernel.clone(), "a", &mut agent.engine, false, &keep).unwrap();
    let [problem] = outcome.problems.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((problem.name.as_str(), problem.category.as_str()), ("a-to-b", reason::KERNEL_ERROR));
    assert!(problem.message.contains("recorded") && problem.message.contains(FILE), "{problem:?}");
    assert_eq!((outcome.in_sync, kernel.observed().sas.len()), (false, 0));
    fs::remove_dir_all(directory.path().join(FILE)).unwrap();
    assert_eq!((agent.pass().in_sync, sent(&kernel)), (true, 0));
}

#[test]
fn one_that_is_put_back_is_moved_on_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = FakeKernel::new();
    let mut agent = Agent::new(directory.path(), &kernel, "boot-1");
    agent.pass();
    kernel.count_traffic(sa().id(), 5000, 0);
    agent.pass();
    for restarted in [false, true] {
        if restarted {
            agent = Agent::new(directory.path(), &kernel, "boot-1");
        }
        let before = sent(&kernel);
        kernel.count_traffic(sa().id(), 3, 0);
        let outcome = agent.pass();
        assert_eq!((outcome.operations, outcome.in_sync, outcome.problems.len()), (1, true, 0));
        let last = kernel.log().pop();
        assert!(matches!(last, Some(Op::SetReplayState { .. })), "{restarted}: {last:?}");
        assert!(sent(&kernel) > before, "{restarted}");
        assert_eq!(agent.pass().operations, 0);
    }
}

#[test]
fn one_without_numbers_left_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = FakeKernel::new();
    let mut agent = Agent::new(directory.path(), &kernel, "boot-1");
    agent.pass();
    kernel.flush();
    // At a time to come, which is as good as nothing known.
    let path = directory.path().join(FILE);
    let text = fs::read_to_string(&path).unwrap();
    let at = text.split(' ').nth(5).unwrap().to_owned();
    fs::write(&path, text.replace(&format!(" {at} open"), " 999999999999 open")).unwrap();
    let outcome = Agent::new(directory.path(), &kernel, "boot-1").pass();
    let [problem] = outcome.problems.as_slice() else { panic!("{outcome:?}") };
    assert_eq!(problem.category, reason::SEQUENCE_NUMBERS_EXHAUSTED);
    let state = ReplayState { sent: u64::MAX, ..ReplayState::default() };
    assert_eq!(kernel.observed().sas[0].state, state);
}

#[test]
fn what_is_no_record_is_not_taken_for_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    for text in ["boot-1\nnonsense\n", ""] {
        fs::write(directory.path().join(FILE), text).unwrap();
        let error = load(directory.path(), &keys(), "boot-1").unwrap_err().to_string();
        assert!(error.contains("new keys, then remove it"), "{error}");
    }
    // Of another boot, whatever it says.
    fs::write(directory.path().join(FILE), "boot-0\nnonsense\n").unwrap();
    assert!(load(directory.path(), &keys(), "boot-1").is_ok());
}
