//! A control plane with the chart installed, Nodes, and the tokens that the chart's Pods would have. No kernel: agents
//! are played by the test, with an agent's rights.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use esplanade_e2e::controlplane::{ControlPlane, binaries};
use esplanade_e2e::process::Supervised;
use esplanade_e2e::{isolation, kernel, logs, programs};
use serde_json::{Value, json};

pub(crate) const NAMESPACE: &str = "esplanade-system";
pub(crate) const OPERATOR: &str = "esplanade-operator";
pub(crate) const AGENT: &str = "esplanade-node-agent";
/// The API's path.
pub(crate) const API: &str = "/apis/esplanade.dev/v1alpha1";
/// How long anything may take.
const SOON: Duration = Duration::from_secs(60);

/// The control plane, and who talks to it.
pub(crate) struct Installed {
    pub(crate) plane: ControlPlane,
    pub(crate) admin: Caller,
    dir: PathBuf,
}

/// Runs `body` with the chart installed by helm and the Nodes node-a and node-b.
#[allow(clippy::print_stderr)] // what takes minutes is told
pub(crate) fn run(body: impl AsyncFnOnce(&Installed) -> Result<()> + Send) -> Result<()> {
    let binaries = binaries::locate(&|line| eprintln!("{line}"))?;
    let dir = kernel::temp_dir()?;
    isolation::run(async || {
        let address = "127.0.0.1:0".parse().context("an address")?;
        let plane = ControlPlane::start(dir.path(), address, binaries).await?;
        let admin = Caller { client: plane.client().await? };
        let mut installed = Installed { plane, admin, dir: dir.path().to_owned() };
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/esplanade");
        let chart = chart.to_str().context("the chart's path is not UTF-8")?;
        let install = ["install", "esplanade", chart, "--namespace", NAMESPACE, "--create-namespace"];
        installed.plane.helm(&install).await?.ok()?;
        installed.add_node("node-a", 1).await?;
        installed.add_node("node-b", 2).await?;
        installed.admission_is_on().await?;
        let result = body(&installed).await;
        installed.plane.check()?;
        result
    })
}

impl Installed {
    /// A Node with an address and a pod CIDR of its own.
    pub(crate) async fn add_node(&self, name: &str, number: u8) -> Result<()> {
        let node = json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
            "spec": {"podCIDRs": [format!("10.244.{number}.0/24")], "podCIDR": format!("10.244.{number}.0/24")}});
        self.admin.create("/api/v1/nodes", &node).await?;
        let addresses = json!([{"type": "InternalIP", "address": format!("192.0.2.{number}")}]);
        let status = json!({"status": {"addresses": addresses}});
        self.admin.merge(&format!("/api/v1/nodes/{name}/status"), &status).await?;
        Ok(())
    }

    /// Whoever has the token that an agent's Pod on the node has: bound to a Pod that is bound to the node.
    pub(crate) async fn agent(&self, node: &str) -> Result<Caller> {
        let name = format!("agent-{node}");
        let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
            "nodeName": node, "serviceAccountName": AGENT, "containers": [{"name": "node-agent", "image": "none"}]}});
        let pod = match self.admin.get(&format!("{pods}/{name}")).await {
            Ok(pod) => pod,
            Err(_) => self.admin.create(&pods, &pod).await?,
        };
        let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": pod["metadata"]["uid"]});
        self.caller(AGENT, &json!({"spec": {"audiences": [], "boundObjectRef": bound}})).await
    }

    /// Whoever has a token of the service account that is bound to no Pod.
    pub(crate) async fn unbound(&self, account: &str) -> Result<Caller> {
        self.caller(account, &json!({"spec": {"audiences": []}})).await
    }

    async fn caller(&self, account: &str, request: &Value) -> Result<Caller> {
        let token = self.token(account, request).await?;
        Ok(Caller { client: self.plane.client_with(&token).await? })
    }

    async fn token(&self, account: &str, request: &Value) -> Result<String> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token");
        let answer = self.admin.create(&path, request).await?;
        Ok(answer["status"]["token"].as_str().context("a token")?.to_owned())
    }

    /// Starts the operator with its ServiceAccount's rights, as the Pod `name` would; `args` come on top.
    pub(crate) async fn start_operator(&self, name: &str, args: &[&str]) -> Result<Operator> {
        let token = self.token(OPERATOR, &json!({"spec": {"audiences": []}})).await?;
        let log = self.dir.join(format!("{name}.log"));
        let file = std::fs::File::create(&log).context("the operator's log")?;
        let mut command = Command::new(programs::find(OPERATOR, OPERATOR)?);
        command.args(args).env_clear().env("RUST_LOG", "debug");
        command.env("KUBECONFIG", self.plane.kubeconfig(name, &token)?);
        command.env("POD_NAME", name).env("POD_NAMESPACE", NAMESPACE);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Ok(Operator { process: Supervised::spawn(name, command)?, log })
    }

    /// Waits until the API server goes by the admission policy, which it takes up a moment after it was made.
    async fn admission_is_on(&self) -> Result<()> {
        let unbound = self.unbound(AGENT).await?;
        let path = format!("{API}/ipsecpeers/probe");
        self.admin.apply(&path, &peer("probe"), "test").await?;
        eventually("the admission policy to work", async || {
            let error = match unbound.merge(&format!("{path}/status"), &json!({"status": {}})).await {
                Ok(_) => anyhow::bail!("it lets pass a token that names no node"),
                Err(error) => error.to_string(),
            };
            ensure!(error.contains("this token names no node"), "{error}");
            Ok(())
        })
        .await?;
        self.admin.delete(&path).await.map(drop)
    }
}

/// An IpsecPeer as server-side apply takes it.
pub(crate) fn peer(name: &str) -> Value {
    json!({"apiVersion": "esplanade.dev/v1alpha1", "kind": "IpsecPeer", "metadata": {"name": name}, "spec": {}})
}

/// A running operator.
pub(crate) struct Operator {
    pub(crate) process: Supervised,
    log: PathBuf,
}

impl Operator {
    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Adds the end of the log to an error.
    pub(crate) fn explain<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| anyhow!("{error:#}\n{}", logs::tail(&self.log, 60)))
    }
}

/// Somebody with a token.
pub(crate) struct Caller {
    client: kube::Client,
}

impl Caller {
    /// One request; the answer, or the API server's words.
    pub(crate) async fn ask(&self, method: &str, path: &str, kind: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
        let request = http::Request::builder().method(method).uri(path).header("Content-Type", kind);
        match self.client.request_text(request.body(body)?).await {
            Ok(text) => Ok(serde_json::from_str(&text).unwrap_or(Value::Null)),
            Err(kube::Error::Api(status)) => Err(anyhow!("{}", status.message)),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.ask("GET", path, "application/json", &Value::Null).await
    }

    pub(crate) async fn create(&self, path: &str, object: &Value) -> Result<Value> {
        self.ask("POST", path, "application/json", object)
            .await
            .with_context(|| format!("creating at {path}"))
    }

    /// A merge patch.
    pub(crate) async fn merge(&self, path: &str, patch: &Value) -> Result<Value> {
        self.ask("PATCH", path, "application/merge-patch+json", patch).await
    }

    /// Server-side apply, with force.
    pub(crate) async fn apply(&self, path: &str, object: &Value, manager: &str) -> Result<Value> {
        let path = format!("{path}?fieldManager={manager}&force=true");
        self.ask("PATCH", &path, "application/apply-patch+yaml", object).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Value> {
        self.ask("DELETE", path, "application/json", &Value::Null).await
    }
}

/// Tries until `attempt` succeeds, for a minute.
pub(crate) async fn eventually<T>(what: &str, attempt: impl AsyncFn() -> Result<T>) -> Result<T> {
    let end = Instant::now() + SOON;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= end => {
                return Err(anyhow!("waited {SOON:?} for {what}: {error:#}"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
