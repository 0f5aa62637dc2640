//! IP traffic flow security (RFC 9347).

/// How an SA in [`Mode::Iptfs`](crate::Mode::Iptfs) gathers packets and takes them apart again (`xfrm_iptfs_config`).
/// Each end has its own half: what the other end has is as in the default, which is the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iptfs {
    /// Sender: length of the packets on the wire, in bytes, without ESP's trailer; 0 for what the path takes.
    pub packet_size: u32,
    /// Sender: a packet that doesn't fit into what is left of one on the wire waits for the next.
    pub dont_fragment: bool,
    /// Sender: how long the first packet waits for others, in microseconds.
    pub initial_delay: u32,
    /// Sender: what waits at most, in bytes; more is dropped.
    pub queue: u32,
    /// Receiver: packets that one may come late and is still put in order.
    pub reorder_window: u16,
    /// Receiver: how long a missing packet is waited for, in microseconds.
    pub drop_time: u32,
}

impl Default for Iptfs {
    /// `iptfs_user_init`.
    fn default() -> Self {
        Self {
            packet_size: 0,
            dont_fragment: false,
            initial_delay: 0,
            queue: 10_485_760,
            reorder_window: 3,
            drop_time: 1_000_000,
        }
    }
}

impl Iptfs {
    /// A sender's half.
    #[must_use]
    pub fn outbound(self) -> Self {
        let Self { reorder_window, drop_time, .. } = Self::default();
        Self { reorder_window, drop_time, ..self }
    }

    /// A receiver's half.
    #[must_use]
    pub fn inbound(self) -> Self {
        let Self { reorder_window, drop_time, .. } = self;
        Self { reorder_window, drop_time, ..Self::default() }
    }
}
