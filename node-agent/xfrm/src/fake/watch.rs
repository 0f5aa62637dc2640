//! Change notices of the fake kernel, with a pair of sockets so that they can be polled like the real ones.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use esplanade_model::Event;

use crate::{KernelError, Noticed, Watch};

/// What was told and not looked at.
type Queue = Arc<Mutex<Noticed>>;

/// Tells of changes to a fake kernel.
#[derive(Debug)]
pub struct FakeWatch(UnixStream, Queue);

#[derive(Debug)]
pub(super) struct Sender(UnixStream, Queue);

pub(super) fn pair() -> Result<(Sender, FakeWatch), KernelError> {
    let make = || {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let queue = Queue::default();
        Ok((Sender(ours, Arc::clone(&queue)), FakeWatch(theirs, queue)))
    };
    make().map_err(|source| KernelError::Open { step: "socket pair", source })
}

impl Sender {
    /// Whether somebody is still watching.
    pub(super) fn changed(&self, event: Event) -> bool {
        self.send(|noticed| {
            noticed.changed = true;
            noticed.events.push(event);
        })
    }

    /// Something that is about no SA and no policy. Whether somebody is still watching.
    pub(super) fn something(&self) -> bool {
        self.send(|noticed| noticed.changed = true)
    }

    /// Whether somebody is still watching.
    pub(super) fn overrun(&self) -> bool {
        self.send(|noticed| noticed.overrun = true)
    }

    fn send(&self, tell: impl FnOnce(&mut Noticed)) -> bool {
        tell(&mut self.1.lock().unwrap_or_else(PoisonError::into_inner));
        match (&self.0).write_all(&[0]) {
            Ok(()) => true,
            // Full: there is more than enough to read already.
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

impl Watch for FakeWatch {
    fn look(&mut self) -> Result<Noticed, KernelError> {
        let mut buffer = [0; 64];
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(KernelError::Receive(error)),
            }
        }
        Ok(std::mem::take(&mut *self.1.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl AsFd for FakeWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for FakeWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
