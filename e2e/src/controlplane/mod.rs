//! A real control plane: etcd, kube-apiserver, kube-controller-manager, with kubectl and helm beside them.
//!
//! Node and RBAC authorization are on; only the test's own admin is in system:masters.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;

use crate::logs;
use crate::process::Supervised;

mod access;
mod backup;
pub mod binaries;
mod pki;
mod processes;

pub use binaries::Binaries;

/// How long the parts may take to be ready together.
const START: Duration = Duration::from_secs(60);
/// Looks this often.
const POLL: Duration = Duration::from_millis(20);
/// Lines of each log in an error.
const TAIL: usize = 15;

/// A running control plane. Dropping it ends it.
#[derive(Debug)]
pub struct ControlPlane {
    // Each is None while it is stopped.
    controller_manager: RefCell<Option<Supervised>>,
    api_server: RefCell<Option<Supervised>>,
    api_server_args: processes::ApiServer,
    etcd: RefCell<Option<Supervised>>,
    dir: PathBuf,
    url: String,
    admin_token: String,
    pki: pki::Pki,
    binaries: Binaries,
}

impl ControlPlane {
    /// Starts it in the calling thread's network namespace and waits until it serves and its controllers work.
    /// The API server listens on `address` (port 0: any free one), everything else on free loopback ports.
    /// Logs and keys are in `dir`. The processes end with the calling thread at the latest.
    ///
    /// # Errors
    /// A program is missing or doesn't become ready within a minute: the message has the ends of the logs.
    pub async fn start(dir: &Path, address: SocketAddr, binaries: Binaries) -> Result<Self> {
        let address = SocketAddr::new(address.ip(), processes::free_port(address)?);
        let pki = pki::create(dir, &[address.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST)])?;
        let admin_token = "lab-admin".to_owned();
        let tokens = dir.join("tokens.csv");
        let line = format!("{admin_token},lab-admin,lab-admin,system:masters\n");
        std::fs::write(&tokens, line).context("writing the token file")?;

        let (etcd, client) = processes::etcd(dir, &binaries.etcd)?;
        let api_server_args = processes::ApiServer { etcd: client, address, tokens };
        let api_server = api_server_args.start(dir, &binaries.kube_apiserver, &pki)?;
        let (dir, url) = (dir.to_owned(), format!("https://{address}"));
        let mut this = Self {
            controller_manager: RefCell::default(),
            api_server: RefCell::new(Some(api_server)),
            api_server_args,
            etcd: RefCell::new(Some(etcd)),
            dir,
            url,
            admin_token,
            pki,
            binaries,
        };
        this.ready().await?;
        Ok(this)
    }

    async fn ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        let client = self.client().await?;
        self.until(deadline, "/readyz", async || is_ready(&client).await).await?;
        self.start_controller_manager()?;
        // The controllers make it, so it tells that they work.
        let accounts: Api<ServiceAccount> = Api::namespaced(client, "default");
        self.until(deadline, "the default ServiceAccount", async || {
            accounts.get("default").await.context("the default ServiceAccount").map(drop)
        })
        .await
    }

    async fn until(
        &mut self,
        deadline: Instant,
        what: &str,
        attempt: impl AsyncFn() -> Result<()>,
    ) -> Result<()> {
        loop {
            let Err(error) = attempt().await else { return Ok(()) };
            self.check()?;
            if Instant::now() > deadline {
                let logs = self.logs();
                bail!("the control plane isn't ready after {START:?}: waiting for {what}: {error:#}\n{logs}");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The API server has to be there.
    fn start_controller_manager(&self) -> Result<()> {
        let kubeconfig = self.kubeconfig("admin", self.admin_token())?;
        let program = &self.binaries.kube_controller_manager;
        let manager = processes::controller_manager(&self.dir, program, &kubeconfig, &self.pki)?;
        self.controller_manager.replace(Some(manager));
        Ok(())
    }

    /// Kills the API server; etcd and all that is in it stays.
    pub fn stop_api_server(&self) {
        kill(&self.api_server);
    }

    /// Starts it again, at the same address, and waits until it serves.
    ///
    /// # Errors
    /// It doesn't within a minute.
    pub async fn start_api_server(&self) -> Result<()> {
        let process = self.api_server_args.start(&self.dir, &self.binaries.kube_apiserver, &self.pki)?;
        self.api_server.replace(Some(process));
        let deadline = Instant::now() + START;
        let client = self.client().await?;
        while let Err(error) = is_ready(&client).await {
            if Instant::now() > deadline {
                bail!("the API server isn't back after {START:?}: {error:#}\n{}", self.logs());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// # Errors
    /// One of the processes has ended; the message has the end of its log.
    pub fn check(&mut self) -> Result<()> {
        let processes = [
            ("etcd", &mut self.etcd),
            ("kube-apiserver", &mut self.api_server),
            ("kube-controller-manager", &mut self.controller_manager),
        ];
        for (name, process) in processes {
            let Some(process) = process.get_mut() else { continue };
            if let Some(status) = process.try_wait()? {
                let log = logs::tail(&self.dir.join(format!("{name}.log")), TAIL);
                bail!("{name} has ended ({status})\n{log}");
            }
        }
        Ok(())
    }

    /// The ends of the processes' logs.
    pub fn logs(&self) -> String {
        ["etcd", "kube-apiserver", "kube-controller-manager"]
            .map(|name| logs::tail(&self.dir.join(format!("{name}.log")), TAIL))
            .join("\n")
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // Nothing of it is kept, so nothing needs a graceful end.
        self.stop();
    }
}

fn kill(process: &RefCell<Option<Supervised>>) {
    if let Some(mut process) = process.take() {
        process.kill();
    }
}

/// The API server serves.
async fn is_ready(client: &kube::Client) -> Result<()> {
    let request = http::Request::get("/readyz").body(Vec::new()).context("/readyz")?;
    client.request_text(request).await.context("/readyz").map(drop)
}

/// The lab talks to its own addresses only.
fn without_proxy(command: &mut Command) {
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
}
