//! Automatic keys: what the node's part of the protocol wants, carried out. It decides in `esplanade-keying`; here are its
//! key pairs, its file, and what it is told of the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use esplanade_crds::conditions::reason;
use esplanade_crds::{
    IpsecNodeStateSpec, IpsecPeerSpec, NodePolicy, Phase, PolicyInKernel, Problem, ProblemKind, PublishedKey,
};
use esplanade_expand::{AutomaticSa, reqid_of_policy};
use esplanade_keying::node::{self, Node, PolicyTold, Seen, Settings};
use esplanade_keying::{KeyId, KeyPair, NodeUid, PolicyRevision, Ring, Sa, Time, Version};
use esplanade_model::{AUTOMATIC, Capabilities, Direction, Missing, Reqid, SaId, Wanted, WantedSa};
use esplanade_seal::KeyPair as SealingKeys;
use esplanade_sync::{Engine, Name};

use crate::desired::Input;
use crate::state_file::FileError;

mod file;
mod in_force;
mod material;
mod ppk;

use file::RingFile;
use in_force::InForce;
use material::{Carried, Material, Peer, Taken, direction, lacks, revision};

/// Automatic keys of this node.
#[derive(Debug)]
pub struct Keying {
    name: String,
    file: RingFile,
    in_force: InForce,
    running: Option<Running>,
}

/// Keys to publish in the own IpsecPeer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishKeys {
    /// `metadata.uid` of the IpsecPeer.
    pub uid: String,
    /// The resourceVersion that it must still be at.
    pub version: u64,
    /// All keys, oldest first.
    pub keys: Vec<PublishedKey>,
}

/// How far the kernel is, for the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// It is at the generation that it was last told.
    pub(crate) confirmed: bool,
    /// The watermark.
    pub(crate) peers_through: Option<u64>,
    /// Keys to publish.
    pub(crate) publish: Option<PublishKeys>,
    /// Milliseconds until it wants to be woken up.
    pub(crate) wake: Option<u64>,
}

/// An SA; none where the two nodes have no addresses for it.
type Made = Result<Option<WantedSa>, Missing>;

#[derive(Debug)]
struct Running {
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

/// What a pass is made for, to see whether another one has to follow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shape(Vec<Sa>, Vec<Sa>, Vec<(PolicyRevision, Phase)>);

impl Keying {
    /// For the node of this name; the ring is kept in this directory.
    pub fn new(name: &str, directory: &Path, boot_id: &str) -> Self {
        let (file, in_force) = (RingFile::new(directory, boot_id), InForce::load(directory, boot_id));
        Self { name: name.to_owned(), file, in_force, running: None }
    }

    /// There are automatic keys, or there should be.
    pub(crate) fn is_needed(&self, input: &Input) -> bool {
        is_automatic(&input.spec)
            || self.running.is_some()
            || self.file.is_there()
            || !self.in_force.is_empty()
    }

    /// What was told, with what is kept though it isn't.
    pub(crate) fn complete(&mut self, input: &Input) -> Input {
        self.in_force.complete(&self.name, input)
    }

    /// The policies in the kernel.
    pub(crate) fn policies(&self) -> Vec<PolicyInKernel> {
        self.in_force.report()
    }

    /// The node has an IpsecPeer.
    pub(crate) fn can_start(&self, input: &Input) -> bool {
        input.keyed.get(&self.name).is_some_and(|own| !own.node_uid.is_empty())
    }

    /// It has started with the own Node that the input names.
    pub(crate) fn runs(&self, input: &Input) -> bool {
        let me = input.keyed.get(&self.name).map(|peer| NodeUid::of(&peer.node_uid));
        self.running.as_ref().is_some_and(|running| me.is_none_or(|me| me == running.me))
    }

    /// Begins, once everything in the kernel was read. Nothing happens while the node has no IpsecPeer.
    pub(crate) fn start(
        &mut self,
        input: &Input,
        sealing: &SealingKeys,
        engine: &Engine,
        kernel: &Capabilities,
        now: Time,
    ) {
        let Some(own) = input.keyed.get(&self.name).filter(|own| !own.node_uid.is_empty()) else { return };
        let me = NodeUid::of(&own.node_uid);
        let Ring { keys, .. } = self.file.load(me);
        let records: Vec<_> = keys.iter().map(|(_, record)| record.clone()).collect();
        let pairs: BTreeMap<KeyId, KeyPair> = keys.into_iter().map(|(pair, _)| (pair.id(), pair)).collect();
        let continued = !records.is_empty();
        let node = Node::new(me, Settings::default(), records, now);
        let mut running = Running::new(me, node, Material::new(&own.node_uid, pairs), now);
        // Policies that have gone meanwhile have SAs in the kernel still.
        running.material.take(&self.name, &self.in_force.found(input), sealing, kernel);
        running.material.take(&self.name, input, sealing, kernel);
        let seen = running.identify(&self.name, input, engine, kernel);
        running.phases_found(&self.name, input, &self.in_force, engine, kernel);
        if continued && !self.in_force.was_found() {
            let known: BTreeSet<SaId> = running.ids.values().copied().collect();
            let unknown = engine.own_sas().filter(|id| !known.contains(id)).collect();
            running.held = Some((now.after(Settings::default().drain), unknown));
            tracing::info!(keys = running.material.pairs.len(), "going on with the key ring");
        }
        running.step(node::Input::Kernel(seen));
        self.running = Some(running);
    }

    /// Takes in what the API server has told, and the time.
    pub(crate) fn take(&mut self, input: &Input, keys: &SealingKeys, kernel: &Capabilities, now: Time) {
        let Some(running) = &mut self.running else { return };
        (running.now, running.epoch) = (now, jiff::Timestamp::now());
        if running.version != Some(input.version) {
            running.version = Some(input.version);
            running.told(&self.name, input, keys, kernel);
        }
        running.ask_for_rotation(input);
        running.step(node::Input::Wake);
    }

    /// The spec to expand: where clear text can't be given up yet, the phase is an earlier one than told.
    pub(crate) fn spec(&self, spec: &Arc<IpsecNodeStateSpec>) -> Arc<IpsecNodeStateSpec> {
        let phases = spec.policies.iter().map(|policy| self.phase(policy));
        if phases.clone().eq(spec.policies.iter().map(|policy| policy.phase)) {
            return Arc::clone(spec);
        }
        let mut changed = (**spec).clone();
        for policy in &mut changed.policies {
            policy.phase = self.phase(policy);
        }
        Arc::new(changed)
    }

    fn phase(&self, policy: &NodePolicy) -> Phase {
        match &self.running {
            Some(running) => running.phase(policy),
            None if policy.automatic.is_some() => policy.phase_from(self.in_force.phase(revision(policy))),
            None => policy.phase,
        }
    }

    /// Before a pass that brings the kernel to these phases, among these peers.
    pub(crate) fn intend(
        &mut self,
        spec: &IpsecNodeStateSpec,
        peers: &BTreeMap<String, IpsecPeerSpec>,
    ) -> Result<(), FileError> {
        self.in_force.intend(spec, peers)
    }

    /// What the next pass is about.
    pub(crate) fn shape(&self, spec: &IpsecNodeStateSpec) -> Option<Shape> {
        let running = self.running.as_ref()?;
        let inbound = running.node.inbound().keys().copied().collect();
        let outbound = running.node.outbound().map(|wanted| wanted.sa).collect();
        let phases = spec.policies.iter().map(|policy| (revision(policy), running.phase(policy))).collect();
        Some(Shape(inbound, outbound, phases))
    }

    /// Writes the ring's file where that is due: before anything else is done.
    pub(crate) fn save(&mut self) -> Result<(), FileError> {
        let Some(running) = self.running.as_mut().filter(|running| running.unsaved) else { return Ok(()) };
        let records = running.node.records().iter();
        let pairs = &running.material.pairs;
        let keys = records.filter_map(|record| Some((pairs.get(&record.id)?.clone(), record.clone())));
        let ring = Ring { node: running.me, keys: keys.collect() };
        if ring.keys.is_empty() {
            self.file.forget();
        } else {
            self.file.save(&ring)?;
        }
        running.unsaved = false;
        Ok(())
    }

    /// Adds the SAs wanted to those of IpsecSAs, and says what is wrong with single policies.
    pub(crate) fn want(
        &mut self,
        input: &Input,
        engine: &Engine,
        kernel: &Capabilities,
        wanted: &mut Wanted,
    ) -> Vec<Problem> {
        let Some(running) = &mut self.running else { return Vec::new() };
        running.want(&self.name, input, engine, kernel, wanted)
    }

    /// Takes in what a pass has left in the kernel. `done`: it came to its end.
    pub(crate) fn passed(
        &mut self,
        engine: &mut Engine,
        spec: &IpsecNodeStateSpec,
        peers: &BTreeMap<String, IpsecPeerSpec>,
        done: bool,
    ) {
        if done {
            self.in_force.settle(spec, peers);
        }
        let Some(running) = &mut self.running else { return };
        if done {
            running.look(engine);
            running.applied = spec
                .policies
                .iter()
                .filter(|policy| policy.automatic.is_some())
                .map(|policy| (revision(policy), policy.phase))
                .collect();
        } else {
            // What was asked for may be there, and may have been used.
            let asked = running.node.outbound().map(|wanted| wanted.sa);
            let asked: Vec<Sa> = asked.filter(|sa| !running.outbound.contains_key(sa)).collect();
            running.outbound.extend(asked.iter().map(|sa| (*sa, 0)));
            running.step(node::Input::Kernel(asked.iter().map(|sa| Seen::Outbound(*sa, Some(0))).collect()));
        }
        running.tidy(spec);
    }

    /// A packet of this reqid's has no SA.
    pub(crate) fn asked(&mut self, reqid: Reqid) {
        let Some(running) = &mut self.running else { return };
        running.asked(&self.name, reqid);
    }

    /// How far it is. `in_sync`: the last pass left nothing to do.
    pub(crate) fn progress(&self, spec: &IpsecNodeStateSpec, in_sync: bool) -> Option<Progress> {
        let running = self.running.as_ref()?;
        let Running { node, now, generation, .. } = running;
        let phases = spec.policies.iter().all(|policy| running.phase(policy) == policy.phase);
        let watermark = Some(node.watermark().0).filter(|through| *through > 0);
        Some(Progress {
            confirmed: in_sync && phases && generation.is_some() && node.confirmed() == *generation,
            peers_through: watermark,
            publish: if running.unsaved { None } else { running.to_publish() },
            wake: running.wake().map(|at| at.0.saturating_sub(now.0)),
        })
    }
}

impl Running {
    fn new(me: NodeUid, node: Node, material: Material, now: Time) -> Self {
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
    fn told(&mut self, name: &str, input: &Input, keys: &SealingKeys, kernel: &Capabilities) {
        let Taken { peers, policies } = self.material.take(name, input, keys, kernel);
        if let Some(own) = input.keyed.get(name) {
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
    fn asked(&mut self, name: &str, reqid: Reqid) {
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

    /// The phase that the kernel is to be brought to: what was told, but clear text isn't given up before what is sent
    /// instead arrives, and doesn't come back unless the policy is switched off.
    fn phase(&self, policy: &NodePolicy) -> Phase {
        if policy.automatic.is_none() {
            return policy.phase;
        }
        let revision = revision(policy);
        let reached = self.applied.get(&revision).copied();
        let phase = policy.phase_from(reached);
        let waits = phase > Phase::Prepare
            && reached == Some(Phase::Prepare)
            && !self.material.carried_for(revision).all(|of| self.node.sends_surely(of));
        if waits { Phase::Prepare } else { phase }
    }

    /// The SAs that an agent before this one left and that can be told.
    fn identify(&mut self, name: &str, input: &Input, engine: &Engine, kernel: &Capabilities) -> Vec<Seen> {
        let mut seen = Vec::new();
        for sa in self.thinkable() {
            for inbound in [true, false] {
                let Some(id) = self.id_of(name, input, kernel, &sa, inbound) else { continue };
                let Some(sent) = engine.sent(&id) else { continue };
                self.ids.insert((sa, inbound), id);
                if inbound {
                    self.inbound.insert(sa);
                    seen.push(Seen::Inbound(sa, true));
                } else {
                    self.outbound.insert(sa, sent);
                    seen.push(Seen::Outbound(sa, Some(sent)));
                }
            }
        }
        seen
    }

    fn thinkable(&self) -> Vec<Sa> {
        let Material { pairs, peers, carried, .. } = &self.material;
        let mut all = Vec::new();
        for (peer, record) in peers.iter().filter(|(peer, _)| **peer != self.me) {
            for policy in carried.keys() {
                for own in pairs.keys() {
                    let sa = |theirs: &KeyId| Sa { peer: *peer, policy: *policy, own: *own, theirs: *theirs };
                    all.extend(record.key_ids().map(sa));
                }
            }
        }
        all
    }

    /// An SA as the kernel is to have it, and its policy; none if it can't be derived.
    fn made(
        &mut self,
        name: &str,
        input: &Input,
        kernel: &Capabilities,
        sa: &Sa,
        inbound: bool,
    ) -> Option<(Arc<NodePolicy>, Made)> {
        let derived = self.material.derive(sa, inbound)?.clone();
        let Carried { policy, addresses } = self.material.carried.get(&sa.policy)?;
        let other = &self.material.peers.get(&sa.peer)?.name;
        let (addresses, direction) = (*addresses, direction(inbound));
        let made = AutomaticSa { node: name, other, policy, addresses, direction };
        Some((Arc::clone(policy), made.make(&input.peers, derived.spi, derived.crypto, kernel)))
    }

    fn id_of(
        &mut self,
        name: &str,
        input: &Input,
        kernel: &Capabilities,
        sa: &Sa,
        inbound: bool,
    ) -> Option<SaId> {
        let (_, made) = self.made(name, input, kernel, sa, inbound)?;
        Some(made.ok()??.sa().id())
    }

    /// The phases that the kernel is at, by its policies: it sends protected where an outbound one is there.
    fn phases_found(
        &mut self,
        name: &str,
        input: &Input,
        known: &InForce,
        engine: &Engine,
        kernel: &Capabilities,
    ) {
        // With all that there could be.
        let mut spec = (*input.spec).clone();
        spec.policies.iter_mut().for_each(|policy| policy.phase = Phase::Enforce);
        let expanded = esplanade_expand::expand(name, &spec, &input.peers, None, kernel);
        for policy in input.spec.policies.iter().filter(|policy| policy.automatic.is_some()) {
            let there = |direction: Direction| {
                let of_policy = expanded.wanted.policies.iter().filter(|(of, _)| *of == policy.name);
                let mut keys = of_policy.map(|(_, made)| made.key()).filter(|key| key.direction == direction);
                keys.any(|key| engine.has_policy(&key))
            };
            if there(Direction::In) || there(Direction::Forward) {
                let (sends, revision) = (there(Direction::Out), revision(policy));
                // What is there may be another revision's.
                let alone = input.spec.policies.iter().filter(|one| one.name == policy.name).count() == 1;
                let least = if alone { Phase::Encrypt } else { policy.phase };
                let known = known.phase(revision).unwrap_or(policy.phase.max(least));
                self.applied.insert(revision, if sends { known } else { Phase::Prepare });
            }
        }
    }

    fn want(
        &mut self,
        name: &str,
        input: &Input,
        engine: &Engine,
        kernel: &Capabilities,
        wanted: &mut Wanted,
    ) -> Vec<Problem> {
        let automatic = input.spec.policies.iter().filter(|policy| policy.automatic.is_some());
        let mut problems: Vec<Problem> =
            automatic.filter_map(|policy| self.material.closed(policy)).collect();
        problems.extend(self.behind.as_ref().map(|why| Problem {
            kind: ProblemKind::Node,
            name: name.to_owned(),
            category: reason::ROTATION_BEHIND.to_owned(),
            message: format!(
                "keys wear out faster than they can be renewed ({why}): the next rotation waits until the one before is over. \
                 Write a longer rotateEvery, or higher maxPackets and maxBytes"
            ),
        }));
        let others: BTreeSet<SaId> = wanted.sas.iter().map(|(_, sa)| sa.sa().id()).collect();
        let inbound = self.node.inbound().keys().map(|sa| (*sa, true));
        // One that was there goes on past where it had come to, or not at all (R7).
        let outbound = self.node.outbound().map(|wanted| ((wanted.sa, false), wanted.past));
        let outbound: Vec<_> = outbound.collect();
        let sas: Vec<((Sa, bool), Option<u64>)> = inbound.map(|sa| (sa, None)).chain(outbound).collect();
        for ((sa, inbound), past) in sas {
            let Some((policy, made)) = self.made(name, input, kernel, &sa, inbound) else { continue };
            let made = match made {
                Ok(Some(made)) => made,
                Ok(None) => continue,
                Err(missing) => {
                    problems.push(lacks(&missing, &policy));
                    continue;
                }
            };
            let id = made.sa().id();
            if past.is_some() && !engine.remembers(&id) {
                continue;
            }
            if others.contains(&id) {
                if inbound {
                    self.taken.insert(sa);
                }
                continue;
            }
            self.ids.insert((sa, inbound), id);
            wanted.sas.push((format!("{AUTOMATIC}{}", policy.name), made));
        }
        if let Some((until, ids)) = &self.held {
            if self.now < *until {
                wanted.hold.extend(ids);
            } else {
                self.held = None;
            }
        }
        problems.dedup();
        problems
    }

    /// What the kernel holds after a pass.
    fn look(&mut self, engine: &mut Engine) {
        let lost = engine.take_lost();
        let mut seen = Vec::new();
        for ((sa, inbound), id) in &self.ids {
            let sent = engine.sent(id);
            if *inbound {
                let there = sent.is_some() && !engine.is_wrong(&Name::Sa(*id));
                if there != self.inbound.contains(sa) {
                    seen.push(Seen::Inbound(*sa, there));
                    if there {
                        self.inbound.insert(*sa)
                    } else {
                        self.inbound.remove(sa)
                    };
                }
                if engine.is_taken(id) && self.node.inbound().contains_key(sa) {
                    self.taken.insert(*sa);
                }
                continue;
            }
            let before = self.outbound.get(sa).copied();
            if before.is_some() && (sent.is_none() || lost.contains(id)) {
                seen.push(Seen::Outbound(*sa, None));
                self.outbound.remove(sa);
            }
            if let Some(sent) = sent
                && (before != Some(sent) || lost.contains(id))
            {
                seen.push(Seen::Outbound(*sa, Some(sent)));
                self.outbound.insert(*sa, sent);
            }
        }
        if !seen.is_empty() {
            self.step(node::Input::Kernel(seen));
        }
        for sa in std::mem::take(&mut self.taken) {
            self.step(node::Input::Taken(sa));
        }
        self.hear(engine);
        self.look_at_limits(engine);
    }

    /// An SA that has reached its soft limit has its key renewed (R8). Also one whose event was lost: what counts is how much it
    /// has carried.
    fn look_at_limits(&mut self, engine: &Engine) {
        let outbound = self.ids.iter().filter(|((_, inbound), _)| !inbound);
        let reached = outbound.filter_map(|((sa, _), id)| Some((sa.own, engine.reached_soft_limit(id)?)));
        let reached: BTreeMap<KeyId, String> = reached.collect();
        for own in reached.keys() {
            self.step(node::Input::Expired(*own));
        }
        let newest = self.node.records().last().filter(|_| self.node.is_behind());
        self.behind = newest.and_then(|newest| match reached.get(&newest.id) {
            Some(limit) => Some(format!("an SA under the newest has carried {limit}")),
            None if newest.rotate <= self.now => Some("the newest is older than rotateEvery".to_owned()),
            None => None,
        });
    }

    /// Whoever has sent under a key has it, whether the operator knows it or not (R4).
    fn hear(&mut self, engine: &Engine) {
        let new = |sa: &&Sa| self.node.would_learn(sa.peer, sa.own);
        let received = |sa: &Sa| engine.received(self.ids.get(&(*sa, true))?);
        let heard = self.inbound.iter().filter(new).filter(|sa| received(sa) > Some(0));
        let heard: BTreeSet<(NodeUid, KeyId)> = heard.map(|sa| (sa.peer, sa.own)).collect();
        for (peer, own) in heard {
            self.step(node::Input::Authenticated { peer, own });
        }
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

/// Some policy has automatic keys.
fn is_automatic(spec: &IpsecNodeStateSpec) -> bool {
    spec.policies.iter().any(|policy| policy.automatic.is_some())
}

/// What is wrong with an SA of a policy's is wrong with the policy. None for a limit that makes the key be renewed.
pub(crate) fn of_policy(problem: Problem) -> Option<Problem> {
    let policy = problem.name.strip_prefix(AUTOMATIC).filter(|_| problem.kind == ProblemKind::IpsecSA);
    let Some(name) = policy.map(str::to_owned) else { return Some(problem) };
    let message = match problem.category.as_str() {
        reason::EXPIRING => return None,
        reason::EXPIRED => {
            "an SA has carried more than maxPackets or maxBytes and their margin, before its key could be \
                            renewed: its traffic is dropped until it is. Write higher ones"
                .to_owned()
        }
        _ => problem.message,
    };
    Some(Problem { kind: ProblemKind::IpsecPolicy, name, message, ..problem })
}

#[cfg(test)]
mod tests;
