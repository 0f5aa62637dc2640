//! Operations in words.

use esplanade_model::{Direction, Op, Policy};

/// What was tried, as the beginning of a sentence.
pub(super) fn op(op: &Op) -> String {
    match op {
        Op::AddInbound { sa, .. } => format!("adding the inbound {}", sa.0.id()),
        Op::AddOutbound { sa, .. } => format!("adding the outbound {}", sa.0.id()),
        Op::FillSa { sa, .. } => format!("adding the inbound {}", sa.0.id()),
        Op::UpdateSa(sa) => format!("changing the {}", sa.sa().id()),
        Op::SetReplayState { sa, .. } => format!("moving the {} past its sequence numbers", sa.sa().id()),
        Op::DeleteSa(id, _) => format!("deleting the {id}"),
        Op::AddPolicy { policy, .. } => format!("adding the {}", describe(policy)),
        Op::UpdatePolicy { policy, .. } => format!("changing the {}", describe(policy)),
        Op::Migrate { key, .. } => {
            let (from, to) = (key.selector.source(), key.selector.destination());
            format!("moving the SAs of the {} policy for {from} to {to}", way(key.direction))
        }
        Op::DeletePolicy { direction, index, .. } => {
            format!("deleting the {} policy with index {:#x}", way(*direction), index.get())
        }
    }
}

fn describe(policy: &Policy) -> String {
    let selector = &policy.selector;
    format!("{} policy for {} to {}", way(policy.direction), selector.source(), selector.destination())
}

fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "inbound",
        Direction::Out => "outbound",
        Direction::Forward => "forward",
    }
}
