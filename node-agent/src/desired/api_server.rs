//! Where the API server is.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher::Event;

/// The addresses that the agent was given, and those that the API server tells of itself (EndpointSlice `kubernetes`): what
/// a client sends to the Service's address goes to one of those.
#[derive(Debug)]
pub(super) struct ApiServer {
    given: BTreeSet<SocketAddr>,
    /// With the given ones, once it has told.
    all: Option<Arc<BTreeSet<SocketAddr>>>,
}

impl ApiServer {
    pub(super) fn new(given: BTreeSet<SocketAddr>) -> Self {
        Self { given, all: None }
    }

    /// All of them, once they are known.
    pub(super) fn addresses(&self) -> Option<Arc<BTreeSet<SocketAddr>>> {
        self.all.clone()
    }

    /// Whether they are others now. One that tells of no address is passed over: then it was one of these that told.
    pub(super) fn apply(&mut self, event: Event<EndpointSlice>) -> bool {
        let mut all = self.given.clone();
        match event {
            Event::Apply(slice) | Event::InitApply(slice) => {
                let told = addresses(&slice);
                if told.is_empty() {
                    return false;
                }
                all.extend(told);
            }
            // A list without it: there is nothing to wait for.
            Event::InitDone if self.all.is_none() => {}
            Event::Init | Event::InitDone | Event::Delete(_) => return false,
        }
        let changed = self.all.as_deref() != Some(&all);
        if changed {
            self.all = Some(Arc::new(all));
        }
        changed
    }
}

fn addresses(slice: &EndpointSlice) -> BTreeSet<SocketAddr> {
    let ports = slice.ports.iter().flatten().filter_map(|port| u16::try_from(port.port?).ok());
    let ports: Vec<_> = ports.collect();
    let addresses = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    let addresses = addresses.filter_map(|address| address.parse().ok());
    addresses.flat_map(|address| ports.iter().map(move |port| SocketAddr::new(address, *port))).collect()
}

#[cfg(test)]
mod tests;
