//! One netlink socket.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::time::Duration;

use netlink_sys::protocols::{NETLINK_ROUTE, NETLINK_XFRM};
use netlink_sys::{Socket as Netlink, SocketAddr};
use socket2::SockRef;

use super::calls::Calls;
use super::{filter, sys};
use crate::KernelError;

/// Room for what the kernel sends, in bytes. As much as strongSwan asks for; the default holds some 250 events.
const RECEIVE_BUFFER: i32 = 8 * 1024 * 1024;
/// Room for what is sent at once, in bytes: the largest datagram, and again as much.
const SEND_BUFFER: i32 = 2 * 1024 * 1024;
/// Ports that the kernel gives to nobody by itself begin here: it starts with the process's id, and goes on down from
/// 2³² - 4096 (`netlink_autobind`).
const OWN_PORTS: u32 = 0x8000_0000;
/// Ports tried that somebody else has already.
const PORT_ATTEMPTS: usize = 8;
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

/// A netlink socket.
#[derive(Debug)]
pub(super) struct Socket<C = Netlink> {
    calls: C,
    port: u32,
}

impl Socket {
    pub(super) fn open() -> Result<Self, KernelError> {
        Self::of(NETLINK_XFRM)
    }

    /// One of NETLINK_ROUTE.
    pub(super) fn route() -> Result<Self, KernelError> {
        Self::of(NETLINK_ROUTE)
    }

    fn of(protocol: isize) -> Result<Self, KernelError> {
        let failed = |step| move |source| KernelError::Open { step, source };
        let mut netlink = Netlink::new(protocol).map_err(failed("socket"))?;
        let port = bind(&mut netlink).map_err(failed("bind"))?;
        netlink.set_ext_ack(true).map_err(failed("NETLINK_EXT_ACK"))?;
        // Without it, errors bring the whole request back, keys and all.
        netlink.set_cap_ack(true).map_err(failed("NETLINK_CAP_ACK"))?;
        // Up to the system's limit where CAP_NET_ADMIN is only the namespace's.
        sys::force_receive_buffer(&netlink, RECEIVE_BUFFER)
            .or_else(|_| netlink.set_rx_buf_sz(RECEIVE_BUFFER))
            .map_err(failed("SO_RCVBUF"))?;
        sys::force_send_buffer(&netlink, SEND_BUFFER)
            .or_else(|_| sys::set_send_buffer(&netlink, SEND_BUFFER))
            .map_err(failed("SO_SNDBUF"))?;
        sys::set_receive_timeout(&netlink, PATIENCE).map_err(failed("SO_RCVTIMEO"))?;
        Ok(Self { calls: netlink, port })
    }

    /// The sizes of the buffers for sending and receiving as they came out, in bytes.
    pub(super) fn buffers(&self) -> Result<(usize, usize), KernelError> {
        let failed = |step| move |source| KernelError::Open { step, source };
        let send = sys::send_buffer(&self.calls).map_err(failed("SO_SNDBUF"))?;
        let receive = sys::receive_buffer(&self.calls).map_err(failed("SO_RCVBUF"))?;
        Ok((send, receive))
    }

    /// From now on messages that carry this port aren't queued at all. They would fill the buffer when much is written.
    pub(super) fn pass_over(&self, port: u32) -> io::Result<()> {
        SockRef::from(&self.calls).attach_filter(&filter::all_but(port))
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

/// Binds the socket to a port of its own choice: events carry what the request said, and many programs say their process
/// id there, which in another namespace may be ours as well.
fn bind(netlink: &mut Netlink) -> io::Result<u32> {
    let mut failed = None;
    for attempt in 0..PORT_ATTEMPTS {
        #[allow(clippy::cast_possible_truncation)] // The lower half is as good as any other.
        let random = RandomState::new().hash_one(attempt) as u32;
        let port = OWN_PORTS | random;
        match netlink.bind(&SocketAddr::new(port, 0)) {
            Ok(()) => return Ok(port),
            Err(error) if error.kind() == ErrorKind::AddrInUse => failed = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(failed.unwrap_or_else(|| ErrorKind::AddrInUse.into()))
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
