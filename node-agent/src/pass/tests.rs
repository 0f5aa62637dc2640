use std::net::IpAddr;

use esplanade_crds::{Counts, ProblemKind};
use esplanade_model::{
    Action, Authentication, Capability, Cipher, Crypto, Direction, Event, InboundSa, Key, Mode, Op,
    OutboundSa, Policy, PolicyKey, Protocol, Reader, Refusal, ReplayProtection, Reqid, Sa, SaDirection, SaId,
    Selector, Spi, Template, Wanted, WantedSa,
};
use esplanade_sync::{Engine, Losses};
use esplanade_xfrm::fake::{FakeKernel, ForeignPolicy, ForeignSa};
use esplanade_xfrm::{Databases, KernelError, Watch};

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
    Sa::tunnel(ip(source), ip(destination), Spi::new(spi).unwrap(), Reqid::from_hash(spi), crypto)
}

fn policy(direction: Direction, third: u8) -> Policy {
    let (source, destination) = (format!("10.{third}.0.0/24"), "10.1.0.0/24".to_owned());
    let (source, destination) =
        if direction == Direction::Out { (destination, source) } else { (source, destination) };
    let tunnel = if direction == Direction::Out { (ip(HERE), ip(THERE)) } else { (ip(THERE), ip(HERE)) };
    let selector = Selector::new(source.parse().unwrap(), destination.parse().unwrap()).unwrap();
    Policy {
        templates: vec![Template {
            protocol: Protocol::Esp,
            mode: Mode::Tunnel,
            reqid: Some(Reqid::from_hash(1)),
            tunnel: Some(tunnel),
            optional: false,
        }],
        ..Policy::new(direction, selector, 74_032, Action::Allow)
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

/// The outbound SA has another key.
fn with_another_key() -> Wanted {
    let mut other = wanted();
    let key = Key::from([9; 36].as_slice());
    let changed = Sa { crypto: Crypto::aead(esplanade_model::Aead::AesGcm256, key).unwrap(), ..out() };
    other.sas[0].1 = WantedSa::Outbound(OutboundSa(changed));
    other
}

fn refusal(text: &str) -> Refusal {
    Refusal { errno: 38, message: Some(text.to_owned()) }
}

/// How often a kernel was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Asked {
    /// For everything.
    reads: usize,
    /// For so many SAs and policies.
    look_ups: usize,
    /// To carry out so many operations.
    writes: usize,
}

/// A kernel that counts how often it is asked.
struct Counting {
    kernel: FakeKernel,
    asked: Asked,
    /// It makes no outbound SAs, and says nothing of it.
    deaf: bool,
}

impl Databases for Counting {
    fn read(&mut self, reader: &mut dyn Reader) -> Result<(), KernelError> {
        self.asked.reads += 1;
        self.kernel.read(reader)
    }

    fn look_up(
        &mut self,
        sas: &[SaId],
        policies: &[PolicyKey],
        reader: &mut dyn Reader,
    ) -> Result<(), KernelError> {
        self.asked.look_ups += sas.len() + policies.len();
        self.kernel.look_up(sas, policies, reader)
    }

    fn carry_out(&mut self, ops: &mut dyn Iterator<Item = Op>) -> Result<Vec<(usize, Refusal)>, KernelError> {
        let (writes, deaf) = (&mut self.asked.writes, self.deaf);
        let heard = |op: &Op| !deaf || !matches!(op, Op::AddOutbound { .. });
        self.kernel.carry_out(&mut ops.inspect(|_| *writes += 1).filter(heard))
    }
}

struct Setup {
    kernel: FakeKernel,
    watch: Box<dyn Watch>,
    engine: Engine,
}

impl Setup {
    fn new() -> Self {
        let kernel = FakeKernel::new();
        let watch = Box::new(kernel.watch().unwrap());
        Self { kernel, watch, engine: Engine::default() }
    }

    /// The outcome of a pass made for what is wanted and what the kernel's events told, and what was asked of the kernel.
    fn pass(&mut self, wanted: &Wanted) -> (Outcome, Asked) {
        self.engine.want(wanted.clone());
        self.pass_again(false)
    }

    fn pass_again(&mut self, audit: bool) -> (Outcome, Asked) {
        let noticed = self.watch.look().unwrap();
        noticed.events.into_iter().for_each(|event| self.engine.notice(event, super::uptime()));
        if noticed.overrun {
            self.engine.distrust();
        }
        let mut kernel = Counting { kernel: self.kernel.clone(), asked: Asked::default(), deaf: false };
        let outcome = pass(&mut kernel, "a", &mut self.engine, audit).unwrap();
        (outcome, kernel.asked)
    }
}

#[test]
fn what_is_known_is_not_read() {
    let mut setup = Setup::new();
    let (outcome, asked) = setup.pass(&wanted());
    assert_eq!((outcome.operations, asked), (5, Asked { reads: 1, look_ups: 5, writes: 5 }));
    assert_eq!((outcome.problems.as_slice(), outcome.in_sync), ([].as_slice(), true));
    let counts = Counts { security_associations: 2, policies: 3, ..Counts::default() };
    assert_eq!(outcome.counts, counts);

    // With nothing new there is nothing to ask.
    let (outcome, asked) = setup.pass(&wanted());
    assert_eq!((outcome.operations, asked), (0, Asked::default()));
    assert_eq!((&outcome.counts, outcome.in_sync), (&counts, true));
    // An audit reads everything once.
    let (outcome, asked) = setup.pass_again(true);
    assert_eq!((outcome.operations, asked), (0, Asked { reads: 1, ..Asked::default() }));
    assert_eq!((outcome.counts, outcome.in_sync), (counts, true));
}

#[test]
fn only_what_changed_is_asked_for() {
    let mut setup = Setup::new();
    setup.pass(&wanted());
    // Another key: read, deleted and added, read back.
    let mut other = with_another_key();
    let (outcome, asked) = setup.pass(&other);
    assert!(outcome.in_sync);
    assert_eq!(asked, Asked { reads: 0, look_ups: 2, writes: 2 });
    // One that is no longer wanted: deleted, looked for.
    other.sas.remove(0);
    let (outcome, asked) = setup.pass(&other);
    assert!(outcome.in_sync);
    assert_eq!(asked, Asked { reads: 0, look_ups: 1, writes: 1 });
    // Somebody else deletes one: looked for, added, read back.
    setup.kernel.remove_policy(policy(Direction::In, 2).key());
    let (outcome, asked) = setup.pass_again(false);
    assert!(outcome.in_sync);
    assert_eq!(asked, Asked { reads: 0, look_ups: 2, writes: 1 });
    assert_eq!(outcome.counts.policies, 3);
}

#[test]
fn what_no_event_told_is_found_by_an_audit_and_counted() {
    let mut setup = Setup::new();
    setup.pass(&wanted());
    setup.kernel.losing(true);
    setup.kernel.remove_sa(out().id());
    setup.kernel.replace_sa(back().id(), None);
    setup.kernel.losing(false);
    assert_eq!(setup.pass_again(false).0.operations, 0, "nobody knows yet");
    let (outcome, _) = setup.pass_again(true);
    assert_eq!((outcome.operations, outcome.in_sync, outcome.surprises), (3, true, 0));
    assert_eq!(setup.pass_again(false).0.surprises, 2, "once it is clear that no event comes");
    assert_eq!(setup.pass_again(false).0.surprises, 0, "once");
    assert_eq!(setup.kernel.observed().sas.len(), 2);
}

#[test]
fn what_an_event_tells_late_is_no_surprise() {
    let mut setup = Setup::new();
    setup.pass(&wanted());
    setup.kernel.losing(true);
    setup.kernel.remove_sa(out().id());
    setup.kernel.losing(false);
    assert_eq!(setup.pass_again(true).0.operations, 1);
    setup.engine.notice(Event::Sa(out().id()), super::uptime());
    assert_eq!(setup.pass_again(false).0.surprises, 0);
}

#[test]
fn lost_events_make_everything_be_read() {
    let mut setup = Setup::new();
    setup.pass(&wanted());
    setup.kernel.losing(true);
    setup.kernel.flush();
    setup.kernel.losing(false);
    setup.kernel.overrun();
    let (outcome, asked) = setup.pass_again(false);
    assert_eq!((outcome.operations, outcome.in_sync, asked.reads), (5, true, 1));
    assert_eq!(setup.pass_again(false).0.surprises, 0, "that something was lost was told");
}

#[test]
fn another_agent_adopts_what_it_finds() {
    let mut setup = Setup::new();
    setup.pass(&wanted());
    let log = setup.kernel.log();
    setup.engine = Engine::default();
    let (outcome, ..) = setup.pass(&wanted());
    assert_eq!((outcome.operations, setup.kernel.log()), (0, log));
}

#[test]
fn nothing_wanted_leaves_the_kernel_as_it_was_before() {
    let mut setup = Setup::new();
    let before = setup.kernel.observed();
    setup.pass(&wanted());
    assert!(format!("{:?}", setup.engine).contains("a-to-b"));
    let (outcome, ..) = setup.pass(&Wanted::default());
    assert_eq!((outcome.operations, outcome.in_sync), (5, true));
    assert_eq!(setup.kernel.observed(), before);
    // What was wanted before isn't kept either: there are keys in it.
    assert!(!format!("{:?}", setup.engine).contains("a-to-b"));
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
    setup.pass_again(true);
    setup.kernel.flush();
    let (outcome, ..) = setup.pass(&wanted());
    assert_eq!((outcome.operations, outcome.in_sync), (5, true));
    assert!(sent(&setup) > 1000 + (1 << 21), "{}", sent(&setup));
}

#[test]
fn policies_that_somebody_deleted_come_back_before_anything() {
    let mut setup = Setup::new();
    let (outcome, ..) = setup.pass(&wanted());
    assert_eq!(outcome.losses, Losses::default());
    let before = setup.kernel.log().len();
    setup.kernel.flush();
    let (outcome, ..) = setup.pass(&wanted());
    assert_eq!(outcome.losses, Losses { sas: 2, policies: 3 });
    let log = setup.kernel.log();
    let order: Vec<Option<Direction>> = log[before..]
        .iter()
        .map(|op| match op {
            Op::AddPolicy { policy, .. } => Some(policy.key().direction),
            _ => None,
        })
        .collect();
    // Without it, packets go out in the clear.
    assert_eq!((order.len(), order[0]), (5, Some(Direction::Out)), "{log:?}");
    assert!(order[..3].iter().all(Option::is_some) && order[3..].iter().all(Option::is_none), "{log:?}");
    // One that is new comes after the SAs that end here: others may send already.
    let mut more = wanted();
    more.sas.push(("more".into(), WantedSa::Inbound(InboundSa(sa(THERE, HERE, 4098)))));
    more.policies.push(("pods".to_owned(), policy(Direction::Out, 3)));
    setup.pass(&more);
    let log = setup.kernel.log();
    assert!(matches!(log[log.len() - 2..], [Op::AddInbound { .. }, Op::AddPolicy { .. }]), "{log:?}");
}

#[test]
fn what_others_delete_is_counted_and_what_we_delete_is_not() {
    let mut setup = Setup::new();
    setup.pass(&wanted());
    // Another key: ours is deleted and made.
    let other = with_another_key();
    assert_eq!(setup.pass(&other).0.losses, Losses::default());
    // And if it isn't made, it was we who deleted it.
    let mut deaf = Counting { kernel: setup.kernel.clone(), asked: Asked::default(), deaf: true };
    setup.engine.want(wanted());
    let outcome = pass(&mut deaf, "a", &mut setup.engine, false).unwrap();
    assert_eq!((outcome.in_sync, outcome.losses), (false, Losses::default()));
    assert_eq!(setup.pass(&other).0.losses, Losses::default());
    // Found by an audit, without an event.
    setup.kernel.losing(true);
    setup.kernel.remove_sa(back().id());
    setup.kernel.losing(false);
    assert_eq!(setup.pass_again(true).0.losses, Losses { sas: 1, policies: 0 });
    setup.kernel.remove_policy(policy(Direction::In, 2).key());
    assert_eq!(setup.pass_again(false).0.losses, Losses { sas: 0, policies: 1 });
    assert_eq!(setup.pass_again(false).0.losses, Losses::default());
    // No longer wanted.
    setup.kernel.remove_sa(back().id());
    assert_eq!(setup.pass(&Wanted::default()).0.losses, Losses::default());
    // Refused, so it was away before.
    let mut setup = Setup::new();
    setup.kernel.refuse_sa(back().id(), refusal("no"));
    setup.pass(&wanted());
    assert_eq!(setup.pass_again(true).0.losses, Losses::default());
}

#[test]
fn what_a_hard_lifetime_ended_nobody_deleted() {
    let mut setup = Setup::new();
    let mut wanted = wanted();
    let limits = esplanade_model::Limits { packets: std::num::NonZeroU64::new(9), ..Default::default() };
    let lifetime = esplanade_model::Lifetime { hard: limits, ..Default::default() };
    wanted.sas[0].1 = WantedSa::Outbound(OutboundSa(Sa { lifetime, ..out() }));
    setup.pass(&wanted);
    assert!(setup.kernel.expire_sa(out().id()));
    let (outcome, ..) = setup.pass_again(false);
    assert_eq!((outcome.losses, setup.kernel.observed().sas.len()), (Losses::default(), 1));
}

/// How far the outbound SA in the kernel is.
fn sent(setup: &Setup) -> u64 {
    let observed = setup.kernel.observed();
    observed.sas.iter().find(|sa| sa.id == out().id()).map(|sa| sa.state.sent).unwrap()
}

#[test]
fn one_that_somebody_deleted_goes_on_just_where_it_was() {
    let mut setup = Setup::new();
    setup.pass(&wanted());
    // No reading has seen how far it is.
    assert!(setup.kernel.count_traffic(out().id(), 1000, 0));
    setup.kernel.remove_sa(out().id());
    let (outcome, ..) = setup.pass_again(false);
    assert_eq!((outcome.operations, outcome.in_sync, sent(&setup)), (1, true, 1000));
    // If another one may have been there since, that is not the last of it.
    setup.kernel.remove_sa(out().id());
    setup.kernel.overrun();
    setup.pass_again(false);
    assert!(sent(&setup) > 1000 + (1 << 21), "{}", sent(&setup));
}

#[test]
fn a_kernel_that_can_not_be_asked_is_an_error() {
    let mut setup = Setup::new();
    setup.kernel.fail_next(KernelError::Overrun);
    setup.engine.want(wanted());
    let failed = pass(&mut setup.kernel.clone(), "a", &mut setup.engine, false);
    assert!(matches!(failed, Err(KernelError::Overrun)));
    assert_eq!(setup.kernel.log(), []);
    // Whatever failed, everything is read the next time.
    setup.pass_again(false);
    setup.kernel.remove_policy(policy(Direction::In, 2).key());
    setup.kernel.fail_next(KernelError::Overrun);
    let noticed = setup.watch.look().unwrap();
    noticed.events.into_iter().for_each(|event| setup.engine.notice(event, super::uptime()));
    assert!(pass(&mut setup.kernel.clone(), "a", &mut setup.engine, false).is_err());
    let (outcome, asked) = setup.pass_again(false);
    assert_eq!((outcome.operations, outcome.in_sync, asked.reads), (1, true, 1));
}

const ELSEWHERE: &str = "192.0.2.9";

/// [`wanted`] between other addresses, the policies' templates naming the SAs.
fn between(here: &str, there: &str) -> Wanted {
    let (sending, receiving) = (Reqid::from_hash(1), Reqid::from_hash(2));
    let mut wanted = wanted();
    wanted.sas = vec![
        ("a-to-b".into(), WantedSa::Outbound(OutboundSa(Sa { reqid: sending, ..sa(here, there, 4096) }))),
        (
            "b-to-a".into(),
            WantedSa::Inbound(InboundSa(Sa {
                reqid: receiving,
                replay: ReplayProtection { window: 64, extended_sequence_numbers: true },
                ..sa(there, here, 4097)
            })),
        ),
    ];
    for (_, policy) in &mut wanted.policies {
        let out = policy.direction == Direction::Out;
        let (here, there) = (ip(here), ip(there));
        policy.templates[0].reqid = Some(if out { sending } else { receiving });
        policy.templates[0].tunnel = Some(if out { (here, there) } else { (there, here) });
    }
    wanted
}

/// What the kernel was told when the addresses changed after some traffic, and how far each SA is then.
fn changed(setup: &mut Setup, here: &str, there: &str) -> (Vec<Op>, Vec<(u64, u64)>) {
    let before = between(HERE, THERE);
    setup.pass(&before);
    let id = |at: usize| before.sas[at].1.sa().id();
    assert!(setup.kernel.count_traffic(id(0), 5, 0) && setup.kernel.count_traffic(id(1), 0, 9));
    let done = setup.kernel.log().len();
    let after = between(here, there);
    let (outcome, _) = setup.pass(&after);
    assert!(outcome.in_sync && outcome.problems.is_empty(), "{outcome:?}");
    let observed = setup.kernel.observed();
    assert_eq!((observed.sas.len(), observed.policies.len()), (2, 3));
    let state = |at: usize| {
        let id = after.sas[at].1.sa().id();
        let state = &observed.sas.iter().find(|sa| sa.id == id).unwrap().state;
        (state.sent, state.received)
    };
    let states = vec![state(0), state(1)];
    let mut log = setup.kernel.log();
    assert_eq!(setup.pass(&after).0.operations, 0);
    (log.split_off(done), states)
}

#[test]
fn sas_move_when_an_address_changes() {
    for (here, there) in [(ELSEWHERE, THERE), (HERE, ELSEWHERE), (ELSEWHERE, "192.0.2.8")] {
        let (log, states) = changed(&mut Setup::new(), here, there);
        // One for each policy; the forward one's SA has moved with the inbound one.
        assert_eq!(log.len(), 3, "{log:#?}");
        assert!(log.iter().all(|op| matches!(op, Op::Migrate { moves, .. } if moves.len() == 1)), "{log:#?}");
        assert_eq!(states, [(5, 0), (0, 9)]);
    }
}

/// Nothing is sent from the beginning with a key that was used, and nothing accepted twice.
#[test]
fn where_nothing_can_move_new_sas_go_on() {
    for (here, there) in [(ELSEWHERE, THERE), (HERE, ELSEWHERE)] {
        let mut setup = Setup::new();
        setup.kernel.without(Capability::Migrate);
        let (log, states) = changed(&mut setup, here, there);
        assert!(!log.iter().any(|op| matches!(op, Op::Migrate { .. })), "{log:#?}");
        assert!(states[0].0 > 1 << 20, "{states:?}");
        assert_eq!(states[1], (0, 9));
    }
}

/// The one problem that there is.
fn only_problem(outcome: &Outcome) -> (&str, &str, &str) {
    let [problem] = outcome.problems.as_slice() else { panic!("one problem: {:?}", outcome.problems) };
    (&problem.name, &problem.category, &problem.message)
}

const EXHAUSTED: (&str, &str, &str) = (
    "a-to-b",
    "SequenceNumbersExhausted",
    "the outbound ESP SA to 192.0.2.2 with SPI 0x00001000 has used up its sequence numbers, and its packets are dropped: \
     give it new keys in its Secrets, and antiReplay.extendedSequenceNumbers: true to have 2⁶⁴ of them. What it may \
     have sent while no agent ran counts",
);

#[test]
fn an_sa_without_sequence_numbers_is_told_of_until_it_has_new_keys() {
    let mut setup = Setup::new();
    setup.pass(&wanted());
    setup.kernel.count_traffic(out().id(), u64::from(u32::MAX) - 1, 0);
    setup.kernel.count_traffic(back().id(), 0, u32::MAX.into());
    assert_eq!(setup.pass_again(true).0.problems, [], "one is left, and a receiver has no end");
    setup.kernel.count_traffic(out().id(), u32::MAX.into(), 0);
    let (outcome, _) = setup.pass_again(true);
    assert_eq!((only_problem(&outcome), outcome.operations, outcome.in_sync), (EXHAUSTED, 0, true));

    let other = with_another_key();
    let (outcome, _) = setup.pass(&other);
    assert_eq!((outcome.problems, outcome.in_sync), (vec![], true));
}

#[test]
fn a_directed_sa_without_sequence_numbers_can_not_be_made_again() {
    let mut setup = Setup::new();
    let mut wanted = wanted();
    let replay = ReplayProtection { window: 64, extended_sequence_numbers: true };
    let directed = Sa { direction: Some(SaDirection::Out), replay, ..out() };
    wanted.sas[0].1 = WantedSa::Outbound(OutboundSa(directed));
    setup.pass(&wanted);
    setup.kernel.count_traffic(out().id(), u64::MAX, 0);
    assert_eq!(only_problem(&setup.pass_again(true).0), EXHAUSTED);
    setup.kernel.remove_sa(out().id());
    let (outcome, _) = setup.pass_again(false);
    assert_eq!((only_problem(&outcome), outcome.in_sync), (EXHAUSTED, false));
}
