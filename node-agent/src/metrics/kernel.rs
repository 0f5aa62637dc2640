//! The kernel's own numbers, read when they are asked for.

use std::collections::BTreeMap;

use esplanade_metrics::{Sample, Samples};
use esplanade_xfrm::Totals;

use crate::host;

/// What can be read is told, the rest left out.
pub(super) fn read() -> Vec<Samples> {
    let mut all = Vec::new();
    match host::dropped() {
        Ok(dropped) => all.push(statistics(dropped)),
        Err(error) => tracing::debug!(%error, "what the kernel dropped can't be read"),
    }
    match Totals::read() {
        Ok(found) => all.extend(totals(&found)),
        Err(error) => tracing::debug!(%error, "the kernel's totals can't be read"),
    }
    all
}

fn statistics(dropped: BTreeMap<String, u64>) -> Samples {
    let sample = |(name, value)| Sample { labels: vec![("counter", name)], value };
    Samples {
        name: "xfrm_stat",
        help: "Packets that the kernel dropped, by its own names (/proc/net/xfrm_stat)",
        counter: true,
        samples: dropped.into_iter().map(sample).collect(),
    }
}

fn totals(totals: &Totals) -> Vec<Samples> {
    let gauge = |name, help, samples| Samples { name, help, counter: false, samples };
    let one = |value: u32| vec![Sample { labels: vec![], value: value.into() }];
    let policies = totals.policies.iter().map(|(direction, of_sockets, count)| Sample {
        labels: vec![("direction", (*direction).to_owned()), ("of_sockets", of_sockets.to_string())],
        value: (*count).into(),
    });
    let thresholds = totals.thresholds.iter().flat_map(|(family, local, remote)| {
        [("local", local), ("remote", remote)].map(|(side, length)| Sample {
            labels: vec![("family", (*family).to_owned()), ("side", side.to_owned())],
            value: (*length).into(),
        })
    });
    let blocks = totals.blocks.iter().map(|(direction, blocks)| Sample {
        labels: vec![("direction", (*direction).to_owned())],
        value: u32::from(*blocks).into(),
    });
    vec![
        gauge("sad_entries", "SAs of all owners, larval ones too", one(totals.sas)),
        gauge("sad_hash_buckets", "Buckets of the SAs' hash tables", one(totals.sa_buckets)),
        gauge("sad_hash_buckets_max", "Buckets that they can have", one(totals.most_sa_buckets)),
        gauge("spd_entries", "Policies of all owners", policies.collect()),
        gauge("spd_hash_buckets", "Buckets of the policies' hash tables", one(totals.policy_buckets)),
        gauge("spd_hash_buckets_max", "Buckets that they can have", one(totals.most_policy_buckets)),
        gauge(
            "spd_hash_threshold",
            "Prefix length from which on policies are hashed, by family and side",
            thresholds.collect(),
        ),
        gauge("default_block", "1 where packets that no policy covers are dropped", blocks.collect()),
    ]
}
