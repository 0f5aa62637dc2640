//! IpsecPolicies and everyone's networks → policies of this node's kernel.

use std::collections::BTreeMap;

use esplanade_crds::{Action as ApiAction, Compression, IpsecPeerSpec, NodePolicy, Phase, Problem};
use esplanade_model::{
    Action, Capabilities, Direction, Mode, Policy, PolicyFlags, PolicyKey, Protocol, Selector, Template,
};

use crate::error::PolicyError;
use crate::participant::Participant;
use crate::sas::{self, Tunnels};
use crate::{beside, mark, priority, reqid, selectors};

/// A policy of the kernel, and whose it is.
pub(crate) struct Made<'a> {
    pub(crate) of: &'a NodePolicy,
    pub(crate) policy: Policy,
}

/// The policies of a node.
#[derive(Default)]
pub(crate) struct Policies {
    pub(crate) wanted: Vec<(String, Policy)>,
    pub(crate) problems: Vec<Problem>,
}

pub(crate) fn expand(
    node: &str,
    policies: &[NodePolicy],
    peers: &BTreeMap<String, IpsecPeerSpec>,
    tunnels: &Tunnels,
    kernel: &Capabilities,
) -> Policies {
    let mut all = Vec::new();
    let mut problems = Vec::new();
    for (kernel_priority, policy) in priority::in_order(policies) {
        let mut errors = Vec::new();
        for mut made in one(node, policy, kernel_priority, peers, tunnels, &mut errors) {
            if let Err(missing) = kernel.require_policy(&made) {
                errors.push(missing.into());
                if made.templates.iter().any(|template| template.optional) {
                    continue;
                }
                (made.action, made.templates) = (Action::Block, Vec::new());
            }
            all.push(Made { of: policy, policy: made });
        }
        errors.dedup();
        problems.extend(errors.iter().map(|error| error.problem(&policy.name)));
    }
    problems.sort_by(|a, b| a.name.cmp(&b.name));
    problems.dedup();
    beside::admit(&mut all);
    // Two policies may ask for the same key: the first counts, as the kernel would look at it first. Of two revisions of one
    // policy it is the one that is switched on further.
    let mut wanted: BTreeMap<PolicyKey, (String, Policy)> = BTreeMap::new();
    for Made { of, policy } in all {
        wanted.entry(policy.key()).or_insert_with(|| (of.name.clone(), policy));
    }
    Policies { wanted: wanted.into_values().collect(), problems }
}

fn one(
    node: &str,
    policy: &NodePolicy,
    priority: u32,
    peers: &BTreeMap<String, IpsecPeerSpec>,
    tunnels: &Tunnels,
    errors: &mut Vec<PolicyError>,
) -> Vec<Policy> {
    let me = peers.get(node).and_then(|peer| Participant::node(node, peer, policy, errors));
    let Some(me) = me else { return Vec::new() };
    let mut others = Vec::new();
    for (name, peer) in peers.iter().filter(|(name, _)| *name != node) {
        others.extend(Participant::node(name, peer, policy, errors));
    }
    others.extend(policy.gateways.iter().map(|gateway| Participant::gateway(gateway, errors)));
    others.extend(policy.outside.iter().map(|outside| Participant::outside(outside, errors)));

    let mut made = Vec::new();
    for other in others {
        let treatment = Treatment::of(policy, &me, &other, tunnels);
        let selectors = selectors::outbound(&me, &other, &policy.traffic);
        let selectors = selectors.iter().filter(|selector| treatment.covers(selector, &me, &other));
        let before = made.len();
        for selector in selectors {
            made.extend(both_ways(selector, priority, &treatment, policy, &me));
        }
        // That what is outside has no gateway, the operator tells.
        if matches!(treatment, Treatment::Unreachable) && made.len() > before && !other.is_outside() {
            errors.push(PolicyError::NoCommonFamily(other.identity.clone()));
        }
    }
    made
}

/// The policies for a selector of outbound traffic and for what comes back.
fn both_ways(
    outbound: &Selector,
    priority: u32,
    treatment: &Treatment,
    policy: &NodePolicy,
    me: &Participant,
) -> Vec<Policy> {
    let host = me.is_host(outbound.source());
    // A node's own address may lie in its pod CIDR (that of a bridge), so what isn't one of its addresses can be both.
    let inbound: &[_] = if host { &[Direction::In] } else { &[Direction::In, Direction::Forward] };
    let interface_id = policy.interface_id;
    let mark = mark::parse(policy.mark);
    let NodePolicy { icmp_errors, local_override, .. } = *policy;
    let flags = PolicyFlags { icmp_errors, local_override };
    let mut made = Vec::new();
    let mut add = |direction, selector| {
        if let Some((action, templates)) = treatment.at(policy.phase, direction) {
            made.push(Policy { direction, selector, interface_id, mark, priority, action, templates, flags });
        }
    };
    add(Direction::Out, *outbound);
    for direction in inbound {
        add(*direction, outbound.reversed());
    }
    // Nobody looks for neighbours through an XFRM interface.
    if host && interface_id == 0 && !matches!(treatment, Treatment::Clear(Action::Allow)) {
        let clear = |direction, selector| {
            Policy::new(direction, selector, priority::NEIGHBOUR_DISCOVERY, Action::Allow)
        };
        for (out, back) in selectors::neighbour_discovery(outbound) {
            made.extend([clear(Direction::Out, out), clear(Direction::In, back)]);
        }
    }
    made
}

/// What a policy does with traffic between this node and another participant.
enum Treatment {
    /// Let through, or drop all whatever the phase. Before Encrypt, what is let through is taken but not sent.
    Clear(Action),
    /// SAs for these templates carry it; `optional` is set by the phase.
    Protect { out: Vec<Template>, back: Vec<Template> },
    /// It should be protected, and can't: there are no addresses for a tunnel, or no gateway.
    Unreachable,
}

impl Treatment {
    fn of(policy: &NodePolicy, me: &Participant, other: &Participant, tunnels: &Tunnels) -> Self {
        match policy.action {
            ApiAction::Bypass => return Self::Clear(Action::Allow),
            ApiAction::Discard => return Self::Clear(Action::Block),
            ApiAction::Protect if other.is_outside() => return Self::Unreachable,
            ApiAction::Protect => {}
        }
        let mode = sas::mode(policy.mode);
        let protocol = sas::protocol(policy.protocol);
        let templates = |source: &Participant, destination: &Participant| {
            let (from, to) = (source.identity.as_str(), destination.identity.as_str());
            let tunnel = match mode {
                Mode::Transport => None,
                // What the SA says, for the kernel wants it to fit exactly.
                Mode::Tunnel | Mode::Beet | Mode::Iptfs => {
                    Some(tunnels.get(&policy.name, from, to).or_else(|| source.tunnel_to(destination))?)
                }
            };
            let reqid = Some(reqid::of_policy(&policy.name, from, to));
            let outer = Template { protocol, mode, reqid, tunnel, optional: false };
            Some(match policy.compression {
                Compression::None => vec![outer],
                // First compressed, and what comes of it is protected. The tunnel is IPComp's: what is around its packets
                // already goes from one end to the other.
                Compression::Deflate => vec![
                    Template { protocol: Protocol::IpComp, ..outer },
                    Template { mode: Mode::Transport, tunnel: None, ..outer },
                ],
            })
        };
        match (templates(me, other), templates(other, me)) {
            (Some(out), Some(back)) => Self::Protect { out, back },
            _ => Self::Unreachable,
        }
    }

    /// Transport mode protects traffic between the ends' own addresses only.
    fn covers(&self, outbound: &Selector, me: &Participant, other: &Participant) -> bool {
        match self {
            Self::Protect { out, .. } if out.iter().all(|one| one.mode == Mode::Transport) => {
                me.is_host(outbound.source()) && other.is_host(outbound.destination())
            }
            _ => true,
        }
    }

    /// The kernel's action and templates; none if nothing is to be there yet. The kernel refuses optional tunnel
    /// templates outbound (`validate_tmpl`), so before Encrypt there is no outbound policy.
    fn at(&self, phase: Phase, direction: Direction) -> Option<(Action, Vec<Template>)> {
        let outbound = direction == Direction::Out;
        match self {
            Self::Clear(Action::Allow) | Self::Protect { .. } if outbound && phase < Phase::Encrypt => None,
            Self::Clear(action) => Some((*action, Vec::new())),
            Self::Protect { out, .. } if outbound => Some((Action::Allow, out.clone())),
            Self::Protect { back, .. } => {
                // Packets that compressing makes no shorter come as they are (RFC 3173 §2.2).
                let optional = |one: &Template| phase < Phase::Enforce || one.protocol == Protocol::IpComp;
                let template = |one: &Template| Template { optional: optional(one), ..*one };
                Some((Action::Allow, back.iter().map(template).collect()))
            }
            Self::Unreachable => {
                let required = if outbound { Phase::Encrypt } else { Phase::Enforce };
                (phase >= required).then_some((Action::Block, Vec::new()))
            }
        }
    }
}
