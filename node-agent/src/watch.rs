//! The watches at the API server.

use std::time::Duration;

use esplanade_crds::{IpsecNodeState, IpsecPeer};
use futures::future::ready;
use futures::stream::{self, BoxStream, StreamExt};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};

use crate::desired::Watched;

/// What the API server calls the EndpointSlice of itself, in the namespace `default`.
const API_SERVER: &str = "kubernetes";

/// What a watch tells.
#[derive(Debug)]
pub enum Change {
    /// Of the node's IpsecNodeState.
    NodeState(Box<Watched<IpsecNodeState>>),
    /// Of an IpsecPeer.
    Peer(Box<Watched<IpsecPeer>>),
    /// The resourceVersion that the API server is at.
    History(u64),
    /// Of where the API server is.
    ApiServer(Box<watcher::Event<EndpointSlice>>),
}

/// Watches the node's own IpsecNodeState and all IpsecPeers, for ever: interruptions are logged, and tried again ever
/// later, up to 30 s.
pub fn watch(client: &Client, node: &str) -> BoxStream<'static, Change> {
    let own = watcher::Config::default().fields(&format!("metadata.name={node}"));
    let node_states = watcher(Api::all(client.clone()), own).default_backoff();
    let peers = watcher(Api::all(client.clone()), watcher::Config::default()).default_backoff();
    let node_states = node_states.filter_map(async |event| {
        told("IpsecNodeState", event).map(|event| Change::NodeState(Box::new(event)))
    });
    let peers =
        peers.filter_map(async |event| told("IpsecPeer", event).map(|event| Change::Peer(Box::new(event))));
    stream::select(node_states.boxed(), peers.boxed()).boxed()
}

fn told<K>(kind: &'static str, event: watcher::Result<watcher::Event<K>>) -> Option<watcher::Event<K>> {
    event.inspect_err(|error| tracing::warn!(kind, %error, "watch interrupted")).ok()
}

/// How often the API server is asked how far it is.
const HISTORY: Duration = Duration::from_secs(30);

/// Asks the API server again and again which resourceVersion it is at: the watches don't tell when etcd was restored from a
/// backup, but wait until it is where they were.
pub fn watch_history(client: &Client) -> BoxStream<'static, Change> {
    let peers: Api<IpsecPeer> = Api::all(client.clone());
    let asked = stream::unfold(peers, async |peers| {
        tokio::time::sleep(HISTORY).await;
        // Without a resourceVersion: as it is now, whichever API server answers.
        let list = peers.list_metadata(&ListParams::default().limit(1)).await;
        let version = match list {
            Ok(list) => list.metadata.resource_version.and_then(|version| version.parse().ok()),
            Err(error) => {
                tracing::debug!(%error, "the API server doesn't say how far it is");
                None
            }
        };
        Some((version.map(Change::History), peers))
    });
    asked.filter_map(async |change| change).boxed()
}

/// Watches where the API server is, as [`watch`] does. Where it doesn't let this agent see that, what the agent was given is
/// all there is; unless it `must` be known.
pub fn watch_api_server(client: &Client, must: bool) -> BoxStream<'static, Change> {
    let own = watcher::Config::default().fields(&format!("metadata.name={API_SERVER}"));
    let slices = watcher(Api::namespaced(client.clone(), "default"), own).default_backoff();
    let slices = slices.filter_map(move |event| {
        let forbidden =
            matches!(&event, Err(watcher::Error::InitialListFailed(error)) if is_forbidden(error));
        let event = told("EndpointSlice", event);
        let event = event.or_else(|| (forbidden && !must).then_some(watcher::Event::InitDone));
        ready(event.map(|event| Change::ApiServer(Box::new(event))))
    });
    slices.boxed()
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}
