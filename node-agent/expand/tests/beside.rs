//! Whatever steps two nodes are at with policies for the same packets, each takes what the other sends; and none takes clear
//! text that a policy in force has ended. What a kernel does with policies is said here in a few lines (`__xfrm_policy_check`).

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::net::IpAddr;

use esplanade_crds::{
    Action as ApiAction, Compression, IpsecNodeStateSpec, IpsecPeerSpec, Mode as ApiMode, NodePolicy,
    Offload, PeerSelectors, Phase, PhaseTarget, Protocol as ApiProtocol, TrafficProtocol, TrafficSelector,
};
use esplanade_expand::expand;
use esplanade_model::{Action, Capabilities, Capability, Direction, Mode, Policy, Port, Selector, Template};
use ipnet::IpNet;
use proptest::prelude::*;
use proptest::sample::select;

const NODES: [(&str, &str); 2] = [("a", "192.0.2.1"), ("b", "192.0.2.2")];
const TCP: u8 = 6;

/// One of the policies, and how far each of the two nodes is with it; nowhere at first.
#[derive(Debug, Clone)]
struct Case {
    kind: Kind,
    /// All packets, or TCP to a port only.
    port: Option<u16>,
    /// Not only the nodes' addresses, but those next to them as well.
    wide: bool,
    priority: u16,
    target: PhaseTarget,
    at: [Option<Phase>; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tunnel,
    Transport,
    Bypass,
}

impl Case {
    fn told(&self, number: usize, node: usize) -> Option<NodePolicy> {
        let name = format!("policy-{number}");
        let traffic = self.port.map(|port| TrafficSelector {
            port: Some(port),
            ..TrafficSelector::all_of(TrafficProtocol::TCP)
        });
        Some(NodePolicy {
            uid: format!("uid-of-{name}"),
            name,
            revision: "1".into(),
            phase: self.at[node]?,
            target: self.target,
            priority: self.priority,
            action: if self.kind == Kind::Bypass { ApiAction::Bypass } else { ApiAction::Protect },
            mode: if self.kind == Kind::Transport { ApiMode::Transport } else { ApiMode::Tunnel },
            protocol: ApiProtocol::ESP,
            compression: Compression::None,
            interface_id: 0,
            mark: None,
            icmp_errors: false,
            offload: Offload::None,
            local_override: false,
            traffic: traffic.into_iter().collect(),
            gateways: vec![],
            outside: None,
            automatic: None,
        })
    }
}

/// What a node's kernel holds.
fn kernel(cases: &[Case], node: usize) -> Vec<Policy> {
    let told = cases.iter().enumerate().filter_map(|(number, case)| case.told(number, node));
    let spec = IpsecNodeStateSpec { policies: told.collect(), ..Default::default() };
    let peers: BTreeMap<String, IpsecPeerSpec> = NODES
        .map(|(name, address)| {
            let selectors = cases.iter().enumerate().map(|(number, case)| {
                let bits = if case.wide && case.kind != Kind::Transport { 31 } else { 32 };
                let network = vec![format!("{address}/{bits}")];
                let policy = format!("policy-{number}");
                PeerSelectors { policy, revision: None, from: network.clone(), to: network }
            });
            let spec = IpsecPeerSpec { addresses: vec![address.to_owned()], selectors: selectors.collect() };
            (name.to_owned(), spec)
        })
        .into();
    let expansion =
        expand(NODES[node].0, &spec, &peers, None, &Capabilities::new("6.1.0", Capability::all().collect()));
    assert_eq!(expansion.problems, []);
    let mut policies: Vec<Policy> = expansion.wanted.policies.into_iter().map(|(_, policy)| policy).collect();
    policies.sort_by_key(|policy| policy.priority);
    policies
}

/// The first policy for TCP from one node to a port of the other.
fn look_up(policies: &[Policy], direction: Direction, from: usize, port: u16) -> Option<&Policy> {
    let net = |node: usize| IpNet::from(NODES[node].1.parse::<IpAddr>().unwrap());
    let mut packet = Selector::new(net(from), net(1 - from)).unwrap();
    packet.protocol = TCP;
    (packet.source_port, packet.destination_port) = (Port::exactly(40000), Port::exactly(port));
    policies.iter().find(|policy| policy.direction == direction && policy.selector.covers(&packet))
}

/// Whether a packet is taken that came on an SA like this, or in the clear (`xfrm_policy_ok`, `secpath_has_nontransport`).
fn takes(policy: Option<&Policy>, came_by: Option<&Template>) -> bool {
    let Some(policy) = policy else { return came_by.is_none_or(|sa| sa.mode == Mode::Transport) };
    if policy.action == Action::Block {
        return false;
    }
    let mut verified = 0;
    for template in policy.templates.iter().rev() {
        if template.optional && template.mode == Mode::Transport {
            continue;
        }
        let agrees = |sa: &Template| {
            let reqid = template.reqid.is_none() || template.reqid == sa.reqid;
            let ends = template.mode == Mode::Transport || template.tunnel == sa.tunnel;
            reqid && ends && (template.protocol, template.mode) == (sa.protocol, sa.mode)
        };
        match came_by.filter(|_| verified == 0) {
            Some(sa) if agrees(sa) => verified = 1,
            _ if template.optional => {}
            _ => return false,
        }
    }
    came_by.is_none_or(|sa| verified == 1 || sa.mode == Mode::Transport)
}

/// All that is sent is taken.
fn understood(cases: &[Case], kernels: &[Vec<Policy>; 2], from: usize, port: u16) {
    let sends = look_up(&kernels[from], Direction::Out, from, port);
    let came_by = sends.and_then(|policy| policy.templates.first());
    let there = look_up(&kernels[1 - from], Direction::In, from, port);
    assert!(takes(there, came_by), "{from} to port {port} by {came_by:?}, there: {there:?}\n{cases:#?}");
}

/// No clear text is taken where a policy is in force for all packets, and those that come between the first for this packet and it
/// are so too, or on their way.
fn closed(cases: &[Case], kernels: &[Vec<Policy>; 2], from: usize, port: u16) {
    let node = 1 - from;
    let mut there: Vec<&Case> = cases.iter().filter(|case| case.at[node].is_some()).collect();
    there.sort_by_key(|case| case.priority);
    let mut after = there.iter().skip_while(|case| case.port.is_some_and(|only| only != port));
    let in_force = |case: &&&Case| case.at[node] == Some(Phase::Enforce) && case.kind == Kind::Tunnel;
    let strict =
        |case: &&&Case| case.kind == Kind::Tunnel && (in_force(case) || case.target.phase() != case.at[node]);
    // One that is for fewer addresses isn't for all packets of one that is for more.
    let ends =
        after.by_ref().take_while(strict).any(|case| in_force(&case) && case.port.is_none() && case.wide);
    // Beside transport mode clear text is taken until it is over.
    let is_beside_transport = there.iter().any(|case| case.kind == Kind::Transport);
    if ends && !is_beside_transport {
        let first = look_up(&kernels[node], Direction::In, from, port);
        assert!(!takes(first, None), "clear text from {from} to port {port}: {first:?}\n{cases:#?}");
    }
}

fn check(cases: &[Case]) {
    let kernels = [kernel(cases, 0), kernel(cases, 1)];
    for (from, port) in [(0, 80), (0, 443), (1, 80), (1, 443)] {
        understood(cases, &kernels, from, port);
        closed(cases, &kernels, from, port);
    }
}

/// Where two nodes can be at once: no more than one step apart.
fn steps() -> Vec<[Option<Phase>; 2]> {
    let all = [None, Some(Phase::Prepare), Some(Phase::Encrypt), Some(Phase::Enforce)];
    let apart = all.windows(2).flat_map(|two| [[two[0], two[1]], [two[1], two[0]]]);
    all.iter().map(|one| [*one, *one]).chain(apart).collect()
}

/// For which packets two policies are: ports, and whether they are for more addresses.
const PACKETS: [[(Option<u16>, bool); 2]; 6] = [
    [(None, true), (None, true)],
    [(Some(80), true), (None, true)],
    [(None, true), (Some(80), true)],
    [(None, false), (None, true)],
    [(None, true), (None, false)],
    [(Some(80), true), (None, false)],
];

#[test]
fn two_policies_at_all_steps() {
    let kinds = [Kind::Tunnel, Kind::Transport, Kind::Bypass];
    let kinds = kinds.into_iter().flat_map(|one| kinds.map(|other| [one, other]));
    let targets = [PhaseTarget::Enforce, PhaseTarget::Absent];
    let steps = steps();
    let steps: Vec<_> = steps.iter().flat_map(|one| steps.iter().map(move |other| [*one, *other])).collect();
    let mut checked = 0;
    for kinds in kinds {
        for (packets, target) in PACKETS.into_iter().flat_map(|one| targets.map(|target| (one, target))) {
            for at in &steps {
                let case = |number: usize, priority| {
                    let (port, wide) = packets[number];
                    Case { kind: kinds[number], port, wide, priority, target, at: at[number] }
                };
                check(&[case(0, 100), case(1, 500)]);
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 9 * 12 * 100);
}

fn case(number: usize) -> impl Strategy<Value = Case> {
    let kind = select(&[Kind::Tunnel, Kind::Tunnel, Kind::Transport, Kind::Bypass][..]);
    let target = select(&[PhaseTarget::Enforce, PhaseTarget::Encrypt, PhaseTarget::Absent][..]);
    let port = select(&[None, None, Some(80), Some(443)][..]);
    (kind, port, any::<bool>(), target, select(steps())).prop_map(move |(kind, port, wide, target, at)| {
        // Whoever takes clear text for good doesn't go further.
        let at = match target {
            PhaseTarget::Encrypt => at.map(|at| at.map(|at| at.min(Phase::Encrypt))),
            PhaseTarget::Enforce | PhaseTarget::Absent => at,
        };
        let priority = 100 * u16::try_from(number).unwrap();
        Case { kind, port, wide, priority, target, at }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn three_policies_at_any_steps(first in case(1), second in case(2), third in case(3)) {
        check(&[first, second, third]);
    }
}
