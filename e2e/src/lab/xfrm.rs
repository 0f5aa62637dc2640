//! What the kernel of a node says of its XFRM databases.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::node::Place;

/// The states and policies of a namespace, without counters and replay positions: equal when nothing was
/// configured in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xfrm {
    /// The states, as `ip -d xfrm state` prints them, sorted.
    pub states: Vec<String>,
    /// The policies, as `ip -d xfrm policy` prints them, sorted.
    pub policies: Vec<String>,
}

impl Place {
    /// Takes a snapshot of the XFRM databases.
    pub async fn xfrm(&self) -> Result<Xfrm> {
        let states = self.run(["ip", "-d", "xfrm", "state"]).await?.ok()?;
        let policies = self.run(["ip", "-d", "xfrm", "policy"]).await?.ok()?;
        Ok(Xfrm { states: blocks(&states), policies: blocks(&policies) })
    }

    /// The counters of /proc/net/xfrm_stat.
    pub async fn xfrm_stat(&self) -> Result<BTreeMap<String, u64>> {
        let text = self.run(["cat", "/proc/net/xfrm_stat"]).await?.ok()?;
        let counter = |line: &str| {
            let (name, value) = line.split_once(char::is_whitespace)?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        };
        let counters = text.lines().map(|line| counter(line).with_context(|| line.to_owned()));
        counters.collect::<Result<_>>().context("/proc/net/xfrm_stat")
    }
}

/// The entries: each starts at the margin, what belongs to it is indented.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !is_replay_position(line)) {
        match blocks.last_mut() {
            Some(block) if line.starts_with(char::is_whitespace) => {
                block.push('\n');
                block.push_str(line);
            }
            _ => blocks.push(line.to_owned()),
        }
    }
    blocks.sort();
    blocks
}

/// Where the replay window is and what it has seen: one line without extended sequence numbers, with them three.
fn is_replay_position(line: &str) -> bool {
    let text = line.trim();
    let bitmap = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit() || c == ' ');
    text.starts_with("anti-replay context:")
        || text.starts_with("seq-hi ")
        || line.starts_with("\t ") && bitmap(text)
}

#[cfg(test)]
mod tests {
    use super::blocks;

    #[test]
    fn a_window_with_extended_sequence_numbers_keeps_its_size_only() {
        let text = "src a dst b\n\tproto esp\n\tanti-replay esn context:\n\t seq-hi 0x0, seq 0x7, oseq 0x0\n\t \
                    replay_window 64, bitmap-length 2\n\t 0000007f 00000000 \n\tsel src c dst d \n";
        let kept = "src a dst b\n\tproto esp\n\tanti-replay esn context:\n\t replay_window 64, \
                    bitmap-length 2\n\tsel src c dst d ";
        assert_eq!(blocks(text), [kept]);
    }

    #[test]
    fn entries_are_sorted_and_have_no_replay_positions() {
        let text =
            "src b dst c\n\tproto esp spi 0x2\n\tanti-replay context: seq 0x1\nsrc a dst b\n\tproto esp\n";
        assert_eq!(blocks(text), ["src a dst b\n\tproto esp", "src b dst c\n\tproto esp spi 0x2"]);
    }
}
