//! Change notices of the fake kernel, through a pair of sockets so that they can be polled like the real ones.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;

use crate::{KernelError, Noticed, Watch};

const CHANGED: u8 = b'c';
const OVERRUN: u8 = b'o';

/// Tells of changes to a fake kernel.
#[derive(Debug)]
pub struct FakeWatch(UnixStream);

#[derive(Debug)]
pub(super) struct Sender(UnixStream);

pub(super) fn pair() -> Result<(Sender, FakeWatch), KernelError> {
    let make = || {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        Ok((Sender(ours), FakeWatch(theirs)))
    };
    make().map_err(|source| KernelError::Open { step: "socket pair", source })
}

impl Sender {
    /// Whether somebody is still watching.
    pub(super) fn changed(&self) -> bool {
        self.send(CHANGED)
    }

    /// Whether somebody is still watching.
    pub(super) fn overrun(&self) -> bool {
        self.send(OVERRUN)
    }

    fn send(&self, notice: u8) -> bool {
        match (&self.0).write_all(&[notice]) {
            Ok(()) => true,
            // Full: there is more than enough to read already.
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

impl Watch for FakeWatch {
    fn look(&mut self) -> Result<Noticed, KernelError> {
        let mut noticed = Noticed::default();
        let mut buffer = [0; 64];
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => return Ok(noticed),
                Ok(length) => {
                    noticed.changed |= buffer[..length].contains(&CHANGED);
                    noticed.overrun |= buffer[..length].contains(&OVERRUN);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(noticed),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(KernelError::Receive(error)),
            }
        }
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
