use std::fs;
use std::os::unix::fs::MetadataExt;

use esplanade_crds::conditions::reason;
use esplanade_diff::{Memory, Wear, Writing};
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
        let keep = |writing: &Writing| self.record.write(writing);
        let outcome = recorded_pass(&mut self.kernel, "a", &mut self.engine, true, &keep).unwrap();
        self.engine.note_senders(uptime(), true);
        self.engine.record_senders(keep).unwrap();
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
    let keep = |writing: &Writing| {
        assert_eq!(kernel.observed().sas.len(), 0);
        agent.record.write(writing)
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
    let keep = |writing: &Writing| agent.record.write(writing);
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
    let at = text.lines().last().unwrap().split(' ').nth(5).unwrap();
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

/// The record, and what an agent of another SA each time has it written.
fn lines_written(directory: &std::path::Path, senders: u32) -> (String, Vec<Writing>) {
    let kernel = FakeKernel::new();
    let mut agent = Agent::new(directory, &kernel, "boot-1");
    let written = std::cell::RefCell::new(Vec::new());
    let keep = |writing: &Writing| {
        written.borrow_mut().push(writing.clone());
        agent.record.write(writing)
    };
    for number in 0..senders {
        let spi = Spi::new(0x2000 + number).unwrap();
        agent.engine.want_sa("more".into(), WantedSa::Outbound(OutboundSa(Sa { spi, ..sa() })));
        recorded_pass(&mut kernel.clone(), "a", &mut agent.engine, false, &keep).unwrap();
    }
    (fs::read_to_string(directory.join(FILE)).unwrap(), written.into_inner())
}

#[test]
fn a_line_is_appended_for_each() {
    let directory = tempfile::tempdir().unwrap();
    let (text, written) = lines_written(directory.path(), 4);
    let [Writing::Replace(first), rest @ ..] = written.as_slice() else { panic!("{written:?}") };
    let mut all = format!("boot-1\n{first}");
    for one in rest {
        let Writing::Append(line) = one else { panic!("{one:?}") };
        assert_eq!((line.lines().count(), line.ends_with('\n')), (1, true));
        all.push_str(line);
    }
    assert_eq!((text, rest.len()), (all, 3));
}

#[test]
fn a_record_grows_no_longer_than_twice_what_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let (text, written) = lines_written(directory.path(), 40);
    assert!(written.iter().filter(|one| matches!(one, Writing::Replace(_))).count() > 1);
    // The first of them had two SAs, and each of the others one more.
    assert!((42..=84).contains(&text.lines().count()), "{}", text.lines().count());
}

#[test]
fn half_a_line_at_the_end_counts_for_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = FakeKernel::new();
    Agent::new(directory.path(), &kernel, "boot-1").pass();
    let path = directory.path().join(FILE);
    let text = fs::read_to_string(&path).unwrap();
    let line = text.lines().last().unwrap().replace(" open ", " over ");
    let line = line.replace(" 4096 0 ", " 4096 7777777777 ");
    for (at, _) in line.char_indices() {
        fs::write(&path, format!("{text}{}", &line[..at])).unwrap();
        kernel.flush();
        let mut agent = Agent::new(directory.path(), &kernel, "boot-1");
        assert!(agent.pass().in_sync && sent(&kernel) < 7_777_777_777, "{at}");
        // It isn't there any more, and nothing was written behind it.
        let again = fs::read_to_string(&path).unwrap();
        assert!(again.ends_with('\n') && !again.contains("7777777"), "{again}");
        assert!(load(directory.path(), &keys(), "boot-1").is_ok(), "{again}");
    }
    fs::write(&path, format!("{text}{line}\n")).unwrap();
    kernel.flush();
    Agent::new(directory.path(), &kernel, "boot-1").pass();
    assert_eq!(sent(&kernel), 7_777_777_777);
}

#[test]
fn a_record_that_somebody_has_removed_is_written_anew() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = FakeKernel::new();
    let mut agent = Agent::new(directory.path(), &kernel, "boot-1");
    agent.pass();
    fs::remove_file(directory.path().join(FILE)).unwrap();
    let spi = Spi::new(0x2000).unwrap();
    agent.engine.want_sa("another".into(), WantedSa::Outbound(OutboundSa(Sa { spi, ..sa() })));
    let outcome = agent.pass();
    assert!(outcome.in_sync && outcome.problems.is_empty(), "{outcome:?}");
    let text = fs::read_to_string(directory.path().join(FILE)).unwrap();
    assert!(text.starts_with("boot-1\n"), "{text}");
    assert!(["Esp 4096", "Esp 8192"].iter().all(|sa| text.contains(sa)), "{text}");
}
