//! What each node should know.

use std::collections::BTreeMap;

use esplanade_crds::{
    Compression, IpsecNodeStateSpec, Mode, NodeAutomaticKeying, NodePolicy, NodeSecurityAssociation, Offload,
    Phase, Protocol,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rand_core::CryptoRng;

use crate::accept::{End, PolicyIntent};
use crate::assign::Assignment;
use crate::cluster::Cluster;
use crate::expired::expired;
use crate::finding::Finding;
use crate::handover::{self, Between};
use crate::participants::Participants;
use crate::policies::{Policies, Policy, State};
use crate::resolve::{self, Accepted, Sas};
use crate::revisions::Newest;
use crate::rollout::{self, Leaving};
use crate::sealing::{self, Sealing};

/// What each node should know, and what has to wait.
#[derive(Default)]
pub(crate) struct NodeStates {
    pub(crate) specs: BTreeMap<String, IpsecNodeStateSpec>,
    /// Why a node isn't told of an IpsecSA yet, by the names of both.
    pub(crate) pending: BTreeMap<(String, String), Finding>,
    /// Why a node isn't told of an IpsecPolicy yet, by the names of both.
    pub(crate) unsealed: BTreeMap<(String, String), Finding>,
}

impl NodeStates {
    pub(crate) fn sa(&self, node: &str, sa: &str) -> Option<&NodeSecurityAssociation> {
        self.specs.get(node)?.security_associations.iter().find(|one| one.name == sa)
    }

    /// In all its revisions.
    pub(crate) fn policies(&self, node: &str, policy: &str) -> Vec<&NodePolicy> {
        let told = self.specs.get(node).map(|spec| spec.policies.as_slice()).unwrap_or_default();
        told.iter().filter(|one| one.name == policy).collect()
    }
}

/// For every Node, also where nothing concerns it: the agent publishes its sealing key there.
pub(crate) fn node_states(
    cluster: &Cluster<'_>,
    (policies, leaving): (&Policies<'_>, &Leaving<'_>),
    sas: &Sas<'_>,
    assignment: &Assignment,
    now: &Time,
    rng: &mut dyn CryptoRng,
) -> NodeStates {
    let mut states = NodeStates::default();
    for node in cluster.nodes() {
        let keys = rollout::keys(&node.name, cluster, now);
        states.specs.insert(node.name.clone(), IpsecNodeStateSpec { keys, ..Default::default() });
    }
    for (node, told) in leaving.told(cluster, now) {
        if let Some(spec) = states.specs.get_mut(&node) {
            spec.policies.push(told);
        }
    }
    for (name, policy) in policies.iter().filter(|(name, _)| !leaving.has(name)) {
        for (node, told) in told(name, policy, cluster, now, rng) {
            match (told, states.specs.get_mut(&node)) {
                (Ok(told), Some(spec)) => spec.policies.push(told),
                (Ok(_), None) => {}
                (Err(finding), _) => {
                    states.unsealed.insert((name.to_owned(), node), finding);
                }
            }
        }
    }
    let unreadable = policies.unreadable(cluster);
    for (name, nodes) in unreadable.iter().filter(|(name, _)| !leaving.has(name)) {
        for (node, told) in kept(name, nodes, cluster) {
            if let Some(spec) = states.specs.get_mut(&node) {
                spec.policies.push(told);
            }
        }
    }
    for node in cluster.nodes() {
        if let Some(spec) = states.specs.get_mut(&node.name).filter(|spec| !spec.policies.is_empty()) {
            spec.pod_cidrs = node.pod_cidrs.iter().map(ToString::to_string).collect();
        }
    }
    for (name, sa) in sas.iter() {
        let Ok(accepted) = &sa.state else { continue };
        let ends = [&accepted.intent.source, &accepted.intent.destination].map(|end| {
            let End::Node(node) = end else { return None };
            // Of a policy that can't be read, its SAs stay with it.
            let kept = || {
                let policy = cluster.installed_sa(node, name)?.policy.as_deref()?;
                unreadable.iter().any(|(name, _)| *name == policy).then_some(policy)
            };
            let policy = assignment.policy(name).or_else(kept);
            // What a refused policy had stays with it.
            let told = states.specs.get(node).map_or(&[][..], |spec| &spec.policies);
            let told = told.iter().find(|told| Some(told.name.as_str()) == policy);
            match association(name, accepted, node, (policy, told), cluster, rng) {
                Ok(association) => Some((node.as_str(), association?)),
                Err(finding) => {
                    states.pending.insert((name.to_owned(), node.clone()), finding);
                    None
                }
            }
        });
        states.tell(name, ends, cluster, now);
    }
    states
}

impl NodeStates {
    /// Tells the ends of an SA, sender and receiver, what each should know.
    fn tell(
        &mut self,
        name: &str,
        ends: [Option<(&str, NodeSecurityAssociation)>; 2],
        cluster: &Cluster<'_>,
        now: &Time,
    ) {
        let mut add = |node: &str, association| {
            if let Some(spec) = self.specs.get_mut(node) {
                spec.security_associations.push(association);
            }
        };
        let [Some(sender), Some(receiver)] = ends else {
            // Nobody sends without an SPI.
            let is_complete = |node: &str, one: &NodeSecurityAssociation| {
                one.spi.is_some() || one.destination.node.as_deref() == Some(node)
            };
            let ends = ends.into_iter().flatten().filter(|(node, one)| is_complete(node, one));
            ends.for_each(|(node, association)| add(node, association));
            return;
        };
        let (from, to) = (sender.0, receiver.0);
        let step = handover::step(Between { name, sender, receiver }, cluster, now);
        if let Some(sends) = step.sender {
            add(from, sends);
        }
        add(to, step.receiver);
        if let Some(spec) = self.specs.get_mut(to) {
            spec.retiring.extend(step.retiring);
        }
        if let Some(waits) = step.waits {
            self.pending.insert((name.to_owned(), from.to_owned()), waits);
        }
    }
}

/// What is said of a policy, to each node that it concerns, or why that isn't told of it yet.
fn told(
    name: &str,
    policy: &Policy<'_>,
    cluster: &Cluster<'_>,
    now: &Time,
    rng: &mut dyn CryptoRng,
) -> Vec<(String, Result<NodePolicy, Finding>)> {
    match &policy.state {
        State::Accepted { intent, participants, ppk, .. } => {
            let told = node_policy(name, policy, intent, participants);
            if !rollout::in_steps(&told, cluster) {
                return participants.nodes().map(|(node, _)| (node.to_owned(), Ok(told.clone()))).collect();
            }
            let (uid, revision) = (&told.uid, &told.revision);
            let all = Newest { name, uid, revision, participants }.told(&told, cluster, now);
            let told = all.into_iter().filter_map(|(node, told)| {
                let has_ppk = told.revision == *revision
                    || told.automatic.as_ref().is_some_and(|keying| keying.ppk.is_some());
                let told = sealable(told, &node, ppk.as_ref(), cluster)?;
                let told = match has_ppk {
                    true => sealing::with_ppk(told, ppk.as_ref(), &node, cluster, rng),
                    false => Ok(told),
                };
                Some((node, told))
            });
            told.collect()
        }
        State::Refused { kept_at, .. } | State::Unresolved { kept_at, .. } => {
            kept(name, kept_at, cluster).into_iter().map(|(node, told)| (node, Ok(told))).collect()
        }
    }
}

/// Of an earlier revision, what a node that joins can be told: the PPK that the others have is sealed to it where that is the
/// newest revision's too. Else there is nobody to ask for it, and the node is told of the newest only.
fn sealable(
    told: NodePolicy,
    node: &str,
    ppk: Option<&resolve::Ppk<'_>>,
    cluster: &Cluster<'_>,
) -> Option<NodePolicy> {
    let of = rollout::Of { name: &told.name, uid: &told.uid, revision: &told.revision };
    let sealed = told.automatic.as_ref().and_then(|keying| Some((keying, keying.ppk.as_ref()?)));
    let Some((keying, sealed)) = sealed.filter(|_| rollout::installed(&of, node, cluster).is_none()) else {
        return Some(told);
    };
    let automatic = Some(NodeAutomaticKeying { ppk: None, ..keying.clone() });
    ppk.is_some_and(|ppk| ppk.version == sealed.source).then(|| NodePolicy { automatic, ..told.clone() })
}

/// What these nodes have been told of a policy.
fn kept(name: &str, nodes: &[String], cluster: &Cluster<'_>) -> Vec<(String, NodePolicy)> {
    let of = |node: &String| {
        let told = cluster.installed_revisions(node, name);
        told.map(|told| (node.clone(), told.clone())).collect::<Vec<_>>()
    };
    nodes.iter().flat_map(of).collect()
}

fn node_policy(
    name: &str,
    policy: &Policy<'_>,
    intent: &PolicyIntent,
    participants: &Participants,
) -> NodePolicy {
    let protect = intent.protect.as_ref();
    let (mode, protocol, compression, interface_id, phase) = match protect {
        Some(protect) => {
            (protect.mode, protect.protocol, protect.compression, protect.interface_id, protect.target())
        }
        None => (Mode::default(), Protocol::default(), Compression::default(), 0, Phase::Enforce),
    };
    NodePolicy {
        name: name.to_owned(),
        uid: policy.object.metadata.uid.clone().unwrap_or_default(),
        revision: intent.revision.clone(),
        phase,
        target: phase.into(),
        priority: intent.priority,
        action: intent.action,
        mode,
        protocol,
        compression,
        interface_id,
        mark: intent.mark,
        icmp_errors: protect.is_some_and(|protect| protect.icmp_errors),
        offload: protect.map_or(Offload::None, |protect| protect.offload),
        local_override: protect.is_some_and(|protect| protect.local_override),
        traffic: intent.traffic.clone(),
        gateways: participants.gateways(),
        outside: participants.outside(),
        automatic: protect.and_then(|protect| protect.automatic.clone()),
    }
}

/// What is said of an IpsecSA to the node at one of its ends; nothing while something that it names is
/// missing, and the node hasn't been told before.
fn association(
    name: &str,
    sa: &Accepted<'_>,
    node: &str,
    (policy, told): (Option<&str>, Option<&NodePolicy>),
    cluster: &Cluster<'_>,
    rng: &mut dyn CryptoRng,
) -> Result<Option<NodeSecurityAssociation>, Finding> {
    let Ok(ends) = &sa.ends else { return Ok(None) };
    let intent = &sa.intent;
    let Some(Sealing { encryption, integrity }) = sealing::seal(name, sa, node, cluster, rng)? else {
        return Ok(None);
    };
    let (source, destination) = ends.endpoints(intent);
    let compressed = told.is_some_and(|policy| policy.compression != Compression::None);
    Ok(Some(NodeSecurityAssociation {
        name: name.to_owned(),
        policy: policy.map(str::to_owned),
        source,
        destination,
        spi: spi(name, sa, node, cluster),
        protocol: intent.protocol,
        mode: match intent.protocol {
            // Around the tunnel of IPComp, whose packets go from one end to the other already.
            Protocol::ESP if compressed => Mode::Transport,
            _ => intent.mode,
        },
        encryption,
        integrity,
        anti_replay: intent.anti_replay,
        selector: intent.selector.clone(),
        udp: intent.udp,
        interface_id: intent.interface_id,
        lifetime: intent.lifetime.clone(),
        expired: expired(name, sa, cluster),
        mark: intent.mark,
        output_mark: intent.output_mark,
        icmp_errors: told.is_some_and(|policy| policy.icmp_errors),
        // Of compression and ESP, devices take ESP.
        offload: match (intent.protocol, told) {
            (Protocol::ESP, Some(policy)) => policy.offload,
            _ => Offload::None,
        },
        cpu: intent.cpu,
        iptfs: intent.iptfs,
    }))
}

/// The SPI, as the node is told: the receiver is not told what its kernel chooses. A sender stays with what it has while the
/// receiver has none.
fn spi(name: &str, sa: &Accepted<'_>, node: &str, cluster: &Cluster<'_>) -> Option<u32> {
    let receives = matches!(&sa.intent.destination, End::Node(receiver) if receiver == node);
    if receives {
        return sa.intent.spi;
    }
    sa.spi.or_else(|| cluster.installed_sa(node, name)?.spi)
}
