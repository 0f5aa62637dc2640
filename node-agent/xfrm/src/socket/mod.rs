//! The real kernel, through netlink sockets.

mod calls;
mod events;
mod exchange;
mod filter;
mod inspect;
mod link;
mod probe;
mod reading;
mod settings;
pub(crate) mod sys;

use std::collections::BTreeSet;

use esplanade_model::{
    Capability, DefaultActions, Op, PolicyKey, Reader, Refusal, ReplayState, SaId, Spi, Thresholds,
    Unnumbered, Used, WantedSa,
};

use crate::wire::batch::{Datagram, Limits};
use crate::wire::{Dumped, Glancer, spd};
use crate::{Databases, Kernel, KernelError, PolicySettings};
pub use events::Events;
use exchange::{Buffer, Sequence};
pub use inspect::{Besides, Inspection, Listener, Totals};
use link::{Link, Socket};
use reading::Reading;

/// The kernel of the network namespace that the calling thread was in when it was opened. Needs CAP_NET_ADMIN there.
#[derive(Debug)]
pub struct Netlink {
    /// Two sockets: what is read must not meet the answers to operations.
    requests: Socket,
    dumps: Socket,
    operations: Datagram,
    look_ups: Datagram,
    buffer: Buffer,
    sequence: Sequence,
    glancer: Glancer,
}

impl Netlink {
    /// Opens the sockets.
    ///
    /// # Errors
    /// The kernel has no NETLINK_XFRM, or there are no more file descriptors.
    pub fn open() -> Result<Self, KernelError> {
        let (requests, dumps) = (Socket::open()?, Socket::open()?);
        let (send, receive) = requests.buffers()?;
        let operations = Datagram::new(Limits::of_operations(send, receive), requests.port());
        let (send, receive) = dumps.buffers()?;
        let look_ups = Datagram::new(Limits::of_look_ups(send, receive), dumps.port());
        let (buffer, sequence, glancer) = (Buffer::default(), Sequence::default(), Glancer::default());
        Ok(Self { requests, dumps, operations, look_ups, buffer, sequence, glancer })
    }

    /// Tells of changes that others make from now on, in the namespace that the calling thread is in.
    ///
    /// # Errors
    /// As for [`Netlink::open`].
    pub fn watch(&self) -> Result<Events, KernelError> {
        Events::open(self.requests.port(), false)
    }

    /// [`Netlink::watch`], which tells as well of packets that lack an SA ([`Event::Asked`](esplanade_model::Event::Asked)).
    ///
    /// # Errors
    /// As for [`Netlink::open`].
    pub fn watch_acquires_too(&self) -> Result<Events, KernelError> {
        Events::open(self.requests.port(), true)
    }
}

impl Databases for Netlink {
    fn read(&mut self, reader: &mut dyn Reader) -> Result<(), KernelError> {
        let mut reading = Reading { glancer: &self.glancer, buffer: &mut self.buffer, reader };
        read(&self.dumps, &self.sequence, &mut reading)
    }

    fn look_up(
        &mut self,
        sas: &[SaId],
        policies: &[PolicyKey],
        reader: &mut dyn Reader,
    ) -> Result<(), KernelError> {
        let mut reading = Reading { glancer: &self.glancer, buffer: &mut self.buffer, reader };
        reading.look_up(&self.dumps, &self.sequence, &mut self.look_ups, sas, policies)
    }

    fn carry_out(&mut self, ops: &mut dyn Iterator<Item = Op>) -> Result<Vec<(usize, Refusal)>, KernelError> {
        exchange::carry_out(&self.requests, &self.sequence, &mut self.operations, &mut self.buffer, ops)
    }
}

impl PolicySettings for Netlink {
    fn thresholds(&mut self) -> Result<Thresholds, KernelError> {
        settings::thresholds(&self.dumps, &self.sequence, &mut self.buffer)
    }

    fn set_thresholds(&mut self, thresholds: Thresholds) -> Result<Result<(), Refusal>, KernelError> {
        settings::set(&self.requests, &self.sequence, spd::encode_thresholds(thresholds))
    }

    fn default_actions(&mut self) -> Result<Option<DefaultActions>, KernelError> {
        settings::default_actions(&self.dumps, &self.sequence, &mut self.buffer)
    }

    fn set_default_actions(&mut self, actions: DefaultActions) -> Result<Result<(), Refusal>, KernelError> {
        settings::set(&self.requests, &self.sequence, spd::encode_default(actions))
    }
}

impl Kernel for Netlink {
    fn probe(&mut self) -> Result<BTreeSet<Capability>, KernelError> {
        let mut present = probe::probe(&self.requests, &self.sequence)?;
        if probe::makes_interfaces(&Socket::route()?, &self.sequence)? {
            present.insert(Capability::Interfaces);
        }
        Ok(present)
    }

    fn allocate_spi(&mut self, sa: &Unnumbered) -> Result<Result<Spi, Refusal>, KernelError> {
        exchange::allocate_spi(&self.requests, &self.sequence, &mut self.buffer, sa)
    }

    fn replay_state(&mut self, sa: &WantedSa) -> Result<Option<(ReplayState, Used)>, KernelError> {
        exchange::replay_state(&self.dumps, &self.sequence, &mut self.buffer, sa)
    }
}

/// Reads both databases.
fn read(link: &impl Link, sequence: &Sequence, reading: &mut Reading<'_>) -> Result<(), KernelError> {
    [Dumped::Sas, Dumped::Policies].into_iter().try_for_each(|of| reading.dump(link, sequence, of))
}

#[cfg(test)]
mod tests;
