//! A node's agent, played with an agent's rights.

use anyhow::{Result, ensure};
use esplanade_seal::{Context as Sealed, KeyPair, Source, Usage};
use serde_json::{Value, json};

use crate::installed::{Caller, Installed};
use crate::{PEERS, STATES, text};

/// A node's agent.
pub(crate) struct Agent {
    pub(crate) node: &'static str,
    caller: Caller,
    pub(crate) keys: KeyPair,
}

impl Agent {
    pub(crate) async fn new(installed: &Installed, node: &'static str) -> Result<Self> {
        Ok(Self { node, caller: installed.agent(node).await?, keys: KeyPair::generate(&mut rand::rng()) })
    }

    /// Reports that everything was done that the node was told.
    pub(crate) async fn report(&self) -> Result<()> {
        let path = format!("{STATES}/{}", self.node);
        let state = self.caller.get(&path).await?;
        let peers = self.caller.get(PEERS).await?;
        let generation = &state["metadata"]["generation"];
        let public = self.keys.public();
        let status = json!({"status": {
            "observedGeneration": generation,
            "peersAppliedThrough": peers["metadata"]["resourceVersion"],
            "sealingKey": {"id": public.id(), "publicKey": public.to_base64()},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "",
                "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        }});
        self.caller.merge(&format!("{path}/status"), &status).await.map(drop)
    }

    /// What was sealed to the agent: for each SA its name, its encryption key and its integrity key.
    pub(crate) async fn opened(&self) -> Result<Vec<(String, Vec<u8>, Vec<u8>)>> {
        let state = self.caller.get(&format!("{STATES}/{}", self.node)).await?;
        let sas = state["spec"]["securityAssociations"].as_array().cloned().unwrap_or_default();
        let open = |sa: &Value| {
            let name = text(&sa["name"])?;
            let encryption = self.open(&name, Usage::Encryption, &sa["encryption"]["key"])?;
            let integrity = self.open(&name, Usage::Integrity, &sa["integrity"]["key"])?;
            Ok((name, encryption, integrity))
        };
        sas.iter().map(open).collect()
    }

    fn open(&self, sa: &str, usage: Usage, key: &Value) -> Result<Vec<u8>> {
        ensure!(key["recipient"] == self.keys.public().id().as_str(), "sealed to {}", key["recipient"]);
        let source = &key["source"];
        let (uid, version, name) =
            (text(&source["uid"])?, text(&source["resourceVersion"])?, text(&source["key"])?);
        let source = Source { uid: &uid, resource_version: &version, key: &name };
        let context = Sealed { object: sa, usage, source };
        Ok(self.keys.open(&context, &text(&key["sealed"])?)?.to_vec())
    }
}
