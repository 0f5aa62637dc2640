//! The command lines of the control plane's processes.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use rand::RngExt as _;

use super::pki::Pki;
use super::without_proxy;
use crate::process::Supervised;

/// etcd's URL for other members, if there were any.
const PEER: &str = "unix://localhost:2";

/// A port of that address nobody listens on (its own if it has one). It is below those that the kernel gives to
/// connections (`net.ipv4.ip_local_port_range`), or one could take it while the server starts.
pub(super) fn free_port(address: SocketAddr) -> Result<u16> {
    if address.port() != 0 {
        return Ok(address.port());
    }
    let mut rng = rand::rng();
    let is_free = |port: &u16| TcpListener::bind((address.ip(), *port)).is_ok();
    let mut drawn = (0..100).map(|_| rng.random_range(10_000..=32_767));
    drawn.find(is_free).with_context(|| format!("no free port of {}", address.ip()))
}

/// etcd; returns its client URL too, for processes in the same directory. Such a socket is a file there (etcd wants a
/// host and a port also of those), so no other lab can have it.
pub(super) fn etcd(dir: &Path, program: &Path) -> Result<(Supervised, String)> {
    let client = "unix://localhost:1";
    let mut command = Command::new(program);
    command.arg(flag("--data-dir", &etcd_data(dir))).args(etcd_member()).args([
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={PEER}"),
    ]);
    Ok((daemon(dir, "etcd", command)?, client.to_owned()))
}

/// Where etcd has what is in it.
pub(super) fn etcd_data(dir: &Path) -> PathBuf {
    dir.join("etcd")
}

/// What says which member of which cluster etcd is: its own arguments, and those of a restore.
pub(super) fn etcd_member() -> [String; 2] {
    [format!("--initial-advertise-peer-urls={PEER}"), format!("--initial-cluster=default={PEER}")]
}

/// kube-apiserver.
#[derive(Debug)]
pub(super) struct ApiServer {
    /// etcd's client URL.
    pub(super) etcd: String,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Its token file.
    pub(super) tokens: PathBuf,
}

impl ApiServer {
    pub(super) fn start(&self, dir: &Path, program: &Path, pki: &Pki) -> Result<Supervised> {
        let mut command = Command::new(program);
        command
            .args([
                format!("--etcd-servers={}", self.etcd),
                format!("--secure-port={}", self.address.port()),
                format!("--bind-address={}", self.address.ip()),
                // The service of the API server itself: nothing here routes service addresses, and a loopback address
                // may not be advertised.
                format!("--advertise-address={}", self.address.ip()),
                "--endpoint-reconciler-type=none".to_owned(),
                "--authorization-mode=Node,RBAC".to_owned(),
                "--enable-admission-plugins=NodeRestriction".to_owned(),
                "--allow-privileged=true".to_owned(),
                "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            ])
            .arg(flag("--tls-cert-file", &pki.certificate))
            .arg(flag("--tls-private-key-file", &pki.key))
            .arg(flag("--service-account-key-file", &pki.accounts_public))
            .arg(flag("--service-account-signing-key-file", &pki.accounts))
            .arg(flag("--token-auth-file", &self.tokens))
            .arg(flag("--cert-dir", &dir.join("cert")));
        daemon(dir, "kube-apiserver", command)
    }
}

/// kube-controller-manager. It gives up when the API server isn't there yet.
pub(super) fn controller_manager(
    dir: &Path,
    program: &Path,
    kubeconfig: &Path,
    pki: &Pki,
) -> Result<Supervised> {
    // Nothing plays the cloud here, and the lab itself says which node is ready.
    let off = ["node-ipam", "node-route", "node-lifecycle", "cloud-node-lifecycle", "service-lb"];
    let off: String = off.iter().map(|name| format!(",-{name}-controller")).collect();
    let mut command = Command::new(program);
    command
        .args([
            // It serves nothing that anybody here asks for.
            "--secure-port=0".to_owned(),
            "--use-service-account-credentials=true".to_owned(),
            "--leader-elect=false".to_owned(),
            format!("--controllers=*{off}"),
        ])
        .arg(flag("--kubeconfig", kubeconfig))
        .arg(flag("--service-account-private-key-file", &pki.accounts))
        .arg(flag("--root-ca-file", &pki.ca))
        .arg(flag("--cert-dir", &dir.join("cert")));
    daemon(dir, "kube-controller-manager", command)
}

fn daemon(dir: &Path, name: &str, mut command: Command) -> Result<Supervised> {
    let (stdout, stderr) = crate::logs::create(&dir.join(format!("{name}.log")))?;
    command.current_dir(dir).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    without_proxy(&mut command);
    Supervised::spawn_expendable(name, command)
}

fn flag(name: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(name);
    flag.push("=");
    flag.push(path);
    flag
}
