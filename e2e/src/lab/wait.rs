//! Waiting for something, with a deadline and a useful message when it does not come.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use kube::api::DynamicObject;
use serde_json::Value;

use super::Lab;

/// How long the control plane may take for its own work.
pub(super) const LONG: Duration = Duration::from_secs(60);
/// Tries this often.
pub(super) const POLL: Duration = Duration::from_millis(50);

impl Lab {
    /// Tries until `attempt` succeeds; returns what it returned. On an emulated machine the deadline is a later one.
    ///
    /// # Errors
    /// It didn't in time: the message has its last error, and the programs that have ended.
    pub async fn wait<T>(
        &self,
        what: &str,
        deadline: Duration,
        attempt: impl AsyncFn() -> Result<T>,
    ) -> Result<T> {
        let deadline = deadline * self.patience;
        let end = Instant::now() + deadline;
        let mut last = anyhow!("it wasn't tried to its end once");
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, attempt()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => last = error,
                Err(_) => {}
            }
            if Instant::now() >= end {
                let ended = self.ended().await;
                return Err(anyhow!("{ended}waited {deadline:?} for {what}: {last:#}"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits for a condition of an object (see [`Lab::get`] for `what`) that is about its current generation, and
    /// returns the object.
    ///
    /// # Errors
    /// It didn't come: the message has all conditions of the object.
    pub async fn wait_condition(
        &self,
        what: &str,
        kind: &str,
        status: &str,
        deadline: Duration,
    ) -> Result<DynamicObject> {
        let (api, name) = self.find(what).await?;
        self.wait(&format!("{kind}={status} of {what}"), deadline, async || {
            let object = api.get(&name).await.context("reading it")?;
            check(&object, kind, status)?;
            Ok(object)
        })
        .await
    }
}

fn check(object: &DynamicObject, kind: &str, status: &str) -> Result<()> {
    let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().any(|condition| {
        let observed = condition["observedGeneration"].as_i64();
        condition["type"] == kind
            && condition["status"] == status
            && observed.is_none_or(|observed| Some(observed) == object.metadata.generation)
    });
    ensure!(found, "its conditions are: {}", describe(&conditions, object.metadata.generation));
    Ok(())
}

fn describe(conditions: &[Value], generation: Option<i64>) -> String {
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let line = |condition: &Value| {
        let old = condition["observedGeneration"].as_i64().filter(|seen| Some(*seen) != generation);
        let old = old.map(|seen| format!(" (of generation {seen})")).unwrap_or_default();
        let [kind, status, reason, message] =
            ["type", "status", "reason", "message"].map(|field| text(condition, field));
        format!("\n  {kind}={status} {reason}: {message}{old}")
    };
    if conditions.is_empty() { "none".to_owned() } else { conditions.iter().map(line).collect() }
}

#[cfg(test)]
mod tests {
    use super::{DynamicObject, check};

    fn object(condition: serde_json::Value) -> DynamicObject {
        let object = serde_json::json!({
            "metadata": {"name": "x", "generation": 2}, "status": {"conditions": [condition]},
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_condition_counts_for_the_current_generation_only() {
        let condition = |observed: i64| {
            object(serde_json::json!({"type": "Ready", "status": "True", "reason": "Fine", "message": "m",
                "observedGeneration": observed}))
        };
        assert!(check(&condition(2), "Ready", "True").is_ok());
        assert!(check(&condition(2), "Ready", "False").is_err());
        let old = check(&condition(1), "Ready", "True").unwrap_err().to_string();
        assert!(old.contains("Ready=True Fine: m (of generation 1)"), "{old}");
    }

    #[test]
    fn a_condition_without_generation_counts() {
        assert!(
            check(&object(serde_json::json!({"type": "Ready", "status": "True"})), "Ready", "True").is_ok()
        );
    }
}
