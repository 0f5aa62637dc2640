use std::net::IpAddr;

use esplanade_crds::{Counts, ProblemKind};
use esplanade_diff::Memory;
use esplanade_model::{
    Action, Authentication, Cipher, Crypto, Direction, InboundSa, Key, Mode, Op, OutboundSa, Policy,
    Protocol, Refusal, ReplayProtection, Reqid, Sa, SaId, Selector, Spi, Template, Wanted, WantedSa,
};
use esplanade_xfrm::fake::{FakeKernel, ForeignPolicy, ForeignSa};
use esplanade_xfrm::{Kernel, KernelError};

use super::{Outcome, pass};

const HERE: &str = "192.0.2.1";
const THERE: &str = "192.0.2.2";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn sa(source: &str, destination: &str, spi: u32) -> Sa {
    let key = || Key::from([7; 32].as_slice());
    let crypto =
        Crypto::encrypt_then_authenticate(Cipher::AesCbc256, key(), Authentication::HmacSha256, key())
            .unwrap();
    Sa {
        source: ip(source),
        destination: ip(destination),
        spi: Spi::new(spi).unwrap(),
        mode: Mode::Tunnel,
        reqid: Reqid::from_hash(spi),
        crypto,
        replay: ReplayProtection::default(),
        selector: None,
        interface_id: 0,
    }
}

fn policy(direction: Direction, third: u8) -> Policy {
    let (source, destination) = (format!("10.{third}.0.0/24"), "10.1.0.0/24".to_owned());
    let (source, destination) =
        if direction == Direction::Out { (destination, source) } else { (source, destination) };
    let tunnel = if direction == Direction::Out { (ip(HERE), ip(THERE)) } else { (ip(THERE), ip(HERE)) };
    Policy {
        direction,
        selector: Selector::new(source.parse().unwrap(), destination.parse().unwrap()).unwrap(),
        interface_id: 0,
        priority: 74_032,
        action: Action::Allow,
        templates: vec![Template {
            protocol: Protocol::Esp,
            mode: Mode::Tunnel,
            reqid: Reqid::from_hash(1),
            tunnel: Some(tunnel),
            optional: false,
        }],
    }
}

fn out() -> Sa {
    sa(HERE, THERE, 4096)
}

fn back() -> Sa {
    sa(THERE, HERE, 4097)
}

fn wanted() -> Wanted {
    let policies = [Direction::Out, Direction::In, Direction::Forward].map(|way| policy(way, 2));
    Wanted {
        sas: vec![
            ("a-to-b".into(), WantedSa::Outbound(OutboundSa(out()))),
            ("b-to-a".into(), WantedSa::Inbound(InboundSa(back()))),
        ],
        policies: policies.map(|policy| ("pods".to_owned(), policy)).to_vec(),
        hold: [].into(),
    }
}

fn refusal(text: &str) -> Refusal {
    Refusal { errno: 38, message: Some(text.to_owned()) }
}

/// A kernel that counts how often it is asked.
struct Counting {
    kernel: FakeKernel,
    dumps: usize,
    writes: usize,
}

impl Kernel for Counting {
    fn dump(&mut self) -> Result<esplanade_model::Observed, KernelError> {
        self.dumps += 1;
        self.kernel.dump()
    }

    fn apply(&mut self, ops: &[Op]) -> Result<Vec<Result<(), Refusal>>, KernelError> {
        self.writes += 1;
        self.kernel.apply(ops)
    }
}

struct Setup {
    kernel: FakeKernel,
    memory: Memory,
}

impl Setup {
    fn new() -> Self {
        Self { kernel: FakeKernel::new(), memory: Memory::default() }
    }

    /// The outcome, and how many dumps and writes it took.
    fn pass(&mut self, wanted: &Wanted) -> (Outcome, usize, usize) {
        let mut kernel = Counting { kernel: self.kernel.clone(), dumps: 0, writes: 0 };
        let outcome = pass(&mut kernel, "a", wanted, &mut self.memory).unwrap();
        (outcome, kernel.dumps, kernel.writes)
    }
}

#[test]
fn the_first_pass_writes_and_the_second_only_looks() {
    let mut setup = Setup::new();
    let (outcome, dumps, writes) = setup.pass(&wanted());
    assert_eq!((outcome.operations, dumps, writes), (5, 2, 1));
    assert_eq!((outcome.problems.as_slice(), outcome.in_sync), ([].as_slice(), true));
    let counts = Counts { security_associations: 2, policies: 3, ..Counts::default() };
    assert_eq!(outcome.counts, counts);

    let (outcome, dumps, writes) = setup.pass(&wanted());
    assert_eq!((outcome.operations, dumps, writes), (0, 1, 0));
    assert_eq!((outcome.counts, outcome.in_sync), (counts, true));
}

#[test]
fn another_agent_adopts_what_it_finds() {
    let mut setup = Setup::new();
    setup.pass(&wanted());
    let log = setup.kernel.log();
    setup.memory = Memory::default();
    let (outcome, ..) = setup.pass(&wanted());
    assert_eq!((outcome.operations, setup.kernel.log()), (0, log));
}

#[test]
fn nothing_wanted_leaves_the_kernel_as_it_was_before() {
    let mut setup = Setup::new();
    let before = setup.kernel.observed();
    setup.pass(&wanted());
    let (outcome, ..) = setup.pass(&Wanted::default());
    assert_eq!((outcome.operations, outcome.in_sync), (5, true));
    assert_eq!(setup.kernel.observed(), before);
}

#[test]
fn one_refused_does_not_stop_the_others() {
    let mut setup = Setup::new();
    setup.kernel.refuse_sa(out().id(), refusal("Requested AEAD algorithm not found"));
    let (outcome, ..) = setup.pass(&wanted());
    assert!(!outcome.in_sync);
    assert_eq!((outcome.counts.security_associations, outcome.counts.policies), (1, 3));
    let [problem] = outcome.problems.as_slice() else { panic!("one problem: {:?}", outcome.problems) };
    assert_eq!((problem.kind, problem.name.as_str()), (ProblemKind::IpsecSA, "a-to-b"));
    assert_eq!(problem.category, "KernelError");
    assert_eq!(
        problem.message,
        "adding the outbound ESP SA to 192.0.2.2 with SPI 0x00001000: Requested AEAD algorithm not found \
         (Function not implemented (os error 38))"
    );

    setup.kernel.refuse_nothing();
    let (outcome, ..) = setup.pass(&wanted());
    assert_eq!((outcome.operations, outcome.in_sync, outcome.problems.len()), (1, true, 0));
}

#[test]
fn a_policy_refused_in_many_ways_is_one_problem() {
    let mut setup = Setup::new();
    for direction in [Direction::In, Direction::Out, Direction::Forward] {
        setup.kernel.refuse_policy(policy(direction, 2).key(), refusal("no"));
    }
    let (outcome, ..) = setup.pass(&wanted());
    let messages: Vec<_> = outcome.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "adding the inbound policy for 10.2.0.0/24 to 10.1.0.0/24: no (Function not implemented (os error 38))"
        ]
    );
    assert_eq!(outcome.counts.security_associations, 2);
}

#[test]
fn a_removal_refused_is_the_nodes_problem() {
    let mut setup = Setup::new();
    setup.pass(&wanted());
    setup.kernel.refuse_sa(back().id(), refusal("no"));
    let (outcome, ..) = setup.pass(&Wanted::default());
    let [problem] = outcome.problems.as_slice() else { panic!("one problem: {:?}", outcome.problems) };
    assert_eq!((problem.kind, problem.name.as_str()), (ProblemKind::Node, "a"));
    assert!(problem.message.starts_with("deleting the ESP SA to 192.0.2.1"), "{}", problem.message);
    assert!(!outcome.in_sync);
}

#[test]
fn what_is_foreign_stays_untouched() {
    let mut setup = Setup::new();
    let id = |spi| SaId { spi: Spi::new(spi).unwrap(), ..out().id() };
    let kernel = setup.kernel.clone();
    kernel.insert_foreign_sa(ForeignSa { id: id(5000), reqid: 1 }).unwrap();
    kernel.insert_foreign_sa(ForeignSa { id: out().id(), reqid: 2 }).unwrap();
    let key = policy(Direction::In, 2).key();
    kernel.insert_foreign_policy(ForeignPolicy { key, index: None }).unwrap();
    let key = policy(Direction::Out, 9).key();
    kernel.insert_foreign_policy(ForeignPolicy { key, index: Some(0x4000_0001) }).unwrap();
    let before = kernel.foreign();

    let (outcome, ..) = setup.pass(&wanted());
    assert!(outcome.in_sync, "what room is left for is there");
    let conflicts: Vec<_> =
        outcome.problems.iter().map(|one| (one.kind, one.name.as_str(), one.category.as_str())).collect();
    assert_eq!(
        conflicts,
        [(ProblemKind::IpsecPolicy, "pods", "Conflicted"), (ProblemKind::IpsecSA, "a-to-b", "Conflicted"),]
    );
    let counts = Counts {
        security_associations: 1,
        policies: 2,
        foreign_security_associations: 2,
        foreign_policies: 2,
    };
    assert_eq!(outcome.counts, counts);
    setup.pass(&Wanted::default());
    assert_eq!(kernel.foreign(), before);
}

#[test]
fn a_flush_is_healed_and_sequence_numbers_go_on() {
    let mut setup = Setup::new();
    setup.pass(&wanted());
    assert!(setup.kernel.count_traffic(out().id(), 1000, 0));
    setup.pass(&wanted());
    setup.kernel.flush();
    let (outcome, ..) = setup.pass(&wanted());
    assert_eq!((outcome.operations, outcome.in_sync), (5, true));
    let observed = setup.kernel.observed();
    let sent = observed.sas.iter().find(|sa| sa.id == out().id()).map(|sa| sa.state.sent);
    assert!(sent.is_some_and(|sent| sent > 1000), "{sent:?}");
}

#[test]
fn a_kernel_that_can_not_be_asked_is_an_error() {
    let mut setup = Setup::new();
    setup.kernel.fail_next(KernelError::Overrun);
    let failed = pass(&mut setup.kernel.clone(), "a", &wanted(), &mut setup.memory);
    assert!(matches!(failed, Err(KernelError::Overrun)));
    assert_eq!(setup.kernel.log(), []);
}
