//! Socket options that netlink-sys has no function for.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Sets the receive buffer beyond the system's limit; needs CAP_NET_ADMIN in the first user namespace.
pub(super) fn force_receive_buffer(socket: &impl AsFd, bytes: i32) -> io::Result<()> {
    set(socket, libc::SO_RCVBUFFORCE, bytes)
}

/// Lets receiving fail with EAGAIN after this long.
pub(super) fn set_receive_timeout(socket: &impl AsFd, timeout: Duration) -> io::Result<()> {
    let seconds = libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX);
    set(socket, libc::SO_RCVTIMEO, libc::timeval { tv_sec: seconds, tv_usec: 0 })
}

/// `T` must be the type that setsockopt wants for this option.
fn set<T>(socket: &impl AsFd, option: libc::c_int, value: T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the pointer is to `length` bytes of a live value, which the kernel only reads; the descriptor is open as
    // long as it is borrowed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(&value).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
