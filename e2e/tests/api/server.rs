//! What the API server answers.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use esplanade_e2e::controlplane::{ControlPlane, binaries};
use esplanade_e2e::{isolation, kernel};
use kube::Client;
use kube::core::Status;
use serde_json::{Value, json};

use crate::table::{Case, Kind};

/// What became of an object.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// As stored: the status where the case has one, else the spec.
    Accepted(Value),
    /// The messages, without the name of the object.
    Refused(Vec<String>),
}

/// Runs `body` on a control plane of its own with our CRDs.
#[allow(clippy::print_stderr)] // a build that takes minutes says so
pub(crate) fn with_crds(body: impl AsyncFnOnce(&mut ControlPlane) -> Result<()> + Send) -> Result<()> {
    let binaries = binaries::locate(&|line| eprintln!("{line}"))?;
    let dir = kernel::temp_dir()?;
    isolation::run(async || {
        let address = "127.0.0.1:0".parse().context("an address")?;
        let mut plane = ControlPlane::start(dir.path(), address, binaries).await?;
        install(&plane).await?;
        body(&mut plane).await?;
        plane.check()
    })
}

/// Applies the CRDs; a warning is a failure.
async fn install(plane: &ControlPlane) -> Result<()> {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/manifests");
    let manifests = manifests.to_str().context("the manifests' path is not UTF-8")?;
    let applied = plane.kubectl(&["apply", "--server-side", "--filename", manifests]).await?;
    ensure!(applied.stderr.is_empty(), "the API server warns about the CRDs: {}", applied.stderr);
    applied.ok()?;
    plane.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).await?.ok()?;
    Ok(())
}

/// The API server.
pub(crate) struct Server {
    client: Client,
}

impl Server {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Asks what would become of a case's object; what it needs before is made, and removed again.
    pub(crate) async fn answer(&self, kind: Kind, case: &Case) -> Result<Answer> {
        let mut object = json!({
            "apiVersion": "esplanade.dev/v1alpha1", "kind": format!("{kind:?}"), "metadata": {"name": "case"},
        });
        let set = |object: &mut Value, part: &str, value: &Option<Value>| {
            if let Some(value) = value {
                object[part] = value.clone();
            }
        };
        let collection = format!("/apis/esplanade.dev/v1alpha1/{}", kind.plural());
        let item = format!("{collection}/case");
        const ASK: &str = "dryRun=All&fieldValidation=Strict";
        if case.before.is_none() && case.status.is_none() {
            set(&mut object, "spec", &case.spec);
            return self.ask("POST", &format!("{collection}?{ASK}"), &object, "spec").await;
        }
        set(&mut object, "spec", if case.before.is_some() { &case.before } else { &case.spec });
        match self.send("POST", &format!("{collection}?fieldValidation=Strict"), &object).await? {
            Ok(stored) => {
                object["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"].clone()
            }
            Err(status) => bail!("making it: {}", status.message),
        }
        set(&mut object, "spec", &case.spec);
        set(&mut object, "status", &case.status);
        let answer = if case.status.is_some() {
            self.ask("PUT", &format!("{item}/status?{ASK}"), &object, "status").await
        } else {
            self.ask("PUT", &format!("{item}?{ASK}"), &object, "spec").await
        };
        if let Err(status) = self.send("DELETE", &item, &Value::Null).await? {
            bail!("deleting it: {}", status.message);
        }
        answer
    }

    async fn ask(&self, method: &str, path: &str, object: &Value, part: &str) -> Result<Answer> {
        Ok(match self.send(method, path, object).await? {
            Ok(mut stored) => Answer::Accepted(stored[part].take()),
            Err(status) => Answer::Refused(messages(&status)?),
        })
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Result<Result<Value, Box<Status>>> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request =
            http::Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.body(body).context("making a request")?;
        match self.client.request(request).await {
            Ok(value) => Ok(Ok(value)),
            Err(kube::Error::Api(status)) => Ok(Err(status)),
            Err(error) => Err(error).context(format!("{method} {path}")),
        }
    }
}

/// What kubectl prints of a refusal, without the object's name in front. That rules wait for other mistakes to be
/// corrected is left out: it says nothing of the mistake.
fn messages(status: &Status) -> Result<Vec<String>> {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    match status.reason.as_str() {
        "Invalid" => Ok(causes
            .iter()
            .filter(|cause| !cause.message.contains("some validation rules were not checked"))
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect()),
        "BadRequest" => {
            let (_, message) =
                status.message.split_once("strict decoding error: ").context(status.message.clone())?;
            Ok(vec![message.to_owned()])
        }
        _ => bail!("{}: {}", status.reason, status.message),
    }
}
