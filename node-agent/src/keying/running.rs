//! The node's part of the protocol at work, with what it was told of the kernel.

use std::collections::{BTreeMap, BTreeSet};

use esplanade_crds::{IpsecNodeStateSpec, NodePolicy, Phase, PublishedKey};
use esplanade_expand::reqid_of_policy;
use esplanade_keying::in_force::{self, Step};
use esplanade_keying::node::{self, Node, PolicyTold, Seen};
use esplanade_keying::{KeyId, KeyPair, NodeUid, PolicyRevision, Ring, Sa, Time, Version};
use esplanade_model::{Capabilities, Reqid, SaId};
use esplanade_seal::KeyPair as SealingKeys;
use esplanade_sync::Engine;

use super::in_force::InForce;
use super::material::{Material, Peer, Taken, revision};
use super::{Progress, PublishKeys, Shape};
use crate::desired::Input;

mod found;
mod seen;
mod wanted;

/// What the protocol goes by besides what is in the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    /// This node's name.
    pub(super) node: &'a str,
    /// What was told.
    pub(super) input: &'a Input,
    /// What the kernel can do.
    pub(super) kernel: &'a Capabilities,
}

#[derive(Debug)]
pub(super) struct Running {
    node: Node,
    me: NodeUid,
    material: Material,
    /// Times, in milliseconds since boot and since 1970.
    now: Time,
    epoch: jiff::Timestamp,
    unsaved: bool,
    /// Of the last input.
    version: Option<u64>,
    generation: Option<i64>,
    through: Version,
    rotate: u64,
    published: Vec<PublishedKey>,
    peer_uid: String,
    /// How the kernel names SAs that are wanted or there: which ones, and whether they end here.
    ids: BTreeMap<(Sa, bool), SaId>,
    /// What of it the protocol was told to be there.
    inbound: BTreeSet<Sa>,
    outbound: BTreeMap<Sa, u64>,
    /// Inbound SAs whose names somebody else has.
    taken: BTreeSet<Sa>,
    /// Phases in the kernel.
    applied: BTreeMap<PolicyRevision, Phase>,
    /// Why another key is due, while the rotation before isn't over.
    behind: Option<String>,
    /// What an agent before this one left, and nobody knows: until then.
    held: Option<(Time, BTreeSet<SaId>)>,
}

impl Running {
    pub(super) fn new(me: NodeUid, node: Node, material: Material, now: Time) -> Self {
        Self {
            node,
            me,
            material,
            now,
            epoch: jiff::Timestamp::now(),
            unsaved: false,
            version: None,
            generation: None,
            through: Version(0),
            rotate: 0,
            published: Vec::new(),
            peer_uid: String::new(),
            ids: BTreeMap::new(),
            inbound: BTreeSet::new(),
            outbound: BTreeMap::new(),
            taken: BTreeSet::new(),
            applied: BTreeMap::new(),
            behind: None,
            held: None,
        }
    }

    pub(super) fn is(&self, me: NodeUid) -> bool {
        self.me == me
    }

    /// Takes over what an agent before this one left, once everything in the kernel was read.
    pub(super) fn start(
        &mut self,
        given: Given<'_>,
        sealing: &SealingKeys,
        in_force: &InForce,
        engine: &Engine,
    ) {
        // Policies that have gone meanwhile have SAs in the kernel still.
        self.material.take(Given { input: &in_force.found(given.input), ..given }, sealing);
        self.material.take(given, sealing);
        let seen = self.identify(given, engine);
        self.phases_found(given, in_force, engine);
        if !self.node.records().is_empty() && !in_force.was_found() {
            let known: BTreeSet<SaId> = self.ids.values().copied().collect();
            let unknown = engine.own_sas().filter(|id| !known.contains(id)).collect();
            self.held = Some((self.now.after(self.node.settings().drain), unknown));
            tracing::info!(keys = self.material.pairs.len(), "going on with the key ring");
        }
        self.step(node::Input::Kernel(seen));
    }

    /// Takes in what the API server has told, and the time.
    pub(super) fn take(&mut self, given: Given<'_>, keys: &SealingKeys, now: Time) {
        (self.now, self.epoch) = (now, jiff::Timestamp::now());
        if self.version != Some(given.input.version) {
            self.version = Some(given.input.version);
            self.told(given, keys);
        }
        self.ask_for_rotation(given.input);
        self.step(node::Input::Wake);
    }

    pub(super) fn shape(&self, spec: &IpsecNodeStateSpec) -> Shape {
        let inbound = self.node.inbound().keys().copied().collect();
        let outbound = self.node.outbound().map(|wanted| wanted.sa).collect();
        let phases = spec.policies.iter().map(revision).zip(self.phases(&spec.policies)).collect();
        Shape(inbound, outbound, phases)
    }

    /// The ring, where it isn't what the file has.
    pub(super) fn unsaved(&self) -> Option<Ring> {
        let records = self.node.records().iter();
        let keys =
            records.filter_map(|record| Some((self.material.pairs.get(&record.id)?.clone(), record.clone())));
        self.unsaved.then(|| Ring { node: self.me, keys: keys.collect() })
    }

    pub(super) fn is_saved(&mut self) {
        self.unsaved = false;
    }

    /// Takes in what a pass has left in the kernel. `done`: it came to its end.
    pub(super) fn passed(&mut self, engine: &mut Engine, spec: &IpsecNodeStateSpec, done: bool) {
        if done {
            self.look(engine);
            let automatic = spec.policies.iter().filter(|policy| policy.automatic.is_some());
            self.applied = automatic.map(|policy| (revision(policy), policy.phase)).collect();
        } else {
            // What was asked for may be there, and may have been used.
            let asked = self.node.outbound().map(|wanted| wanted.sa);
            let asked: Vec<Sa> = asked.filter(|sa| !self.outbound.contains_key(sa)).collect();
            self.outbound.extend(asked.iter().map(|sa| (*sa, 0)));
            self.step(node::Input::Kernel(asked.iter().map(|sa| Seen::Outbound(*sa, Some(0))).collect()));
        }
        self.tidy(spec);
    }

    /// How far it is. `in_sync`: the last pass left nothing to do.
    pub(super) fn progress(&self, spec: &IpsecNodeStateSpec, in_sync: bool) -> Progress {
        let phases =
            self.phases(&spec.policies).into_iter().eq(spec.policies.iter().map(|policy| policy.phase));
        let confirmed = self.generation.is_some() && self.node.confirmed() == self.generation;
        let watermark = Some(self.node.watermark().0).filter(|through| *through > 0);
        Progress {
            confirmed: in_sync && phases && confirmed,
            peers_through: watermark,
            publish: if self.unsaved { None } else { self.to_publish() },
            wake: self.wake().map(|at| at.0.saturating_sub(self.now.0)),
        }
    }

    fn step(&mut self, input: node::Input) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let Self { node, material, now, .. } = self;
            let mut spi = |sa: &Sa| material.derive(sa, true).map(|derived| derived.spi.get());
            let step = node.step(input, *now, &mut spi);
            self.unsaved |= step.persist;
            if step.make_key {
                let pair = KeyPair::generate(&mut rand::rng());
                let id = pair.id();
                // ± 10 %, so that nodes which were started together don't rotate together.
                let age = self.rotate.saturating_mul(rand::random_range(900..=1100));
                let rotate = self.now.after(age);
                tracing::info!(key = %id, "new key");
                self.material.pairs.insert(id, pair);
                next = Some(node::Input::KeyMade { id, rotate });
            }
        }
    }

    /// Takes in what the API server has told. What it had at a version is the same as a list at that version.
    fn told(&mut self, given: Given<'_>, keys: &SealingKeys) {
        let Given { node, input, .. } = given;
        let Taken { peers, policies } = self.material.take(given, keys);
        if let Some(own) = input.keyed.get(node) {
            (self.published, self.peer_uid) = (own.keys.clone(), own.uid.clone());
        }
        self.through = self.through.max(Version(input.peers_through.unwrap_or_default()));
        self.generation = input.generation;
        let automatic = || input.spec.policies.iter().filter(|policy| policy.automatic.is_some());
        let every =
            automatic().filter_map(|policy| Some(u64::from(policy.automatic.as_ref()?.rotate_seconds))).min();
        self.rotate = every.unwrap_or(24 * 3600);
        let policies = policies.into_iter().map(|(of, name, policy)| {
            let phase = policy.phase_from(self.applied.get(&revision(&policy)).copied());
            let on_demand = policy.automatic.as_ref().is_some_and(|keying| keying.on_demand);
            PolicyTold { revision: of, name, sends: phase >= Phase::Encrypt, on_demand }
        });
        let policies = policies.collect();
        let keys = input.spec.keys.clone().unwrap_or_default();
        let uid = |node: &String| input.keyed.get(node).map(|peer| NodeUid::of(&peer.node_uid));
        let own = node::Own {
            generation: input.generation.unwrap_or_default(),
            policies,
            acknowledged: keys.acknowledged.and_then(|id| id.parse().ok()),
            pending: keys.pending.iter().filter_map(uid).collect(),
        };
        self.step(node::Input::Listed { version: self.through, peers });
        self.step(node::Input::Own(own));
    }

    /// Policies' packets to peers have a reqid each; in transport mode all addresses of the two have the same.
    pub(super) fn asked(&mut self, name: &str, reqid: Reqid) {
        let mut asked = Vec::new();
        for (policy, carried) in self.material.on_demand() {
            let others = self.material.peers.iter().filter(|(peer, _)| **peer != self.me);
            let asks = |peer: &Peer| reqid_of_policy(&carried.policy.name, name, &peer.name) == reqid;
            asked.extend(others.filter(|(_, peer)| asks(peer)).map(|(peer, _)| (*peer, policy)));
        }
        for (peer, policy) in asked {
            self.step(node::Input::Asked { peer, policy });
        }
    }

    /// The newest key is older than somebody wants.
    fn ask_for_rotation(&mut self, input: &Input) {
        let newest = self.node.records().last().map(|record| self.made_at(record.created));
        let asked = input.rotate_before.filter(|before| *before <= self.epoch);
        let overdue = self.overdue_at().is_some_and(|at| at <= self.now);
        if overdue || newest.zip(asked).is_some_and(|(newest, before)| newest < before) {
            self.step(node::Input::Rotate);
        }
    }

    /// When the newest key is older than any key should be: its age was drawn when another one was wanted.
    fn overdue_at(&self) -> Option<Time> {
        let newest = self.node.records().last().filter(|_| self.rotate > 0)?;
        Some(newest.created.after(self.rotate.saturating_mul(1101)))
    }

    /// The time since boot as a time of day.
    fn made_at(&self, time: Time) -> jiff::Timestamp {
        let ago = i64::try_from(self.now.0.saturating_sub(time.0)).unwrap_or(i64::MAX);
        self.epoch.checked_sub(jiff::SignedDuration::from_millis(ago)).unwrap_or(self.epoch)
    }

    /// The phases that the kernel is to be brought to.
    pub(super) fn phases(&self, policies: &[NodePolicy]) -> Vec<Phase> {
        let mut phases: Vec<Phase> = policies.iter().map(|policy| policy.phase).collect();
        let mut by_name: BTreeMap<&str, Vec<(&mut Phase, Step)>> = BTreeMap::new();
        for (policy, phase) in
            policies.iter().zip(&mut phases).filter(|(policy, _)| policy.automatic.is_some())
        {
            by_name.entry(&policy.name).or_default().push((phase, self.step_of(policy)));
        }
        for revisions in by_name.into_values() {
            let (places, steps): (Vec<_>, Vec<Step>) = revisions.into_iter().unzip();
            places.into_iter().zip(in_force::phases(&steps)).for_each(|(place, phase)| *place = phase);
        }
        phases
    }

    fn step_of(&self, policy: &NodePolicy) -> Step {
        let revision = revision(policy);
        let reached = self.applied.get(&revision).copied();
        let surely = || self.material.carried_for(revision).all(|of| self.node.sends_surely(of));
        Step::new(policy.phase_from(reached), reached, surely)
    }

    /// Forgets what is over.
    fn tidy(&mut self, spec: &IpsecNodeStateSpec) {
        let Self { node, ids, inbound, outbound, material, .. } = self;
        let sends: BTreeSet<Sa> = node.outbound().map(|wanted| wanted.sa).collect();
        ids.retain(|(sa, is_inbound), _| match is_inbound {
            true => inbound.contains(sa) || node.inbound().contains_key(sa),
            false => outbound.contains_key(sa) || sends.contains(sa),
        });
        let records: BTreeSet<KeyId> = node.records().iter().map(|record| record.id).collect();
        material.pairs.retain(|id, _| records.contains(id));
        let mut needed: BTreeSet<(Sa, bool)> = ids.keys().copied().collect();
        needed.extend(node.inbound().keys().map(|sa| (*sa, true)));
        needed.extend(sends.into_iter().map(|sa| (sa, false)));
        let current: BTreeSet<PolicyRevision> = spec.policies.iter().map(revision).collect();
        material.keep(&needed, |policy| current.contains(&policy));
    }

    fn to_publish(&self) -> Option<PublishKeys> {
        let publish = self.node.publish()?;
        let records = self.node.records().iter().filter(|record| publish.keys.contains(&record.id));
        let keys = records.filter_map(|record| {
            let id = record.id.to_string();
            let before = self.published.iter().find(|key| key.id == id);
            let made = || self.made_at(record.created).strftime("%FT%TZ").to_string();
            Some(PublishedKey {
                public_key: self.material.pairs.get(&record.id)?.public().to_base64(),
                created_at: before.map_or_else(made, |key| key.created_at.clone()),
                id,
            })
        });
        Some(PublishKeys { uid: self.peer_uid.clone(), version: publish.base.0, keys: keys.collect() })
    }

    fn wake(&self) -> Option<Time> {
        let held = self.held.as_ref().map(|(until, _)| *until);
        let overdue = self.overdue_at().filter(|at| *at > self.now);
        self.node.wake_at(self.now).into_iter().chain(held).chain(overdue).min()
    }
}
