//! SAs and templates that move to other addresses.

use esplanade_model::{Direction, Mode, Move, Op, Policy, ReplayState, Sa, SaId, Selector, Template};

use super::objects::{add, extended, id, inbound_at, outbound_at, policy, replay, sa, transport, v4, v6};
use super::{Subject, apply, must, policies, refused, sas};

fn moved(sa: &Sa, to: (std::net::IpAddr, std::net::IpAddr)) -> Move {
    Move {
        protocol: sa.crypto.protocol(),
        mode: sa.mode,
        reqid: sa.reqid,
        from: (sa.source, sa.destination),
        to,
    }
}

fn migrate(policy: &Policy, moves: &[Move]) -> Op {
    Op::Migrate { key: policy.key(), moves: moves.to_vec() }
}

fn state_of(kernel: &mut dyn Subject, id: SaId) -> ReplayState {
    kernel.dump().unwrap().sas.into_iter().find(|sa| sa.id == id).unwrap().state
}

/// Both ways, with sequence numbers of either kind: the receiver's end changes in one, the sender's in the other.
pub(crate) fn sas_and_templates_move_as_they_are(kernel: &mut dyn Subject) {
    for (number, replay, sent) in [(1, replay(32), 4711), (2, extended(64), (3 << 32) + 17)] {
        let out = Sa { replay, ..sa(number) };
        let out = Sa { replay: esplanade_xfrm::wire::replay::outbound(&out), ..out };
        let sent = ReplayState { sent, ..ReplayState::default() };
        must(kernel, &[outbound_at(Sa { replay, ..sa(number) }, sent.clone())]);
        let outbound = policy(Direction::Out, u8::try_from(number).unwrap());
        must(kernel, &[add(outbound.clone(), number)]);
        let index = policies(kernel)[&outbound.key()].index;
        for to in [(v4(1), v4(9)), (v4(8), v4(9)), (v6(1), v6(2))] {
            let here = sas(kernel).into_values().find(|sa| sa.spi == out.spi).unwrap();
            must(kernel, &[migrate(&outbound, &[moved(&here, to)])]);
            let there = Sa { source: to.0, destination: to.1, ..out.clone() };
            let found = sas(kernel);
            assert_eq!(found.get(&there.id()), Some(&there));
            assert!(here.id() == there.id() || !found.contains_key(&here.id()));
            assert_eq!(state_of(kernel, there.id()), sent);
            let read = policies(kernel).remove(&outbound.key()).unwrap();
            assert_eq!(read.index, index);
            assert_eq!(read.policy.unwrap().templates[0].tunnel, Some(to));
        }
    }
    let received = ReplayState { sent: 0, received: 9, bitmap: vec![0b1_0000_0001, 0] };
    let arriving = Sa { replay: replay(64), ..sa(3) };
    let inbound = policy(Direction::In, 3);
    must(kernel, &[inbound_at(arriving.clone(), received.clone()), add(inbound.clone(), 3)]);
    must(kernel, &[migrate(&inbound, &[moved(&arriving, (v4(7), v4(2)))])]);
    assert_eq!(sas(kernel)[&arriving.id()], Sa { source: v4(7), ..arriving.clone() });
    assert_eq!(state_of(kernel, arriving.id()), received);
}

/// A policy in transport mode says nothing of addresses: it takes its SA along.
pub(crate) fn an_sa_in_transport_mode_moves_by_its_policy(kernel: &mut dyn Subject) {
    let sa = Sa { mode: Mode::Transport, ..sa(1) };
    let policy = Policy {
        selector: Selector::new(v4(1).into(), v4(2).into()).unwrap(),
        templates: vec![transport(1)],
        ..policy(Direction::Out, 1)
    };
    let sent = ReplayState { sent: 7, ..ReplayState::default() };
    must(kernel, &[outbound_at(sa.clone(), sent.clone()), add(policy.clone(), 1)]);
    must(kernel, &[migrate(&policy, &[moved(&sa, (v4(1), v4(9)))])]);
    assert_eq!(sas(kernel).into_keys().collect::<Vec<_>>(), [id(v4(9), 0x1001)]);
    assert_eq!(state_of(kernel, id(v4(9), 0x1001)), sent);
    assert_eq!(policies(kernel)[&policy.key()].policy, Some(policy));
}

pub(crate) fn what_cannot_move_stays(kernel: &mut dyn Subject) {
    let (first, second) = (sa(1), sa(2));
    let carrier = policy(Direction::Out, 1);
    let state = ReplayState::default();
    must(
        kernel,
        &[
            outbound_at(first.clone(), state.clone()),
            outbound_at(second.clone(), state),
            add(carrier.clone(), 1),
        ],
    );
    let before = kernel.raw();
    let to = (v4(1), v4(9));
    let one = moved(&first, to);
    // No such policy.
    let stranger = policy(Direction::Out, 5);
    assert_eq!(refused(apply(kernel, &[migrate(&stranger, &[one])]), 0).errno, libc::ENOENT);
    // A policy that names another SA.
    let other = moved(&second, to);
    assert_eq!(refused(apply(kernel, &[migrate(&carrier, &[other])]), 0).errno, libc::ENODATA);
    // Other ends than the template has.
    let elsewhere = Move { from: (v4(1), v4(3)), ..one };
    assert_eq!(refused(apply(kernel, &[migrate(&carrier, &[elsewhere])]), 0).errno, libc::ENODATA);
    assert_eq!(kernel.raw(), before);
    // A template alone can.
    must(kernel, &[Op::DeleteSa(first.id(), first.mark), migrate(&carrier, &[one])]);
    let templates = policies(kernel).remove(&carrier.key()).unwrap().policy.unwrap().templates;
    assert_eq!(templates, [Template { tunnel: Some(to), ..carrier.templates[0] }]);
}
