//! The traffic that an IpsecSA carries.

use esplanade_crds::{
    IpFamily, IpsecSASpec, Mode, NodeSaSelector, Protocol, SaSelector, TrafficProtocol, TrafficSelector,
};

use super::build::{address_end, nodes};
use super::world::World;

fn selector(
    source: Option<&str>,
    destination: Option<&str>,
    traffic: Option<(TrafficProtocol, Option<u16>, Option<u16>)>,
) -> Option<SaSelector> {
    let traffic = traffic.map(|(protocol, port, end_port)| TrafficSelector {
        port,
        end_port,
        ..TrafficSelector::all_of(protocol)
    });
    Some(SaSelector {
        source: source.map(str::to_owned),
        destination: destination.map(str::to_owned),
        traffic,
    })
}

/// The condition Accepted of a-to-b after the edit, and what its nodes are told of it.
fn told(edit: impl FnOnce(&mut IpsecSASpec)) -> (String, Option<NodeSaSelector>) {
    let mut world = World::settled();
    edit(&mut world.sa("a-to-b").spec);
    let plan = world.plan();
    let told = plan.node_states.values().flat_map(|(spec, _)| &spec.security_associations);
    let mut selectors: Vec<_> = told.filter(|sa| sa.name == "a-to-b").map(|sa| sa.selector.clone()).collect();
    selectors.dedup();
    assert!(selectors.len() <= 1, "{selectors:?}");
    (plan.sa("a-to-b", "Accepted"), selectors.pop().flatten())
}

#[test]
fn nodes_are_told_both_networks() {
    let written = |source: &str, destination: &str| {
        Some(NodeSaSelector { source: source.into(), destination: destination.into(), traffic: None })
    };
    let check = |selector: Option<SaSelector>, expected: Option<NodeSaSelector>| {
        assert_eq!(told(|sa| sa.selector = selector), ("True Accepted".to_owned(), expected));
    };
    check(None, None);
    check(Some(SaSelector::default()), None);
    check(selector(Some("10.244.1.0/24"), None, None), written("10.244.1.0/24", "0.0.0.0/0"));
    // A tunnel carries either family.
    check(selector(None, Some("fd00::/8"), None), written("::/0", "fd00::/8"));
    let icmp = (TrafficProtocol::ICMPv6, None, None);
    let traffic = Some(TrafficSelector::all_of(TrafficProtocol::ICMPv6));
    check(
        selector(None, None, Some(icmp)),
        Some(NodeSaSelector { traffic, ..written("::/0", "::/0").unwrap() }),
    );
}

#[test]
fn what_one_selector_cannot_say_is_refused_with_what_to_write() {
    const RANGE: &str = "selector.traffic: an SA's range of ports must be as long as a power of two, and start at a \
                         multiple of its length, e.g. port: 8080, endPort: 8095: write several IpsecSAs";
    const MIXED: &str = "selector: source, destination and protocol are of different address families: write an \
                         IpsecSA for each family";
    let tcp = |port, end| selector(Some("0.0.0.0/0"), None, Some((TrafficProtocol::TCP, port, end)));
    let check = |selector: Option<SaSelector>, message: &str| {
        assert_eq!(told(|sa| sa.selector = selector), (format!("False Invalid: {message}"), None));
    };
    check(tcp(Some(80), Some(82)), RANGE);
    check(tcp(Some(81), Some(82)), RANGE);
    check(selector(Some("10.0.0.0/8"), Some("fd00::/8"), None), MIXED);
    check(selector(Some("10.0.0.0/8"), None, Some((TrafficProtocol::ICMPv6, None, None))), MIXED);
    check(
        selector(Some("10.0.0.1/8"), None, None),
        "selector.source must be a network with its prefix length and without host bits, e.g. 192.0.2.0/24; \
         \"10.0.0.1/8\" isn't",
    );
    check(
        selector(None, Some("pods"), None),
        "selector.destination must be a network with its prefix length and without host bits, e.g. 192.0.2.0/24; \
         \"pods\" isn't",
    );
    check(
        selector(None, None, Some((TrafficProtocol::TCP, None, None))),
        "selector is of one address family: write source or destination as well, e.g. source: 0.0.0.0/0",
    );
    check(tcp(None, Some(80)), "traffic: endPort ends the range that port starts: write port as well");
    for (first, last) in [(80, 80), (80, 81), (8080, 8095), (32768, 65535)] {
        assert_eq!(
            told(|sa| sa.selector = tcp(Some(first), Some(last))).0,
            "True Accepted",
            "{first} to {last}"
        );
    }
}

/// In transport mode the selector is of the SA's own family.
#[test]
fn transport_mode_takes_the_family_of_its_selector() {
    let addresses = |edit: fn(&mut IpsecSASpec)| {
        let mut world = World::settled();
        for name in ["a-to-b", "b-to-a"] {
            world.sa(name).spec.mode = Mode::Transport;
        }
        let policy = &mut world.policy("pods").spec;
        policy.from = vec![nodes()];
        policy.protection.as_mut().unwrap().mode = Mode::Transport;
        edit(&mut world.sa("a-to-b").spec);
        let plan = world.plan();
        let state = &plan.node_states["a"].0;
        let sa = state.security_associations.iter().find(|sa| sa.name == "a-to-b");
        match sa {
            Some(sa) => {
                let packets = sa.selector.as_ref().unwrap();
                format!("{} for {} > {}", sa.source.address, packets.source, packets.destination)
            }
            None => plan.sa("a-to-b", "Accepted"),
        }
    };
    let udp = || selector(None, None, Some((TrafficProtocol::UDP, None, None)));
    let check = |edit: fn(&mut IpsecSASpec), expected: &str| assert_eq!(addresses(edit), expected);
    check(|sa| sa.selector = selector(Some("fd00::/8"), None, None), "fd00::1 for fd00::/8 > ::/0");
    check(|sa| sa.selector = selector(Some("10.0.0.0/8"), None, None), "10.0.0.1 for 10.0.0.0/8 > 0.0.0.0/0");
    assert_eq!(
        addresses(|sa| {
            sa.selector = selector(Some("10.0.0.0/8"), None, None);
            sa.ip_family = Some(IpFamily::IPv6);
        }),
        "False Invalid: selector is of IPv4, and with mode: Transport the IPv6 SA carries IPv6 only: write networks of \
         IPv6, or ipFamily: IPv4"
    );
    assert!(
        told(|sa| {
            (sa.mode, sa.selector, sa.destination) = (Mode::Transport, udp(), address_end("fd00::9"));
        })
        .0
        .starts_with("True")
    );
    assert_eq!(
        told(|sa| (sa.mode, sa.selector) = (Mode::Transport, udp())).0,
        "False Invalid: selector is of one address family: write source or destination or ipFamily as well, e.g. \
         source: 0.0.0.0/0"
    );
}

#[test]
fn beet_is_for_one_host_on_each_side() {
    const HOSTS: &str = "False Invalid: mode: BEET doesn't send the addresses inside, so that it is for one on each \
                         side: write selector: {source: ADDRESS/32, destination: ADDRESS/32}, with IPv6 /128, or mode: Tunnel";
    let beet = |selector| told(|sa| (sa.mode, sa.selector) = (Mode::BEET, selector));
    for wrong in [
        None,
        Some(SaSelector::default()),
        selector(Some("10.244.1.2/32"), None, None),
        selector(Some("10.244.1.2/32"), Some("10.244.2.0/24"), None),
    ] {
        assert_eq!(beet(wrong), (HOSTS.to_owned(), None));
    }
    let (accepted, told) = beet(selector(Some("fd00:1::2/128"), Some("fd00:2::2/128"), None));
    assert_eq!(accepted, "True Accepted");
    assert_eq!(told.unwrap().destination, "fd00:2::2/128");
}

#[test]
fn beet_is_with_esp() {
    let (accepted, _) = told(|sa| (sa.mode, sa.protocol) = (Mode::BEET, Protocol::AH));
    assert_eq!(
        accepted,
        "False Invalid: mode: BEET is ESP's (draft-nikander-esp-beet-mode): write protocol: ESP, or mode: Tunnel"
    );
}
