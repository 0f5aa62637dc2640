//! Whatever is wanted, whatever others do, whatever is refused, and whichever events are lost: in the end the kernel holds
//! what the whole diff would have made of it, and nothing foreign was touched. The kernel here is a model with its rules:
//! names are unique, indexes are given once, a foreign name can't be added.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../diff/tests/common/mod.rs"]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::time::Duration;

use common::{crypto, inbound, ip, outbound, policy, sa};
use esplanade_diff::diff;
use esplanade_model::{
    Direction, Event, Glance, Lifetime, Limits, Mark, Observed, ObservedPolicy, ObservedSa, Op, Policy,
    PolicyIndex, PolicyKey, PolicyRecord, Reader, Recognised, ReplayState, Sa, SaId, SaRecord, Spi,
    UdpEncapsulation, Used, Wanted, WantedSa,
};
use esplanade_sync::{Engine, ToRead};
use proptest::collection::{btree_set, vec};
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

/// Where SAs that end here end.
const HERE: &str = "192.0.2.1";

/// A number stands for all that a record says: another one for everything that is written.
type Print = u64;

#[derive(Debug, Clone, Default, PartialEq)]
struct Kernel {
    sas: BTreeMap<SaId, (Print, Option<Sa>, ReplayState)>,
    policies: BTreeMap<PolicyKey, (Print, PolicyIndex, Option<Policy>)>,
    /// Of ours, those that have one.
    marks: BTreeMap<SaId, Mark>,
    foreign_sas: BTreeMap<SaId, Print>,
    foreign_policies: BTreeMap<PolicyKey, Print>,
    prints: Print,
    /// Deletes and adds of these are refused.
    refused: BTreeSet<u32>,
    touched_foreign: bool,
}

impl Kernel {
    fn mark(&self, id: &SaId) -> Mark {
        self.marks.get(id).copied().unwrap_or(Mark::NONE)
    }

    fn print(&mut self) -> Print {
        self.prints += 1;
        self.prints
    }

    fn sa_record(&self, id: &SaId) -> Option<(Glance, SaRecord)> {
        if let Some((print, sa, state)) = self.sas.get(id) {
            let glance = Glance { print: *print, counters: state.sent + state.received };
            let (sa, state) = (sa.clone(), state.clone());
            let observed = ObservedSa { id: *id, mark: self.mark(id), sa, state, used: Used::default() };
            return Some((glance, SaRecord::Ours(observed)));
        }
        let print = *self.foreign_sas.get(id)?;
        Some((Glance { print, counters: 0 }, SaRecord::Foreign(Some(*id))))
    }

    fn policy_record(&self, key: &PolicyKey) -> Option<(Glance, PolicyRecord)> {
        if let Some((print, index, policy)) = self.policies.get(key) {
            let observed = ObservedPolicy { index: *index, key: *key, policy: policy.clone() };
            return Some((Glance { print: *print, counters: 0 }, PolicyRecord::Ours(observed)));
        }
        let print = *self.foreign_policies.get(key)?;
        Some((Glance { print, counters: 0 }, PolicyRecord::Foreign { index: 8, key: Some(*key) }))
    }

    fn read(&self, reader: &mut Engine) {
        reader.begin_sas();
        // Not in the order of names.
        let mut ids: Vec<_> = self.sas.keys().chain(self.foreign_sas.keys()).collect();
        ids.sort_by_key(|id| std::cmp::Reverse(self.sa_record(id).unwrap().0.print));
        for id in ids {
            let (glance, record) = self.sa_record(id).unwrap();
            match (reader.glance_at_sa(glance), record) {
                (Recognised::Same, _) => {}
                (Recognised::Counted, SaRecord::Ours(sa)) => reader.sa_counted(sa.state, sa.used),
                (Recognised::Counted | Recognised::No, record) => reader.sa(glance, record),
            }
        }
        reader.begin_policies();
        for key in self.policies.keys().chain(self.foreign_policies.keys()) {
            let (glance, record) = self.policy_record(key).unwrap();
            if !reader.glance_at_policy(glance) {
                reader.policy(glance, record);
            }
        }
    }

    fn look_up(&self, sas: &[SaId], policies: &[PolicyKey], reader: &mut Engine) {
        // Without a mark, one that has a mark isn't found.
        for id in sas {
            match self.sa_record(id).filter(|_| Mark::NONE.implies(self.mark(id))) {
                Some((glance, record)) => reader.sa(glance, record),
                None => reader.no_sa(*id),
            }
        }
        for key in policies {
            match self.policy_record(key) {
                Some((glance, record)) => reader.policy(glance, record),
                None => reader.no_policy(*key),
            }
        }
    }

    fn dump(&self) -> Observed {
        let sas = self.sas.iter();
        let policies = self.policies.iter();
        Observed {
            sas: sas
                .map(|(id, (_, sa, state))| ObservedSa {
                    id: *id,
                    mark: self.mark(id),
                    sa: sa.clone(),
                    state: state.clone(),
                    used: Used::default(),
                })
                .collect(),
            policies: policies
                .map(|(key, (_, index, policy))| ObservedPolicy {
                    index: *index,
                    key: *key,
                    policy: policy.clone(),
                })
                .collect(),
            foreign_sas: self.foreign_sas.keys().copied().collect(),
            foreign_policies: self.foreign_policies.keys().copied().collect(),
            foreign_sa_count: self.foreign_sas.len(),
            foreign_policy_count: self.foreign_policies.len(),
            taken_indexes: self.policies.values().map(|(_, index, _)| index.get()).collect(),
        }
    }

    fn refuses(&self, number: u32) -> bool {
        self.refused.contains(&(number % 7))
    }

    /// Whether it was accepted.
    fn apply(&mut self, op: Op) -> bool {
        match op {
            // It changes a lifetime, and says that it did whatever else was asked.
            Op::UpdateSa(sa) => {
                let (sa, print) = (sa.sa().clone(), self.print());
                let refuses = self.refuses(sa.spi.get());
                let there = self.sas.get_mut(&sa.id()).filter(|_| !refuses);
                there.is_some_and(|(number, there, _)| {
                    if let Some(there) = there {
                        assert_eq!(there.encapsulation.is_some(), sa.encapsulation.is_some());
                        (*number, there.lifetime) = (print, sa.lifetime);
                        there.encapsulation = sa.encapsulation;
                    }
                    true
                })
            }
            Op::SetReplayState { sa, state } => {
                let refuses = self.refuses(sa.sa().spi.get());
                let there = self.sas.get_mut(&sa.sa().id()).filter(|_| !refuses);
                there.map(|(_, _, there)| *there = state).is_some()
            }
            Op::AddInbound { sa, state, .. } => self.add(sa.0, state),
            // Only of what was allocated, which the engine has no part in.
            Op::FillSa { .. } => unreachable!("no plan fills larval SAs"),
            Op::AddOutbound { sa, state, .. } => {
                let mut sa = sa.0;
                sa.replay.window = u32::from(sa.replay.extended_sequence_numbers);
                self.add(sa, state)
            }
            Op::DeleteSa(id, mark) => {
                self.touched_foreign |= self.foreign_sas.contains_key(&id);
                let accepted = !self.refuses(id.spi.get());
                if accepted && mark.implies(self.mark(&id)) {
                    self.sas.remove(&id);
                    self.marks.remove(&id);
                }
                accepted
            }
            Op::AddPolicy { policy, index } => {
                let key = policy.key();
                let taken = self.policies.values().any(|(_, taken, _)| *taken == index);
                assert!(!taken, "{index:?} is taken");
                let there = self.policies.contains_key(&key) || self.foreign_policies.contains_key(&key);
                let accepted = !there && !self.refuses(policy.priority);
                if accepted {
                    let print = self.print();
                    self.policies.insert(key, (print, index, Some(policy)));
                }
                accepted
            }
            Op::UpdatePolicy { policy, index } => {
                let key = policy.key();
                self.touched_foreign |= self.foreign_policies.contains_key(&key);
                let print = self.print();
                // The one that is there keeps its index.
                let index = self.policies.get(&key).map_or(index, |(_, kept, _)| *kept);
                self.policies.insert(key, (print, index, Some(policy)));
                true
            }
            Op::Migrate { .. } => panic!("no plan has moves in it"),
            Op::DeletePolicy { direction, index, .. } => {
                self.policies.retain(|key, (_, taken, _)| !(*taken == index && key.direction == direction));
                true
            }
        }
    }

    fn add(&mut self, sa: Sa, state: Option<ReplayState>) -> bool {
        let id = sa.id();
        let there = self.sas.contains_key(&id) || self.foreign_sas.contains_key(&id);
        let accepted = !there && !self.refuses(id.spi.get());
        if accepted {
            let print = self.print();
            self.marks.insert(id, sa.mark);
            self.sas.insert(id, (print, Some(sa), state.unwrap_or_default()));
        }
        accepted
    }
}

/// Something that happens between two passes.
#[derive(Debug, Clone)]
enum Happening {
    Want(Box<Wanted>),
    /// One SA more, or another one with its name.
    WantSa(Box<WantedSa>),
    UnwantSa(SaId),
    WantPolicy(Box<Policy>),
    UnwantPolicy(PolicyKey),
    /// What others do; `told`: the event comes.
    Others(Others, bool),
    /// Events were lost: this is told instead.
    Overrun,
    Refuse(BTreeSet<u32>),
    /// A pass that fails after so many operations.
    Failure(usize),
    Pass,
    Audit,
}

#[derive(Debug, Clone)]
enum Others {
    DeleteSa(SaId),
    AddSa(SaId),
    /// With our tags, and something that we don't write.
    ReplaceSa(Box<Sa>, bool),
    DeletePolicy(PolicyKey),
    AddPolicy(PolicyKey),
    TakePolicy(PolicyKey),
    Flush,
    Traffic(SaId, u32),
}

fn sas() -> impl Strategy<Value = Sa> {
    let udp = proptest::option::of(4500..4502_u16);
    (0..6_u32, 1..3_u8, 1..3_u8, 0..3_u64, 0..2_u32, udp).prop_map(|(spi, end, byte, packets, mark, udp)| {
        Sa {
            mark: Mark::masked(mark, mark),
            destination: ip(&format!("192.0.2.{end}")),
            spi: Spi::new(256 + spi).unwrap(),
            crypto: crypto(byte),
            encapsulation: udp.map(|source_port| UdpEncapsulation { source_port, destination_port: 4500 }),
            lifetime: Lifetime {
                soft: Limits { packets: NonZeroU64::new(packets), ..Limits::default() },
                ..Lifetime::default()
            },
            ..sa()
        }
    })
}

fn wanted_sa() -> impl Strategy<Value = WantedSa> {
    sas().prop_map(|sa| if sa.destination == ip(HERE) { inbound(sa) } else { outbound(sa) })
}

fn policies() -> impl Strategy<Value = Policy> {
    let direction = prop_oneof![Just(Direction::In), Just(Direction::Out), Just(Direction::Forward)];
    (direction, 0..2_u32, 0..3_u32).prop_map(|(direction, interface_id, priority)| Policy {
        interface_id,
        priority,
        ..policy(direction)
    })
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let nothing = proptest::bool::weighted(0.1);
    (vec(wanted_sa(), 0..8), vec(policies(), 0..8), btree_set(0..6_u32, 0..2), nothing).prop_map(
        |(sas, policies, held, nothing)| {
            let (mut wanted, mut names) = (Wanted::default(), BTreeSet::new());
            for sa in sas.into_iter().filter(|one| names.insert(one.sa().id())) {
                match held.contains(&(sa.sa().spi.get() - 256)) {
                    true => drop(wanted.hold.insert(sa.sa().id())),
                    false => wanted.sas.push(("sa".to_owned(), sa)),
                }
            }
            let mut names = BTreeSet::new();
            for policy in policies.into_iter().filter(|policy| names.insert(policy.key())) {
                wanted.policies.push(("policy".to_owned(), policy));
            }
            if nothing {
                return Wanted { hold: wanted.hold, ..Wanted::default() };
            }
            wanted
        },
    )
}

fn others() -> impl Strategy<Value = Others> {
    let id = || sas().prop_map(|sa| sa.id());
    let key = || policies().prop_map(|policy| policy.key());
    prop_oneof![
        3 => id().prop_map(Others::DeleteSa),
        2 => id().prop_map(Others::AddSa),
        2 => (sas().prop_map(Box::new), any::<bool>()).prop_map(|(sa, unlike)| Others::ReplaceSa(sa, unlike)),
        3 => key().prop_map(Others::DeletePolicy),
        2 => key().prop_map(Others::AddPolicy),
        2 => key().prop_map(Others::TakePolicy),
        1 => Just(Others::Flush),
        2 => (id(), 0..1000_u32).prop_map(|(id, count)| Others::Traffic(id, count)),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        2 => wanted().prop_map(Box::new).prop_map(Happening::Want),
        2 => wanted_sa().prop_map(Box::new).prop_map(Happening::WantSa),
        1 => sas().prop_map(|sa| Happening::UnwantSa(sa.id())),
        2 => policies().prop_map(Box::new).prop_map(Happening::WantPolicy),
        1 => policies().prop_map(|policy| Happening::UnwantPolicy(policy.key())),
        6 => (others(), proptest::bool::weighted(0.9)).prop_map(|(what, told)| Happening::Others(what, told)),
        1 => Just(Happening::Overrun),
        1 => btree_set(0..7_u32, 0..3).prop_map(Happening::Refuse),
        1 => (0..6_usize).prop_map(Happening::Failure),
        6 => Just(Happening::Pass),
        1 => Just(Happening::Audit),
    ]
}

/// Kernel and engine, and what is wanted as the whole diff takes it.
#[derive(Default)]
struct World {
    kernel: Kernel,
    engine: Engine,
    wanted: Wanted,
    clock: Duration,
    /// Numbers that each SA has sent with each key: no two may be the same.
    sent: BTreeMap<(SaId, Vec<u8>), u64>,
}

impl World {
    fn now(&mut self) -> Duration {
        self.clock += Duration::from_secs(1);
        self.clock
    }

    fn read(&mut self, to_read: &ToRead) {
        match to_read {
            ToRead::Everything => self.kernel.read(&mut self.engine),
            ToRead::Only(sas, policies) => self.kernel.look_up(sas, policies, &mut self.engine),
        }
        self.engine.end_reading(to_read);
    }

    /// A pass that is cut off after so many operations.
    fn pass(&mut self, audit: bool, cut: Option<usize>) {
        let now = self.now();
        let to_read = self.engine.begin(now, audit);
        self.read(&to_read);
        let plan = self.engine.plan();
        let now = self.now();
        self.engine.reserve(&plan, now);
        let mut ops = self.engine.ops(&plan, now);
        let mut refused = BTreeSet::new();
        for at in 0..cut.unwrap_or(usize::MAX) {
            let Some(op) = ops.next() else { break };
            if !self.kernel.apply(op) {
                refused.extend(ops.about(at).map(|(name, _)| name));
            }
        }
        if cut.is_some() {
            return self.engine.distrust();
        }
        let written: Vec<_> = plan.names().iter().filter(|name| !refused.contains(name)).copied().collect();
        refused.iter().for_each(|name| self.engine.refused(name));
        self.engine.written(&written, now);
        let now = self.now();
        let to_read = self.engine.begin_reading_back(now, plan.names());
        self.read(&to_read);
    }

    fn others(&mut self, what: Others, told: bool) {
        let print = self.kernel.print();
        let kernel = &mut self.kernel;
        let event = match what {
            Others::DeleteSa(id) => match kernel.sas.remove(&id) {
                Some((_, sa, state)) => {
                    let mark = kernel.marks.remove(&id).unwrap_or(Mark::NONE);
                    Event::SaEnded(ObservedSa { id, mark, sa, state, used: Used::default() })
                }
                None => {
                    kernel.foreign_sas.remove(&id);
                    Event::Sa(id)
                }
            },
            Others::AddSa(id) => {
                if !kernel.sas.contains_key(&id) {
                    kernel.foreign_sas.insert(id, print);
                }
                Event::Sa(id)
            }
            Others::ReplaceSa(sa, unlike) => {
                let id = sa.id();
                // Another mark would make it a second one.
                let sa = Sa { mark: kernel.mark(&id), ..*sa };
                if let Some((there, known, _)) = kernel.sas.get_mut(&id) {
                    (*there, *known) = (print, (!unlike).then_some(sa));
                }
                Event::Sa(id)
            }
            Others::DeletePolicy(key) => {
                kernel.policies.remove(&key);
                kernel.foreign_policies.remove(&key);
                Event::Policy(key)
            }
            Others::AddPolicy(key) => {
                if !kernel.policies.contains_key(&key) {
                    kernel.foreign_policies.insert(key, print);
                }
                Event::Policy(key)
            }
            Others::TakePolicy(key) => {
                if kernel.policies.remove(&key).is_some() {
                    kernel.foreign_policies.insert(key, print);
                }
                Event::Policy(key)
            }
            Others::Flush => {
                kernel.sas.clear();
                kernel.marks.clear();
                kernel.policies.clear();
                kernel.foreign_sas.clear();
                kernel.foreign_policies.clear();
                Event::Anything
            }
            // An SA that ends here counts what comes, which may be anything.
            Others::Traffic(id, count) if id.destination == ip(HERE) => {
                if let Some((_, _, state)) = kernel.sas.get_mut(&id) {
                    state.received += u64::from(count);
                }
                return;
            }
            Others::Traffic(id, count) => {
                if let Some((_, Some(sa), state)) = kernel.sas.get_mut(&id) {
                    let key = (id, format!("{:?}", sa.crypto).into_bytes());
                    let key = (key.0, [key.1, expose(sa)].concat());
                    let last = self.sent.entry(key).or_default();
                    assert!(count == 0 || state.sent >= *last, "{id} sends {} again", state.sent + 1);
                    state.sent += u64::from(count);
                    *last = state.sent.max(*last);
                }
                return;
            }
        };
        if told {
            let now = self.now();
            self.engine.notice(event, now);
        }
    }

    fn happens(&mut self, what: Happening) {
        match what {
            Happening::Want(wanted) => {
                self.engine.want((*wanted).clone());
                self.wanted = *wanted;
            }
            Happening::WantSa(sa) => {
                let id = sa.sa().id();
                self.engine.want_sa("sa".to_owned(), (*sa).clone());
                self.wanted.sas.retain(|(_, one)| one.sa().id() != id);
                self.wanted.sas.push(("sa".to_owned(), *sa));
            }
            Happening::UnwantSa(id) => {
                self.engine.unwant_sa(id);
                self.wanted.sas.retain(|(_, one)| one.sa().id() != id);
            }
            Happening::WantPolicy(policy) => {
                let key = policy.key();
                self.engine.want_policy("policy".to_owned(), (*policy).clone());
                self.wanted.policies.retain(|(_, one)| one.key() != key);
                self.wanted.policies.push(("policy".to_owned(), *policy));
            }
            Happening::UnwantPolicy(key) => {
                self.engine.unwant_policy(key);
                self.wanted.policies.retain(|(_, one)| one.key() != key);
            }
            Happening::Others(what, told) => self.others(what, told),
            Happening::Overrun => self.engine.distrust(),
            Happening::Refuse(numbers) => self.kernel.refused = numbers,
            Happening::Failure(after) => self.pass(false, Some(after)),
            Happening::Pass => self.pass(false, None),
            Happening::Audit => self.pass(true, None),
        }
    }
}

/// The keys, to tell SAs apart.
fn expose(sa: &Sa) -> Vec<u8> {
    match &sa.crypto {
        esplanade_model::Crypto::EncryptThenAuthenticate { cipher_key, .. } => cipher_key.expose().to_vec(),
        _ => panic!("another one"),
    }
}

/// What of a kernel counts.
#[derive(Debug, PartialEq)]
struct Shape {
    sas: BTreeMap<SaId, Option<Sa>>,
    policies: BTreeMap<PolicyKey, Option<Policy>>,
    foreign_sas: BTreeSet<SaId>,
    foreign_policies: BTreeSet<PolicyKey>,
}

fn shape(kernel: &Kernel) -> Shape {
    Shape {
        sas: kernel.sas.iter().map(|(id, (_, sa, _))| (*id, sa.clone())).collect(),
        policies: kernel.policies.iter().map(|(key, (_, _, policy))| (*key, policy.clone())).collect(),
        foreign_sas: kernel.foreign_sas.keys().copied().collect(),
        foreign_policies: kernel.foreign_policies.keys().copied().collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn it_ends_where_the_whole_diff_does(happenings in vec(happening(), 0..40)) {
        let mut world = World::default();
        for happening in happenings {
            world.happens(happening);
            prop_assert!(!world.kernel.touched_foreign);
        }
        // The rest is healed by an audit, once nothing is refused.
        world.kernel.refused.clear();
        let mut whole = world.kernel.clone();
        for step in diff(&world.wanted, &whole.dump()).steps {
            prop_assert!(whole.apply(step.op));
        }
        world.pass(true, None);
        prop_assert_eq!(shape(&world.kernel), shape(&whole));
        prop_assert!(!world.kernel.touched_foreign);
        prop_assert!(diff(&world.wanted, &world.kernel.dump()).is_empty());
        prop_assert!(world.engine.in_sync());
        let counts = world.engine.counts();
        prop_assert_eq!(counts.security_associations as usize, world.kernel.sas.len());
        prop_assert_eq!(counts.policies as usize, world.kernel.policies.len());
        prop_assert_eq!(counts.foreign_security_associations as usize, world.kernel.foreign_sas.len());
        prop_assert_eq!(counts.foreign_policies as usize, world.kernel.foreign_policies.len());
        // And there it stays.
        let before = world.kernel.clone();
        world.pass(false, None);
        world.pass(true, None);
        prop_assert_eq!(&world.kernel, &before);
    }

    /// As long as every event comes, no audit is needed.
    #[test]
    fn events_are_enough(happenings in vec(happening(), 0..40)) {
        let mut world = World::default();
        for happening in happenings {
            world.happens(match happening {
                Happening::Others(what, _) => Happening::Others(what, true),
                other => other,
            });
        }
        world.kernel.refused.clear();
        world.pass(false, None);
        prop_assert!(diff(&world.wanted, &world.kernel.dump()).is_empty());
        prop_assert!(world.engine.in_sync());
        world.pass(true, None);
        prop_assert_eq!(world.engine.surprises(), 0);
    }
}

/// What the kernel tells apart by marks only is left alone, and told; it is ours again once the other one is gone.
#[test]
fn one_sa_hidden_behind_another_is_left_alone() {
    let mut engine = Engine::default();
    let ours = sa();
    let (id, name) = (ours.id(), esplanade_sync::Name::Sa(ours.id()));
    engine.want_sa("an-sa".to_owned(), inbound(ours.clone()));
    let (state, used) = (ReplayState::default(), Used::default());
    let observed = ObservedSa { id, mark: Mark::NONE, sa: Some(ours), state, used };
    let ours = (Glance { print: 1, counters: 0 }, SaRecord::Ours(observed));
    let theirs = (Glance { print: 2, counters: 0 }, SaRecord::Foreign(Some(id)));
    let read = |engine: &mut Engine, records: &[(Glance, SaRecord)]| {
        let to_read = engine.begin(Duration::from_secs(1), true);
        engine.begin_sas();
        for (glance, record) in records {
            if engine.glance_at_sa(*glance) == Recognised::No {
                engine.sa(*glance, record.clone());
            }
        }
        engine.begin_policies();
        engine.end_reading(&to_read);
        (engine.plan().names().to_vec(), engine.problems(0, |_, _| unreachable!()).len())
    };
    assert_eq!(read(&mut engine, std::slice::from_ref(&ours)), (vec![], 0));
    for _ in 0..3 {
        assert_eq!(read(&mut engine, &[ours.clone(), theirs.clone()]), (vec![], 1));
        assert_eq!(read(&mut engine, &[theirs.clone(), ours.clone()]), (vec![], 1));
    }
    engine.unwant_sa(id);
    assert_eq!(read(&mut engine, &[theirs, ours.clone()]), (vec![], 0));
    assert_eq!(read(&mut engine, &[ours]), (vec![name], 0));
}
