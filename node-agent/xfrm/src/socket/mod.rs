//! The real kernel, through netlink sockets.

mod calls;
mod events;
mod exchange;
mod link;
mod sys;

use esplanade_model::{Observed, Op, Refusal};
use netlink_packet_xfrm::constants::{XFRM_MSG_GETPOLICY, XFRM_MSG_GETSA};

use crate::wire::{Dumped, Observer, encode};
use crate::{Kernel, KernelError};
pub use events::Events;
use exchange::Sequence;
use link::{Link, Socket};

/// The kernel of the network namespace that the calling thread was in when it was opened. Needs CAP_NET_ADMIN there.
#[derive(Debug)]
pub struct Netlink {
    /// Two sockets: a dump and its replies must not meet the answers to requests.
    requests: Socket,
    dumps: Socket,
    sequence: Sequence,
}

impl Netlink {
    /// Opens the sockets.
    ///
    /// # Errors
    /// The kernel has no NETLINK_XFRM, or there are no more file descriptors.
    pub fn open() -> Result<Self, KernelError> {
        Ok(Self { requests: Socket::open()?, dumps: Socket::open()?, sequence: Sequence::default() })
    }

    /// Tells of changes that others make from now on, in the namespace that the calling thread is in.
    ///
    /// # Errors
    /// As for [`Netlink::open`].
    pub fn watch(&self) -> Result<Events, KernelError> {
        Events::open(self.requests.port())
    }
}

impl Kernel for Netlink {
    fn dump(&mut self) -> Result<Observed, KernelError> {
        observe(&self.dumps, &mut self.sequence)
    }

    fn apply(&mut self, ops: &[Op]) -> Result<Vec<Result<(), Refusal>>, KernelError> {
        let requests: Vec<_> = ops.iter().map(encode).collect();
        exchange::carry_out(&self.requests, &mut self.sequence, &requests)
    }
}

/// Reads both databases.
fn observe(link: &impl Link, sequence: &mut Sequence) -> Result<Observed, KernelError> {
    let mut observer = Observer::default();
    for (of, message_type) in [(Dumped::Sas, XFRM_MSG_GETSA), (Dumped::Policies, XFRM_MSG_GETPOLICY)] {
        let records = exchange::dump(link, sequence, of, message_type)?;
        for record in records.bodies() {
            observer.record(of, record)?;
        }
    }
    Ok(observer.finish())
}

#[cfg(test)]
mod tests;
