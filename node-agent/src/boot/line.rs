//! A policy without templates as a line of JSON.

use esplanade_model::{Action, Direction, Mark, MixedFamilies, Policy, PolicyFlags, Port, Selector};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Why a line is no policy.
#[derive(Debug, thiserror::Error)]
pub enum BadLine {
    /// It isn't what we write.
    #[error("not a policy: {0}")]
    Json(#[from] serde_json::Error),
    /// No packet could match.
    #[error(transparent)]
    Families(#[from] MixedFamilies),
}

#[derive(Serialize, Deserialize, Clone, Copy)]
enum Way {
    In,
    Out,
    Forward,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
enum Fate {
    Allow,
    Block,
}

/// Value and mask.
type Masked<T> = [T; 2];

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    direction: Way,
    source: IpNet,
    destination: IpNet,
    protocol: u8,
    source_port: Masked<u16>,
    destination_port: Masked<u16>,
    interface_id: u32,
    mark: Masked<u32>,
    priority: u32,
    action: Fate,
    icmp_errors: bool,
    local_override: bool,
}

/// The policy's line, with its end. What it has of templates isn't in it.
pub(super) fn write(policy: Policy) -> String {
    let Policy { direction, selector, interface_id, mark, priority, action, flags, templates: _ } = policy;
    let port = |port: Port| [port.value(), port.mask()];
    let line = Line {
        direction: match direction {
            Direction::In => Way::In,
            Direction::Out => Way::Out,
            Direction::Forward => Way::Forward,
        },
        source: selector.source(),
        destination: selector.destination(),
        protocol: selector.protocol,
        source_port: port(selector.source_port),
        destination_port: port(selector.destination_port),
        interface_id,
        mark: [mark.value(), mark.mask()],
        priority,
        action: match action {
            Action::Allow => Fate::Allow,
            Action::Block => Fate::Block,
        },
        icmp_errors: flags.icmp_errors,
        local_override: flags.local_override,
    };
    // Only maps with keys that aren't text can't be JSON; there are none.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    text
}

/// What the line says.
///
/// # Errors
/// We wouldn't write it.
pub(super) fn read(text: &str) -> Result<Policy, BadLine> {
    let line: Line = serde_json::from_str(text)?;
    let port = |[value, mask]: Masked<u16>| Port::masked(value, mask);
    let mut selector = Selector::new(line.source, line.destination)?;
    selector.protocol = line.protocol;
    (selector.source_port, selector.destination_port) = (port(line.source_port), port(line.destination_port));
    let direction = match line.direction {
        Way::In => Direction::In,
        Way::Out => Direction::Out,
        Way::Forward => Direction::Forward,
    };
    let action = match line.action {
        Fate::Allow => Action::Allow,
        Fate::Block => Action::Block,
    };
    let [value, mask] = line.mark;
    let flags = PolicyFlags { icmp_errors: line.icmp_errors, local_override: line.local_override };
    Ok(Policy {
        interface_id: line.interface_id,
        mark: Mark::masked(value, mask),
        flags,
        ..Policy::new(direction, selector, line.priority, action)
    })
}
