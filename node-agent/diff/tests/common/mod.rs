//! Things to compare.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses some of it

use std::net::IpAddr;
use std::time::Duration;

use esplanade_diff::{Memory, Start};
use esplanade_model::{
    Action, Authentication, Cipher, Crypto, Direction, InboundSa, Key, Mode, Observed, ObservedPolicy,
    ObservedSa, Op, OutboundSa, Policy, PolicyIndex, Protocol, ReplayProtection, ReplayState, Reqid, Sa,
    Selector, Spi, Template, Used, Wanted, WantedSa,
};

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn key(byte: u8, len: usize) -> Key {
    Key::from(vec![byte; len].as_slice())
}

pub(crate) fn crypto(byte: u8) -> Crypto {
    Crypto::encrypt_then_authenticate(
        Cipher::AesCbc256,
        key(byte, 32),
        Authentication::HmacSha256,
        key(byte, 32),
    )
    .unwrap()
}

pub(crate) fn sa() -> Sa {
    Sa {
        replay: ReplayProtection { window: 64, extended_sequence_numbers: false },
        ..Sa::tunnel(
            ip("192.0.2.1"),
            ip("192.0.2.2"),
            Spi::new(4096).unwrap(),
            Reqid::from_hash(1),
            crypto(0xa1),
        )
    }
}

pub(crate) fn inbound(sa: Sa) -> WantedSa {
    WantedSa::Inbound(InboundSa(sa))
}

pub(crate) fn outbound(sa: Sa) -> WantedSa {
    WantedSa::Outbound(OutboundSa(sa))
}

/// As the kernel shows it after it has carried traffic both ways, whichever way it goes.
pub(crate) fn in_kernel(sa: Sa) -> ObservedSa {
    let state = ReplayState { sent: 7, received: 9, bitmap: vec![0x1ff, 0] };
    ObservedSa { id: sa.id(), mark: sa.mark, sa: Some(sa), state, used: Used::default() }
}

/// With the smallest window, as the kernel shows an outbound SA.
pub(crate) fn without_window(mut sa: Sa) -> Sa {
    sa.replay.window = 0;
    sa
}

pub(crate) fn selector(source: &str, destination: &str) -> Selector {
    Selector::new(source.parse().unwrap(), destination.parse().unwrap()).unwrap()
}

pub(crate) fn template() -> Template {
    Template {
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        reqid: Some(Reqid::from_hash(1)),
        tunnel: Some((ip("192.0.2.1"), ip("192.0.2.2"))),
        optional: false,
    }
}

pub(crate) fn policy(direction: Direction) -> Policy {
    let selector = selector("10.1.0.0/24", "10.2.0.0/24");
    Policy { templates: vec![template()], ..Policy::new(direction, selector, 74_032, Action::Allow) }
}

pub(crate) fn policy_in_kernel(policy: Policy, slot: u32) -> ObservedPolicy {
    let index = PolicyIndex::new(slot, policy.direction);
    ObservedPolicy { index, key: policy.key(), policy: Some(policy) }
}

pub(crate) fn wanted(sas: &[WantedSa], policies: &[Policy]) -> Wanted {
    Wanted {
        sas: sas.iter().map(|sa| ("an-sa".to_owned(), sa.clone())).collect(),
        policies: policies.iter().map(|policy| ("a-policy".to_owned(), policy.clone())).collect(),
        hold: [].into(),
    }
}

pub(crate) fn observed(sas: &[ObservedSa], policies: &[ObservedPolicy]) -> Observed {
    Observed {
        sas: sas.to_vec(),
        policies: policies.to_vec(),
        taken_indexes: policies.iter().map(|policy| policy.index.get()).collect(),
        ..Observed::default()
    }
}

/// Lets the memory take in a whole dump that began `at`.
pub(crate) fn learn(memory: &mut Memory, dump: &[ObservedSa], at: Duration) {
    for sa in dump {
        memory.see(sa, at);
    }
    memory.limit(dump.len(), |id| dump.iter().any(|sa| sa.id == *id));
}

/// Lets the SA of an operation that would start it anew `now` go on where it can have come.
pub(crate) fn restore(memory: &Memory, op: &mut Op, now: Duration) {
    let (wanted, state, used) = match op {
        Op::AddInbound { sa, state: state @ None, used } => (WantedSa::Inbound(sa.clone()), state, used),
        Op::AddOutbound { sa, state: state @ None, used } => (WantedSa::Outbound(sa.clone()), state, used),
        _ => return,
    };
    Start { state: *state, used: *used } = memory.start(&wanted, now);
}
