//! What the kernel of a node says of its XFRM databases.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::node::Place;

/// The states and policies of a namespace, without counters and replay positions: equal when nothing was
/// configured in between. Keys are shown as digests, so that messages don't tell them.
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
                block.push_str(&without_key(line));
            }
            _ => blocks.push(line.to_owned()),
        }
    }
    blocks.sort();
    blocks
}

/// The line with its key, if it has one, as a digest.
fn without_key(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    if ["auth", "auth-trunc", "enc", "aead"].contains(&words[0].trim())
        && let Some(key) = words.iter_mut().find(|word| word.starts_with("0x"))
    {
        let digest = Sha256::digest(key.as_bytes());
        *key = format!("key#{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]);
    }
    words.join(" ")
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
    fn keys_are_told_apart_but_not_told() {
        let line = |key| blocks(&format!("src a dst b\n\taead rfc4106(gcm(aes)) {key} 128")).concat();
        assert!(!line("0x0102").contains("0102"), "{}", line("0x0102"));
        assert_ne!(line("0x0102"), line("0x0103"));
        let spi = "src a dst b\n\tproto esp spi 0x1";
        assert_eq!(blocks(spi), [spi]);
    }

    #[test]
    fn entries_are_sorted_and_have_no_replay_positions() {
        let text =
            "src b dst c\n\tproto esp spi 0x2\n\tanti-replay context: seq 0x1\nsrc a dst b\n\tproto esp\n";
        assert_eq!(blocks(text), ["src a dst b\n\tproto esp", "src b dst c\n\tproto esp spi 0x2"]);
    }
}
