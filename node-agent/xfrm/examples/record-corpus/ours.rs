//! What we write, as the kernel shows it.

use esplanade_model::{Action, Direction, Mark, Mode, Op, Policy, Port, Sa, Selector, Template};
use esplanade_xfrm::{Databases as _, Netlink};
use netlink_packet_xfrm::constants::{XFRM_MSG_GETPOLICY, XFRM_MSG_GETSA};

use crate::iproute::ip;
use crate::objects::{
    DIRECTIONS, FAMILIES, WINDOWS, add, add_all, every_crypto, extended, inbound, inbound_at, only, outbound,
    policy, replay, sa, selector_v6, spi, transport, tunnel,
};
use crate::recorder::Recorder;

pub(crate) fn record(recorder: &mut Recorder) {
    let mut kernel = Netlink::open().unwrap();
    let mut must = |ops: &[Op]| {
        for (op, result) in ops.iter().zip(kernel.apply(ops).unwrap()) {
            assert!(result.is_ok(), "{op:?}: {result:?}");
        }
    };
    must(&sas());
    recorder.events("event-newsa", 2);
    recorder.dump("sa-ours", XFRM_MSG_GETSA);
    must(&policies());
    recorder.events("event-newpolicy", 2);
    recorder.dump("policy-ours", XFRM_MSG_GETPOLICY);

    must(&[Op::DeleteSa(sa(0).id(), Mark::NONE)]);
    recorder.events("event-delsa", 1);
    let index = esplanade_model::PolicyIndex::new(0, Direction::In);
    must(&[Op::DeletePolicy { direction: Direction::In, index, interface_id: 0, mark: Mark::NONE }]);
    recorder.events("event-delpolicy", 1);
    let first = policies().into_iter().next().unwrap();
    if let Op::AddPolicy { policy, index } = first {
        must(&[Op::UpdatePolicy { policy: Policy { priority: 7, ..policy }, index }]);
    }
    recorder.events("event-updpolicy", 1);
    for database in ["state", "policy"] {
        ip(&format!("{database} flush"));
        recorder.events(&format!("event-flush-{database}"), 1);
    }

    // A datagram with several records, and its end.
    must(&[inbound(sa(1)), inbound(sa(2)), outbound(Sa { replay: extended(64), ..sa(3) })]);
    must(&add_all(DIRECTIONS.map(|direction| policy(direction, 1))));
    recorder.whole("datagram-sas", XFRM_MSG_GETSA);
    recorder.whole("datagram-policies", XFRM_MSG_GETPOLICY);

    // What is there already, what isn't there, what can't be, and what can.
    let bad = Sa { replay: replay(4097), ..sa(9) };
    let good = Sa { spi: spi(0x2000), ..sa(1) };
    let ops = [inbound(sa(1)), Op::DeleteSa(sa(8).id(), Mark::NONE), inbound(bad), inbound(good.clone())];
    for (words, capped) in [(true, true), (true, false), (false, true), (false, false)] {
        recorder.answers("answer", &ops, words, capped);
        recorder.answers("answer", &[Op::DeleteSa(good.id(), Mark::NONE)], words, capped);
    }
    ip("state flush");
    ip("policy flush");
    recorder.events("event-flush", 0);
}

fn sas() -> Vec<Op> {
    let mut number = 0u32..;
    let mut next = || number.next().unwrap();
    let mut ops = vec![inbound(sa(next()))];
    for crypto in every_crypto() {
        ops.push(inbound(Sa { crypto, ..sa(next()) }));
    }
    for window in WINDOWS {
        ops.push(inbound(Sa { replay: replay(window), ..sa(next()) }));
        if window > 0 {
            ops.push(inbound(Sa { replay: extended(window), ..sa(next()) }));
        }
    }
    for family in FAMILIES {
        let (source, destination) = family();
        for mode in [Mode::Tunnel, Mode::Transport] {
            ops.push(outbound(Sa { source, destination, mode, ..sa(next()) }));
            let replay = extended(128);
            ops.push(outbound(Sa { source, destination, mode, replay, ..sa(next()) }));
        }
    }
    let state = esplanade_model::ReplayState { sent: 0, received: 500, bitmap: vec![0x5555_5555; 4] };
    for replay in [replay(32), replay(100), extended(100)] {
        ops.push(inbound_at(Sa { replay, ..sa(next()) }, state.clone()));
    }
    let udp = esplanade_model::UdpEncapsulation { source_port: 4500, destination_port: 4500 };
    ops.push(inbound(Sa { encapsulation: Some(udp), ..sa(next()) }));
    ops
}

fn policies() -> Vec<Op> {
    let mut policies: Vec<Policy> = DIRECTIONS.map(|direction| policy(direction, 1)).into();
    let shaped = |number: u8, shape: fn(Selector) -> Selector| {
        let base = policy(Direction::Out, number);
        Policy { selector: shape(base.selector), ..base }
    };
    policies.push(shaped(2, |base| only(base, 17, Port::ANY, Port::exactly(53))));
    policies.push(shaped(3, |base| only(base, 6, Port::masked(8080, 0xfff0), Port::ANY)));
    policies.push(shaped(4, |base| only(base, 58, Port::ANY, Port::ANY)));
    policies.push(shaped(5, |_| selector_v6(5)));
    let templates = |number, templates| Policy { templates, ..policy(Direction::In, number) };
    policies.push(templates(6, vec![]));
    policies.push(templates(7, vec![transport(7)]));
    policies.push(templates(8, vec![Template { optional: true, ..tunnel(8) }]));
    policies.push(templates(9, vec![transport(9), tunnel(9)]));
    policies.push(Policy { action: Action::Block, templates: vec![], ..policy(Direction::Out, 10) });
    policies.into_iter().zip(0..).map(|(policy, slot)| add(policy, slot)).collect()
}
