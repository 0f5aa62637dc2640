//! Whatever is there and whatever is wanted: after the operations the kernel holds what is wanted, a second diff is
//! empty, and nothing foreign was touched. The kernel here is a model of four rules: names are unique, an index is too,
//! a foreign name can't be added, and an outbound SA has the smallest window.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use common::{crypto, inbound, ip, outbound, sa, selector, template};
use esplanade_diff::diff;
use esplanade_model::{
    Action, Direction, Lifetime, Limits, Mark, Mode, Observed, ObservedPolicy, ObservedSa, Op, Policy,
    PolicyFlags, PolicyIndex, PolicyKey, ReplayProtection, ReplayState, Reqid, Sa, SaId, Spi, Template,
    UdpEncapsulation, Used, Wanted, WantedSa,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

#[derive(Debug, Clone, Default)]
struct Model {
    sas: BTreeMap<SaId, (Option<Sa>, ReplayState)>,
    policies: BTreeMap<PolicyKey, (PolicyIndex, Option<Policy>)>,
    foreign_sas: BTreeSet<SaId>,
    foreign_policies: BTreeSet<PolicyKey>,
}

impl Model {
    fn dump(&self) -> Observed {
        let sas = self.sas.iter();
        let policies = self.policies.iter();
        Observed {
            sas: sas
                .map(|(id, (sa, state))| ObservedSa {
                    id: *id,
                    mark: sa.as_ref().map_or(Mark::NONE, |sa| sa.mark),
                    sa: sa.clone(),
                    state: state.clone(),
                    used: Used::default(),
                })
                .collect(),
            policies: policies
                .map(|(key, (index, policy))| ObservedPolicy {
                    index: *index,
                    key: *key,
                    policy: policy.clone(),
                })
                .collect(),
            foreign_sas: self.foreign_sas.iter().copied().collect(),
            foreign_policies: self.foreign_policies.iter().copied().collect(),
            foreign_sa_count: self.foreign_sas.len(),
            foreign_policy_count: self.foreign_policies.len(),
            taken_indexes: self.policies.values().map(|(index, _)| index.get()).collect(),
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::AddInbound { sa, state, .. } => self.add(sa.0, state),
            Op::AddOutbound { sa, state, .. } => {
                let mut sa = sa.0;
                sa.replay.window = u32::from(sa.replay.extended_sequence_numbers);
                self.add(sa, state);
            }
            Op::FillSa { sa, .. } => panic!("no larval {} to fill", sa.0.spi),
            // UPDSA changes a lifetime and UDP ports, and says that it did whatever else was asked.
            Op::UpdateSa(wanted) => {
                let update = wanted.sa();
                let (there, ..) = self.sas.get_mut(&update.id()).unwrap();
                let there = there.as_mut().unwrap();
                assert_eq!(there.encapsulation.is_some(), update.encapsulation.is_some());
                there.encapsulation = update.encapsulation;
                there.lifetime = update.lifetime;
            }
            Op::DeleteSa(id, mark) => {
                let removed = self.sas.remove(&id);
                assert!(removed.is_some(), "no {id} to delete");
                assert!(
                    removed.is_some_and(|(sa, _)| sa.is_none_or(|sa| sa.mark == mark)),
                    "{id}: another mark"
                );
            }
            Op::AddPolicy { policy, index } => {
                let key = policy.key();
                assert!(!self.foreign_policies.contains(&key), "{key:?} is foreign");
                assert!(self.policies.values().all(|(taken, _)| *taken != index), "{index:?} is taken");
                assert!(self.policies.insert(key, (index, Some(policy))).is_none(), "{key:?} is there");
            }
            Op::UpdatePolicy { policy, index } => {
                let there = self.policies.get_mut(&policy.key()).unwrap();
                assert_eq!(there.0, index);
                there.1 = Some(policy);
            }
            Op::Migrate { .. } => panic!("no diff has moves in it"),
            Op::SetReplayState { sa, .. } => panic!("{}: a diff knows only what is there", sa.sa().id()),
            Op::DeletePolicy { direction, index, interface_id, mark } => {
                let before = self.policies.len();
                self.policies.retain(|key, (taken, _)| {
                    !(*taken == index
                        && (key.direction, key.interface_id, key.mark) == (direction, interface_id, mark))
                });
                assert_eq!(self.policies.len(), before - 1, "no {index:?} to delete");
            }
        }
    }

    fn add(&mut self, sa: Sa, state: Option<ReplayState>) {
        let id = sa.id();
        assert!(!self.foreign_sas.contains(&id), "{id} is foreign");
        assert!(self.sas.insert(id, (Some(sa), state.unwrap_or_default())).is_none(), "{id} is there");
    }
}

fn sas() -> impl Strategy<Value = Sa> {
    let replay = prop_oneof![Just((0, false)), Just((32, false)), Just((128, true))];
    let udp = proptest::option::of((4500..4502_u16, 4500..4502_u16));
    (0..6_u32, 1..3_u8, 1..3_u8, any::<bool>(), replay, 0..3_u32, (0..3_u64, 0..2_u32, udp)).prop_map(
        |(spi, end, byte, tunnel, (window, extended_sequence_numbers), reqid, (packets, mark, udp))| Sa {
            mark: Mark::masked(mark, mark),
            destination: ip(&format!("192.0.2.{end}")),
            spi: Spi::new(256 + spi).unwrap(),
            crypto: crypto(byte),
            mode: if tunnel { Mode::Tunnel } else { Mode::Transport },
            replay: ReplayProtection { window, extended_sequence_numbers },
            reqid: Reqid::from_hash(reqid),
            lifetime: Lifetime {
                hard: Limits { packets: NonZeroU64::new(packets), ..Limits::default() },
                ..Lifetime::default()
            },
            encapsulation: udp
                .map(|(source_port, destination_port)| UdpEncapsulation { source_port, destination_port }),
            ..sa()
        },
    )
}

fn policies() -> impl Strategy<Value = Policy> {
    let direction = prop_oneof![Just(Direction::In), Just(Direction::Out), Just(Direction::Forward)];
    (direction, 0..3_u8, 0..2_u32, 0..2_usize, any::<bool>(), 0..2_u32, 0..2_u32, any::<bool>()).prop_map(
        |(direction, network, priority, templates, optional, interface_id, mark, icmp_errors)| Policy {
            interface_id,
            mark: Mark::masked(mark, mark),
            flags: PolicyFlags { icmp_errors, ..PolicyFlags::default() },
            direction,
            selector: selector("10.0.0.0/24", &format!("10.1.{network}.0/24")),
            priority,
            action: Action::Allow,
            templates: vec![Template { optional, ..template() }; templates],
        },
    )
}

/// Of several with one name the first stays: `expand` gives each name once. To 192.0.2.1 is inbound, else outbound: one
/// address is either this node's or not.
fn wanted() -> impl Strategy<Value = Wanted> {
    (vec(sas(), 0..8), vec(policies(), 0..8), btree_set(0..6_u32, 0..2)).prop_map(|(sas, policies, held)| {
        let mut wanted = Wanted::default();
        let mut names = BTreeSet::new();
        for sa in sas.into_iter().filter(|sa| names.insert(sa.id())) {
            let held = held.contains(&(sa.spi.get() - 256));
            match (held, sa.destination == ip("192.0.2.1")) {
                (true, _) => drop(wanted.hold.insert(sa.id())),
                (false, true) => wanted.sas.push(("sa".to_owned(), inbound(sa))),
                (false, false) => wanted.sas.push(("sa".to_owned(), outbound(sa))),
            }
        }
        let mut names = BTreeSet::new();
        for policy in policies.into_iter().filter(|policy| names.insert(policy.key())) {
            wanted.policies.push(("policy".to_owned(), policy));
        }
        wanted
    })
}

fn models() -> impl Strategy<Value = Model> {
    let sas = vec((sas(), any::<bool>(), any::<bool>(), any::<u32>()), 0..8);
    let policies = vec((policies(), any::<bool>(), any::<bool>(), 0..1_000_000_u32), 0..8);
    (sas, policies).prop_map(|(sas, policies)| {
        let mut model = Model::default();
        for (sa, foreign, readable, sent) in sas {
            let id = sa.id();
            if model.sas.contains_key(&id) || model.foreign_sas.contains(&id) {
                continue;
            }
            if foreign {
                model.foreign_sas.insert(id);
            } else {
                let state = ReplayState { sent: sent.into(), ..ReplayState::default() };
                model.sas.insert(id, (readable.then_some(sa), state));
            }
        }
        for (policy, foreign, readable, slot) in policies {
            let (key, index) = (policy.key(), PolicyIndex::new(slot, policy.direction));
            let taken = model.policies.values().any(|(there, _)| *there == index);
            if taken || model.policies.contains_key(&key) || model.foreign_policies.contains(&key) {
                continue;
            }
            if foreign {
                model.foreign_policies.insert(key);
            } else {
                model.policies.insert(key, (index, readable.then_some(policy)));
            }
        }
        model
    })
}

proptest! {
    #[test]
    fn converges(wanted in wanted(), before in models()) {
        let plan = diff(&wanted, &before.dump());
        let mut after = before.clone();
        for step in plan.steps {
            // Outbound: no key starts again at 0.
            if let Op::AddOutbound { sa, state, .. } = &step.op
                && let Some((there, was)) = before.sas.get(&sa.0.id())
                && there.as_ref().is_none_or(|there| there.crypto == sa.0.crypto)
            {
                prop_assert!(state.as_ref().map_or(0, |state| state.sent) >= was.sent);
            }
            after.apply(step.op);
        }

        prop_assert_eq!(&after.foreign_sas, &before.foreign_sas);
        prop_assert_eq!(&after.foreign_policies, &before.foreign_policies);
        for id in &wanted.hold {
            prop_assert_eq!(after.sas.get(id), before.sas.get(id));
        }

        let has = |id: &SaId| !before.foreign_sas.contains(id);
        let mut ids: BTreeSet<_> = wanted.sas.iter().map(|(_, sa)| sa.sa().id()).filter(has).collect();
        ids.extend(wanted.hold.iter().filter(|id| before.sas.contains_key(id)));
        prop_assert_eq!(after.sas.keys().copied().collect::<BTreeSet<_>>(), ids);
        for (_, sa) in &wanted.sas {
            if let Some((there, _)) = after.sas.get(&sa.sa().id()) {
                let mut there = there.clone().unwrap();
                if let WantedSa::Outbound(_) = sa {
                    there.replay.window = sa.sa().replay.window;
                }
                prop_assert_eq!(&there, sa.sa());
            }
        }

        let free = wanted.policies.iter().filter(|(_, one)| !before.foreign_policies.contains(&one.key()));
        let policies: BTreeMap<_, _> = free.map(|(_, policy)| (policy.key(), Some(policy.clone()))).collect();
        let there: BTreeMap<_, _> =
            after.policies.iter().map(|(key, (_, policy))| (*key, policy.clone())).collect();
        prop_assert_eq!(there, policies);

        let again = diff(&wanted, &after.dump());
        prop_assert!(again.is_empty(), "second pass: {:?}", again.steps);
        prop_assert_eq!(again.conflicts, plan.conflicts);
    }
}
