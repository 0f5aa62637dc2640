//! What an IpsecPolicy is refused for.

use esplanade_crds::{
    Action, AntiReplay, AutomaticKeying, Compression, Encapsulation, EncapsulationType, Endpoints, Gateway,
    IpsecPolicySpec, Mode, Offload, PodSelectors, Protection, Protocol, Suite, TrafficProtocol,
    TrafficSelector,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::build::{mk_policy, nodes, pod_cidrs};
use super::world::World;

/// The condition Accepted of a new policy after the edit; the other policy goes on.
fn accepted(edit: impl FnOnce(&mut IpsecPolicySpec)) -> String {
    let mut world = World::settled();
    let mut policy = mk_policy("new", &["x"]);
    edit(&mut policy.spec);
    world.snapshot.policies.insert(0, policy);
    let plan = world.plan();
    assert_eq!(plan.policy_status["pods"].phase.as_deref(), Some("Ready"));
    let accepted = plan.policy("new", "Accepted");
    let taken_up = accepted.starts_with("True");
    assert_eq!(plan.policies_at("a").contains(&"new"), taken_up);
    assert_eq!(plan.peers["a"].selectors.iter().any(|one| one.policy == "new"), taken_up);
    if !taken_up {
        let status = &plan.policy_status["new"];
        assert_eq!(status.phase.as_deref(), Some("Rejected"));
        assert_eq!(status.nodes.as_ref().unwrap().summary, "0/0");
        assert_eq!(status.problems.len(), 1);
        let see = "not accepted: see condition Accepted";
        assert_eq!(plan.policy("new", "ResolvedRefs"), format!("Unknown NotReady: {see}"));
        assert_eq!(plan.policy("new", "Programmed"), format!("False NotReady: {see}"));
    }
    accepted
}

fn protection(spec: &mut IpsecPolicySpec) -> &mut Protection {
    spec.protection.as_mut().unwrap()
}

#[test]
fn a_good_one_is_accepted() {
    assert_eq!(accepted(|_| {}), "True Accepted");
}

#[test]
fn what_is_not_implemented_is_named_with_what_to_write() {
    let check = |edit: fn(&mut IpsecPolicySpec), what: &str| {
        assert_eq!(accepted(edit), format!("False NotImplemented: not implemented yet: {what}"));
    };
    check(
        |policy| {
            protection(policy).encapsulation =
                Some(Encapsulation { type_: EncapsulationType::UDP, port: None });
        },
        "encapsulation: {type: UDP}: leave it out",
    );
    check(
        |policy| protection(policy).offload = Offload::Packet,
        "offload: Packet: write offload: Crypto, or leave it out",
    );
    let pods = || Endpoints { pods: Some(PodSelectors::default()), ..Default::default() };
    let check = |edit: &dyn Fn(&mut IpsecPolicySpec), what: &str| {
        assert_eq!(accepted(edit), format!("False NotImplemented: not implemented yet: {what}"));
    };
    check(&|policy| policy.from.push(pods()), "pods in from: write podCIDRs, nodes, or cidrs");
    check(
        &|policy| {
            (policy.action, policy.protection) = (Action::Discard, None);
            policy.to.push(pods());
        },
        "pods in to: write podCIDRs, nodes, or cidrs",
    );
    check(
        &|policy| {
            policy.to.push(pods());
            protection(policy).offload = Offload::Packet;
        },
        "pods in to: write podCIDRs, nodes, or cidrs; offload: Packet: write offload: Crypto, or leave it \
         out",
    );
}

#[test]
fn bypass_and_discard_are_accepted() {
    for action in [Action::Bypass, Action::Discard] {
        let edit = |policy: &mut IpsecPolicySpec| (policy.action, policy.protection) = (action, None);
        assert_eq!(accepted(edit), "True Accepted");
    }
}

#[test]
fn stored_objects_older_than_the_api_servers_rules_are_checked_again() {
    let check = |edit: fn(&mut IpsecPolicySpec), message: &str| {
        assert_eq!(accepted(edit), format!("False Invalid: {message}"));
    };
    check(
        |policy| protection(policy).per_cpu = true,
        "with keying.manual there is an IpsecSA for each CPU: remove perCPU here, and write IpsecSAs with cpu: 0, cpu: 1 \
         and so on beside those without",
    );
    check(|policy| policy.priority = 1001, "priority: write 0 to 1000");
    check(|policy| policy.from.clear(), "from: write at least one entry, e.g. {podCIDRs: {}}");
    check(
        |policy| policy.action = Action::Bypass,
        "protection is for action: Protect; remove protection, or write action: Protect",
    );
    check(
        |policy| protection(policy).mode = Mode::Transport,
        "mode: Transport protects traffic between the nodes' own addresses: write from: [{nodes: {}}], or \
         mode: Tunnel",
    );
    check(
        |policy| {
            let protection = protection(policy);
            (protection.protocol, protection.compression) = (Protocol::AH, Compression::Deflate);
        },
        "compression goes before ESP: write protocol: ESP, or remove compression",
    );
    check(
        |policy| {
            let protection = protection(policy);
            (protection.mode, protection.compression) = (Mode::BEET, Compression::Deflate);
        },
        "IPComp has no mode BEET: write mode: Tunnel or Transport, or protocol: ESP without compression",
    );
    check(
        |policy| {
            let protection = protection(policy);
            (protection.mode, protection.compression) = (Mode::IPTFS, Compression::Deflate);
        },
        "IPComp has no mode IPTFS: write mode: Tunnel, or remove compression",
    );
    check(
        |policy| protection(policy).keying.automatic = Some(AutomaticKeying::default()),
        "keys are either automatic or manual: remove one of keying.automatic and keying.manual",
    );
    check(
        |policy| protection(policy).keying.manual.as_mut().unwrap().security_associations.clear(),
        "keying.manual.securityAssociations: write the name of at least one IpsecSA",
    );
    const SAYS: &str =
        "with keying.manual the IpsecSAs say suite, antiReplay and encapsulation: remove them here";
    check(|policy| protection(policy).suite = Some(Suite::AesGcm256), SAYS);
    check(|policy| protection(policy).anti_replay = Some(AntiReplay::default()), SAYS);
}

#[test]
fn endpoints_are_one_of_a_kind() {
    let check = |entry: Endpoints, message: &str| {
        let accepted = accepted(|policy| policy.to = vec![entry]);
        assert_eq!(accepted, format!("False Invalid: {message}"));
    };
    const ONE: &str = "to: each entry has exactly one of podCIDRs, nodes, pods and cidrs; write further \
     ones as entries of their own";
    check(Endpoints::default(), ONE);
    check(Endpoints { nodes: nodes().nodes, ..pod_cidrs() }, ONE);
    let gateway = |address: &str| Some(Gateway { address: Some(address.into()), node: None });
    let cidrs = |cidr: &str| Some(vec![cidr.to_owned()]);
    const PROTECTED: &str = "to: cidrs are networks outside the cluster, which are protected as far as a gateway: write \
     gateway: {node: NAME} beside cidrs, a node of the cluster, or gateway: {address: ADDRESS}, a host outside it";
    check(Endpoints { cidrs: cidrs("192.0.2.0/24"), ..Default::default() }, PROTECTED);
    check(
        Endpoints { gateway: gateway("198.51.100.7"), ..Default::default() },
        "to: a gateway is for cidrs behind it: write cidrs and gateway: {node: …} or {address: …} together",
    );
    let both = Gateway { address: Some("198.51.100.7".into()), node: Some("b".into()) };
    for gateway in [both, Gateway::default()] {
        check(
            Endpoints { gateway: Some(gateway), cidrs: cidrs("192.0.2.0/24"), ..Default::default() },
            "to: gateway: write either node: NAME (a node of the cluster) or address: an IP address outside it",
        );
    }
    check(
        Endpoints { gateway: gateway("198.51.100.7"), ..pod_cidrs() },
        "to: a gateway is for cidrs outside the cluster: remove gateway",
    );
    check(
        Endpoints { gateway: gateway("gw.example"), cidrs: cidrs("192.0.2.0/24"), ..Default::default() },
        "to: gateway.address must be an IPv4 or IPv6 address, without a prefix length",
    );
    for text in ["192.0.2.1/24", "192.0.2.0", "all"] {
        check(
            Endpoints { gateway: gateway("198.51.100.7"), cidrs: cidrs(text), ..Default::default() },
            &format!(
                "to: each entry of cidrs must be a network with its prefix length and without host bits, \
                 e.g. 192.0.2.0/24; {text:?} isn't"
            ),
        );
    }
    check(
        Endpoints { gateway: gateway("198.51.100.7"), cidrs: Some(Vec::new()), ..Default::default() },
        "to: cidrs: write at least one network, e.g. 192.0.2.0/24",
    );
}

#[test]
fn traffic_has_ports_where_its_protocol_has() {
    let accepted = |protocol, port, end_port| {
        let all = TrafficSelector::all_of(protocol);
        accepted(|policy| policy.traffic = vec![TrafficSelector { port, end_port, ..all }])
    };
    let check = |protocol, port, end_port, message: &str| {
        assert_eq!(accepted(protocol, port, end_port), format!("False Invalid: traffic: {message}"));
    };
    for protocol in [TrafficProtocol::TCP, TrafficProtocol::Number(17), TrafficProtocol::Number(132)] {
        assert_eq!(accepted(protocol, Some(1), Some(2)), "True Accepted");
    }
    check(TrafficProtocol::Number(0), None, None, "a protocol's number must be 1 to 255");
    check(
        TrafficProtocol::Number(136),
        Some(1),
        None,
        "port needs a protocol with ports: write protocol: TCP, UDP or SCTP, or remove port",
    );
    check(
        TrafficProtocol::ICMP,
        Some(1),
        None,
        "port needs a protocol with ports: write protocol: TCP, UDP or SCTP, or remove port",
    );
    check(TrafficProtocol::UDP, Some(0), None, "port must be 1 to 65535");
    check(TrafficProtocol::UDP, None, Some(9), "endPort ends the range that port starts: write port as well");
    check(TrafficProtocol::UDP, Some(9), Some(8), "endPort must not be lower than port");
}

#[test]
fn marks_are_ones_that_packets_can_have() {
    let check = |value, mask, expected: &str| {
        assert_eq!(accepted(|policy| policy.mark = Some(esplanade_crds::Mark { value, mask })), expected);
    };
    check(0, 1, "True Accepted");
    check(u32::MAX, u32::MAX, "True Accepted");
    check(0, 0, "False Invalid: mark: mask: 0 has no bits that count: leave mark out, or write them");
    check(
        0x107,
        0xff,
        "False Invalid: mark: value 0x107 has bits outside mask 0xff, which no packet can have: write value: 7, or a mask \
         with them",
    );
}

#[test]
fn types_and_codes_are_icmps() {
    let check = |protocol, icmp_type, icmp_code, expected: &str| {
        let all = TrafficSelector::all_of(protocol);
        let accepted =
            accepted(|policy| policy.traffic = vec![TrafficSelector { icmp_type, icmp_code, ..all }]);
        assert_eq!(accepted, expected);
    };
    const OTHER: &str = "False Invalid: traffic: icmpType and icmpCode are for ICMP: write protocol: ICMP or ICMPv6, or \
                         remove them";
    for protocol in [TrafficProtocol::ICMP, TrafficProtocol::ICMPv6, TrafficProtocol::Number(1)] {
        check(protocol, Some(0), Some(255), "True Accepted");
        check(protocol, Some(8), None, "True Accepted");
    }
    check(TrafficProtocol::UDP, Some(8), None, OTHER);
    check(TrafficProtocol::Number(47), None, Some(0), OTHER);
    check(
        TrafficProtocol::ICMP,
        None,
        Some(4),
        "False Invalid: traffic: a code belongs to a type: write icmpType as well, e.g. icmpType: 3, icmpCode: 4",
    );
}

#[test]
fn label_selectors_are_checked_as_the_api_server_would() {
    let check = |operator: &str, values: Option<&[&str]>, message: &str| {
        let requirement = LabelSelectorRequirement {
            key: "tier".into(),
            operator: operator.into(),
            values: values.map(|values| values.iter().map(|value| (*value).to_owned()).collect()),
        };
        let labels = LabelSelector { match_labels: None, match_expressions: Some(vec![requirement]) };
        let accepted = accepted(|policy| policy.from[0].pod_cidrs = Some(labels));
        assert_eq!(accepted, format!("False Invalid: from: matchExpressions, key tier: operator {message}"));
    };
    check("Near", None, "\"Near\" is no operator: write In, NotIn, Exists or DoesNotExist");
    check("In", None, "\"In\" needs values");
    check("NotIn", Some(&[]), "\"NotIn\" needs values");
    check("Exists", Some(&["x"]), "\"Exists\" takes no values");
    check("DoesNotExist", Some(&["x"]), "\"DoesNotExist\" takes no values");
}
