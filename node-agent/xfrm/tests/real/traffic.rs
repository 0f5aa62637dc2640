//! Packets through what we wrote.

use std::net::{IpAddr, UdpSocket};
use std::process::Command;

use esplanade_model::{Authentication, Cipher, Direction, Mode, Op, Policy, ReplayState, Sa, Selector};

use crate::suite::objects::{
    add, encrypt_then_authenticate, extended, outbound, outbound_at, policy, replay, sa, transport, tunnel,
    v4, v6,
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
        must(kernel, &[Op::DeleteSa(before.id()), outbound_at(after.clone(), state)]);
        send(v4(1), v4(2), 2);
        assert_eq!(sent(kernel, &after).sent, then + 2);
        must(kernel, &[Op::DeleteSa(after.id())]);
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
