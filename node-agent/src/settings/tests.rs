use esplanade_model::{Action, DefaultActions, Direction, Policy, Selector, Threshold, Thresholds, Wanted};
use esplanade_sync::Engine;
use esplanade_xfrm::PolicySettings as _;
use esplanade_xfrm::fake::FakeKernel;

use super::{FILE, Settings};

fn pods() -> Thresholds {
    Thresholds { v4: Threshold { local: 24, remote: 24 }, ..Thresholds::default() }
}

/// As many policies are wanted as make the kernel hash them, or none.
fn engine(some: bool) -> Engine {
    let policy = |number| {
        let networks = ["10.0.0.0/24".to_owned(), format!("10.1.{number}.0/24")];
        let [source, destination] = networks.map(|network| network.parse().unwrap());
        let selector = Selector::new(source, destination).unwrap();
        ("pods".to_owned(), Policy::new(Direction::Out, selector, 1, Action::Allow))
    };
    let mut engine = Engine::default();
    engine.want(Wanted { policies: (0..200).filter(|_| some).map(policy).collect(), ..Wanted::default() });
    engine
}

#[test]
fn what_an_earlier_agent_set_is_taken_back_by_a_later_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut kernel = FakeKernel::new();
    let agent = |boot: &str| Settings::load(directory.path(), boot).unwrap();
    agent("boot-1").keep_thresholds(&mut kernel, &engine(true)).unwrap();
    assert_eq!(kernel.thresholds().unwrap(), pods());
    agent("boot-1").keep_thresholds(&mut kernel, &engine(false)).unwrap();
    assert_eq!(kernel.thresholds().unwrap(), Thresholds::default());
}

#[test]
fn what_is_not_known_to_be_ours_stays() {
    for text in ["boot-0\nhthresh4 24 24\nhthresh6 128 128\n", "boot-1\nhthresh4 many\n", ""] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), text).unwrap();
        let mut kernel = FakeKernel::new();
        kernel.set_thresholds(pods()).unwrap().unwrap();
        let mut agent = Settings::load(directory.path(), "boot-1").unwrap();
        agent.keep_thresholds(&mut kernel, &engine(false)).unwrap();
        assert_eq!(kernel.thresholds().unwrap(), pods(), "{text:?}");
    }
}

#[test]
fn what_somebody_else_set_meanwhile_stays() {
    let mut kernel = FakeKernel::new();
    let mut agent = Settings::default();
    agent.keep_thresholds(&mut kernel, &engine(true)).unwrap();
    let theirs = Thresholds { v4: Threshold { local: 16, remote: 16 }, ..Thresholds::default() };
    kernel.set_thresholds(theirs).unwrap().unwrap();
    for _ in 0..2 {
        agent.keep_thresholds(&mut kernel, &engine(true)).unwrap();
        assert_eq!(kernel.thresholds().unwrap(), theirs);
    }
    // A kernel's own are free for all.
    kernel.set_thresholds(Thresholds::default()).unwrap().unwrap();
    agent.keep_thresholds(&mut kernel, &engine(true)).unwrap();
    assert_eq!(kernel.thresholds().unwrap(), pods());
}

#[test]
fn only_what_was_blocked_by_us_passes_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut kernel = FakeKernel::new();
    let agent = || Settings::load(directory.path(), "boot-1").unwrap();
    let theirs = DefaultActions { forward: Action::Block, ..DefaultActions::all(Action::Allow) };
    kernel.set_default_actions(theirs).unwrap().unwrap();
    let engine = Engine::default();
    agent().block(&mut kernel, &engine, &[]).unwrap().unwrap();
    let closed = Some(DefaultActions::all(Action::Block));
    assert_eq!(kernel.default_actions().unwrap(), closed);
    // By another agent, and a third has nothing left to do.
    for _ in 0..2 {
        agent().let_pass(&mut kernel).unwrap();
        assert_eq!(kernel.default_actions().unwrap(), Some(theirs));
    }
    // What somebody else has blocked stays so.
    kernel.set_default_actions(DefaultActions::all(Action::Block)).unwrap().unwrap();
    agent().block(&mut kernel, &engine, &[]).unwrap().unwrap();
    agent().let_pass(&mut kernel).unwrap();
    assert_eq!(kernel.default_actions().unwrap(), closed);
}
