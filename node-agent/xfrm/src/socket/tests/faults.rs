//! Everything that can go wrong below a socket, and the one thing that becomes of it: docs/faults.md.

mod answers;
mod calls;
mod dumps;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;

use esplanade_model::{Observed, Refusal};

use super::super::calls::Calls;
use super::super::events::look;
use super::super::exchange::Sequence;
use super::super::link::Socket;
use super::{carry_out, deletions, done, error, id, look_up, message, observe};
use crate::{KernelError, Noticed};

const OWN_PORT: u32 = 7;
const OTHER_PORT: u32 = 8;

/// What a system call comes to: a datagram and its sender.
type Received = io::Result<(Vec<u8>, u32)>;

fn fails<T>(errno: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(errno))
}

/// Sending works.
const GOES: io::Result<usize> = Ok(usize::MAX);

/// The kernel's.
fn brings(datagram: impl Into<Vec<u8>>) -> Received {
    Ok((datagram.into(), 0))
}

/// System calls that go as written down; then, sending works and nothing comes. Requests are numbered from 1.
#[derive(Default)]
struct Script {
    sends: RefCell<VecDeque<io::Result<usize>>>,
    receives: RefCell<VecDeque<Received>>,
    sent: Cell<usize>,
}

impl Calls for &Script {
    fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        self.sent.set(self.sent.get() + 1);
        self.sends.borrow_mut().pop_front().unwrap_or(GOES).map(|length| length.min(datagram.len()))
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, u32)> {
        let (datagram, sender) = self.receives.borrow_mut().pop_front().unwrap_or(fails(libc::EAGAIN))?;
        let fits = datagram.len().min(buffer.len());
        buffer[..fits].copy_from_slice(&datagram[..fits]);
        Ok((datagram.len(), sender))
    }
}

impl Script {
    fn receiving(receives: impl IntoIterator<Item = Received>) -> Self {
        Self { receives: RefCell::new(receives.into_iter().collect()), ..Self::default() }
    }

    fn sending(sends: impl IntoIterator<Item = io::Result<usize>>) -> Self {
        Self { sends: RefCell::new(sends.into_iter().collect()), ..Self::default() }
    }

    fn then(self, receives: impl IntoIterator<Item = Received>) -> Self {
        self.receives.borrow_mut().extend(receives);
        self
    }

    fn socket(&self) -> Socket<&Self> {
        Socket::on(self, OWN_PORT)
    }

    /// Carries out this many deletions.
    fn carry_out(&self, count: usize) -> Result<Vec<Result<(), Refusal>>, KernelError> {
        carry_out(&self.socket(), &Sequence::default(), &deletions(count))
    }

    fn dump(&self) -> Result<Observed, KernelError> {
        observe(&self.socket())
    }

    fn look_up(&self) -> Result<Observed, KernelError> {
        look_up(&self.socket(), &[id(256), id(257)], &[])
    }

    fn look(&self) -> Result<Noticed, KernelError> {
        look(&self.socket(), OWN_PORT)
    }

    /// Everything was read.
    fn is_played(&self) -> bool {
        self.receives.borrow().is_empty()
    }
}

/// What a request, a dump, a look-up and a look at events make of the same fault.
fn everywhere(fault: impl Fn() -> Received) -> [(&'static str, Result<(), KernelError>); 4] {
    let script = || Script::receiving([fault()]);
    [
        ("requests", script().carry_out(3).map(|_| ())),
        ("dump", script().dump().map(|_| ())),
        ("look-up", script().look_up().map(|_| ())),
        ("events", script().look().map(|_| ())),
    ]
}

fn refusal(errno: i32) -> Result<(), Refusal> {
    Err(Refusal { errno, message: None })
}
