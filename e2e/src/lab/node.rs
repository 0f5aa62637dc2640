//! Nodes and pods, as a test sees them.

use std::ops::Deref;
use std::path::PathBuf;

use anyhow::Result;

use super::addresses::Addresses;
use crate::capture::Capture;
use crate::guest::{Guest, Process, Program};
use crate::outcome::Outcome;

/// A namespace on the nodes' kernel.
#[derive(Debug, Clone)]
pub struct Place {
    pub(super) guest: Guest,
    pub(super) namespace: Option<String>,
    /// The lab's folder.
    pub(super) dir: PathBuf,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    /// The Node object's name.
    pub name: String,
    /// Its addresses on the wire.
    pub addresses: Addresses,
    /// Its pod CIDRs, IPv4 and IPv6.
    pub pod_cidrs: [String; 2],
    /// The bridge's port that it is plugged in to.
    pub port: String,
    pub(super) place: Place,
    pub(super) pods: Vec<Pod>,
}

/// A pod, or a host outside the cluster: a namespace behind a node. It has no Pod object.
#[derive(Debug)]
pub struct Pod {
    /// Its addresses.
    pub addresses: Addresses,
    pub(super) place: Place,
}

impl Deref for Node {
    type Target = Place;
    fn deref(&self) -> &Place {
        &self.place
    }
}

impl Deref for Pod {
    type Target = Place;
    fn deref(&self) -> &Place {
        &self.place
    }
}

impl Node {
    /// A pod by its number, from 0.
    ///
    /// # Panics
    /// The lab has fewer pods a node.
    #[must_use]
    #[track_caller]
    pub fn pod(&self, number: usize) -> &Pod {
        &self.pods[number]
    }

    /// Captures the node's wire, on the bridge's side.
    pub async fn capture(&self) -> Result<Capture> {
        let file = tempfile::Builder::new().prefix("capture-").suffix(".pcap").tempfile_in(&self.dir)?;
        let (_, file) = file.keep()?;
        Capture::start(&self.place.guest, &self.port, file).await
    }
}

impl Place {
    /// Runs a program to its end; dropping the future ends it.
    ///
    /// # Errors
    /// It can't be started. That it failed is in the outcome.
    pub async fn run(&self, argv: impl IntoIterator<Item: AsRef<str>>) -> Result<Outcome> {
        self.run_with(argv, "").await
    }

    /// Like [`Place::run`], with a text on stdin.
    pub async fn run_with(&self, argv: impl IntoIterator<Item: AsRef<str>>, stdin: &str) -> Result<Outcome> {
        self.guest.run(self.program(argv), stdin).await
    }

    /// Starts a program that runs until it ends or the lab does. Its output goes to NAME.log in the lab's folder.
    pub async fn spawn(&self, name: &str, argv: impl IntoIterator<Item: AsRef<str>>) -> Result<Process> {
        self.start(name, self.program(argv)).await
    }

    pub(super) async fn start(&self, name: &str, program: Program) -> Result<Process> {
        self.guest.spawn(program, &self.dir.join(format!("{name}.log"))).await
    }

    pub(super) fn program(&self, argv: impl IntoIterator<Item: AsRef<str>>) -> Program {
        let argv = argv.into_iter().map(|word| word.as_ref().to_owned()).collect();
        Program { namespace: self.namespace.clone(), argv, ..Program::default() }
    }
}
