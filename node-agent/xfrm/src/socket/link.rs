//! One netlink socket.

use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::time::Duration;

use netlink_sys::Socket as Netlink;
use netlink_sys::protocols::NETLINK_XFRM;

use super::calls::Calls;
use super::sys;
use crate::KernelError;

/// Room for what the kernel sends, in bytes. As much as strongSwan asks for; the default holds some 250 events.
const RECEIVE_BUFFER: i32 = 8 * 1024 * 1024;
/// The kernel answers before the request's system call returns: this only ends what would never end.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Sends and receives whole datagrams. What can go wrong with it, and what becomes of that: docs/faults.md.
pub(super) trait Link {
    /// The port that requests carry.
    fn port(&self) -> u32;
    /// Sends one datagram to the kernel.
    fn send(&self, datagram: &[u8]) -> Result<(), KernelError>;
    /// Waits for a datagram; returns its length.
    fn receive(&self, buffer: &mut [u8]) -> Result<usize, KernelError>;
}

/// A NETLINK_XFRM socket.
#[derive(Debug)]
pub(super) struct Socket<C = Netlink> {
    calls: C,
    port: u32,
}

impl Socket {
    pub(super) fn open() -> Result<Self, KernelError> {
        let failed = |step| move |source| KernelError::Open { step, source };
        let mut netlink = Netlink::new(NETLINK_XFRM).map_err(failed("socket"))?;
        let port = netlink.bind_auto().map_err(failed("bind"))?.port_number();
        netlink.set_ext_ack(true).map_err(failed("NETLINK_EXT_ACK"))?;
        // Without it, errors bring the whole request back, keys and all.
        netlink.set_cap_ack(true).map_err(failed("NETLINK_CAP_ACK"))?;
        // Up to the system's limit where CAP_NET_ADMIN is only the namespace's.
        sys::force_receive_buffer(&netlink, RECEIVE_BUFFER)
            .or_else(|_| netlink.set_rx_buf_sz(RECEIVE_BUFFER))
            .map_err(failed("SO_RCVBUF"))?;
        sys::set_receive_timeout(&netlink, PATIENCE).map_err(failed("SO_RCVTIMEO"))?;
        Ok(Self { calls: netlink, port })
    }

    pub(super) fn join(&self, group: u32) -> Result<(), KernelError> {
        self.calls
            .add_membership(group)
            .map_err(|source| KernelError::Open { step: "NETLINK_ADD_MEMBERSHIP", source })
    }

    pub(super) fn never_block(&self) -> Result<(), KernelError> {
        self.calls.set_non_blocking(true).map_err(|source| KernelError::Open { step: "O_NONBLOCK", source })
    }

    pub(super) fn netlink(&self) -> &Netlink {
        &self.calls
    }
}

#[cfg(test)]
impl<C> Socket<C> {
    pub(super) fn on(calls: C, port: u32) -> Self {
        Self { calls, port }
    }
}

impl<C: Calls> Link for Socket<C> {
    fn port(&self) -> u32 {
        self.port
    }

    fn send(&self, datagram: &[u8]) -> Result<(), KernelError> {
        let sent = retry(|| self.calls.send(datagram)).map_err(KernelError::Send)?;
        if sent == datagram.len() { Ok(()) } else { Err(KernelError::Send(ErrorKind::WriteZero.into())) }
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<usize, KernelError> {
        loop {
            return match retry(|| self.calls.receive(buffer)) {
                // Any process that may change the databases may send to a socket's port; only the kernel's port is 0.
                Ok((_, sender)) if sender != 0 => continue,
                Ok((0, _)) => Err(KernelError::Malformed("an empty datagram")),
                Ok((length, _)) if length > buffer.len() => {
                    Err(KernelError::Malformed("a datagram longer than any that the kernel sends"))
                }
                Ok((length, _)) => Ok(length),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Err(KernelError::Overrun),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Err(KernelError::Timeout(PATIENCE)),
                Err(error) => Err(KernelError::Receive(error)),
            };
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.calls.as_raw_fd()
    }
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
