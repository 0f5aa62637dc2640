//! What the agent needs of a kernel.

use std::os::fd::{AsFd, AsRawFd};

use esplanade_model::{Observed, Op, Refusal};

use crate::KernelError;

/// The XFRM databases of one network namespace. After an error open it afresh: what the failed socket still holds, or
/// has the kernel do (a dump that nobody reads on), would stand in the way of the next request.
pub trait Kernel: Send {
    /// Reads both databases.
    ///
    /// # Errors
    /// They could not be read as a whole; nothing is known.
    fn dump(&mut self) -> Result<Observed, KernelError>;

    /// Carries the operations out in order; the ones after a refused one too. One result for each, in their order.
    /// Deleting what isn't there is a success.
    ///
    /// # Errors
    /// The kernel could not be asked, or its answers were lost: some of the operations may have been carried out. Read
    /// the databases again.
    fn apply(&mut self, ops: &[Op]) -> Result<Vec<Result<(), Refusal>>, KernelError>;
}

/// What happened to the databases since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Noticed {
    /// Somebody else than our [`Kernel`] changed something.
    pub changed: bool,
    /// Events were lost: anything may have changed.
    pub overrun: bool,
}

impl Noticed {
    /// The databases have to be read again.
    pub fn is_reason_to_dump(self) -> bool {
        self.changed || self.overrun
    }
}

/// Tells of changes. Its file descriptor is non-blocking, and readable when there is something to look at.
pub trait Watch: AsFd + AsRawFd + Send {
    /// Takes in all that is there to be read; never blocks. If that has no end, it is an overrun: what is left unread is
    /// older than any dump made from then on, so waiting for what comes next misses nothing.
    ///
    /// # Errors
    /// The socket is broken: open it afresh.
    fn look(&mut self) -> Result<Noticed, KernelError>;
}
