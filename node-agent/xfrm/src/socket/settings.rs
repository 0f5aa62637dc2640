//! What holds for all policies of a network namespace.

use esplanade_model::{DefaultActions, Refusal, Thresholds};
use netlink_packet_xfrm::constants::{XFRM_MSG_GETDEFAULT, XFRM_MSG_GETSPDINFO};

use super::exchange::{self, Buffer, Sequence};
use super::link::Link;
use super::probe;
use crate::KernelError;
use crate::wire::reply::Message;
use crate::wire::{Request, spd};

/// Which policies the kernel hashes.
pub(super) fn thresholds(
    link: &impl Link,
    sequence: &Sequence,
    buffer: &mut Buffer,
) -> Result<Thresholds, KernelError> {
    ask(link, sequence, buffer, XFRM_MSG_GETSPDINFO, &spd::ASK, spd::decode_thresholds)
}

/// What becomes of packets that no policy covers. A kernel that doesn't know the question says EINVAL (`xfrm_user_rcv_msg`).
pub(super) fn default_actions(
    link: &impl Link,
    sequence: &Sequence,
    buffer: &mut Buffer,
) -> Result<Option<DefaultActions>, KernelError> {
    match ask(link, sequence, buffer, XFRM_MSG_GETDEFAULT, &spd::ASK_DEFAULT, spd::decode_default) {
        Ok(actions) => Ok(Some(actions)),
        Err(KernelError::Dump { refusal, .. }) if refusal.errno == libc::EINVAL => Ok(None),
        Err(error) => Err(error),
    }
}

/// Has the kernel take a setting.
pub(super) fn set(
    link: &impl Link,
    sequence: &Sequence,
    request: Request,
) -> Result<Result<(), Refusal>, KernelError> {
    let answers = probe::ask(link, sequence, &[request])?;
    Ok(answers.into_iter().collect())
}

/// One question, whose answer is one message.
fn ask<T>(
    link: &impl Link,
    sequence: &Sequence,
    buffer: &mut Buffer,
    message_type: u16,
    body: &[u8],
    decode: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, KernelError> {
    let take = |message: &Message<'_>| decode(message.body).ok_or(KernelError::Malformed("settings"));
    exchange::ask(link, sequence, buffer, (message_type, body), take)?
        .map_err(|refusal| KernelError::Dump { database: "settings", refusal })
}
