//! Conditions, with what they were before.

use esplanade_crds::conditions::reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::finding::{Finding, in_words};

/// How many findings a condition's message has.
const FINDINGS_IN_WORDS: usize = 4;

/// Longest message, in bytes; the API allows 32768.
const LONGEST_MESSAGE: usize = 2048;

/// `status` of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(truth: bool) -> Self {
        if truth { Self::True } else { Self::False }
    }
}

/// The conditions of one object.
pub(super) struct Conditions<'a> {
    previous: &'a [Condition],
    generation: Option<i64>,
    now: &'a Time,
    conditions: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    pub(super) fn new(previous: &'a [Condition], generation: Option<i64>, now: &'a Time) -> Self {
        Self { previous, generation, now, conditions: Vec::new() }
    }

    /// The time is that of the last change of `status`.
    pub(super) fn set(&mut self, type_: &str, status: impl Into<Truth>, reason: &str, message: &str) {
        let status = status.into().as_str();
        let since = self
            .previous
            .iter()
            .find(|before| before.type_ == type_ && before.status == status)
            .map_or(self.now, |before| &before.last_transition_time);
        self.conditions.push(Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: word(reason).to_owned(),
            message: shortened(message),
            observed_generation: self.generation,
            last_transition_time: since.clone(),
        });
    }

    /// True if there are no findings; else False with the first one's reason.
    pub(super) fn set_by(&mut self, type_: &str, good: (&str, &str), findings: &[Finding], suffix: &str) {
        let messages: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
        match (findings.first(), in_words(&messages, FINDINGS_IN_WORDS)) {
            (Some(first), Some(words)) => {
                self.set(type_, false, first.reason, &format!("{words}{suffix}"));
            }
            _ => self.set(type_, true, good.0, good.1),
        }
    }

    pub(super) fn finish(self) -> Vec<Condition> {
        self.conditions
    }
}

/// What the API allows as a reason; agents write theirs.
fn word(reason: &str) -> &str {
    let letters = reason.chars().all(|c| c.is_ascii_alphanumeric());
    let good = letters && reason.starts_with(|c: char| c.is_ascii_alphabetic()) && reason.len() <= 64;
    if good { reason } else { reason::KERNEL_ERROR }
}

fn shortened(message: &str) -> String {
    if message.len() <= LONGEST_MESSAGE {
        return message.to_owned();
    }
    let end = (0..=LONGEST_MESSAGE).rev().find(|at| message.is_char_boundary(*at)).unwrap_or_default();
    format!("{}…", &message[..end])
}
