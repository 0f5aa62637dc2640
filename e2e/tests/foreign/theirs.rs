//! What of the kernel's databases isn't ours, as exactly as `ip` shows it.

use anyhow::{Context, Result};
use esplanade_e2e::lab::Place;

/// Every SA and policy of others, with keys, indexes and the times they were made, without what traffic changes; sorted.
pub(crate) async fn theirs(place: &Place) -> Result<Vec<String>> {
    let mut entries = Vec::new();
    for database in ["state", "policy"] {
        let text = place.run(["ip", "-s", "-d", "xfrm", database]).await?.ok()?;
        for entry in split(&text) {
            if !is_ours(database, &entry).with_context(|| entry.clone())? {
                entries.push(entry);
            }
        }
    }
    entries.sort();
    Ok(entries)
}

/// The entries: each starts at the margin.
fn split(text: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in text.lines().filter_map(without_traffic) {
        match entries.last_mut() {
            Some(entry) if line.starts_with(char::is_whitespace) => {
                entry.push('\n');
                entry.push_str(line);
            }
            _ => entries.push(line.to_owned()),
        }
    }
    entries
}

/// Without counters, replay positions and the time of the last packet.
fn without_traffic(line: &str) -> Option<&str> {
    let text = line.trim();
    let counters = text.contains("(bytes), ") && !text.starts_with("limit:");
    let window = text.starts_with("replay-window ") && text.contains(" failed ");
    let position = text.starts_with("anti-replay context:") || text.starts_with("seq-hi ");
    let bitmap = line.starts_with("\t ") && text.chars().all(|c| c.is_ascii_hexdigit() || c == ' ');
    let last = text.starts_with("lastused");
    if counters || window || position || bitmap || last {
        return None;
    }
    // "add DATE TIME use DATE TIME"
    Some(if text.starts_with("add ") { line.split(" use ").next().unwrap_or(line) } else { line })
}

/// By the tags that we promise (docs/architecture.md), read from what `ip -s` prints.
fn is_ours(database: &str, entry: &str) -> Result<bool> {
    let words: Vec<&str> = entry.split_whitespace().collect();
    let all = |name: &str| -> Vec<&str> {
        words.windows(2).filter(|pair| pair[0] == name).map(|pair| pair[1]).collect()
    };
    // "1342177281(0x50000001)"
    let decimal = |text: &str| -> Result<u32> {
        text.split('(').next().unwrap_or(text).parse().with_context(|| text.to_owned())
    };
    let reqids = all("reqid").into_iter().map(decimal).collect::<Result<Vec<_>>>()?;
    let owned = reqids.iter().all(|reqid| (0x5000_0000..=0x5fff_ffff).contains(reqid));
    Ok(owned
        && if database == "state" {
            all("seq").into_iter().any(is_cookie)
        } else {
            decimal(all("index").first().context("no index")?)? >> 30 == 1
        })
}

/// `ip` prints 0x and then the decimal digits (`xfrm_state_info_print`).
fn is_cookie(seq: &str) -> bool {
    let digits = seq.trim_start_matches("0x");
    [10, 16].into_iter().any(|radix| u32::from_str_radix(digits, radix).is_ok_and(|seq| seq >> 16 == 0x4553))
}

#[test]
fn entries_are_told_apart_by_their_tags() {
    let state = |seq: &str, reqid: &str| {
        format!(
            "src 192.0.2.12 dst 192.0.2.11\n\tproto esp spi 0xa1f3c029(2717106217) reqid {reqid} mode tunnel\n\t\
             replay-window 0 seq {seq} flag  (0x00000000)\n\tlifetime current:\n\t  9(bytes), 7(packets)\n\t  \
             add 2026-11-25 00:32:22 use -\n\tstats:\n\t  replay-window 0 replay 0 failed 0"
        )
    };
    let ours = |seq, reqid| is_ours("state", &split(&state(seq, reqid))[0]).unwrap();
    assert!(ours("0x1163067393", "1342177281(0x50000001)"));
    assert!(!ours("0x1163067393", "16389(0x00004005)"));
    assert!(!ours("0x00000000", "1342177281(0x50000001)"));
    let kept = "\n\tlifetime current:\n\t  add 2026-11-25 00:32:22\n\tstats:";
    assert!(split(&state("0x1", "7"))[0].ends_with(kept), "{}", split(&state("0x1", "7"))[0]);
    let policy = "src a dst b uid 0\n\tdir in action block index 1073741832 priority 9";
    assert!(is_ours("policy", policy).unwrap());
    assert!(!is_ours("policy", &policy.replace("1073741832", "225")).unwrap());
}
