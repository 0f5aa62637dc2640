//! The operator's metrics and probes; docs/metrics.md lists them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use esplanade_metrics::prometheus_client::metrics::counter::Counter;
use esplanade_metrics::prometheus_client::metrics::family::Family;
use esplanade_metrics::prometheus_client::metrics::gauge::Gauge;
use esplanade_metrics::prometheus_client::metrics::histogram::Histogram;
use esplanade_metrics::prometheus_client::registry::{Registry, Unit};
use esplanade_metrics::{Answers, Sample, Samples, durations, samples};

use crate::controller::change::Kind;
use crate::controller::error::Category;
use crate::lease::Leadership;

/// A kind of object.
type OfKind = [(&'static str, String); 1];
/// A kind of object, and what went wrong with it.
type OfCategory = [(&'static str, String); 2];

/// What happened so far. Clones count together.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    plan_duration: Histogram,
    writes: Family<OfKind, Counter>,
    errors: Family<OfCategory, Counter>,
    waiting: Gauge,
    listed: AtomicBool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self(Arc::new(Inner {
            plan_duration: durations(),
            writes: Family::default(),
            errors: Family::default(),
            waiting: Gauge::default(),
            listed: AtomicBool::new(false),
        }))
    }
}

impl Metrics {
    /// Whether everything has been listed.
    pub fn listed(&self, all: bool) {
        self.0.listed.store(all, Ordering::Relaxed);
    }

    /// A plan was made.
    pub fn planned(&self, took: Duration) {
        self.0.plan_duration.observe(took.as_secs_f64());
    }

    /// An object was written.
    pub fn written(&self, kind: Kind) {
        self.0.writes.get_or_create(&[("kind", kind.to_string())]).inc();
    }

    /// An object could not be written.
    pub fn failed(&self, kind: Kind, category: Category) {
        self.error(kind.to_string(), category);
    }

    /// A Secret could not be read.
    pub fn unread(&self, category: Category) {
        self.error("Secret".to_owned(), category);
    }

    fn error(&self, kind: String, category: Category) {
        self.0.errors.get_or_create(&[("kind", kind), ("category", category.to_string())]).inc();
    }

    /// So many objects wait for another attempt.
    pub fn waiting(&self, count: usize) {
        self.0.waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// What the HTTP server answers.
    pub fn answers(&self, leadership: Leadership) -> Answers {
        let mut registry = Registry::with_prefix("esplanade_operator");
        let inner = &*self.0;
        registry.register_with_unit(
            "plan_duration",
            "How long plans of the whole cluster took",
            Unit::Seconds,
            inner.plan_duration.clone(),
        );
        registry.register("writes", "Objects written, by kind", inner.writes.clone());
        registry.register(
            "errors",
            "Requests that failed, by the kind of the object and by category",
            inner.errors.clone(),
        );
        registry.register("waiting", "Objects that wait for another attempt", inner.waiting.clone());
        registry.register_collector(samples(move || {
            let held = Sample { labels: vec![], value: leadership.held().into() };
            vec![Samples {
                name: "leader",
                help: "Whether this one leads",
                counter: false,
                samples: vec![held],
            }]
        }));
        let ready = self.clone();
        Answers {
            registry,
            // That it answers is all there is to it: losing the Lease ends the process.
            healthy: Box::new(|| Ok(())),
            ready: Box::new(move || match ready.0.listed.load(Ordering::Relaxed) {
                true => Ok(()),
                false => Err("not everything has been listed yet".to_owned()),
            }),
        }
    }
}
