use std::collections::BTreeSet;

use esplanade_model::{
    Action, Crypto, Direction, InboundSa, Mark, Mode, OutboundSa, Policy, Port, Protocol, Reqid, Sa,
    Selector, Spi, Template, UdpEncapsulation, WantedSa,
};

use super::{exemptions, keepalives, passing_through, path_mtu, uncovered, within};

fn made() -> Vec<Policy> {
    let api = ["192.0.2.1:6443", "[2001:db8::1]:443"].map(|address| address.parse().unwrap());
    exemptions(&api.into(), ["192.0.2.11", "2001:db8::11"].map(|address| address.parse().unwrap()))
}

/// Whether a packet passes: its direction, addresses, protocol and ports (or type and code).
fn passes(direction: Direction, ends: [&str; 2], protocol: u8, ports: [u16; 2]) -> bool {
    let [source, destination] = ends.map(|address| address.parse::<std::net::IpAddr>().unwrap());
    let fits = |port: Port, value: u16| (port.value() ^ value) & port.mask() == 0;
    made().iter().any(|Policy { direction: of, selector, .. }| {
        *of == direction
            && selector.source().contains(&source)
            && selector.destination().contains(&destination)
            && (selector.protocol == 0 || selector.protocol == protocol)
            && fits(selector.source_port, ports[0])
            && fits(selector.destination_port, ports[1])
    })
}

#[test]
fn the_api_server_is_reached_and_nothing_else_of_its_machine() {
    use Direction::{Forward, In, Out};
    for (ends, port) in [(["192.0.2.11", "192.0.2.1"], 6443), (["2001:db8::11", "2001:db8::1"], 443)] {
        let [here, there] = ends;
        assert!(
            passes(Out, [here, there], 6, [50_000, port]) && passes(In, [there, here], 6, [port, 50_000])
        );
        // It may be this very node that it runs on.
        assert!(
            passes(In, [here, there], 6, [50_000, port]) && passes(Out, [there, here], 6, [port, 50_000])
        );
        assert!(!passes(Out, [here, there], 6, [50_000, 22]) && !passes(In, [there, here], 6, [22, 50_000]));
        assert!(!passes(Out, [here, there], 17, [50_000, port]));
        assert!(!passes(Forward, [here, there], 6, [50_000, port]));
    }
}

#[test]
fn what_policies_cover_of_the_api_servers_connections_passes_and_nothing_else() {
    use Direction::{Forward, In, Out};
    let api = ["192.0.2.1:6443", "[2001:db8::1]:443"].map(|address| address.parse().unwrap()).into();
    let template = Template {
        protocol: Protocol::Esp,
        mode: Mode::Transport,
        reqid: Some(Reqid::from_hash(1)),
        tunnel: None,
        optional: true,
    };
    let policy = |direction, [source, destination]: [&str; 2]| {
        let selector = Selector::new(source.parse().unwrap(), destination.parse().unwrap()).unwrap();
        let made = Policy::new(direction, selector, 70_000, Action::Allow);
        Policy { templates: vec![template], ..made }
    };
    let exempt = |policy: Policy| {
        let made = uncovered(&api, &[("nodes".to_owned(), policy)]);
        assert!(made.iter().all(|one| one.selector.protocol == 6 && one.templates.is_empty()));
        let words = |one: &Policy| {
            let Selector { source_port, destination_port, .. } = one.selector;
            let ports = (source_port.value(), destination_port.value());
            (one.direction, one.selector.source().to_string(), one.selector.destination().to_string(), ports)
        };
        made.iter().map(words).collect::<Vec<_>>()
    };
    let (all, server) = ("0.0.0.0/0".to_owned(), "192.0.2.1/32".to_owned());
    let asking = [
        (Out, all.clone(), server.clone(), (0, 6443)),
        (Forward, server.clone(), all.clone(), (6443, 0)),
        (In, server.clone(), all.clone(), (6443, 0)),
    ];
    let asked = [
        (Out, server.clone(), all.clone(), (6443, 0)),
        (Forward, all.clone(), server.clone(), (0, 6443)),
        (In, all, server, (0, 6443)),
    ];
    let from_server = ["192.0.2.1/32", "192.0.2.11/32"];
    // Once what comes in is covered, what goes out is exempt: both ends do so, whichever is further.
    assert_eq!(exempt(policy(In, from_server)), asking);
    assert_eq!(exempt(policy(Forward, from_server)), asking);
    assert_eq!(exempt(policy(Out, from_server)), asked);
    assert_eq!(exempt(policy(Out, ["10.0.0.0/8", "192.0.2.0/24"])), asking);
    let clear = |action| Policy { action, templates: vec![], ..policy(Out, from_server) };
    assert_eq!(exempt(clear(Action::Block)), asked);
    // What isn't covered, or passes anyway, needs nothing.
    assert_eq!(exempt(clear(Action::Allow)), []);
    assert_eq!(exempt(policy(Out, ["192.0.2.11/32", "192.0.2.12/32"])), []);
    let only = |protocol, port| {
        let mut made = policy(Out, from_server);
        (made.selector.protocol, made.selector.source_port) = (protocol, Port::exactly(port));
        exempt(made)
    };
    assert_eq!((only(17, 6443), only(6, 22), only(6, 6443)), (vec![], vec![], asked.to_vec()));
    let to = |port| {
        let mut made = policy(Out, ["192.0.2.11/32", "192.0.2.1/32"]);
        (made.selector.protocol, made.selector.destination_port) = (6, Port::exactly(port));
        exempt(made)
    };
    assert_eq!((to(22), to(6443)), (vec![], asking.to_vec()));
    assert_eq!(exempt(Policy { interface_id: 7, ..policy(Out, from_server) }), []);
}

#[test]
fn neighbours_are_found_and_not_pinged() {
    for direction in [Direction::In, Direction::Out] {
        let passing: Vec<u16> =
            (0..=255).filter(|kind| passes(direction, ["fe80::1", "ff02::1"], 58, [*kind, 0])).collect();
        assert_eq!(passing, [130, 131, 132, 133, 134, 135, 136, 137, 143]);
    }
}

#[test]
fn a_node_gets_its_own_address_and_gives_none() {
    use Direction::{In, Out};
    for (ends, [client, server]) in
        [(["0.0.0.0", "255.255.255.255"], [68, 67]), (["fe80::1", "ff02::1:2"], [546, 547])]
    {
        assert!(passes(Out, ends, 17, [client, server]) && passes(In, ends, 17, [server, client]));
        assert!(!passes(In, ends, 17, [client, server]) && !passes(Out, ends, 17, [server, client]));
    }
}

#[test]
fn a_node_reaches_itself() {
    for address in ["::1", "2001:db8::11"] {
        assert!(passes(Direction::Out, [address, address], 6, [1, 2]));
        assert!(passes(Direction::In, [address, address], 6, [1, 2]));
    }
    assert!(!passes(Direction::Out, ["2001:db8::11", "2001:db8::12"], 6, [1, 2]));
}

#[test]
fn each_is_there_once_and_above_all_others() {
    let keys: BTreeSet<_> = made().iter().map(Policy::key).collect();
    assert_eq!(keys.len(), made().len());
    assert!(made().iter().all(|policy| policy.priority == 8_000 && policy.templates.is_empty()));
}

#[test]
fn what_passes_through_is_covered_both_times() {
    let selector = |from: &str, to: &str| Selector::new(from.parse().unwrap(), to.parse().unwrap()).unwrap();
    let pods = selector("10.1.0.0/24", "10.2.0.0/24");
    let template = Template {
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        reqid: Some(Reqid::from_hash(1)),
        tunnel: Some(("192.0.2.11".parse().unwrap(), "192.0.2.12".parse().unwrap())),
        optional: false,
    };
    let protect = Policy {
        interface_id: 7,
        mark: Mark::masked(1, 1),
        templates: vec![template],
        ..Policy::new(Direction::Out, pods, 70_000, Action::Allow)
    };
    let back = Policy { direction: Direction::Forward, selector: pods.reversed(), ..protect.clone() };
    let own = Policy { selector: selector("192.0.2.11/32", "10.2.0.0/24"), ..protect.clone() };
    let discard = Policy::new(Direction::Out, selector("10.1.0.0/24", "10.3.0.0/24"), 1, Action::Block);
    let all = [protect, back, own, discard].map(|policy| ("pods".to_owned(), policy));
    let beside = |direction, selector| {
        let clear = Policy::new(direction, selector, 70_000, Action::Allow);
        ("pods".to_owned(), Policy { mark: Mark::masked(1, 1), ..clear })
    };
    let expected = [beside(Direction::Forward, pods), beside(Direction::Out, pods.reversed())];
    let addresses = ["192.0.2.11".parse().unwrap()].into();
    assert_eq!(passing_through(&all, &addresses), expected);
}

#[test]
fn keepalives_leave_and_nothing_else_does() {
    let ends = ["192.0.2.11", "192.0.2.99"].map(|address| address.parse().unwrap());
    let udp = Some(UdpEncapsulation { source_port: 4500, destination_port: 40_000 });
    let (keepalive, spi, reqid) = (std::num::NonZeroU32::new(20), Spi::MIN, Reqid::from_hash(1));
    let sa = Sa::tunnel(ends[0], ends[1], spi, reqid, Crypto::Deflate);
    let of = |sa: &Sa| ("sa".to_owned(), WantedSa::Outbound(OutboundSa(sa.clone())));
    let kept = Sa { encapsulation: udp, keepalive, ..sa.clone() };
    let made = keepalives(&[of(&kept)]);
    let [Policy { direction: Direction::Out, selector, action: Action::Allow, templates, .. }] = &made[..]
    else {
        panic!("{made:?}")
    };
    assert!(templates.is_empty());
    assert_eq!((selector.source(), selector.destination()), (ends[0].into(), ends[1].into()));
    assert_eq!((selector.protocol, selector.source_port), (17, Port::exactly(4500)));
    assert_eq!(selector.destination_port, Port::exactly(40_000));
    let silent = [of(&sa), of(&Sa { keepalive: None, ..kept.clone() })];
    assert_eq!(keepalives(&silent), []);
    assert_eq!(keepalives(&[("sa".to_owned(), WantedSa::Inbound(InboundSa(kept)))]), []);
}

#[test]
fn who_sends_is_told_of_packets_that_are_too_long_and_nobody_else() {
    let own = ["192.0.2.11", "2001:db8::11"].map(|address| address.parse().unwrap()).into();
    let template = Template {
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        reqid: Some(Reqid::from_hash(1)),
        tunnel: None,
        optional: false,
    };
    let policy = |direction, from: &str, to: &str| {
        let selector = Selector::new(from.parse().unwrap(), to.parse().unwrap()).unwrap();
        let made = Policy::new(direction, selector, 70_000, Action::Allow);
        ("pods".to_owned(), Policy { templates: vec![template], ..made })
    };
    let mut clear = policy(Direction::Out, "10.9.0.0/24", "10.2.0.0/24");
    clear.1.templates.clear();
    let policies = [
        policy(Direction::Out, "10.1.0.0/24", "10.2.0.0/24"),
        policy(Direction::Out, "10.1.0.0/24", "10.3.0.0/24"),
        policy(Direction::Forward, "10.2.0.0/24", "10.1.0.0/24"),
        policy(Direction::Out, "fd00:1::/64", "fd00:2::/64"),
        policy(Direction::Out, "192.0.2.11/32", "192.0.2.12/32"),
        clear,
    ];
    let made = path_mtu(&policies, &own);
    let words: BTreeSet<_> = made
        .iter()
        .map(|one| {
            let Selector { protocol, source_port, destination_port, .. } = one.selector;
            let (from, to) = (one.selector.source().to_string(), one.selector.destination().to_string());
            (one.direction, from, to, protocol, source_port, destination_port)
        })
        .collect();
    let v4 = |direction, to: &str| {
        (direction, "0.0.0.0/0".to_owned(), to.to_owned(), 1, Port::exactly(3), Port::exactly(4))
    };
    let v6 =
        |direction, to: &str| (direction, "::/0".to_owned(), to.to_owned(), 58, Port::exactly(2), Port::ANY);
    let expected = [
        v4(Direction::In, "192.0.2.11/32"),
        v6(Direction::In, "2001:db8::11/128"),
        v4(Direction::Out, "10.1.0.0/24"),
        v6(Direction::Out, "fd00:1::/64"),
    ];
    assert_eq!((words, made.len()), (expected.into(), 4));
    // Any other policy goes before.
    assert!(made.iter().all(|one| one.priority == 140_000 && one.templates.is_empty()));
}

/// A policy that protects; in the clear the action alone counts.
fn protecting(direction: Direction, [source, destination]: [&str; 2]) -> (String, Policy) {
    let selector = Selector::new(source.parse().unwrap(), destination.parse().unwrap()).unwrap();
    let (protocol, mode, reqid) = (Protocol::Esp, Mode::Tunnel, Some(Reqid::from_hash(1)));
    let template = Template { protocol, mode, reqid, tunnel: None, optional: false };
    let policy = Policy::new(direction, selector, 70_000, Action::Allow);
    ("site".to_owned(), Policy { templates: vec![template], ..policy })
}

/// Direction, source, destination, ports.
fn in_words(made: &[Policy]) -> Vec<String> {
    let one = |one: &Policy| {
        assert_eq!((one.action, one.templates.len()), (Action::Allow, 0));
        let Selector { source_port, destination_port, protocol, .. } = one.selector;
        let ports = (source_port.value(), destination_port.value());
        let (from, to) = (one.selector.source(), one.selector.destination());
        format!("{:?} {from} > {to} {protocol} {ports:?}", one.direction)
    };
    made.iter().map(one).collect()
}

#[test]
fn a_node_whose_packets_to_everyone_are_covered_asks_and_answers_by_dhcp() {
    use Direction::{In, Out};
    let made = |policies: &[(String, Policy)]| in_words(&uncovered(&BTreeSet::new(), policies));
    let node = ["192.0.2.11/32", "0.0.0.0/0"];
    let all = [
        "Out 192.0.2.11/32 > 0.0.0.0/0 17 (68, 67)",
        "In 0.0.0.0/0 > 192.0.2.11/32 17 (67, 68)",
        "Out 192.0.2.11/32 > 0.0.0.0/0 17 (67, 68)",
        "In 0.0.0.0/0 > 192.0.2.11/32 17 (68, 67)",
    ];
    assert_eq!(made(&[protecting(Out, node)]), all);
    // Pods don't; nor does a node whose other end is another node, or a network.
    assert_eq!(made(&[protecting(Out, ["10.244.1.0/24", "0.0.0.0/0"])]), [""; 0]);
    assert_eq!(made(&[protecting(Out, ["192.0.2.11/32", "192.0.2.0/24"])]), [""; 0]);
    assert_eq!(made(&[protecting(In, ["0.0.0.0/0", "192.0.2.11/32"])]), [""; 0]);
    assert_eq!(made(&[protecting(Out, ["2001:db8::11/128", "::/0"])]), [""; 0]);
    let tcp = |mut one: (String, Policy)| {
        one.1.selector.protocol = 6;
        one
    };
    assert_eq!(made(&[tcp(protecting(Out, node))]), [""; 0]);
}

#[test]
fn what_stays_on_the_node_passes_where_networks_outside_contain_it() {
    use Direction::{Forward, In, Out};
    let own = ["10.244.1.0/24", "192.0.2.11/32", "fd00::/64"].map(|net| net.parse().unwrap()).into();
    let made = |policies: &[(String, Policy)]| in_words(&within(&own, policies));
    let pods = ["10.244.1.0/24", "0.0.0.0/0"];
    assert_eq!(
        made(&[protecting(Out, pods)]),
        ["Out 10.244.1.0/24 > 10.244.1.0/24 0 (0, 0)", "Out 10.244.1.0/24 > 192.0.2.11/32 0 (0, 0)"]
    );
    let back = ["0.0.0.0/0", "10.244.1.0/24"];
    for direction in [In, Forward] {
        assert_eq!(
            made(&[protecting(direction, back)]),
            [
                format!("{direction:?} 10.244.1.0/24 > 10.244.1.0/24 0 (0, 0)"),
                format!("{direction:?} 192.0.2.11/32 > 10.244.1.0/24 0 (0, 0)")
            ]
        );
    }
    let mut dropped = protecting(Out, ["fd00::/64", "fd00::/16"]);
    (dropped.1.action, dropped.1.templates) = (Action::Block, Vec::new());
    assert_eq!(made(&[dropped.clone()]), ["Out fd00::/64 > fd00::/64 0 (0, 0)"]);
    dropped.1.action = Action::Allow;
    assert_eq!(made(&[dropped]), [""; 0]);
    // What is elsewhere is no matter of the node's; at the gateway, the other end is.
    assert_eq!(made(&[protecting(Out, ["10.244.1.0/24", "10.244.2.0/24"])]), [""; 0]);
    assert_eq!(made(&[protecting(Out, ["0.0.0.0/0", "10.244.2.0/24"])]), [""; 0]);
    // A network that somebody else has a part of is nobody's to let pass.
    let part = protecting(Out, ["10.244.1.0/24", "10.244.1.128/25"]);
    assert_eq!(made(&[protecting(Out, pods), part]), [""; 0]);
    let same = protecting(Out, ["10.244.1.0/24", "10.244.1.0/24"]);
    assert_eq!(made(&[protecting(Out, pods), same]), [""; 0]);
    let interface = |(name, policy): (String, Policy)| (name, Policy { interface_id: 7, ..policy });
    assert_eq!(made(&[interface(protecting(Out, pods))]), [""; 0]);
}
