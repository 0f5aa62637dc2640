//! Asking the kernel what it can do.

use std::collections::BTreeSet;

use esplanade_model::{Capability, Refusal};

use super::exchange::Sequence;
use super::link::Link;
use crate::KernelError;
use crate::wire::batch::{self, Answers};
use crate::wire::{Request, probe};

/// What the kernel behind a NETLINK_XFRM socket says that it can do.
pub(super) fn probe(link: &impl Link, sequence: &Sequence) -> Result<BTreeSet<Capability>, KernelError> {
    let mut present = BTreeSet::new();
    for question in probe::questions() {
        let answers = ask(link, sequence, &question.requests)?;
        if question.is_affirmed_by(&answers) {
            present.extend(question.about);
        }
    }
    Ok(present)
}

/// Whether the kernel behind a NETLINK_ROUTE socket can make XFRM interfaces.
pub(super) fn makes_interfaces(link: &impl Link, sequence: &Sequence) -> Result<bool, KernelError> {
    let answers = ask(link, sequence, &[probe::interface()])?;
    Ok(answers.iter().all(probe::makes_interfaces))
}

/// What the kernel answers to each request.
pub(super) fn ask(
    link: &impl Link,
    sequence: &Sequence,
    requests: &[Request],
) -> Result<Vec<Result<(), Refusal>>, KernelError> {
    let first = sequence.take(requests.len());
    link.send(&batch::datagram(requests, first, link.port()))?;
    let mut answers = Answers::to(requests.iter().map(|request| request.gone), first);
    // Nothing but errors comes.
    let mut buffer = [0; 4096];
    while !answers.is_complete() {
        let length = link.receive(&mut buffer)?;
        answers.take(buffer.get(..length).unwrap_or_default())?;
    }
    Ok(answers.into_results())
}
