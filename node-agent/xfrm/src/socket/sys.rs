//! Socket options that no library has a safe function for.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Sets the receive buffer beyond the system's limit; needs CAP_NET_ADMIN in the first user namespace.
pub(super) fn force_receive_buffer(socket: &impl AsFd, bytes: i32) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
}

/// Sets the send buffer, as [`force_receive_buffer`].
pub(super) fn force_send_buffer(socket: &impl AsFd, bytes: i32) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes)
}

/// Sets the send buffer up to the system's limit.
pub(super) fn set_send_buffer(socket: &impl AsFd, bytes: i32) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, bytes)
}

/// The size of the receive buffer, as the kernel counts it.
pub(super) fn receive_buffer(socket: &impl AsFd) -> io::Result<usize> {
    get(socket, libc::SO_RCVBUF)
}

/// The size of the send buffer, as the kernel counts it.
pub(super) fn send_buffer(socket: &impl AsFd) -> io::Result<usize> {
    get(socket, libc::SO_SNDBUF)
}

/// Lets receiving fail with EAGAIN after this long.
pub(super) fn set_receive_timeout(socket: &impl AsFd, timeout: Duration) -> io::Result<()> {
    let seconds = libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX);
    set(socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, libc::timeval { tv_sec: seconds, tv_usec: 0 })
}

/// `T` must be the type that setsockopt wants for this option.
pub(crate) fn set<T>(
    socket: &impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: T,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the pointer is to `length` bytes of a live value, which the kernel only reads; the descriptor is open as
    // long as it is borrowed.
    let result = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, std::ptr::from_ref(&value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `option` must have an int for its value.
fn get(socket: &impl AsFd, option: libc::c_int) -> io::Result<usize> {
    let mut value: libc::c_int = 0;
    let mut length =
        libc::socklen_t::try_from(size_of_val(&value)).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: both pointers are to live values that the kernel may write to, `length` bytes of the first; the descriptor
    // is open as long as it is borrowed.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_mut(&mut value).cast(),
            std::ptr::from_mut(&mut length),
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    usize::try_from(value).map_err(|_| io::ErrorKind::InvalidData.into())
}
