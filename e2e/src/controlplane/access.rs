//! Ways to reach the API server.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::ControlPlane;
use crate::outcome::Outcome;

/// How long one request may take, so that a server that hangs ends a test with an error.
const REQUEST: Duration = Duration::from_secs(30);

impl ControlPlane {
    /// The API server's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The programs it runs, and kubectl and helm.
    pub fn binaries(&self) -> &super::Binaries {
        &self.binaries
    }

    /// The certificate authority of the API server, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.pki.ca_pem
    }

    /// The bearer token of the test's own admin (group system:masters).
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// A kubeconfig for a bearer token, as text.
    pub fn kubeconfig_text(&self, token: &str) -> String {
        self.kubeconfig_text_at(self.url(), token)
    }

    /// The same, for where the API server is to be had at another URL.
    pub fn kubeconfig_text_at(&self, url: &str, token: &str) -> String {
        use base64::Engine as _;
        let ca = base64::engine::general_purpose::STANDARD.encode(self.ca_pem());
        // A name that its certificate has, wherever it is reached.
        let name = "kubernetes.default.svc";
        let cluster = json!({"server": url, "certificate-authority-data": ca, "tls-server-name": name});
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "lab", "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        })
        .to_string()
    }

    /// A kubeconfig file for a bearer token, below the lab's folder; `name` names the file.
    pub fn kubeconfig(&self, name: &str, token: &str) -> Result<PathBuf> {
        let path = self.dir.join(format!("{name}.kubeconfig"));
        std::fs::write(&path, self.kubeconfig_text(token))
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// A client with the admin's rights. Use it on the thread that made it.
    pub async fn client(&self) -> Result<kube::Client> {
        self.client_with(self.admin_token()).await
    }

    /// A client for a bearer token.
    pub async fn client_with(&self, token: &str) -> Result<kube::Client> {
        let kubeconfig = Kubeconfig::from_yaml(&self.kubeconfig_text(token)).context("the kubeconfig")?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let mut config = config.context("the client's configuration")?;
        config.connect_timeout = Some(REQUEST);
        config.proxy_url = None;
        kube::Client::try_from(config).context("making a client")
    }

    /// kubectl with the admin's rights, to its end.
    pub async fn kubectl(&self, args: &[&str]) -> Result<Outcome> {
        self.kubectl_with(self.admin_token(), args, "").await
    }

    /// kubectl for a bearer token, with a text on its stdin.
    pub async fn kubectl_with(&self, token: &str, args: &[&str], stdin: &str) -> Result<Outcome> {
        let config = tempfile::NamedTempFile::new_in(&self.dir).context("making a kubeconfig")?;
        std::fs::write(config.path(), self.kubeconfig_text(token)).context("writing a kubeconfig")?;
        let mut command = self.tool(&self.binaries.kubectl);
        command.env("KUBECONFIG", config.path());
        run(command, "kubectl", args, stdin).await
    }

    /// helm with the admin's rights, to its end.
    pub async fn helm(&self, args: &[&str]) -> Result<Outcome> {
        let mut command = self.tool(&self.binaries.helm);
        command.env("KUBECONFIG", self.kubeconfig("admin", self.admin_token())?);
        run(command, "helm", args, "").await
    }

    /// A program that keeps its caches in the lab's folder and asks no proxy.
    pub(super) fn tool(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new(program);
        command.env("HOME", &self.dir).env("XDG_CACHE_HOME", self.dir.join("cache"));
        super::without_proxy(command.as_std_mut());
        command
    }
}

pub(super) async fn run(mut command: Command, name: &str, args: &[&str], stdin: &str) -> Result<Outcome> {
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that doesn't read its stdin closes it: not an error of ours.
        let _ = pipe.write_all(stdin.as_bytes()).await;
    }
    let output = child.wait_with_output().await.with_context(|| format!("waiting for {name}"))?;
    let words: Vec<&str> = std::iter::once(name).chain(args.iter().copied()).collect();
    Ok(Outcome::new(&words, &output))
}
