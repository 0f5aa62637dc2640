//! UDP ports at which ESP arrives, open as long as SAs need them.
//!
//! The agent opens them, and leaves copies of the sockets with a holder ([`holder`]), a process that does nothing else: so
//! they stay open while the agent is restarted, and a new one finds them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use esplanade_crds::conditions::reason;
use esplanade_crds::{Problem, ProblemKind};
use esplanade_model::{UdpPort, Wanted};
use esplanade_xfrm::udp;

use holder::Holder;

pub mod holder;

/// The ports of the node.
pub trait Ports: Send {
    /// Opens those that aren't yet; which couldn't be, and why.
    fn open(&mut self, wanted: &BTreeSet<UdpPort>) -> Vec<(UdpPort, io::Error)>;
    /// Closes all others.
    fn close_others(&mut self, wanted: &BTreeSet<UdpPort>);
}

/// What inbound SAs need.
#[derive(Debug)]
pub struct Wants {
    /// The ports with the names of their IpsecSAs.
    ports: BTreeMap<UdpPort, Vec<String>>,
    /// What some SAs are like isn't known now: others may need ports as well.
    more: bool,
}

impl Wants {
    /// What these need.
    pub fn of(wanted: &Wanted) -> Self {
        Self { ports: wanted.udp_ports(), more: !wanted.hold.is_empty() }
    }

    /// Opens it. What can't be opened is a problem of the IpsecSAs: what is sent to them is lost.
    pub fn open(&self, ports: &mut dyn Ports) -> Vec<Problem> {
        let failed = ports.open(&self.numbers());
        let of = |(port, error): (UdpPort, io::Error)| {
            let message = words(port, &error);
            let names = self.ports.get(&port).into_iter().flatten();
            names.map(move |name| problem(name, message.clone())).collect::<Vec<_>>()
        };
        failed.into_iter().flat_map(of).collect()
    }

    /// Closes what nobody needs any more.
    pub fn close(&self, ports: &mut dyn Ports) {
        if !self.more {
            ports.close_others(&self.numbers());
        }
    }

    fn numbers(&self) -> BTreeSet<UdpPort> {
        self.ports.keys().copied().collect()
    }
}

fn problem(name: &str, message: String) -> Problem {
    let category = reason::PORT_UNAVAILABLE.to_owned();
    Problem { kind: ProblemKind::IpsecSA, name: name.to_owned(), category, message }
}

fn words(UdpPort { v6, number }: UdpPort, error: &io::Error) -> String {
    let family = if v6 { "IPv6" } else { "IPv4" };
    let what = match error.kind() {
        ErrorKind::AddrInUse => {
            "another program has it (an IKE daemon?): end that, or write another port in encapsulation"
                .to_owned()
        }
        ErrorKind::PermissionDenied => format!("{error}: write 1024 or more in encapsulation"),
        _ => error.to_string(),
    };
    format!("opening UDP port {number} of {family}, where this SA's packets arrive: {what}")
}

/// With a kernel in memory there is nothing to open.
pub struct InMemory;

impl Ports for InMemory {
    fn open(&mut self, _: &BTreeSet<UdpPort>) -> Vec<(UdpPort, io::Error)> {
        Vec::new()
    }

    fn close_others(&mut self, _: &BTreeSet<UdpPort>) {}
}

/// Sockets of the network namespace that the calling thread is in.
pub struct Sockets {
    sockets: BTreeMap<UdpPort, OwnedFd>,
    holder: Holder,
    /// The holder's sockets were taken over.
    adopted: bool,
    /// The holder has just these.
    held: bool,
}

impl Sockets {
    /// With a holder at [`holder::SOCKET`] in this directory; there may be none.
    pub fn new(directory: &Path) -> Self {
        Self { sockets: BTreeMap::new(), holder: Holder::new(directory), adopted: false, held: false }
    }

    /// What an agent before this one left with the holder.
    fn adopt(&mut self) {
        match self.holder.take() {
            Ok(sockets) => {
                self.adopted = true;
                for socket in sockets {
                    if let Ok(port) = udp::port(&socket) {
                        self.sockets.entry(port).or_insert(socket);
                    }
                }
                if !self.sockets.is_empty() {
                    tracing::info!(ports = self.sockets.len(), "UDP ports for ESP were held open");
                }
            }
            Err(error) => tracing::debug!(%error, "nobody holds UDP ports open"),
        }
    }

    /// Leaves copies with the holder.
    fn hand_over(&mut self) {
        if self.held && self.holder.is_there() {
            return;
        }
        let sockets: Vec<_> = self.sockets.values().map(AsFd::as_fd).collect();
        match self.holder.keep(&sockets) {
            Ok(()) => self.held = true,
            Err(error) => {
                self.held = false;
                if !sockets.is_empty() {
                    tracing::warn!(
                        %error,
                        "nobody holds the UDP ports for ESP while this agent is restarted: packets are lost then"
                    );
                }
            }
        }
    }
}

impl Ports for Sockets {
    fn open(&mut self, wanted: &BTreeSet<UdpPort>) -> Vec<(UdpPort, io::Error)> {
        if !self.adopted {
            self.adopt();
        }
        let mut failed = Vec::new();
        for port in wanted {
            if self.sockets.contains_key(port) {
                continue;
            }
            match udp::open(*port) {
                Ok(socket) => {
                    self.sockets.insert(*port, socket);
                    self.held = false;
                }
                Err(error) => failed.push((*port, error)),
            }
        }
        if !self.sockets.is_empty() {
            self.hand_over();
        }
        failed
    }

    fn close_others(&mut self, wanted: &BTreeSet<UdpPort>) {
        let before = self.sockets.len();
        self.sockets.retain(|port, _| wanted.contains(port));
        if self.sockets.len() != before {
            self.held = false;
            self.hand_over();
        }
    }
}

#[cfg(test)]
mod tests;
