//! Names that someone else has in the kernel.

use std::fmt::Write;

use esplanade_crds::Problem;
use esplanade_crds::conditions::reason;
use esplanade_model::{Direction, Mark, PolicyKey, Port, SaId};

use crate::Object;

/// An SA.
pub fn sa(object: &Object, id: SaId) -> Problem {
    problem(
        object,
        format!(
            "the kernel has an {id} that another program made; it is left alone. Remove it there, or choose another spi"
        ),
    )
}

/// An SA beside another of its name.
pub fn ambiguous(object: &Object, id: SaId) -> Problem {
    problem(
        object,
        format!(
            "the kernel has several of the {id}, of other marks, and may take one for the other; they are left alone. \
             Remove what another program made, or choose another spi"
        ),
    )
}

/// A policy.
pub fn policy(object: &Object, key: &PolicyKey) -> Problem {
    let direction = match key.direction {
        Direction::In => "an inbound",
        Direction::Out => "an outbound",
        Direction::Forward => "a forward",
    };
    problem(
        object,
        format!(
            "the kernel has {direction} policy for {} that another program made; it is left alone. Remove it there",
            packets(key)
        ),
    )
}

fn problem(object: &Object, message: String) -> Problem {
    Problem { kind: object.kind, name: object.name.clone(), category: reason::CONFLICTED.to_owned(), message }
}

/// A selector in words.
fn packets(key: &PolicyKey) -> String {
    let selector = &key.selector;
    let mut text = format!("{} to {}", selector.source(), selector.destination());
    // Writing to a String doesn't fail.
    if selector.protocol != 0 {
        let _ = write!(text, ", protocol {}", selector.protocol);
    }
    if key.interface_id != 0 {
        let _ = write!(text, ", interface id {}", key.interface_id);
    }
    if key.mark != Mark::NONE {
        let _ = write!(text, ", mark {:#x}/{:#x}", key.mark.value(), key.mark.mask());
    }
    if selector.interface_index != 0 {
        let _ = write!(text, ", interface with index {}", selector.interface_index);
    }
    // As the kernel has it for ICMP and ICMPv6.
    let names = if [1, 58].contains(&selector.protocol) {
        ["type", "code"]
    } else {
        ["source port", "destination port"]
    };
    for (name, port) in names.into_iter().zip([selector.source_port, selector.destination_port]) {
        if port != Port::ANY {
            let _ = write!(text, ", {name} {}/{:#x}", port.value(), port.mask());
        }
    }
    text
}
