//! Numbers that are somebody else's, read when they are asked for.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Numbers of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Samples {
    /// The metric's name; `_total` comes behind a counter's by itself.
    pub name: &'static str,
    /// What it is, without a full stop.
    pub help: &'static str,
    /// They only ever grow.
    pub counter: bool,
    /// One for each combination of labels.
    pub samples: Vec<Sample>,
}

/// A number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Labels and their values.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: u64,
}

/// Collects what `read` returns, whenever it is asked for.
pub fn samples(read: impl Fn() -> Vec<Samples> + Send + Sync + 'static) -> Box<dyn Collector> {
    Box::new(Read(read))
}

struct Read<F>(F);

impl<F> fmt::Debug for Read<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Read")
    }
}

impl<F: Fn() -> Vec<Samples> + Send + Sync + 'static> Collector for Read<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Samples { name, help, counter, samples } in (self.0)() {
            // A gauge's are signed; none of these numbers is that large.
            let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let kind = if counter { ConstCounter::new(0u64).metric_type() } else { gauge(0).metric_type() };
            let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
            for Sample { labels, value } in &samples {
                let labels: Vec<_> = labels.iter().map(|(label, value)| (*label, value.as_str())).collect();
                let encoder = encoder.encode_family(&labels)?;
                if counter {
                    ConstCounter::new(*value).encode(encoder)?;
                } else {
                    gauge(*value).encode(encoder)?;
                }
            }
        }
        Ok(())
    }
}
