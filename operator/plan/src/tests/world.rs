//! A cluster that does what the plan says.

use esplanade_crds::{
    IpsecNodeState, IpsecNodeStateStatus, IpsecPeer, IpsecPolicy, IpsecSA, Problem, ProblemKind, SealingKey,
};
use esplanade_seal::{Context, KeyPair, OpenError, Source, Usage};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use zeroize::Zeroizing;

use super::build::{ENCRYPTION_KEY, INTEGRITY_KEY, at, mk_node, mk_policy, mk_sa, mk_secret};
use crate::{Plan, Snapshot, plan};

pub(super) struct World {
    pub(super) snapshot: Snapshot,
    pub(super) second: i64,
    rng: StdRng,
    version: u64,
}

impl World {
    /// Nodes a and b with pods, IpsecSAs a-to-b and b-to-a, and the policy `pods` that names them.
    pub(super) fn two_nodes() -> Self {
        let snapshot = Snapshot {
            namespace: "esplanade".into(),
            nodes: vec![
                mk_node("a", &["10.0.0.1", "fd00::1"], &["10.244.1.0/24"]),
                mk_node("b", &["10.0.0.2", "fd00::2"], &["10.244.2.0/24"]),
            ],
            policies: vec![mk_policy("pods", &["a-to-b", "b-to-a"])],
            unreadable: Default::default(),
            sas: vec![mk_sa("a-to-b", "a", "b", 0x1001), mk_sa("b-to-a", "b", "a", 0x1002)],
            secrets: [(
                "keys".to_owned(),
                mk_secret(&[("enc", ENCRYPTION_KEY.as_slice()), ("auth", INTEGRITY_KEY.as_slice())]),
            )]
            .into(),
            node_states: Vec::new(),
            peers: Vec::new(),
        };
        Self::of(snapshot)
    }

    pub(super) fn of(snapshot: Snapshot) -> Self {
        Self { snapshot, second: 1, rng: StdRng::seed_from_u64(1), version: 100 }
    }

    /// The same cluster with everything in place.
    pub(super) fn settled() -> Self {
        let mut world = Self::two_nodes();
        world.settle();
        world
    }

    pub(super) fn plan(&mut self) -> Plan {
        self.second += 1;
        plan(&self.snapshot, &at(self.second), &mut self.rng)
    }

    /// Writes what differs, as the API server would keep it.
    pub(super) fn apply(&mut self, plan: &Plan) {
        for (node, (spec, _)) in &plan.node_states {
            let position = self.state_position(node);
            let state = &mut self.snapshot.node_states[position];
            if state.spec != *spec {
                state.spec = spec.clone();
                state.metadata.generation = state.metadata.generation.map(|generation| generation + 1);
            }
        }
        for (node, spec) in &plan.peers {
            let peers = &mut self.snapshot.peers;
            let position = peers.iter().position(|peer| peer.metadata.name.as_ref() == Some(node));
            let position = position.unwrap_or_else(|| {
                peers.push(IpsecPeer::new(node, Default::default()));
                peers.len() - 1
            });
            let peer = &mut peers[position];
            if peer.spec != *spec || peer.metadata.resource_version.is_none() {
                self.version += 1;
                peer.spec = spec.clone();
                peer.metadata.resource_version = Some(self.version.to_string());
            }
        }
        for policy in &mut self.snapshot.policies {
            policy.status =
                policy.metadata.name.as_ref().and_then(|name| plan.policy_status.get(name)).cloned();
        }
        for sa in &mut self.snapshot.sas {
            sa.status = sa.metadata.name.as_ref().and_then(|name| plan.sa_status.get(name)).cloned();
        }
    }

    /// A resourceVersion after all so far.
    pub(super) fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// Every agent does what it has been told.
    pub(super) fn agents_confirm(&mut self) {
        let version = self.version.to_string();
        for state in &mut self.snapshot.node_states {
            let node = state.metadata.name.clone().unwrap();
            let public = key_pair(&node).public().clone();
            let status = state.status.get_or_insert_default();
            status.sealing_key = Some(SealingKey { id: public.id(), public_key: public.to_base64() });
            status.observed_generation = state.metadata.generation;
            status.peers_applied_through = Some(version.clone());
        }
    }

    /// Until nothing changes any more.
    pub(super) fn settle(&mut self) {
        for _ in 0..4 {
            let plan = self.plan();
            self.apply(&plan);
            self.agents_confirm();
        }
        let plan = self.plan();
        self.apply(&plan);
    }

    fn state_position(&mut self, node: &str) -> usize {
        let states = &mut self.snapshot.node_states;
        let position = states.iter().position(|state| state.metadata.name.as_deref() == Some(node));
        position.unwrap_or_else(|| {
            let mut state = IpsecNodeState::new(node, Default::default());
            state.metadata.generation = Some(1);
            states.push(state);
            states.len() - 1
        })
    }

    pub(super) fn state(&mut self, node: &str) -> &mut IpsecNodeState {
        let position = self.state_position(node);
        &mut self.snapshot.node_states[position]
    }

    pub(super) fn agent(&mut self, node: &str) -> &mut IpsecNodeStateStatus {
        self.state(node).status.get_or_insert_default()
    }

    pub(super) fn problem(
        &mut self,
        node: &str,
        kind: ProblemKind,
        name: &str,
        category: &str,
        message: &str,
    ) {
        let problem = Problem { kind, name: name.into(), category: category.into(), message: message.into() };
        self.agent(node).problems.push(problem);
    }

    pub(super) fn sa(&mut self, name: &str) -> &mut IpsecSA {
        self.snapshot.sas.iter_mut().find(|sa| sa.metadata.name.as_deref() == Some(name)).unwrap()
    }

    pub(super) fn policy(&mut self, name: &str) -> &mut IpsecPolicy {
        self.snapshot.policies.iter_mut().find(|one| one.metadata.name.as_deref() == Some(name)).unwrap()
    }
}

/// The sealing key of a node's agent.
pub(super) fn key_pair(node: &str) -> KeyPair {
    let mut bytes = [7; 32];
    // Not in the first byte: its low bits don't count (RFC 7748 §5).
    bytes.iter_mut().skip(8).zip(node.bytes()).for_each(|(byte, letter)| *byte = letter);
    KeyPair::from_bytes(&bytes)
}

/// What the node's agent finds in a sealed key.
pub(super) fn open(
    node: &str,
    sa: &str,
    usage: Usage,
    sealed: &esplanade_crds::SealedKey,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let esplanade_crds::SecretVersion { uid, resource_version, key } = &sealed.source;
    let context = Context { object: sa, usage, source: Source { uid, resource_version, key } };
    key_pair(node).open(&context, &sealed.sealed)
}

/// `status reason: message`.
pub(super) fn words(conditions: &[Condition], type_: &str) -> String {
    match conditions.iter().find(|condition| condition.type_ == type_) {
        Some(one) if one.message.is_empty() => format!("{} {}", one.status, one.reason),
        Some(one) => format!("{} {}: {}", one.status, one.reason, one.message),
        None => "none".into(),
    }
}

impl Plan {
    pub(super) fn sa(&self, name: &str, type_: &str) -> String {
        words(&self.sa_status[name].conditions, type_)
    }

    pub(super) fn policy(&self, name: &str, type_: &str) -> String {
        words(&self.policy_status[name].conditions, type_)
    }

    pub(super) fn installed_at(&self, node: &str) -> Vec<&str> {
        self.node_states[node].0.security_associations.iter().map(|sa| sa.name.as_str()).collect()
    }

    pub(super) fn policies_at(&self, node: &str) -> Vec<&str> {
        self.node_states[node].0.policies.iter().map(|policy| policy.name.as_str()).collect()
    }
}
