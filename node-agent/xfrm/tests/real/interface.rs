//! Packets through an XFRM interface.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use esplanade_model::{Capability, Direction, Mode, Policy, Sa, Selector};

use crate::peer::Peer;
use crate::suite::objects::{add, inbound, outbound, policy, sa, tunnel, v4};
use crate::suite::{Subject, must};

const ID: u32 = 7;

fn through(last: u8) -> IpAddr {
    Ipv4Addr::new(198, 51, 100, last).into()
}

/// Makes the interface `through` over another one; false where the kernel has no such interfaces.
fn make_interface(over: &str, last: u8) -> bool {
    let ip = |arguments: &str| Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    let made = ip(&format!("link add through type xfrm dev {over} if_id {ID}"));
    if !made.status.success() {
        let words = String::from_utf8_lossy(&made.stderr);
        assert!(words.contains("Unknown device type"), "{words}");
        return false;
    }
    for arguments in [&format!("address add {}/24 dev through", through(last)), "link set through up"] {
        assert!(ip(arguments).status.success(), "ip {arguments}");
    }
    true
}

/// A receiver in a namespace.
fn listen(at: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((at, 9)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

/// Sends it, and waits until it is there.
fn arrives(text: &str, from: IpAddr, to: &UdpSocket) {
    let sender = UdpSocket::bind((from, 0)).unwrap();
    sender.send_to(text.as_bytes(), to.local_addr().unwrap()).unwrap();
    let mut buffer = [0; 64];
    let length = to.recv(&mut buffer).unwrap();
    assert_eq!(std::str::from_utf8(&buffer[..length]).unwrap(), text);
}

/// Packets that an SA has carried.
fn carried(kernel: &mut dyn Subject) -> u64 {
    let sas =
        kernel.raw().into_iter().filter_map(|record| netlink_packet_xfrm::UserSaInfo::parse(&record).ok());
    sas.filter(|info| info.id.spi == sa(1).spi.get()).map(|info| info.lifetime_cur.packets).sum()
}

pub(crate) fn an_interface_protects_what_goes_through_it(kernel: &mut dyn Subject) {
    let peer = Peer::make();
    let own = Sa { mode: Mode::Tunnel, interface_id: ID, ..sa(1) };
    // All packets, whether they go through it or not.
    let selector = Selector::new("0.0.0.0/0".parse().unwrap(), "0.0.0.0/0".parse().unwrap()).unwrap();
    let own_policy =
        |direction| Policy { selector, interface_id: ID, templates: vec![tunnel(1)], ..policy(direction, 1) };
    must(kernel, &[outbound(own.clone()), add(own_policy(Direction::Out), 1)]);
    let there = own_policy(Direction::In);
    peer.there(move |kernel| must(kernel, &[inbound(own), add(there, 1)]));

    let beside = peer.there(|_| listen(v4(2)));
    arrives("not through it", v4(1), &beside);
    assert_eq!((carried(kernel), peer.there(carried)), (0, 0));

    let both = (make_interface("here", 1), peer.there(|_| make_interface("there", 2)));
    assert_eq!(both.0, both.1);
    // What the agent finds out is what is so.
    assert_eq!(kernel.probe().unwrap().contains(&Capability::Interfaces), both.0);
    if !both.0 {
        // Nothing goes through what isn't there: the rest of what this kernel can do was seen above.
        return;
    }
    let listener = peer.there(|_| listen(through(2)));
    arrives("through it", through(1), &listener);
    assert_eq!((carried(kernel), peer.there(carried)), (1, 1));
    arrives("still not", v4(1), &beside);
    assert_eq!((carried(kernel), peer.there(carried)), (1, 1));
}
