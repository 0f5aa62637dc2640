//! No key and sequence number twice: whatever agents die, whatever others do to the SAs, whichever keys and SPIs are wanted
//! when. SAs send as fast as they can all the time.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../diff/tests/common/mod.rs"]
mod common;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use common::{crypto, outbound, sa, without_window};
use esplanade_diff::{Memory, Numbers, Wear, Writing};
use esplanade_model::{
    Event, Glance, Lifetime, Limits, Mark, ObservedSa, Op, Reader, Recognised, ReplayProtection, ReplayState,
    Sa, SaId, SaRecord, Spi, Used, Wanted, WantedSa,
};
use esplanade_sync::{Engine, ToRead};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_oneof, proptest};
use zeroize::Zeroizing;

/// Packets a second.
const FASTEST: u64 = 1 << 21;
/// An agent looks at everything so often.
const AUDIT: Duration = Duration::from_secs(60);

/// An SA of the kernel's.
#[derive(Debug, Clone)]
struct There {
    sa: Sa,
    sent: u64,
    added: u64,
    /// Tells apart what was written.
    print: u64,
}

impl There {
    fn observed(&self) -> ObservedSa {
        let state = ReplayState { sent: self.sent, ..ReplayState::default() };
        let used = Used { added: self.added, packets: self.sent, ..Used::default() };
        let sa = without_window(self.sa.clone());
        ObservedSa { id: self.sa.id(), mark: Mark::NONE, sa: Some(sa), state, used }
    }
}

/// A node.
struct World {
    now: Duration,
    sas: BTreeMap<SaId, There>,
    prints: u64,
    /// Which numbers were used with which key: from, and up to.
    used: Vec<(u8, u64, u64)>,
    /// SAs that somebody else has put back, and no agent has seen: that they use numbers again nobody can help.
    put_back: Vec<SaId>,
    events: Vec<Event>,
    wanted: Wanted,
    engine: Option<Engine>,
    audited: Duration,
    /// The file.
    record: String,
    /// An agent died between making SAs and recording what it has read of them.
    unread: bool,
    /// What somebody else has kept of an SA.
    saved: Option<There>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Wait(u16),
    Start,
    /// An agent dies at once.
    Die,
    /// A pass that doesn't come to its end.
    CutOff(Cut),
    Pass,
    Flush,
    Delete,
    /// Somebody keeps an SA in mind.
    Save,
    /// And puts it back.
    PutBack,
    Lose,
    Want {
        key: u8,
        spi: u8,
        lifetime: bool,
    },
    Unwant,
}

/// What a pass doesn't get beyond.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cut {
    at: Moment,
    /// The agent dies of it; else the file or the kernel fails.
    dies: bool,
}

/// When that is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    /// While the agent appends to the record, after so many 256ths of the lines.
    Recording(u8),
    /// Before the operations are carried out.
    Before,
    /// After that.
    After,
}

fn cut() -> impl Strategy<Value = Cut> {
    let at = prop_oneof![any::<u8>().prop_map(Moment::Recording), Just(Moment::Before), Just(Moment::After)];
    (at, any::<bool>()).prop_map(|(at, dies)| Cut { at, dies })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u16..100).prop_map(Step::Wait),
        1 => (1u16..5000).prop_map(Step::Wait),
        4 => Just(Step::Start),
        2 => Just(Step::Die),
        3 => cut().prop_map(Step::CutOff),
        4 => Just(Step::Pass),
        3 => Just(Step::Flush),
        1 => Just(Step::Delete),
        2 => Just(Step::Save),
        2 => Just(Step::PutBack),
        1 => Just(Step::Lose),
        3 => (0u8..2, 0u8..2, any::<bool>()).prop_map(|(key, spi, lifetime)| Step::Want { key, spi, lifetime }),
        1 => Just(Step::Unwant),
    ]
}

fn the_sa(extended: bool, key: u8, spi: u8, lifetime: bool) -> Sa {
    let limit = |seconds: u64| Limits { time: seconds.try_into().ok(), ..Limits::default() };
    let soft = if lifetime { limit(1_000_000) } else { Limits::default() };
    Sa {
        replay: ReplayProtection { window: 64, extended_sequence_numbers: extended },
        lifetime: Lifetime { soft, ..Lifetime::default() },
        crypto: crypto(0xa0 + key),
        spi: Spi::new(4096 + u32::from(spi)).unwrap(),
        ..sa()
    }
}

fn key_of(sa: &Sa) -> u8 {
    u8::from(sa.crypto == crypto(0xa1))
}

impl World {
    fn new(extended: bool) -> Self {
        let mut world = Self {
            now: Duration::from_secs(100),
            sas: BTreeMap::new(),
            prints: 0,
            used: Vec::new(),
            put_back: Vec::new(),
            events: Vec::new(),
            wanted: Wanted::default(),
            engine: None,
            audited: Duration::ZERO,
            record: String::new(),
            unread: false,
            saved: None,
        };
        world.want(the_sa(extended, 0, 0, false));
        world
    }

    fn want(&mut self, sa: Sa) {
        self.wanted.sas = vec![("an-sa".to_owned(), outbound(sa))];
    }

    /// Everything sends.
    fn wait(&mut self, time: Duration) -> Result<(), String> {
        self.now += time;
        for (id, there) in &mut self.sas {
            let most = if there.sa.replay.extended_sequence_numbers { u64::MAX } else { u32::MAX.into() };
            let from = there.sent;
            there.sent = from.saturating_add(time.as_secs() * FASTEST).min(most);
            if there.sent == from || self.put_back.contains(id) {
                continue;
            }
            let (key, to) = (key_of(&there.sa), there.sent);
            let again = self.used.iter().find(|(other, f, t)| *other == key && from < *t && *f < to);
            if let Some(again) = again {
                return Err(format!("key {key}: {from} to {to} after {again:?}"));
            }
            self.used.push((key, from, to));
        }
        Ok(())
    }

    fn read(&self, engine: &mut Engine, to_read: &ToRead) {
        match to_read {
            ToRead::Everything => {
                engine.begin_sas();
                for there in self.sas.values() {
                    let glance = Glance { print: there.print, counters: there.sent };
                    let observed = there.observed();
                    match engine.glance_at_sa(glance) {
                        Recognised::Same => {}
                        Recognised::Counted => engine.sa_counted(observed.state, observed.used),
                        Recognised::No => engine.sa(glance, SaRecord::Ours(observed)),
                    }
                }
                engine.begin_policies();
            }
            ToRead::Only(sas, _) => {
                for id in sas {
                    match self.sas.get(id) {
                        Some(there) => {
                            let glance = Glance { print: there.print, counters: there.sent };
                            engine.sa(glance, SaRecord::Ours(there.observed()));
                        }
                        None => engine.no_sa(*id),
                    }
                }
            }
        }
        engine.end_reading(to_read);
    }

    fn carry_out(&mut self, op: Op) {
        self.prints += 1;
        let print = self.prints;
        match op {
            Op::AddOutbound { sa, state, used } => {
                let sent = state.map_or(0, |state| state.sent);
                let added = used.map_or(self.now.as_secs(), |used| used.added);
                assert!(!self.sas.contains_key(&sa.0.id()), "{sa:?}");
                self.sas.insert(sa.0.id(), There { sa: sa.0, sent, added, print });
            }
            Op::DeleteSa(id, _) => drop(self.sas.remove(&id)),
            Op::UpdateSa(sa) => {
                let there = self.sas.get_mut(&sa.sa().id()).unwrap();
                (there.sa.lifetime, there.print) = (sa.sa().lifetime, print);
            }
            Op::SetReplayState { sa, state } => self.sas.get_mut(&sa.sa().id()).unwrap().sent = state.sent,
            op => panic!("{op:?}"),
        }
    }

    /// Writes to the record; whether the agent dies at that.
    fn record(&mut self, engine: &mut Engine, cut: Option<Cut>) -> Result<bool, String> {
        let file = RefCell::new(self.record.clone());
        let (died, broken) = (Cell::new(false), RefCell::new(Ok(())));
        let check = |record: &str| {
            let mut broken = broken.borrow_mut();
            *broken = std::mem::replace(&mut *broken, Ok(())).and_then(|()| self.promises(record));
        };
        let keep = |writing: &Writing| {
            let mut file = file.borrow_mut();
            match (writing, cut) {
                _ if died.get() => return Err(()),
                (Writing::Append(lines), Some(Cut { at: Moment::Recording(part), dies })) => {
                    file.push_str(&lines[..lines.len() * usize::from(part) / 256]);
                    died.set(dies);
                    return Err(());
                }
                (Writing::Append(lines), _) => {
                    // Whichever part of them is there: some, and half of the next one.
                    let mut there = 0;
                    for line in lines.split_inclusive('\n') {
                        for end in [there, there + line.len() / 2, there + line.len() - 1] {
                            check(&format!("{file}{}", &lines[..end]));
                        }
                        there += line.len();
                    }
                    file.push_str(lines);
                }
                (Writing::Replace(lines), _) => file.clone_from(lines),
            }
            check(&file);
            Ok(())
        };
        let recorded = engine.record_senders(keep);
        assert_eq!(recorded.is_err(), died.get());
        broken.into_inner()?;
        self.record = file.into_inner();
        Ok(died.get())
    }

    /// Whoever reads this record goes on past all that was sent until now.
    fn promises(&self, record: &str) -> Result<(), String> {
        let memory = self.read_record(record)?;
        for (key, sa) in [0, 1].map(|key| (key, the_sa(true, key, 0, false))) {
            let used = self.used.iter().filter(|(other, ..)| *other == key).map(|(.., to)| *to).max();
            let recorded = memory.recorded_use(&sa, self.now);
            if recorded < used {
                return Err(format!("key {key}: {used:?} were used, {recorded:?} are recorded in\n{record}"));
            }
        }
        Ok(())
    }

    fn read_record(&self, record: &str) -> Result<Memory, String> {
        let salt = || Zeroizing::new([7; 32]);
        let numbers = Numbers::read(salt(), record).map_err(|error| format!("{error}\n{record}"))?;
        Ok(Memory::new(Wear::new(salt()), numbers))
    }

    /// A pass, maybe not to its end.
    fn pass(&mut self, cut: Option<Cut>) -> Result<(), String> {
        let Some(mut engine) = self.engine.take() else { return Ok(()) };
        let died = self.try_pass(&mut engine, cut)?;
        self.engine = Some(engine).filter(|_| !died);
        Ok(())
    }

    /// Whether the agent has died.
    fn try_pass(&mut self, engine: &mut Engine, cut: Option<Cut>) -> Result<bool, String> {
        for event in std::mem::take(&mut self.events) {
            engine.notice(event, self.now);
        }
        engine.want(self.wanted.clone());
        let audit = self.now.saturating_sub(self.audited) >= AUDIT;
        if audit {
            self.audited = self.now;
        }
        let to_read = engine.begin(self.now, audit);
        self.read(engine, &to_read);
        let plan = engine.plan();
        let begin = self.now;
        let reserved = !engine.reserve(&plan, begin).is_empty();
        if reserved && self.record(engine, cut)? {
            return Ok(true);
        }
        // It takes a moment.
        self.wait(Duration::from_secs(1))?;
        if let Some(Cut { at: Moment::Before, dies }) = cut {
            engine.distrust();
            return Ok(dies);
        }
        let ops: Vec<Op> = engine.ops(&plan, begin).collect();
        for op in ops {
            let made = match &op {
                Op::AddOutbound { sa, state, .. } => {
                    Some((sa.0.clone(), state.as_ref().map_or(0, |state| state.sent)))
                }
                Op::SetReplayState { sa, state } => Some((sa.sa().clone(), state.sent)),
                _ => None,
            };
            if let Some((sa, sent)) = made.filter(|_| reserved) {
                let recorded = self.read_record(&self.record)?.recorded_use(&sa, begin);
                if recorded < Some(sent) {
                    return Err(format!("{sent} was reserved, {recorded:?} is recorded"));
                }
            }
            self.carry_out(op);
        }
        self.put_back.clear();
        // When the new one was added isn't known until it is read, and that is recorded.
        if let Some(Cut { at: Moment::After, dies }) = cut {
            self.unread = true;
            engine.distrust();
            return Ok(dies);
        }
        engine.written(plan.names(), begin);
        let to_read = engine.begin_reading_back(self.now, plan.names());
        self.read(engine, &to_read);
        assert!(engine.in_sync() || !self.wanted.hold.is_empty(), "{:?} {:?}", plan, self.sas);
        engine.note_senders(self.now, false);
        self.unread = self.record(engine, cut)?;
        Ok(self.unread)
    }

    fn tell(&mut self, event: Event) {
        if self.engine.is_some() {
            self.events.push(event);
        }
    }

    fn step(&mut self, extended: bool, step: Step) -> Result<(), String> {
        match step {
            Step::Wait(seconds) => {
                for _ in 0..seconds.div_ceil(60) {
                    self.wait(Duration::from_secs(u64::from(seconds.min(60))))?;
                    if self.engine.is_some() {
                        self.pass(None)?;
                    }
                }
            }
            Step::Start if self.engine.is_none() => {
                self.engine = Some(Engine::new(self.read_record(&self.record)?));
                self.events.clear();
                self.pass(None)?;
            }
            Step::Start | Step::Pass => self.pass(None)?,
            Step::Die => self.engine = None,
            Step::CutOff(cut) => self.pass(Some(cut))?,
            Step::Flush => {
                self.sas.clear();
                self.tell(Event::Flushed);
            }
            Step::Delete => {
                if let Some((_, there)) = self.sas.pop_first() {
                    self.tell(Event::SaEnded(there.observed()));
                }
            }
            Step::Save => self.saved = self.sas.values().next().cloned(),
            Step::PutBack => {
                if let Some(mut there) = self.saved.clone().filter(|_| !self.unread) {
                    let id = there.sa.id();
                    if let Some(there) = self.sas.remove(&id) {
                        self.tell(Event::SaEnded(there.observed()));
                    }
                    // A second later than the one that was there, as any but an agent would.
                    self.wait(Duration::from_secs(1))?;
                    self.prints += 1;
                    (there.print, there.added) = (self.prints, self.now.as_secs());
                    self.put_back.push(id);
                    self.sas.insert(id, there);
                    self.tell(Event::Sa(id));
                }
            }
            Step::Lose => {
                if let Some(engine) = &mut self.engine {
                    self.events.clear();
                    engine.distrust();
                }
            }
            Step::Want { key, spi, lifetime } => self.want(the_sa(extended, key, spi, lifetime)),
            Step::Unwant => self.wanted.sas.clear(),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_number_is_used_twice(extended in any::<bool>(), steps in vec(step(), 1..40)) {
        let mut world = World::new(extended);
        for at in 0..steps.len() {
            let result = world.step(extended, steps[at]);
            prop_assert!(result.is_ok(), "{} at {:?}", result.unwrap_err(), &steps[..=at]);
        }
    }
}

/// The kernel makes it and fails, and somebody flushes before it was ever seen.
#[test]
fn one_of_which_nobody_knows_that_it_was_made_goes_on() {
    let mut world = World::new(true);
    world.engine = Some(Engine::new(world.read_record("").unwrap()));
    world.step(true, Step::CutOff(Cut { at: Moment::After, dies: false })).unwrap();
    world.wait(Duration::from_secs(10)).unwrap();
    let before = sent(&world);
    world.step(true, Step::Flush).unwrap();
    world.step(true, Step::Pass).unwrap();
    assert!(sent(&world) > before && before > 0, "{} {before}", sent(&world));
}

/// It is put back, and its agent dies before it has seen that; meanwhile its key went further under another SPI.
#[test]
fn one_that_was_put_back_goes_past_its_key_under_another_spi() {
    let want = |spi| Step::Want { key: 1, spi, lifetime: false };
    let steps = [
        want(0),
        Step::Start,
        Step::Save,
        want(1),
        Step::Wait(1),
        Step::PutBack,
        want(0),
        Step::Die,
        Step::Wait(1),
        Step::Start,
        Step::Wait(1),
    ];
    let mut world = World::new(true);
    steps.into_iter().for_each(|step| world.step(true, step).unwrap());
}

/// The agents' SA, in the kernel of a world where one runs.
fn running(extended: bool) -> World {
    let mut world = World::new(extended);
    world.step(extended, Step::Start).unwrap();
    world.wait(Duration::from_secs(10)).unwrap();
    world.pass(None).unwrap();
    world
}

fn sent(world: &World) -> u64 {
    world.sas.values().next().unwrap().sent
}

#[test]
fn one_that_is_flushed_while_no_agent_runs_goes_on() {
    for extended in [false, true] {
        let mut world = running(extended);
        world.step(extended, Step::Die).unwrap();
        world.wait(Duration::from_secs(20)).unwrap();
        let before = sent(&world);
        world.step(extended, Step::Flush).unwrap();
        world.step(extended, Step::Start).unwrap();
        let after = sent(&world);
        // The record was made with the SA, 31 s before.
        assert!(before < after && after < before + 20 * FASTEST, "{before} {after}");
    }
}

#[test]
fn of_several_that_are_made_at_once_each_goes_on_with_its_own_key() {
    let mut world = running(true);
    world.step(true, Step::Wait(600)).unwrap();
    world.wanted.sas.push(("another".to_owned(), outbound(the_sa(true, 1, 1, false))));
    world.pass(None).unwrap();
    world.step(true, Step::Die).unwrap();
    world.wait(Duration::from_secs(10)).unwrap();
    let before = world.sas.clone();
    world.step(true, Step::Flush).unwrap();
    world.step(true, Step::Start).unwrap();
    assert_eq!(world.sas.len(), 2);
    for (id, there) in &world.sas {
        let before = before[id].sent;
        assert!(before < there.sent && there.sent < before + 100 * FASTEST, "{before} {}", there.sent);
    }
}

#[test]
fn after_too_long_a_time_it_counts_as_used_up() {
    for (extended, last) in [(false, u64::from(u32::MAX)), (true, u64::MAX)] {
        let mut world = running(extended);
        world.step(extended, Step::Die).unwrap();
        world.step(extended, Step::Flush).unwrap();
        world.wait(Duration::from_secs(1100)).unwrap();
        world.step(extended, Step::Start).unwrap();
        assert_eq!(sent(&world), last);
    }
}

#[test]
fn one_that_stays_is_left_alone_however_long_no_agent_ran() {
    let mut world = running(true);
    world.step(true, Step::Die).unwrap();
    world.wait(Duration::from_secs(10_000)).unwrap();
    let (before, prints) = (sent(&world), world.prints);
    world.step(true, Step::Start).unwrap();
    assert_eq!((sent(&world), world.prints), (before + FASTEST, prints), "a second's packets");
}

#[test]
fn one_that_is_put_back_is_moved_on_in_place() {
    for running_on in [true, false] {
        let mut world = running(false);
        world.step(false, Step::Save).unwrap();
        world.wait(Duration::from_secs(30)).unwrap();
        world.pass(None).unwrap();
        let before = sent(&world);
        if !running_on {
            world.step(false, Step::Die).unwrap();
        }
        world.step(false, Step::PutBack).unwrap();
        assert!(sent(&world) < before);
        let print = world.sas.values().next().unwrap().print;
        world.step(false, Step::Start).unwrap();
        assert!(sent(&world) > before, "{running_on}: {} {before}", sent(&world));
        assert_eq!(world.sas.values().next().unwrap().print, print, "the very same SA");
    }
}

#[test]
fn a_key_that_comes_back_goes_on_whatever_was_between() {
    let mut world = running(true);
    let before = sent(&world);
    for key in [1, 0] {
        world.step(true, Step::Want { key, spi: 0, lifetime: false }).unwrap();
        world.pass(None).unwrap();
        assert_eq!(sent(&world) > before, key == 0);
    }
    // A long time without that key costs nothing.
    world.step(true, Step::Unwant).unwrap();
    world.pass(None).unwrap();
    world.step(true, Step::Die).unwrap();
    world.wait(Duration::from_secs(100_000)).unwrap();
    world.step(true, Step::Want { key: 0, spi: 1, lifetime: false }).unwrap();
    world.step(true, Step::Start).unwrap();
    assert!(sent(&world) > before && sent(&world) < before + 60 * FASTEST, "{}", sent(&world));
}

#[test]
fn one_that_somebody_deleted_when_it_was_not_wanted_any_more_has_sent_what_it_has() {
    let mut world = running(true);
    // Everything was read since it was made, and nothing is left to be written.
    world.step(true, Step::Wait(120)).unwrap();
    let before = sent(&world);
    world.step(true, Step::Unwant).unwrap();
    world.step(true, Step::Delete).unwrap();
    world.pass(None).unwrap();
    world.step(true, Step::Wait(120)).unwrap();
    world.step(true, Step::Die).unwrap();
    world.wait(Duration::from_secs(100_000)).unwrap();
    world.step(true, Step::Want { key: 0, spi: 1, lifetime: false }).unwrap();
    world.step(true, Step::Start).unwrap();
    assert!(sent(&world) > before && sent(&world) < before + 200 * FASTEST, "{}", sent(&world));
}

#[test]
fn what_automatic_keys_send_is_not_recorded() {
    let mut world = World::new(true);
    world.wanted.sas[0].0 = "policy/pods".to_owned();
    world.step(true, Step::Start).unwrap();
    assert_eq!((world.sas.len(), world.record.as_str()), (1, ""));
}

#[test]
fn what_is_no_record_is_not_taken_for_an_empty_one() {
    let salt = || Zeroizing::new([7; 32]);
    let world = running(true);
    assert!(Numbers::read(salt(), &world.record).is_ok());
    let good = world.record.lines().next().unwrap();
    let words: Vec<&str> = good.split(' ').collect();
    for at in 0..words.len() {
        let mut broken = words.clone();
        broken[at] = "x";
        let error = Numbers::read(salt(), &format!("{good}\n{}\n", broken.join(" "))).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
    assert!(Numbers::read(salt(), &format!("{good} more\n")).is_err());
}

#[test]
fn a_time_to_come_is_as_good_as_nothing_known() {
    let mut world = running(true);
    world.step(true, Step::Die).unwrap();
    world.step(true, Step::Flush).unwrap();
    world.now = Duration::from_secs(50);
    world.step(true, Step::Start).unwrap();
    assert_eq!(sent(&world), u64::MAX);
}

#[test]
fn one_that_the_kernel_refuses_costs_no_numbers() {
    let mut world = World::new(true);
    let WantedSa::Outbound(wanted) = world.wanted.sas[0].1.clone() else { panic!() };
    let mut engine = Engine::new(world.read_record("").unwrap());
    engine.want(world.wanted.clone());
    for seconds in [0, 10_000, 20_000] {
        let now = Duration::from_secs(seconds);
        let to_read = engine.begin(now, true);
        world.read(&mut engine, &to_read);
        let plan = engine.plan();
        let names = engine.reserve(&plan, now);
        assert_eq!(names.len(), 1);
        assert!(!world.record(&mut engine, None).unwrap());
        let recorded = world.read_record(&world.record).unwrap().recorded_use(&wanted.0, now);
        assert!(recorded.is_some(), "before it is made");
        let ops: Vec<_> = engine.ops(&plan, now).collect();
        assert_eq!(ops, [Op::AddOutbound { sa: wanted.clone(), state: None, used: None }], "{seconds}");
        engine.refused(&names[0]);
    }
    assert!(!world.record(&mut engine, None).unwrap());
    let recorded = world.read_record(&world.record).unwrap();
    assert_eq!(recorded.recorded_use(&wanted.0, Duration::from_secs(20_000)), None);
    world.sas.clear();
}
