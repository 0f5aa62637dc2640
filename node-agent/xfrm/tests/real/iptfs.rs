//! Packets that go together, and in pieces.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use esplanade_model::{
    Capability, Direction, Iptfs, Mode, Policy, ReplayProtection, Sa, SaDirection, Selector, Template,
};

use crate::peer::{Peer, ip};
use crate::suite::objects::{add, inbound, outbound, policy, sa, tunnel};
use crate::suite::{Subject, must};

/// Longer than it takes to send a few packets, on any machine.
const WAITS: u32 = 3_000_000;
const SMALL: usize = 8;
/// Bytes of a datagram that is cut, and of the packets on the wire.
const LONG: usize = 1200;
const PACKET: u32 = 300;

pub(crate) fn small_packets_go_together_and_long_ones_in_pieces(kernel: &mut dyn Subject) {
    if !kernel.probe().unwrap().contains(&Capability::Iptfs) {
        return;
    }
    let peer = Peer::make();
    // Not the tunnel's own ends: the packets in it would be looked up again.
    ip("address add 10.1.0.1/32 dev lo");
    ip("route add 10.1.0.2/32 via 192.0.2.2 src 10.1.0.1");
    peer.there(|_| ip("address add 10.1.0.2/32 dev lo"));
    let [from, to]: [IpAddr; 2] = ["10.1.0.1", "10.1.0.2"].map(|address| address.parse().unwrap());
    let selector = Selector::new(from.into(), to.into()).unwrap();
    let by_iptfs = |direction| Policy {
        selector,
        templates: vec![Template { mode: Mode::Iptfs, ..tunnel(1) }],
        ..policy(direction, 1)
    };
    // A window there would only say what arrives late, and nothing does.
    let replay = ReplayProtection::default();
    let sa = |way, iptfs| Sa { mode: Mode::Iptfs, direction: Some(way), iptfs, replay, ..sa(1) };
    let iptfs = Iptfs { initial_delay: WAITS, packet_size: PACKET, ..Iptfs::default() };
    must(kernel, &[add(by_iptfs(Direction::Out), 1), outbound(sa(SaDirection::Out, iptfs))]);
    let there = [add(by_iptfs(Direction::In), 1), inbound(sa(SaDirection::In, Iptfs::default()))];
    let receiver = peer.there(move |kernel| {
        must(kernel, &there);
        let socket = UdpSocket::bind((to, 9)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket
    });
    let sender = UdpSocket::bind((from, 0)).unwrap();
    let sent = |kernel: &mut dyn Subject| kernel.dump().unwrap().sas[0].state.sent;
    let mut buffer = [0; 2 * LONG];

    // All of them fit into one or two packets on the wire.
    for number in 0..SMALL {
        sender.send_to(&[u8::try_from(number).unwrap()], (to, 9)).unwrap();
    }
    for number in 0..SMALL {
        let length = receiver.recv(&mut buffer).unwrap();
        assert_eq!((length, usize::from(buffer[0])), (1, number));
    }
    let together = sent(kernel);
    assert!((1..4).contains(&together), "{SMALL} packets in {together}");

    sender.send_to(&[7; LONG], (to, 9)).unwrap();
    assert_eq!(receiver.recv(&mut buffer).unwrap(), LONG);
    assert!(buffer[..LONG].iter().all(|byte| *byte == 7));
    let pieces = sent(kernel) - together;
    assert!(pieces > LONG as u64 / u64::from(PACKET), "{LONG} bytes in {pieces} packets");
}
