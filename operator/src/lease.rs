//! Which of several operators leads: a claim on a Lease, as client-go's leaderelection does it.
//!
//! Every write to the Lease carries the resourceVersion that it goes by, so of two that claim it at once one fails.
//! A Lease has run out when it hasn't changed for its duration by the watcher's own clock: clocks need not agree.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;

mod claim;

use claim::{Claim, Observed};

/// Where the Lease is, and who claims it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Who claims it: unique among the operators; the Pod's name.
    pub identity: String,
    /// How long it is valid without being renewed. A third of it passes between two renewals, and a leader that
    /// couldn't renew it for two thirds no longer writes.
    pub duration: Duration,
}

/// Why leading ended.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else has the Lease.
    #[error("Lease {name} is now held by {holder}")]
    Taken {
        /// The Lease.
        name: String,
        /// Who.
        holder: String,
    },
    /// It couldn't be renewed in time.
    #[error("Lease {name} could not be renewed in time: {source}")]
    Late {
        /// The Lease.
        name: String,
        /// What the last attempt met.
        source: Box<kube::Error>,
    },
}

/// Says whether this process leads. Cheap to clone; ask before each write.
#[derive(Debug, Clone)]
pub struct Leadership {
    until: watch::Receiver<Option<Instant>>,
    slack: Duration,
}

impl Leadership {
    /// Whether the claim holds now.
    #[must_use]
    pub fn held(&self) -> bool {
        self.until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// How long a write may take that begins while the claim holds: no other leads before it has ended.
    #[must_use]
    pub fn slack(&self) -> Duration {
        self.slack
    }
}

/// A claim on a Lease. Not held until [`acquire`](Self::acquire) returns.
pub struct Elector {
    api: Api<Lease>,
    config: Config,
    until: watch::Sender<Option<Instant>>,
    observed: Option<Observed>,
}

impl Elector {
    /// A claim that isn't held yet.
    #[must_use]
    pub fn new(client: Client, config: Config) -> Self {
        let api = Api::namespaced(client, &config.namespace);
        Self { api, config, until: watch::Sender::new(None), observed: None }
    }

    /// Tells whether the claim holds.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        Leadership { until: self.until.subscribe(), slack: self.config.duration / 3 }
    }

    /// Waits until the Lease is ours. Errors are logged and tried again.
    pub async fn acquire(&mut self) {
        loop {
            match self.attempt().await {
                Ok(Ok(())) => {
                    tracing::info!(lease = self.config.name, identity = self.config.identity, "leading");
                    return;
                }
                Ok(Err(holder)) => tracing::debug!(holder, lease = self.config.name, "standing by"),
                Err(error) => {
                    tracing::warn!(lease = self.config.name, error = %error, "can't claim the Lease")
                }
            }
            tokio::time::sleep(self.config.duration / 6).await;
        }
    }

    /// Renews the Lease for as long as that works.
    ///
    /// # Errors
    /// It is no longer ours, and must be taken as lost at once.
    pub async fn keep(&mut self) -> LeaseError {
        loop {
            tokio::time::sleep(self.config.duration / 3).await;
            if let Err(error) = self.renew().await {
                self.until.send_replace(None);
                return error;
            }
        }
    }

    /// Renews once, with as many attempts as fit into the time left.
    async fn renew(&mut self) -> Result<(), LeaseError> {
        loop {
            let source = match self.attempt().await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(holder)) => return Err(LeaseError::Taken { name: self.config.name.clone(), holder }),
                Err(source) => source,
            };
            tracing::warn!(lease = self.config.name, error = %source, "can't renew the Lease");
            let pause = self.config.duration / 30;
            let until = *self.until.borrow();
            if until.is_none_or(|until| Instant::now() + pause >= until) {
                return Err(LeaseError::Late { name: self.config.name.clone(), source: Box::new(source) });
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Gives the Lease back so that another need not wait for it to run out.
    pub async fn release(mut self) {
        if self.until.send_replace(None).is_none() {
            return;
        }
        let Some(mut lease) = self.observed.take().map(Observed::into_lease) else { return };
        claim::vacate(&mut lease);
        let replaced = self.api.replace(&self.config.name, &PostParams::default(), &lease).await;
        if let Err(error) = replaced {
            tracing::warn!(lease = self.config.name, error = %error, "can't give the Lease back");
        }
    }

    /// One attempt to claim or renew: `Err(holder)` when it is somebody else's.
    async fn attempt(&mut self) -> Result<Result<(), String>, kube::Error> {
        let limit = self.config.duration / 3;
        match tokio::time::timeout(limit, self.exchange()).await {
            Ok(result) => result,
            Err(_) => Err(kube::Error::Service(format!("no answer within {limit:?}").into())),
        }
    }

    async fn exchange(&mut self) -> Result<Result<(), String>, kube::Error> {
        let lease = self.get_or_create().await?;
        let now = Instant::now();
        let observed = Observed::update(self.observed.take(), lease, now);
        if let Claim::Wait { holder } = claim::decide(&observed, &self.config.identity, now) {
            self.observed = Some(observed);
            return Ok(Err(holder));
        }
        let mut lease = observed.into_lease();
        claim::occupy(&mut lease, &self.config.identity, self.config.duration, jiff::Timestamp::now());
        let replaced = self.api.replace(&self.config.name, &PostParams::default(), &lease).await?;
        // Counted from before the request: others count from when they see its result.
        self.until.send_replace(Some(now + self.config.duration * 2 / 3));
        self.observed = Some(Observed::update(None, replaced, now));
        Ok(Ok(()))
    }

    async fn get_or_create(&self) -> Result<Lease, kube::Error> {
        if let Some(lease) = self.api.get_opt(&self.config.name).await? {
            return Ok(lease);
        }
        let name = Some(self.config.name.clone());
        let lease = Lease { metadata: ObjectMeta { name, ..ObjectMeta::default() }, spec: None };
        self.api.create(&PostParams::default(), &lease).await
    }
}
