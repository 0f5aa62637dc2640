//! The floor: messages that were encoded before, on a bare socket.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use esplanade_model::Op;
use esplanade_xfrm::wire::reply::{Message, Messages};
use esplanade_xfrm::wire::{Request, batch, encode};
use netlink_packet_xfrm::constants::{XFRM_MSG_GETPOLICY, XFRM_MSG_GETSA};
use netlink_sys::protocols::NETLINK_XFRM;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};

/// Room for answers and for the largest datagram, in bytes.
const BUFFER: usize = 8 * 1024 * 1024;

/// A bare socket.
pub struct Floor {
    socket: Socket,
}

/// Datagrams that are ready to be sent.
pub struct Encoded {
    /// Each with the number of its last message, which asks for an answer.
    datagrams: Vec<(Vec<u8>, u32)>,
}

impl Encoded {
    /// The operations as messages, `at_most` in a datagram.
    pub fn new(ops: &[Op], at_most: usize) -> Self {
        let requests: Vec<_> = ops.iter().map(encode).collect();
        let (mut datagrams, mut first) = (Vec::new(), 1);
        for chunk in requests.chunks(at_most.max(1)) {
            datagrams.push(one(chunk, first));
            first = datagrams.last().map_or(first, |(_, last)| last.wrapping_add(1));
        }
        Self { datagrams }
    }
}

fn one(requests: &[Request], first: u32) -> (Vec<u8>, u32) {
    let count = u32::try_from(requests.len()).unwrap_or(u32::MAX);
    (batch::datagram(requests, first, 0).to_vec(), first.wrapping_add(count - 1))
}

impl Floor {
    /// Opens the socket in this thread's network namespace.
    ///
    /// # Errors
    /// No NETLINK_XFRM, or not enough rights.
    pub fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_XFRM).context("a NETLINK_XFRM socket")?;
        socket.bind_auto().context("bind")?;
        socket.set_cap_ack(true).context("NETLINK_CAP_ACK")?;
        // User-Mode Linux's root may go beyond the limit; a root of a user namespace gets what the limit allows.
        let forced = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)
            .and_then(|()| setsockopt(&socket, sockopt::SndBufForce, &BUFFER));
        if forced.is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &BUFFER).context("SO_RCVBUF")?;
            setsockopt(&socket, sockopt::SndBuf, &BUFFER).context("SO_SNDBUF")?;
        }
        Ok(Self { socket })
    }

    /// Sends the datagrams, each after the answer to the one before.
    ///
    /// # Errors
    /// The kernel refused a message.
    pub fn replay(&self, encoded: &Encoded) -> Result<Duration> {
        let mut buffer = vec![0; 128 * 1024];
        let start = Instant::now();
        for (datagram, last) in &encoded.datagrams {
            self.send(datagram)?;
            'answered: loop {
                let length = self.receive(&mut buffer)?;
                for message in Messages::of(&buffer[..length]) {
                    let message = message?;
                    if message.message_type == Message::ERROR {
                        message.error()?.context("the kernel refused a replayed message")?;
                        if message.sequence == *last {
                            break 'answered;
                        }
                    }
                }
            }
        }
        Ok(start.elapsed())
    }

    /// Reads both databases and looks at nothing but where they end. Returns the number of bytes too.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn dump(&self) -> Result<(Duration, usize)> {
        let mut buffer = vec![0; 128 * 1024];
        let mut bytes = 0;
        let start = Instant::now();
        for (message_type, sequence) in [(XFRM_MSG_GETSA, 1), (XFRM_MSG_GETPOLICY, 2)] {
            self.send(&batch::dump(message_type, sequence, 0))?;
            loop {
                let length = self.receive(&mut buffer)?;
                bytes += length;
                // The end is in a datagram of its own, or its last message.
                let Some(Ok(first)) = Messages::of(&buffer[..length]).next() else {
                    bail!("an empty datagram")
                };
                if first.message_type == Message::ERROR {
                    bail!("the kernel refused a dump");
                }
                if first.message_type == Message::DONE || ends(&buffer[..length]) {
                    break;
                }
            }
        }
        Ok((start.elapsed(), bytes))
    }

    fn send(&self, datagram: &[u8]) -> Result<()> {
        self.socket.send_to(datagram, &SocketAddr::new(0, 0), 0).context("sending to the kernel")?;
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<usize> {
        let mut room = &mut *buffer;
        let (length, _) = self.socket.recv_from(&mut room, 0).context("receiving from the kernel")?;
        Ok(length)
    }
}

/// Whether an `NLMSG_DONE` (20 bytes) is the last message.
fn ends(datagram: &[u8]) -> bool {
    let tail = datagram.len().checked_sub(20).and_then(|at| datagram.get(at..));
    let done = |tail| matches!(Messages::of(tail).next(), Some(Ok(message)) if message.message_type == Message::DONE);
    tail.is_some_and(done)
}
