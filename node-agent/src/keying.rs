//! Automatic keys: what the node's part of the protocol wants, carried out. It decides in `esplanade-keying`; here are its
//! key pairs, its file, and what it is told of the kernel.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use esplanade_crds::conditions::reason;
use esplanade_crds::{
    IpsecNodeStateSpec, IpsecPeerSpec, NodePolicy, Phase, PolicyInKernel, Problem, ProblemKind, PublishedKey,
};
use esplanade_keying::node::{Node, Settings};
use esplanade_keying::{KeyId, KeyPair, NodeUid, PolicyRevision, Ring, Sa, Time};
use esplanade_model::{AUTOMATIC, Capabilities, Reqid, Wanted};
use esplanade_seal::KeyPair as SealingKeys;
use esplanade_sync::Engine;

use crate::desired::Input;
use crate::state_file::FileError;

mod file;
mod in_force;
mod material;
mod ppk;
mod running;

use file::RingFile;
use in_force::InForce;
use material::{Material, revision};
use running::{Given, Running};

/// Automatic keys of this node.
#[derive(Debug)]
pub struct Keying {
    name: String,
    file: RingFile,
    in_force: InForce,
    settings: Settings,
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

/// What a pass is made for, to see whether another one has to follow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shape(Vec<Sa>, Vec<Sa>, Vec<(PolicyRevision, Phase)>);

impl Keying {
    /// For the node of this name; the ring is kept in this directory.
    pub fn new(name: &str, directory: &Path, boot_id: &str) -> Self {
        let (file, in_force) = (RingFile::new(directory, boot_id), InForce::load(directory, boot_id));
        Self { name: name.to_owned(), file, in_force, settings: Settings::default(), running: None }
    }

    /// With other durations.
    #[cfg(test)]
    pub(crate) fn with(self, settings: Settings) -> Self {
        Self { settings, ..self }
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
        self.running.as_ref().is_some_and(|running| me.is_none_or(|me| running.is(me)))
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
        let node = Node::new(me, self.settings, records, now);
        let mut running = Running::new(me, node, Material::new(&own.node_uid, pairs), now);
        running.start(Given { node: &self.name, input, kernel }, sealing, &self.in_force, engine);
        self.running = Some(running);
    }

    /// Takes in what the API server has told, and the time.
    pub(crate) fn take(&mut self, input: &Input, keys: &SealingKeys, kernel: &Capabilities, now: Time) {
        let Some(running) = &mut self.running else { return };
        running.take(Given { node: &self.name, input, kernel }, keys, now);
    }

    /// The spec to expand: where clear text can't be given up yet, the phase is an earlier one than told.
    pub(crate) fn spec(&self, spec: &Arc<IpsecNodeStateSpec>) -> Arc<IpsecNodeStateSpec> {
        let phases = self.phases(&spec.policies);
        if spec.policies.iter().map(|policy| policy.phase).eq(phases.iter().copied()) {
            return Arc::clone(spec);
        }
        let mut changed = (**spec).clone();
        for (policy, phase) in changed.policies.iter_mut().zip(phases) {
            policy.phase = phase;
        }
        Arc::new(changed)
    }

    fn phases(&self, policies: &[NodePolicy]) -> Vec<Phase> {
        let phase = |policy: &NodePolicy| match policy.automatic {
            Some(_) => policy.phase_from(self.in_force.phase(revision(policy))),
            None => policy.phase,
        };
        match &self.running {
            Some(running) => running.phases(policies),
            None => policies.iter().map(phase).collect(),
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
        Some(self.running.as_ref()?.shape(spec))
    }

    /// Writes the ring's file where that is due: before anything else is done.
    pub(crate) fn save(&mut self) -> Result<(), FileError> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let Some(ring) = running.unsaved() else { return Ok(()) };
        if ring.keys.is_empty() {
            self.file.forget();
        } else {
            self.file.save(&ring)?;
        }
        running.is_saved();
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
        running.want(Given { node: &self.name, input, kernel }, engine, wanted)
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
        if let Some(running) = &mut self.running {
            running.passed(engine, spec, done);
        }
    }

    /// A packet of this reqid's has no SA.
    pub(crate) fn asked(&mut self, reqid: Reqid) {
        let Some(running) = &mut self.running else { return };
        running.asked(&self.name, reqid);
    }

    /// How far it is. `in_sync`: the last pass left nothing to do.
    pub(crate) fn progress(&self, spec: &IpsecNodeStateSpec, in_sync: bool) -> Option<Progress> {
        Some(self.running.as_ref()?.progress(spec, in_sync))
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
