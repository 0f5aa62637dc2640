//! NETLINK_XFRM: wire codec, sockets, and a fake kernel that behaves like the real one.
//!
//! [`Kernel`] is what a node's agent needs, [`Databases`] what most of it does: read both databases, change them. [`Netlink`] is the kernel of the calling
//! thread's network namespace, [`fake::FakeKernel`] one in memory; the same test suite runs against both.

mod error;
pub mod fake;
mod kernel;
mod socket;
pub mod udp;
pub mod wire;

pub use error::KernelError;
pub use kernel::{Databases, Kernel, Noticed, PolicySettings, Watch};
pub use socket::{Besides, Events, Inspection, Listener, Netlink, Totals};
