//! What the kubelet does with programs that end.

use anyhow::Result;

use super::{Lab, chart::Ended, wait::POLL};

impl Lab {
    /// While `body` runs, the operator and the agents that end are started again, as the kubelet would at first. Also returns
    /// which ended, in order: `operator`, or a node for its agent. `body` starts and stops none of them itself.
    ///
    /// # Errors
    /// Of `body`, or one can't be started.
    pub async fn restarting<T>(&self, body: impl AsyncFnOnce() -> Result<T>) -> Result<(T, Vec<String>)> {
        let mut restarted = Vec::new();
        let restart = async {
            loop {
                for Ended { container, node, .. } in self.have_ended().await {
                    match container.as_str() {
                        "operator" => {
                            self.start_operator()?;
                            restarted.push(container);
                        }
                        "node-agent" => {
                            self.start_agent(&node).await?;
                            restarted.push(node);
                        }
                        other => anyhow::bail!("the {other} of {node} has ended"),
                    }
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let done = tokio::select! {
            failed = restart => return failed,
            done = body() => done?,
        };
        Ok((done, restarted))
    }
}
