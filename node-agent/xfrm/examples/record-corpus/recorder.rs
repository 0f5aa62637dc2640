//! Sockets that keep what comes.

use std::collections::BTreeMap;
use std::fmt::Write;

use esplanade_model::Op;
use esplanade_xfrm::wire::reply::{Message, Messages};
use esplanade_xfrm::wire::{batch, encode};
use netlink_sys::protocols::NETLINK_XFRM;
use netlink_sys::{Socket, SocketAddr};

/// Every group: acquires, expiries, SAs, policies, counters, reports, migrations, mappings.
const GROUPS: std::ops::RangeInclusive<u32> = 1..=8;

/// Prints what comes, under names.
pub(crate) struct Recorder {
    events: Socket,
    counts: BTreeMap<String, u32>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let mut events = Socket::new(NETLINK_XFRM).unwrap();
        // Nothing is told to a socket without a port.
        events.bind_auto().unwrap();
        for group in GROUPS {
            events.add_membership(group).unwrap();
        }
        events.set_rx_buf_sz(8 << 20).unwrap();
        events.set_non_blocking(true).unwrap();
        Self { events, counts: BTreeMap::new() }
    }

    fn keep(&mut self, kind: &str, bytes: &[u8]) {
        let count = self.counts.entry(kind.to_owned()).or_default();
        *count += 1;
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        println!("{kind}-{count:03} {hex}");
    }

    /// Each record of a database, and its end.
    pub(crate) fn dump(&mut self, kind: &str, message_type: u16) {
        let socket = Socket::new(NETLINK_XFRM).unwrap();
        for datagram in ask(&socket, &batch::dump(message_type, 1, 0)) {
            for message in split(&datagram) {
                let is_end = matches!(message_type_of(&message), Message::DONE);
                self.keep(if is_end { "done" } else { kind }, &message);
            }
        }
    }

    /// A datagram as it comes.
    pub(crate) fn whole(&mut self, kind: &str, message_type: u16) {
        let socket = Socket::new(NETLINK_XFRM).unwrap();
        for datagram in ask(&socket, &batch::dump(message_type, 1, 0)) {
            self.keep(kind, &datagram);
        }
    }

    /// What is answered to operations, one datagram of them.
    pub(crate) fn answers(&mut self, kind: &str, ops: &[Op], words: bool, capped: bool) {
        let socket = Socket::new(NETLINK_XFRM).unwrap();
        socket.set_ext_ack(words).unwrap();
        socket.set_cap_ack(capped).unwrap();
        let requests: Vec<_> = ops.iter().map(encode).collect();
        socket.send_to(&batch::datagram(&requests, 1, 0), &SocketAddr::new(0, 0), 0).unwrap();
        loop {
            let (datagram, _) = socket.recv_from_full().unwrap();
            self.keep(kind, &datagram);
            if Messages::of(&datagram).any(|message| message.unwrap().sequence as usize == ops.len()) {
                return;
            }
        }
    }

    /// What is answered to one question.
    pub(crate) fn answer(&mut self, kind: &str, message_type: u16, body: &[u8]) {
        let socket = Socket::new(NETLINK_XFRM).unwrap();
        let question = batch::question(message_type, body, 1, 0);
        socket.send_to(&question, &SocketAddr::new(0, 0), 0).unwrap();
        let (datagram, _) = socket.recv_from_full().unwrap();
        self.keep(kind, &datagram);
    }

    /// Has something done; where that is refused, nothing is told of it.
    pub(crate) fn send(&mut self, message_type: u16, body: &[u8]) {
        let socket = Socket::new(NETLINK_XFRM).unwrap();
        socket.send_to(&batch::question(message_type, body, 1, 0), &SocketAddr::new(0, 0), 0).unwrap();
    }

    /// What was told since the last time, at most `most`.
    pub(crate) fn events(&mut self, kind: &str, most: usize) {
        let mut kept = 0;
        while let Ok((datagram, _)) = self.events.recv_from_full() {
            if kept < most {
                self.keep(kind, &datagram);
                kept += 1;
            }
        }
    }
}

/// Sends it; the datagrams up to the end of the answer.
fn ask(socket: &Socket, request: &[u8]) -> Vec<Vec<u8>> {
    socket.send_to(request, &SocketAddr::new(0, 0), 0).unwrap();
    let mut datagrams = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full().unwrap();
        let is_end = |message: &Vec<u8>| matches!(message_type_of(message), Message::DONE | Message::ERROR);
        let ended = split(&datagram).iter().any(is_end);
        datagrams.push(datagram);
        if ended {
            return datagrams;
        }
    }
}

/// The messages, headers and all.
fn split(datagram: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = datagram;
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
        messages.push(rest[..length].to_vec());
        rest = &rest[length.next_multiple_of(4).min(rest.len())..];
    }
    messages
}

fn message_type_of(message: &[u8]) -> u16 {
    u16::from_ne_bytes(message[4..6].try_into().unwrap())
}
