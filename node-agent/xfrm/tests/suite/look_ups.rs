//! Reading single SAs and policies, and recognising those that were read before.

use esplanade_model::{
    Direction, Glance, InboundSa, Mark, Observed, Op, OutboundSa, PolicyKey, PolicyRecord, Reader,
    Recognised, ReplayState, SaId, SaRecord, Used, WantedSa,
};
use esplanade_xfrm::wire::Observer;

use super::objects::{
    DIRECTIONS, add, add_all, delete, extended, id, inbound, inbound_at, outbound, policy, sa, selector,
    selector_v6, v4,
};
use super::{Subject, must};

/// Keeps what is told, in its order.
#[derive(Default)]
struct Told {
    everything: Observer,
    sas: Vec<(SaId, bool)>,
    policies: Vec<(PolicyKey, bool)>,
}

impl Reader for Told {
    fn begin_sas(&mut self) {
        panic!("only what was asked for");
    }

    fn begin_policies(&mut self) {
        panic!("only what was asked for");
    }

    fn sa(&mut self, glance: Glance, record: SaRecord) {
        self.sas.extend(record.name().map(|id| (id, true)));
        self.everything.sa(glance, record);
    }

    fn policy(&mut self, glance: Glance, record: PolicyRecord) {
        self.policies.extend(record.name().map(|key| (*key, true)));
        self.everything.policy(glance, record);
    }

    fn no_sa(&mut self, id: SaId) {
        self.sas.push((id, false));
    }

    fn no_policy(&mut self, key: PolicyKey) {
        self.policies.push((key, false));
    }
}

fn look_up(kernel: &mut dyn Subject, sas: &[SaId], policies: &[PolicyKey]) -> (Told, Observed) {
    let mut told = Told::default();
    kernel.look_up(sas, policies, &mut told).unwrap();
    let everything = std::mem::take(&mut told.everything).finish();
    (told, everything)
}

pub(crate) fn what_is_looked_up_reads_as_in_a_dump(kernel: &mut dyn Subject) {
    let state = ReplayState { sent: 0, received: 70, bitmap: vec![0xf0f1, 0] };
    let wide = esplanade_model::Sa { replay: extended(64), ..sa(2) };
    must(kernel, &[inbound(sa(1)), inbound_at(wide, state), outbound(sa(3))]);
    must(kernel, &add_all(DIRECTIONS.map(|direction| policy(direction, 1))));
    let of_interface = esplanade_model::Policy { interface_id: 7, ..policy(Direction::Out, 1) };
    must(kernel, &[add(of_interface.clone(), 50)]);
    kernel.add_foreign_sa(v4(1), id(v4(2), 0xc123_4567), 1);
    let foreign = PolicyKey {
        direction: Direction::Out,
        selector: selector_v6(200),
        interface_id: 0,
        mark: Mark::NONE,
    };
    kernel.add_foreign_policy(foreign, None);

    let mut whole = kernel.dump().unwrap();
    let mut sas: Vec<_> = whole.sas.iter().map(|sa| sa.id).chain(whole.foreign_sas.clone()).collect();
    sas.sort_unstable();
    let mut policies: Vec<_> = whole.policies.iter().map(|one| one.key).collect();
    policies.extend(&whole.foreign_policies);
    policies.sort_unstable();
    assert_eq!((sas.len(), policies.len()), (4, 5));
    let (told, mut found) = look_up(kernel, &sas, &policies);
    assert_eq!(told.sas, sas.iter().map(|id| (*id, true)).collect::<Vec<_>>());
    assert_eq!(told.policies, policies.iter().map(|key| (*key, true)).collect::<Vec<_>>());
    for observed in [&mut whole, &mut found] {
        observed.sas.sort_by_key(|sa| sa.id);
        observed.policies.sort_by_key(|policy| policy.key);
        observed.foreign_sas.sort_unstable();
        observed.foreign_policies.sort_unstable();
    }
    assert_eq!(found, whole);
}

pub(crate) fn what_is_not_there_is_told(kernel: &mut dyn Subject) {
    must(kernel, &[inbound(sa(1)), add(policy(Direction::In, 1), 1)]);
    let policy_of = |direction, number| PolicyKey {
        direction,
        selector: selector(number),
        interface_id: 0,
        mark: Mark::NONE,
    };
    let keys = [
        policy_of(Direction::Out, 1),
        policy_of(Direction::In, 1),
        PolicyKey { interface_id: 7, ..policy_of(Direction::In, 1) },
        policy_of(Direction::In, 2),
    ];
    let ids = [id(v4(2), 0x9999), sa(1).id(), id(v4(3), 0x1001)];
    let (told, _) = look_up(kernel, &ids, &keys);
    assert_eq!(told.sas, [(ids[0], false), (ids[1], true), (ids[2], false)]);
    assert_eq!(told.policies, [(keys[0], false), (keys[1], true), (keys[2], false), (keys[3], false)]);
    assert_eq!(look_up(kernel, &[], &[]).1, Observed::default());
}

/// Hundreds at once come all.
pub(crate) fn many_are_looked_up_at_once(kernel: &mut dyn Subject) {
    let ops: Vec<_> = (0..1500).map(|number| inbound(sa(number))).collect();
    must(kernel, &ops);
    let ids: Vec<_> = (0..3000).map(|number| sa(number).id()).collect();
    let (told, found) = look_up(kernel, &ids, &[]);
    assert_eq!(found.sas.len(), 1500);
    let mut found: Vec<_> = told.sas.iter().filter(|(_, there)| *there).map(|(id, _)| *id).collect();
    found.sort_unstable();
    assert_eq!(found, &ids[..1500]);
    assert_eq!(told.sas.len(), 3000);
}

/// Knows what it has seen, by the looks.
#[derive(Default)]
struct Knowing {
    sas: Vec<(Glance, SaRecord)>,
    policies: Vec<(Glance, PolicyRecord)>,
    counted: Vec<ReplayState>,
    decoded: usize,
}

impl Reader for Knowing {
    fn begin_sas(&mut self) {
        (self.decoded, self.counted) = (0, Vec::new());
    }

    fn begin_policies(&mut self) {}

    fn glance_at_sa(&mut self, glance: Glance) -> Recognised {
        match self.sas.iter_mut().find(|(known, _)| known.print == glance.print) {
            Some((known, _)) if *known == glance => Recognised::Same,
            Some((known, _)) => {
                *known = glance;
                Recognised::Counted
            }
            None => Recognised::No,
        }
    }

    fn glance_at_policy(&mut self, glance: Glance) -> bool {
        self.policies.iter().any(|(known, _)| *known == glance)
    }

    fn sa_counted(&mut self, state: ReplayState, _: Used) {
        self.counted.push(state);
    }

    fn sa(&mut self, glance: Glance, record: SaRecord) {
        self.decoded += 1;
        self.sas.push((glance, record));
    }

    fn policy(&mut self, glance: Glance, record: PolicyRecord) {
        self.decoded += 1;
        self.policies.push((glance, record));
    }
}

/// What a reader that has seen what was there before decodes, and which counters it is told of.
fn news(kernel: &mut dyn Subject, reader: &mut Knowing) -> (usize, Vec<ReplayState>) {
    kernel.read(reader).unwrap();
    (reader.decoded, std::mem::take(&mut reader.counted))
}

pub(crate) fn what_was_seen_is_recognised(kernel: &mut dyn Subject) {
    let mut reader = Knowing::default();
    let wide = esplanade_model::Sa { replay: extended(64), ..sa(2) };
    must(kernel, &[inbound(sa(1)), inbound(wide.clone()), outbound(sa(3)), add(policy(Direction::In, 1), 1)]);
    kernel.add_foreign_sa(v4(1), id(v4(2), 0xc123_4567), 1);
    assert_eq!(news(kernel, &mut reader), (5, vec![]));
    assert_eq!(news(kernel, &mut reader), (0, vec![]));

    // The same SAs further on. Made anew, they would be others a second later.
    let sent = ReplayState { sent: 4711, ..ReplayState::default() };
    let received = ReplayState { sent: 0, received: 70, bitmap: vec![0xf0f1, 0] };
    let further = [
        Op::SetReplayState { sa: WantedSa::Outbound(OutboundSa(sa(3))), state: sent.clone() },
        Op::SetReplayState { sa: WantedSa::Inbound(InboundSa(wide)), state: received.clone() },
    ];
    must(kernel, &further);
    let (decoded, mut counted) = news(kernel, &mut reader);
    counted.sort_by_key(|state| state.sent);
    assert_eq!((decoded, counted), (0, vec![received, sent]));

    // Any other difference shows: keys, a number in the header, the window, a policy's priority, its index.
    let other_window = esplanade_model::Sa { replay: super::objects::replay(64), ..sa(1) };
    let other_key = esplanade_model::Sa { crypto: super::objects::every_crypto()[1].clone(), ..sa(1) };
    let other_reqid = esplanade_model::Sa { reqid: super::objects::reqid(99), ..sa(1) };
    for other in [other_window, other_key, other_reqid] {
        must(kernel, &[Op::DeleteSa(other.id(), Mark::NONE), inbound(other)]);
        assert_eq!(news(kernel, &mut reader), (1, vec![]));
    }
    let other = esplanade_model::Policy { priority: 7, ..policy(Direction::In, 1) };
    must(kernel, &[delete(Direction::In, 1), add(other.clone(), 1)]);
    assert_eq!(news(kernel, &mut reader), (1, vec![]));
    must(kernel, &[delete(Direction::In, 1), add(other, 2)]);
    assert_eq!(news(kernel, &mut reader), (1, vec![]));
    assert_eq!(news(kernel, &mut reader), (0, vec![]));
}
