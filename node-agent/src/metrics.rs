//! The agent's metrics and probes; docs/metrics.md lists them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use esplanade_metrics::prometheus_client::metrics::counter::Counter;
use esplanade_metrics::prometheus_client::metrics::family::Family;
use esplanade_metrics::prometheus_client::metrics::gauge::Gauge;
use esplanade_metrics::prometheus_client::metrics::histogram::Histogram;
use esplanade_metrics::prometheus_client::registry::{Registry, Unit};
use esplanade_metrics::{Answers, durations, samples};

use crate::status::PassResult;
use crate::worker::Done;

mod kernel;

/// A pass that takes longer hangs in the kernel.
const LONGEST_PASS: Duration = Duration::from_secs(300);

/// What happened so far. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    passes: Family<Label, Counter>,
    pass_duration: Histogram,
    operations: Counter,
    surprises: Counter,
    losses: Family<Label, Counter>,
    refusals: Family<Label, Counter>,
    problems: Family<Label, Gauge>,
    events: Family<Label, Counter>,
    opens: Counter,
    last_in_sync: Gauge,
    security_associations: Family<Label, Gauge>,
    policies: Family<Label, Gauge>,
    progress: Mutex<Progress>,
}

/// What the probes go by.
#[derive(Debug, Default)]
struct Progress {
    /// Since when a pass has been running.
    running: Option<Instant>,
    /// The last pass could not ask the kernel: why. None before the first.
    last: Option<Result<(), String>>,
}

/// One label and its value.
type Label = [(&'static str, String); 1];

fn label(name: &'static str, value: impl Into<String>) -> Label {
    [(name, value.into())]
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            passes: Family::default(),
            pass_duration: durations(),
            operations: Counter::default(),
            surprises: Counter::default(),
            losses: Family::default(),
            refusals: Family::default(),
            problems: Family::default(),
            events: Family::default(),
            opens: Counter::default(),
            last_in_sync: Gauge::default(),
            security_associations: Family::default(),
            policies: Family::default(),
            progress: Mutex::default(),
        }
    }
}

impl Metrics {
    /// There is nothing to do for now, and the kernel stays as it is.
    pub fn idle(&self) {
        self.progress(|progress| progress.last = Some(Ok(())));
    }

    /// A pass begins.
    pub fn begun(&self, now: Instant) {
        self.progress(|progress| progress.running = Some(now));
    }

    /// A pass ended.
    pub fn done(&self, done: &Done, now: Instant) {
        let inner = &*self.0;
        let took = self.progress(|progress| {
            progress.last = Some(match &done.report.result {
                PassResult::Done { .. } => Ok(()),
                PassResult::Failed { message, .. } => Err(message.clone()),
            });
            progress.running.take().map(|began| now.saturating_duration_since(began))
        });
        if let Some(took) = took {
            inner.pass_duration.observe(took.as_secs_f64());
        }
        inner.operations.inc_by(u64::try_from(done.operations).unwrap_or(u64::MAX));
        inner.surprises.inc_by(u64::try_from(done.surprises).unwrap_or(u64::MAX));
        for (kind, count) in [("security_association", done.losses.sas), ("policy", done.losses.policies)] {
            let counter = inner.losses.get_or_create(&label("kind", kind));
            counter.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        }
        let mut present: BTreeMap<String, i64> = BTreeMap::new();
        let outcome = match &done.report.result {
            PassResult::Done { counts, problems, .. } => {
                for problem in problems {
                    *present.entry(problem.category.clone()).or_default() += 1;
                }
                let set = |family: &Family<Label, Gauge>, owner: &str, count: u32| {
                    family.get_or_create(&label("owner", owner)).set(count.into());
                };
                set(&inner.security_associations, "ours", counts.security_associations);
                set(&inner.security_associations, "foreign", counts.foreign_security_associations);
                set(&inner.policies, "ours", counts.policies);
                set(&inner.policies, "foreign", counts.foreign_policies);
                if done.in_sync() { "in_sync" } else { "incomplete" }
            }
            PassResult::Failed { category, .. } => {
                present.insert((*category).to_owned(), 1);
                "failed"
            }
        };
        inner.passes.get_or_create(&label("result", outcome)).inc();
        if done.in_sync() {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            inner.last_in_sync.set(i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX));
        }
        inner.problems.clear();
        for (category, count) in present {
            let labels = label("category", category);
            inner.problems.get_or_create(&labels).set(count);
            inner.refusals.get_or_create(&labels).inc_by(count.unsigned_abs());
        }
    }

    /// Others changed the kernel's databases so many times, or events were lost.
    pub fn noticed(&self, events: usize, overrun: bool) {
        let count = |kind: &str, count: usize| {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            self.0.events.get_or_create(&label("kind", kind)).inc_by(count);
        };
        count("change", events);
        count("overrun", overrun.into());
    }

    /// The kernel was opened (again).
    pub fn opened(&self) {
        self.0.opens.inc();
    }

    /// What the HTTP server answers. `with_kernel`: also the kernel's own counters.
    pub fn answers(&self, with_kernel: bool) -> Answers {
        let mut registry = Registry::with_prefix("esplanade_agent");
        let inner = &*self.0;
        registry.register("passes", "Passes over the kernel, by what they came to", inner.passes.clone());
        registry.register_with_unit(
            "pass_duration",
            "How long passes took",
            Unit::Seconds,
            inner.pass_duration.clone(),
        );
        registry.register("operations", "Writes that the kernel was asked for", inner.operations.clone());
        registry.register(
            "surprises",
            "SAs and policies that an audit found otherwise than events had told",
            inner.surprises.clone(),
        );
        registry.register(
            "deleted_by_others",
            "SAs and policies of ours that somebody else deleted",
            inner.losses.clone(),
        );
        registry.register(
            "refusals",
            "Objects that a pass could not bring into the kernel, and passes that failed, by category",
            inner.refusals.clone(),
        );
        registry.register("problems", "Objects with a problem now, by category", inner.problems.clone());
        registry.register(
            "kernel_events",
            "What others did to our SAs and policies, and times that events were lost",
            inner.events.clone(),
        );
        registry.register("kernel_opens", "Times that the kernel was opened", inner.opens.clone());
        registry.register_with_unit(
            "last_in_sync_timestamp",
            "When a pass last found or made the kernel as it should be, since 1970; 0 is never",
            Unit::Seconds,
            inner.last_in_sync.clone(),
        );
        registry.register(
            "security_associations",
            "SAs in the kernel, by owner",
            inner.security_associations.clone(),
        );
        registry.register("policies", "Policies in the kernel, by owner", inner.policies.clone());
        if with_kernel {
            registry.register_collector(samples(kernel::read));
        }
        let (healthy, ready) = (self.clone(), self.clone());
        Answers {
            registry,
            healthy: Box::new(move || healthy.healthy(Instant::now())),
            ready: Box::new(move || ready.ready()),
        }
    }

    fn healthy(&self, now: Instant) -> Result<(), String> {
        let since = self.progress(|progress| progress.running);
        match since.map(|since| now.saturating_duration_since(since)) {
            Some(running) if running > LONGEST_PASS => {
                Err(format!("a pass over the kernel has been running for {} s", running.as_secs()))
            }
            _ => Ok(()),
        }
    }

    fn ready(&self) -> Result<(), String> {
        let last = self.progress(|progress| progress.last.clone());
        last.unwrap_or_else(|| Err("no pass over the kernel has ended yet".to_owned()))
    }

    fn progress<T>(&self, act: impl FnOnce(&mut Progress) -> T) -> T {
        act(&mut self.0.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
