//! Repeated measurements of one thing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Durations, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds one.
    pub fn push(&mut self, duration: Duration) {
        self.0.push(duration.as_secs_f64());
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The `part`-quantile (0 to 1): the smallest value that at least that part of all do not exceed.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        // 0 to the number of samples.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied()
    }

    /// The one in the middle; the lower one of two.
    pub fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    /// The least.
    pub fn min(&self) -> Option<f64> {
        self.quantile(0.0)
    }

    /// How many times the other's these are, which weren't measured in turn: what the medians are to each other.
    pub fn to(&self, other: &Self) -> Option<f64> {
        self.median().zip(other.median()).map(|(one, other)| one / other)
    }

    /// The most.
    pub fn max(&self) -> Option<f64> {
        self.quantile(1.0)
    }
}

/// Durations of two things that were measured in turn, each with the one next to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pairs(Vec<[f64; 2]>);

impl Pairs {
    /// Adds one of each.
    pub fn push(&mut self, one: Duration, other: Duration) {
        self.0.push([one, other].map(|duration| duration.as_secs_f64()));
    }

    /// Those of the one.
    pub fn one(&self) -> Samples {
        Samples(self.0.iter().map(|[one, _]| *one).collect())
    }

    /// Those of the other.
    pub fn other(&self) -> Samples {
        Samples(self.0.iter().map(|[_, other]| *other).collect())
    }

    /// How many times the other's the one's are: the median of what each is to the one next to it, for a machine is slower at
    /// times.
    pub fn ratio(&self) -> Option<f64> {
        Samples(self.0.iter().map(|[one, other]| one / other).collect()).median()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Pairs, Samples};

    #[test]
    fn quantiles_are_samples() {
        let mut samples = Samples::default();
        assert_eq!(samples.median(), None);
        for seconds in [3, 1, 2, 4] {
            samples.push(Duration::from_secs(seconds));
        }
        let of = |part| samples.quantile(part);
        assert_eq!([of(0.0), of(0.5), of(0.75), of(0.99)], [Some(1.0), Some(2.0), Some(3.0), Some(4.0)]);
        let mut others = Samples::default();
        for seconds in [1, 1, 1] {
            others.push(Duration::from_secs(seconds));
        }
        assert_eq!(samples.to(&others), Some(2.0));
        assert_eq!((samples.min(), samples.max(), samples.count()), (Some(1.0), Some(4.0), 4));
    }

    #[test]
    fn what_was_measured_in_turn_is_compared_with_what_is_next_to_it() {
        let mut pairs = Pairs::default();
        for (one, other) in [(3, 1), (1, 1), (2, 1), (4, 8)] {
            pairs.push(Duration::from_secs(one), Duration::from_secs(other));
        }
        assert_eq!(pairs.ratio(), Some(1.0), "of 3, 1, 2, 0.5");
        assert_eq!(pairs.one().to(&pairs.other()), Some(2.0), "of 2 and 1");
    }
}
