//! Programs for the kernel that decide which messages a socket gets (Documentation/networking/filter.rst).

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use socket2::SockFilter;

/// Where `nlmsg_pid` is in `struct nlmsghdr`.
const PORT: u32 = 12;

/// Everything but messages that carry this port. Of an event that is the port that the request carried which caused it, and 0
/// where the kernel itself did. An event is one message, and the program sees it from its first byte (`do_one_broadcast`).
pub(super) fn all_but(port: u32) -> [SockFilter; 4] {
    [
        // Loaded in network byte order, written in the machine's.
        step(BPF_LD | BPF_W | BPF_ABS, PORT, 0, 0),
        step(BPF_JMP | BPF_JEQ | BPF_K, port.to_be(), 0, 1),
        step(BPF_RET | BPF_K, 0, 0, 0),
        step(BPF_RET | BPF_K, u32::MAX, 0, 0),
    ]
}

fn step(code: u32, k: u32, jt: u8, jf: u8) -> SockFilter {
    SockFilter::new(u16::try_from(code).unwrap_or(u16::MAX), jt, jf, k)
}
