//! Waiting for changes that others make in the kernel.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use esplanade_xfrm::{KernelError, Noticed, Watch};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Tells of others' changes in the kernel.
pub struct Notices(AsyncFd<Waitable>);

struct Waitable {
    watch: Box<dyn Watch>,
    /// The watch's file once more, so that nobody else closes what is waited on.
    file: OwnedFd,
}

impl AsRawFd for Waitable {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl Notices {
    /// Waits on this one.
    ///
    /// # Errors
    /// Its file descriptor can't be waited on.
    pub fn new(watch: Box<dyn Watch>) -> io::Result<Self> {
        let file = watch.as_fd().try_clone_to_owned()?;
        let waitable = Waitable { watch, file };
        // SAFETY: `as_raw_fd` gives the descriptor of `file`, which `waitable` owns and never changes or closes before
        // it is dropped.
        #[allow(unsafe_code)]
        let waiting = unsafe { AsyncFd::register_with_interest(waitable, Interest::READABLE) };
        Ok(Self(waiting?))
    }

    /// What there is to be told now. Never waits.
    ///
    /// # Errors
    /// As for [`Notices::changed`].
    pub fn now(&mut self) -> Result<Noticed, KernelError> {
        self.0.get_mut().watch.look()
    }

    /// Waits until somebody else changed something, or events were lost. Nothing is missed when this is dropped
    /// meanwhile.
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn changed(&mut self) -> Result<Noticed, KernelError> {
        loop {
            let mut ready = self.0.readable_mut().await.map_err(KernelError::Receive)?;
            // Takes in all that is there, so the next readiness is a new one.
            let noticed = ready.get_inner_mut().watch.look()?;
            ready.clear_ready();
            if noticed.is_news() {
                return Ok(noticed);
            }
        }
    }
}
