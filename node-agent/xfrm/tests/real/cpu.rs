//! Packets of different CPUs.

use std::net::UdpSocket;
use std::time::Duration;

use esplanade_model::{Capability, Direction, Mode, Policy, Sa, SaDirection, Selector};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::peer::Peer;
use crate::suite::objects::{add, inbound, outbound, policy, reqid, sa, transport, v4};
use crate::suite::{Subject, must};

/// Sends packets from one CPU.
fn send_on(cpu: usize, packets: usize, to: &UdpSocket) {
    let mut one = CpuSet::new();
    one.set(cpu).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
    let sender = UdpSocket::bind((v4(1), 0)).unwrap();
    for number in 0..packets {
        let text = format!("{number} of CPU {cpu}");
        sender.send_to(text.as_bytes(), to.local_addr().unwrap()).unwrap();
        let mut buffer = [0; 64];
        let length = to.recv(&mut buffer).unwrap();
        assert_eq!(std::str::from_utf8(&buffer[..length]).unwrap(), text);
    }
}

pub(crate) fn each_cpu_has_its_sa_and_the_others_share_one(kernel: &mut dyn Subject) {
    let present = kernel.probe().unwrap();
    let direction = present.contains(&Capability::Direction).then_some(SaDirection::Out);
    let peer = Peer::make();
    let selector = Selector::new(v4(1).into(), v4(2).into()).unwrap();
    let shared = Sa { mode: Mode::Transport, direction, ..sa(1) };
    let of_first = Sa { cpu: Some(0), reqid: reqid(1), spi: sa(2).spi, ..shared.clone() };
    let template = Policy { selector, templates: vec![transport(1)], ..policy(Direction::Out, 1) };
    // The shared one is the newer: it is passed over for the CPU, not for its age.
    must(kernel, &[add(template, 1), outbound(of_first.clone()), outbound(shared.clone())]);
    let there = [&shared, &of_first].map(|sa| Sa { cpu: None, direction: None, ..sa.clone() });
    let to = peer.there(move |kernel| {
        must(kernel, &there.map(inbound));
        let socket = UdpSocket::bind((v4(2), 9)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket
    });
    let sent = |kernel: &mut dyn Subject| {
        let observed = kernel.dump().unwrap().sas;
        [&shared, &of_first].map(|sa| observed.iter().find(|one| one.id == sa.id()).unwrap().state.sent)
    };
    send_on(0, 3, &to);
    if !present.contains(&Capability::PerCpu) {
        // Ignored: the newest of all takes everything. So nothing of this is sent to such a kernel.
        assert_eq!(sent(kernel), [3, 0]);
        return;
    }
    assert_eq!(sent(kernel), [0, 3]);
    send_on(1, 2, &to);
    assert_eq!(sent(kernel), [2, 3]);
    send_on(0, 1, &to);
    assert_eq!(sent(kernel), [2, 4]);
}
