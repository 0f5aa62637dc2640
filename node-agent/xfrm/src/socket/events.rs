//! Changes of the databases, as the kernel announces them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use netlink_packet_xfrm::constants::{
    XFRMNLGRP_ACQUIRE, XFRMNLGRP_EXPIRE, XFRMNLGRP_MAPPING, XFRMNLGRP_MIGRATE, XFRMNLGRP_POLICY, XFRMNLGRP_SA,
};
use zeroize::Zeroizing;

use super::link::{Link, Socket};
use crate::wire::reply::Messages;
use crate::{KernelError, Noticed, Watch, wire};

/// The groups that cost nothing to join. With a listener to ACQUIRE the kernel makes larval SAs, and drops packets while they wait
/// (`km_is_alive`): that is joined only where SAs are made on demand.
const GROUPS: [u32; 5] =
    [XFRMNLGRP_SA, XFRMNLGRP_POLICY, XFRMNLGRP_EXPIRE, XFRMNLGRP_MIGRATE, XFRMNLGRP_MAPPING];
/// Events taken in by one look: somebody who changes things without end must not keep it from returning.
const MAX_EVENTS: usize = 10_000;
/// An event is at most one record.
const BUFFER: usize = 64 * 1024;

/// Tells of changes to the databases of the network namespace that the calling thread was in when it was opened.
#[derive(Debug)]
pub struct Events {
    socket: Socket,
    own_port: u32,
    unfiltered: Option<io::Error>,
}

impl Events {
    /// `own_port`: whose changes are no news. `acquires`: packets that lack an SA are.
    pub(super) fn open(own_port: u32, acquires: bool) -> Result<Self, KernelError> {
        let socket = Socket::open()?;
        socket.never_block()?;
        // Before anything comes.
        let unfiltered = socket.pass_over(own_port).err();
        for group in GROUPS.into_iter().chain(acquires.then_some(XFRMNLGRP_ACQUIRE)) {
            socket.join(group)?;
        }
        Ok(Self { socket, own_port, unfiltered })
    }

    /// Why own changes are queued as well, where the kernel refused to pass them over (ENOMEM: `net.core.optmem_max`). They
    /// are no news then either, but each costs time, and takes room from what is.
    pub fn unfiltered(&self) -> Option<&io::Error> {
        self.unfiltered.as_ref()
    }
}

impl Watch for Events {
    fn look(&mut self) -> Result<Noticed, KernelError> {
        look(&self.socket, self.own_port)
    }
}

/// Takes in what is there, up to an end.
pub(super) fn look(link: &impl Link, own_port: u32) -> Result<Noticed, KernelError> {
    let mut noticed = Noticed::default();
    // SA events bring keys.
    let mut buffer = Zeroizing::new(vec![0; BUFFER]);
    for _ in 0..MAX_EVENTS {
        match link.receive(&mut buffer) {
            Ok(length) => {
                for message in Messages::of(&buffer[..length]) {
                    match message {
                        Ok(message) if message.port == own_port => {}
                        Ok(message) => {
                            noticed.changed = true;
                            noticed.events.extend(wire::decode_event(&message));
                        }
                        Err(KernelError::Overrun) => noticed.overrun = true,
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(KernelError::Overrun) => noticed.overrun = true,
            // There is nothing more.
            Err(KernelError::Timeout(_)) => return Ok(noticed),
            Err(error) => return Err(error),
        }
    }
    // The rest is older than any dump made after this.
    Ok(Noticed { overrun: true, ..noticed })
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.netlink().as_fd()
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
