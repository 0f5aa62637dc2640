//! A lab: a real control plane, and nodes with pods on a kernel with ESP.
//!
//! ```no_run
//! # use esplanade_e2e::lab;
//! # fn main() -> anyhow::Result<()> {
//! lab::run(lab::Config::default(), async |lab| {
//!     let (a, b) = (lab.node("node-a"), lab.node("node-b"));
//!     let wire = a.capture().await?;
//!     a.pod(0).run(["ping", "-c1", &b.pod(0).addresses.v4.to_string()]).await?.ok()?;
//!     assert!(wire.stop().await?.iter().any(|packet| packet.ip().is_some_and(|ip| ip.is_echo())));
//!     Ok(())
//! })
//! # }
//! ```

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::controlplane::{ControlPlane, binaries};
use crate::guest::Guest;
use crate::isolation;
use crate::kernel::{self, Kernel};

pub mod addresses;
mod chart;
mod cluster;
mod invocation;
mod machine;
mod node;
mod objects;
mod pods;
mod restarts;
pub mod system;
mod topology;
pub mod traffic;
mod wait;
mod xfrm;

pub use chart::NAMESPACE;
pub use node::{Node, Place, Pod};
pub use xfrm::Xfrm;

/// Set in the environment, it keeps the lab's folder with all logs and captures, and says where it is.
pub const KEEP: &str = "LAB_KEEP";

/// The size of a lab.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Nodes: node-a, node-b … up to 26.
    pub nodes: u8,
    /// Pods behind each node.
    pub pods: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self { nodes: 2, pods: 1 }
    }
}

/// A running lab. Dropping it ends everything it started.
pub struct Lab {
    // Ended in this order.
    programs: RefCell<Vec<chart::Running>>,
    control_plane: ControlPlane,
    guest: Guest,
    machine: machine::Machine,
    /// [`Kernel::patience`].
    patience: u32,
    client: kube::Client,
    config: Config,
    nodes: Vec<Node>,
    /// Where agents find the API server.
    api_server: RefCell<String>,
    dir: tempfile::TempDir,
}

/// Starts a lab, runs `body` in it and ends it, also when `body` fails or panics. Several may run at a time.
/// When `body` fails, the ends of the logs of operator and agents go to stderr.
///
/// # Errors
/// The lab can't be started, or `body` fails.
pub fn run<T, F>(config: Config, body: F) -> Result<T>
where
    F: AsyncFnOnce(&Lab) -> Result<T> + Send,
    T: Send,
{
    run_on(kernel::find, config, body)
}

/// [`run`] on a kernel that is no other's, also where the running one would do: what is taken from it, nobody else lacks.
///
/// # Errors
/// As [`run`].
pub fn run_on_its_own_kernel<T, F>(config: Config, body: F) -> Result<T>
where
    F: AsyncFnOnce(&Lab) -> Result<T> + Send,
    T: Send,
{
    run_on(kernel::find_bootable, config, body)
}

fn run_on<T, F>(find: fn() -> Result<Kernel>, config: Config, body: F) -> Result<T>
where
    F: AsyncFnOnce(&Lab) -> Result<T> + Send,
    T: Send,
{
    // What takes long or may be missing comes first, while nothing runs yet.
    let binaries = binaries::locate(&say)?;
    let kernel = find()?;
    isolation::run(async || {
        let lab = Lab::start(config, &kernel, binaries).await?;
        let result = body(&lab).await;
        if result.is_err() {
            say(&lab.diagnosis());
        }
        result
    })
}

/// A lab's folder.
fn folder() -> Result<tempfile::TempDir> {
    let mut dir = kernel::temp_dir()?;
    if std::env::var_os(KEEP).is_some() {
        dir.disable_cleanup(true);
        say(&format!("the lab's folder, kept: {}", dir.path().display()));
    }
    Ok(dir)
}

#[allow(clippy::print_stderr)]
fn say(line: &str) {
    eprintln!("{line}");
}

impl Lab {
    async fn start(config: Config, kernel: &Kernel, binaries: binaries::Binaries) -> Result<Self> {
        let dir = folder()?;
        let patience = kernel.patience();
        let mut machine = machine::Machine::start(kernel, dir.path())?;
        let nodes = async {
            let guest = machine.connect(patience).await?;
            let nodes = make_nodes(&guest, dir.path(), config).await;
            Ok((nodes.context("making the nodes' network")?, guest))
        };
        let plane = ControlPlane::start(dir.path(), addresses::api_server(), binaries);
        let ((nodes, guest), control_plane) = tokio::try_join!(nodes, plane)?;
        let client = control_plane.client().await?;
        let programs = RefCell::default();
        let api_server = RefCell::new(control_plane.url().to_owned());
        let lab = Self {
            programs,
            control_plane,
            guest,
            machine,
            patience,
            client,
            config,
            nodes,
            api_server,
            dir,
        };
        lab.create_nodes().await.context("creating the Node objects")?;
        Ok(lab)
    }

    /// The control plane: its URL, tokens, kubectl, helm.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// A client with the rights of the test's admin.
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node by its name.
    ///
    /// # Panics
    /// The lab has no node of that name.
    #[track_caller]
    #[allow(clippy::panic)]
    pub fn node(&self, name: &str) -> &Node {
        let found = self.nodes.iter().find(|node| node.name == name);
        found.unwrap_or_else(|| {
            panic!("the lab has no node {name}, only {} nodes from node-a", self.nodes.len())
        })
    }

    /// The place with the nodes' bridge, outside of every node.
    pub fn outside(&self) -> Place {
        Place { guest: self.guest.clone(), namespace: None, dir: self.dir.path().to_owned() }
    }

    /// A host outside the cluster, in a network behind a node ([`addresses::OUTSIDE`]), which all nodes route to; one for a lab.
    pub async fn host_behind(&self, node: &str) -> Result<Pod> {
        let (nodes, guest) = (self.config.nodes, self.guest.clone());
        let addresses = topology::make_host(&guest, self.number(node)?, nodes).await?;
        let namespace = Some(topology::HOST.to_owned());
        Ok(Pod { addresses, place: Place { guest, namespace, dir: self.dir.path().to_owned() } })
    }

    /// Where the helper on the nodes' kernel listens, for [`Guest::stream`].
    pub fn helper(&self) -> std::net::SocketAddr {
        self.guest.address()
    }

    /// The folder with all logs and captures; gone with the lab.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A power cut: everything on the node ends, its kernel state is gone, and it comes back with an empty one.
    /// Its agent isn't started again.
    pub async fn reboot(&self, node: &str) -> Result<()> {
        self.power_off(node).await?;
        self.power_on(node).await
    }

    /// Everything on the node ends, its kernel state is gone, and so is its end of the wire.
    pub async fn power_off(&self, node: &str) -> Result<()> {
        topology::remove_node(&self.guest, self.number(node)?, self.config.pods).await
    }

    /// The node comes back with an empty kernel. Its agent isn't started.
    pub async fn power_on(&self, node: &str) -> Result<()> {
        let Config { nodes, pods } = self.config;
        topology::make_node(&self.guest, self.number(node)?, nodes, pods).await
    }

    fn number(&self, node: &str) -> Result<u8> {
        let number = (0..self.config.nodes).find(|n| addresses::node_name(*n) == node);
        number.with_context(|| format!("the lab has no node {node}"))
    }

    /// From now on the API server is to be had on this node: programs that are installed later find it there, also those of
    /// other nodes, through the network between the nodes.
    ///
    /// # Errors
    /// `lab-forward` isn't built, or can't be started.
    pub async fn serve_api_on(&self, node: &str) -> Result<()> {
        let node = self.node(node);
        let address = std::net::SocketAddr::new(node.addresses.v4.into(), addresses::api_server().port());
        let program = crate::programs::find("lab-forward", "esplanade-e2e")?;
        let program = program.to_str().context("the workspace's path isn't UTF-8")?;
        let (from, to) = (address.to_string(), addresses::api_server().to_string());
        let process = node.spawn("lab-forward", [program, &from, &to]).await?;
        self.wait("lab-forward to listen", wait::LONG, async || {
            anyhow::ensure!(process.log().contains("listening"), "{}", process.log());
            Ok(())
        })
        .await?;
        self.api_server.replace(format!("https://{address}"));
        Ok(())
    }

    /// What the operator, the agents and the nodes' kernel said last.
    pub fn diagnosis(&self) -> String {
        let programs = self.programs.borrow();
        let mut parts: Vec<String> = programs.iter().map(chart::Running::log_tail).collect();
        if parts.is_empty() {
            parts.extend([self.control_plane.logs(), self.machine.messages()]);
        }
        parts.join("\n")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&self.diagnosis());
        }
    }
}

async fn make_nodes(guest: &Guest, dir: &Path, config: Config) -> Result<Vec<Node>> {
    anyhow::ensure!((1..=26).contains(&config.nodes), "a lab has 1 to 26 nodes, not {}", config.nodes);
    let mut nodes = Vec::new();
    for number in 0..config.nodes {
        topology::make_node(guest, number, config.nodes, config.pods).await?;
        nodes.push(node(guest, dir, number, config.pods));
    }
    for node in &nodes {
        // One lost packet in the first second is a broken lab, and better found here than in a test.
        for address in addresses::control_plane().both() {
            let ping = node.run(["ping", "-c1", "-W5", &address.to_string()]).await?;
            ping.ok().with_context(|| format!("{} doesn't reach the control plane", node.name))?;
        }
    }
    Ok(nodes)
}

fn node(guest: &Guest, dir: &Path, number: u8, pods: u8) -> Node {
    let place = |namespace: String| {
        let dir: PathBuf = dir.to_owned();
        Place { guest: guest.clone(), namespace: Some(namespace), dir }
    };
    let pod = |pod| Pod {
        addresses: addresses::pod(number, pod),
        place: place(topology::pod_namespace(number, pod)),
    };
    Node {
        name: addresses::node_name(number),
        addresses: addresses::node(number),
        pod_cidrs: addresses::pod_cidrs(number),
        port: topology::port(number),
        place: place(addresses::node_name(number)),
        pods: (0..pods).map(pod).collect(),
    }
}
