//! Why the kernel could not be asked.

use std::io;
use std::time::Duration;

use esplanade_model::Refusal;

/// The databases could not be read or changed as a whole. What the kernel says about a single object is a [`Refusal`].
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A socket could not be made or set up.
    #[error("opening a NETLINK_XFRM socket ({step}): {source}{}", hint(.source))]
    Open {
        /// What of it.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A request could not be sent.
    #[error("sending to the kernel: {0}")]
    Send(#[source] io::Error),
    /// An answer could not be received.
    #[error("receiving from the kernel: {0}")]
    Receive(#[source] io::Error),
    /// Answers were lost because the socket's buffer was full (ENOBUFS).
    #[error("the kernel's answers were lost: the socket's receive buffer was full")]
    Overrun,
    /// No answer came.
    #[error("the kernel did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The dump kept being interrupted by changes (`NLM_F_DUMP_INTR`).
    #[error("the kernel's databases changed during each of {0} dumps")]
    Unstable(u32),
    /// The kernel refused the dump.
    #[error("the kernel refused to show its {database}: {refusal}{}", needs(.refusal.errno))]
    Dump {
        /// Which one.
        database: &'static str,
        /// What the kernel said.
        refusal: Refusal,
    },
    /// An answer that isn't as the kernel's headers describe it. The text has no keys in it.
    #[error("the kernel's answer makes no sense: {0}")]
    Malformed(&'static str),
    /// An operation that does not fit into a message.
    #[error("an operation of {0} bytes does not fit into one message to the kernel")]
    TooLong(usize),
}

impl KernelError {
    /// A short word for conditions, events and metrics; it never changes.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Open { .. } => "SocketUnavailable",
            Self::Send(_) | Self::Receive(_) => "SocketFailed",
            Self::Overrun => "AnswersLost",
            Self::Timeout(_) => "KernelSilent",
            Self::Unstable(_) => "DumpInterrupted",
            Self::Dump { .. } => "DumpRefused",
            Self::Malformed(_) => "AnswerMalformed",
            Self::TooLong(_) => "RequestTooLong",
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPROTONOSUPPORT) => {
            " (the kernel has no xfrm_user: load that module, or build it with CONFIG_XFRM_USER)"
        }
        Some(errno) => needs(errno),
        None => "",
    }
}

fn needs(errno: i32) -> &'static str {
    match errno {
        libc::EPERM | libc::EACCES => " (CAP_NET_ADMIN is needed)",
        _ => "",
    }
}
