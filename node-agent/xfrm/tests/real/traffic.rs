//! Packets through what we wrote.

use std::net::{IpAddr, UdpSocket};
use std::num::NonZeroU64;
use std::process::Command;
use std::time::{Duration, Instant};

use esplanade_model::{
    Authentication, Cipher, Direction, Event, Lifetime, Limits, Mark, Mode, Op, OutboundSa, Policy, Port,
    ReplayProtection, ReplayState, Sa, Selector, Used, WantedSa,
};
use esplanade_xfrm::{Netlink, Watch};
use netlink_packet_xfrm::UserSaInfo;

use crate::peer::Peer;
use crate::suite::objects::{
    add, encrypt_then_authenticate, extended, inbound, inbound_at, only, outbound, outbound_at, policy,
    replay, reqid, sa, transport, tunnel, v4, v6,
};
use crate::suite::{Subject, must};

/// A link whose other end is nowhere, with our address in both families.
fn make_link() {
    for arguments in [
        "link add wire type dummy",
        "link set wire up arp off",
        "address add 192.0.2.1/24 dev wire",
        "address add 2001:db8::1/64 dev wire nodad",
    ] {
        let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
        assert!(status.success(), "ip {arguments}");
    }
}

fn send(from: IpAddr, to: IpAddr, packets: usize) {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    for _ in 0..packets {
        socket.send_to(b"to nowhere", (to, 9)).unwrap();
    }
}

fn sent(kernel: &mut dyn Subject, sa: &Sa) -> ReplayState {
    let observed = kernel.dump().unwrap().sas;
    observed.into_iter().find(|one| one.id == sa.id()).unwrap().state
}

fn between(from: IpAddr, to: IpAddr) -> Selector {
    Selector::new(from.into(), to.into()).unwrap()
}

pub(crate) fn packets_are_counted_on_after_a_replacement(kernel: &mut dyn Subject) {
    make_link();
    let selector = between(v4(1), v4(2));
    let policy = Policy { selector, templates: vec![transport(1)], ..policy(Direction::Out, 1) };
    must(kernel, &[add(policy, 1)]);
    let start = (1 << 32) - 2;
    for (replay, first, then) in [(replay(32), 1000, 1003), (extended(64), start, start + 3)] {
        let before = Sa { mode: Mode::Transport, replay, ..sa(1) };
        let state = ReplayState { sent: first, ..ReplayState::default() };
        must(kernel, &[outbound_at(before.clone(), state)]);
        send(v4(1), v4(2), 3);
        let state = sent(kernel, &before);
        assert_eq!(state, ReplayState { sent: then, ..ReplayState::default() });

        // Another algorithm under the same name.
        let crypto = encrypt_then_authenticate(Cipher::AesCbc256, Authentication::HmacSha512);
        let after = Sa { crypto, ..before.clone() };
        must(kernel, &[Op::DeleteSa(before.id(), Mark::NONE), outbound_at(after.clone(), state)]);
        send(v4(1), v4(2), 2);
        assert_eq!(sent(kernel, &after).sent, then + 2);
        must(kernel, &[Op::DeleteSa(after.id(), Mark::NONE)]);
    }
}

pub(crate) fn a_tunnel_carries_both_families(kernel: &mut dyn Subject) {
    make_link();
    let through =
        |selector, number| Policy { selector, templates: vec![tunnel(1)], ..policy(Direction::Out, number) };
    // Not the tunnel's own ends: the packets in it would be looked up again.
    let (v4, v6) = (between(v4(1), v4(9)), between(v6(1), v6(9)));
    must(kernel, &[outbound(sa(1)), add(through(v4, 1), 1), add(through(v6, 2), 2)]);
    for (selector, count) in [(v4, 2), (v6, 4)] {
        send(selector.source().addr(), selector.destination().addr(), 2);
        assert_eq!(sent(kernel, &sa(1)).sent, count);
    }
}

/// The kernel asks for the SA, whatever we have written meanwhile.
pub(crate) fn a_packet_without_an_sa_is_told(_: &mut dyn Subject) {
    make_link();
    let mut kernel = Netlink::open().unwrap();
    let mut watch = kernel.watch_acquires_too().unwrap();
    let selector = between(v4(1), v4(2));
    let carrier = Policy { selector, templates: vec![transport(1)], ..policy(Direction::Out, 1) };
    must(&mut kernel, &[add(carrier, 1), inbound(sa(2))]);
    // It waits for the SA, or is dropped.
    let _ = UdpSocket::bind((v4(1), 0)).unwrap().send_to(b"to nowhere", (v4(2), 9));
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut events = Vec::new();
    while events.is_empty() {
        assert!(Instant::now() < deadline, "the kernel told nothing");
        events = watch.look().unwrap().events;
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(events, [Event::Asked { reqid: reqid(1) }]);
}

/// So many packets go through as the hard limit says, and what the kernel tells of it.
pub(crate) fn limits_are_reached_and_told(kernel: &mut dyn Subject) {
    make_link();
    let selector = between(v4(1), v4(2));
    must(kernel, &[add(Policy { selector, templates: vec![transport(1)], ..policy(Direction::Out, 1) }, 1)]);
    let packets = |count| Limits { packets: NonZeroU64::new(count), ..Limits::default() };
    let limited = |lifetime| Sa { mode: Mode::Transport, lifetime, ..sa(1) };
    let one = limited(Lifetime { soft: packets(2), hard: packets(4) });
    let mut watch = kernel.start_watch();
    must(kernel, &[outbound(one.clone())]);
    let expired = |watch: &mut dyn esplanade_xfrm::Watch| {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let [Event::SaExpired { id, hard, used }] = watch.look().unwrap().events[..] {
                assert_eq!(id, sa(1).id());
                return (hard, used);
            }
            assert!(Instant::now() < deadline, "the kernel told nothing");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let observed = |kernel: &mut dyn Subject| kernel.dump().unwrap().sas;
    send(v4(1), v4(2), 3);
    let (hard, used) = expired(&mut *watch);
    assert_eq!((hard, used.packets), (false, 2));
    let there = observed(kernel).remove(0);
    let lifetime = there.sa.map(|sa| sa.lifetime);
    assert_eq!((lifetime, there.used.packets, there.state.sent), (Some(one.lifetime), 3, 3));
    assert!(there.used.bytes > 0 && there.used.first_used >= there.used.added, "{:?}", there.used);

    // Changed in place, it counts on.
    must(
        kernel,
        &[Op::UpdateSa(WantedSa::Outbound(OutboundSa(limited(Lifetime {
            hard: packets(5),
            ..Lifetime::default()
        }))))],
    );
    send(v4(1), v4(2), 2);
    let there = observed(kernel).remove(0);
    assert_eq!((there.used.packets, there.state.sent), (5, 5));
    // Whether dropping it is an error is none of our business.
    let _ = UdpSocket::bind((v4(1), 0)).unwrap().send_to(b"too many", (v4(2), 9));
    let (hard, used) = expired(&mut *watch);
    assert_eq!((hard, used.packets), (true, 5));
    assert_eq!(observed(kernel), []);

    // Time counts from when it was added; what is used up already counts.
    let time = Limits { time: NonZeroU64::new(1000), ..Limits::default() };
    let old = Used { added: used.added - 999, ..Used::default() };
    let sa = OutboundSa(limited(Lifetime { hard: time, ..Lifetime::default() }));
    must(kernel, &[Op::AddOutbound { sa, state: None, used: Some(old) }]);
    assert!(expired(&mut *watch).0);
    assert_eq!(observed(kernel), []);
}

/// The one of several SAs that a sender takes, and what a receiver drops.
pub(crate) fn an_sa_carries_only_its_packets(kernel: &mut dyn Subject) {
    let peer = Peer::make();
    let selector = between(v4(1), v4(2));
    let to = move |number, port| Sa {
        mode: Mode::Transport,
        reqid: sa(1).reqid,
        selector: Some(only(selector, 17, Port::ANY, Port::exactly(port))),
        ..sa(number)
    };
    let policy = Policy { selector, templates: vec![transport(1)], ..policy(Direction::Out, 1) };
    must(kernel, &[add(policy, 1), outbound(to(1, 9)), outbound(to(2, 10))]);
    let received = peer.there(move |there| {
        // The second one is for other packets than those that come through it.
        must(there, &[inbound(to(1, 9)), inbound(to(2, 11))]);
        let socket = |port| UdpSocket::bind((v4(2), port)).unwrap();
        (socket(9), socket(10))
    });
    let sender = UdpSocket::bind((v4(1), 0)).unwrap();
    let send = |text: &str, port| sender.send_to(text.as_bytes(), (v4(2), port));
    send("for 9", 9).unwrap();
    send("dropped", 10).unwrap();
    // No SA: whether that is an error is none of our business.
    let _ = send("no SA", 11);
    assert_eq!((sent(kernel, &to(1, 9)).sent, sent(kernel, &to(2, 10)).sent), (1, 1));
    // Else it may come when the SA is another one, and pass.
    peer.there(|_| wait_for_a_mismatch());
    peer.there(move |there| must(there, &[Op::DeleteSa(to(2, 11).id(), Mark::NONE), inbound(to(2, 10))]));
    send("for 10", 10).unwrap();
    for (socket, text) in [(received.0, "for 9"), (received.1, "for 10")] {
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(std::str::from_utf8(&buffer[..length]).unwrap(), text);
    }
}

/// Waits until a packet was dropped because the SA that it came through is for others (`XfrmInStateMismatch`).
fn wait_for_a_mismatch() {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let counters = std::fs::read_to_string("/proc/thread-self/net/xfrm_stat").unwrap();
        let found = counters.lines().find_map(|line| line.strip_prefix("XfrmInStateMismatch"));
        match found.unwrap().trim() {
            "0" => assert!(Instant::now() < deadline, "it was never dropped:\n{counters}"),
            dropped => return assert_eq!(dropped, "1"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How many packets an SA let pass and how many it refused as replays. With extended sequence numbers, one too old is
/// taken for one far ahead, whose integrity check fails (RFC 4303 §A2.2).
fn passed_and_refused(kernel: &mut dyn Subject) -> (u64, u32) {
    let records = kernel.raw();
    let info = UserSaInfo::parse(&records[0]).unwrap();
    let stats = info.stats;
    (info.lifetime_cur.packets, stats.replay + stats.replay_window + stats.integrity_failed)
}

/// Sends one packet with this sequence number, as nobody but an attacker does; tells whether it passed.
fn passes(kernel: &mut dyn Subject, peer: &Peer, replay: ReplayProtection, number: u64) -> bool {
    let before = peer.there(passed_and_refused);
    let sa = Sa { mode: Mode::Transport, replay, ..sa(1) };
    let state = ReplayState { sent: number - 1, ..ReplayState::default() };
    must(kernel, &[Op::DeleteSa(sa.id(), Mark::NONE), outbound_at(sa, state)]);
    send(v4(1), v4(2), 1);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let after = peer.there(passed_and_refused);
        if after != before {
            return after.0 > before.0;
        }
        assert!(Instant::now() < deadline, "packet {number} never arrived");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn no_packet_passes_twice_after_a_replacement(kernel: &mut dyn Subject) {
    let peer = Peer::make();
    let selector = between(v4(1), v4(2));
    must(kernel, &[add(Policy { selector, templates: vec![transport(1)], ..policy(Direction::Out, 1) }, 1)]);
    let inbound_sa = |replay| Sa { mode: Mode::Transport, replay, ..sa(1) };
    let windows =
        [replay(16), replay(32), replay(33), replay(64), extended(20), extended(64), extended(1000)];
    for window in windows {
        let id = sa(1).id();
        peer.there(move |there| must(there, &[Op::DeleteSa(id, Mark::NONE), inbound(inbound_sa(window))]));
        let mut check = |replay: ReplayProtection, number, expected| {
            assert_eq!(
                passes(kernel, &peer, replay, number),
                expected,
                "{number} with {replay:?} after {window:?}"
            );
        };
        // Around the ring more than once, where there is one.
        for number in [1, 2000, 2001, 2003, 2010] {
            check(window, number, true);
        }
        let state = peer.there(|there| there.dump().unwrap().sas.remove(0).state);
        // 2010, 2003, 2001 and 2000.
        assert_eq!((state.received, state.bitmap[0] & 0xffff), (2010, 1 | 1 << 7 | 1 << 9 | 1 << 10));
        for (replay, unseen) in [
            (window, 2002),
            (ReplayProtection { window: 12, ..window }, 2004),
            (ReplayProtection { window: 200, ..window }, 2005),
        ] {
            // As the agent does it: with the state as it was read.
            peer.there(move |there| {
                let state = there.dump().unwrap().sas.remove(0).state;
                must(there, &[Op::DeleteSa(id, Mark::NONE), inbound_at(inbound_sa(replay), state)]);
            });
            for seen in [2010, 2003, 2001, 2000, 1] {
                check(replay, seen, false);
            }
            check(replay, unseen, true);
            check(replay, unseen, false);
        }
    }
}

/// Why no policy is for an interface: what it should drop, leaves by that very interface.
pub(crate) fn an_interface_in_a_selector_is_passed_by(kernel: &mut dyn Subject) {
    make_link();
    let link = Command::new("ip").args(["-oneline", "link", "show", "wire"]).output().unwrap().stdout;
    let (index, _) = std::str::from_utf8(&link).unwrap().split_once(':').unwrap();
    let wire = index.parse().unwrap();
    let passes = || {
        let socket = UdpSocket::bind((v6(1), 0)).unwrap();
        socket.send_to(b"to nowhere", (v6(9), 9)).is_ok()
    };
    let block = |number, interface_index| {
        let mut selector = between(v6(1), v6(9));
        selector.interface_index = interface_index;
        add(Policy::new(Direction::Out, selector, number, esplanade_model::Action::Block), number)
    };
    assert!(passes());
    must(kernel, &[block(1, wire)]);
    assert!(passes(), "this kernel looks at the interface: see docs/decisions/0016");
    // It isn't that the policy would be for other packets.
    must(kernel, &[block(2, 0)]);
    assert!(!passes());
}
