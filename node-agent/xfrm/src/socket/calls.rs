//! The system calls on a netlink socket.

use std::io;

use netlink_sys::{Socket, SocketAddr};

/// Sends and receives as the kernel has it, with all that can go wrong; a socket, or a test's double.
pub(super) trait Calls {
    /// Sends one datagram to the kernel; returns how much of it went.
    fn send(&self, datagram: &[u8]) -> io::Result<usize>;
    /// Waits for a datagram. As much of it as fits comes into the buffer; returns its own length, and the port that
    /// sent it.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, u32)>;
}

impl Calls for Socket {
    fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        self.send_to(datagram, &SocketAddr::new(0, 0), 0)
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, u32)> {
        let mut room = buffer;
        // MSG_TRUNC: the datagram's own length, however much of it fitted.
        let (length, sender) = self.recv_from(&mut room, libc::MSG_TRUNC)?;
        Ok((length, sender.port_number()))
    }
}
