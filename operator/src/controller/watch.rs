//! The watches: events of the API server, turned into inputs of the index.

use std::fmt::Debug;
use std::pin::pin;

use esplanade_crds::{IpsecNodeState, IpsecPeer, IpsecPolicy, IpsecSA};
use esplanade_plan::NodeView;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::cache::{Event, Seen, Unreadable};
use super::index::{Input, SecretMeta};

/// How many events may wait for the index.
const QUEUE: usize = 1024;

/// Watches everything that plans depend on; Secrets in `namespace` only, and without their data. The watches end when
/// the set is dropped.
pub(super) fn start(client: &Client, namespace: &str) -> (mpsc::Receiver<Input>, JoinSet<()>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let mut tasks = JoinSet::new();
    let all = || client.clone();
    tasks.spawn(forward(Api::all(all()), node, Input::Node, sender.clone()));
    tasks.spawn(forward(Api::all(all()), object::<IpsecPolicy>, Input::Policy, sender.clone()));
    tasks.spawn(forward(Api::all(all()), object::<IpsecSA>, Input::Sa, sender.clone()));
    tasks.spawn(forward(Api::all(all()), object::<IpsecNodeState>, Input::NodeState, sender.clone()));
    tasks.spawn(forward(Api::all(all()), object::<IpsecPeer>, Input::Peer, sender.clone()));
    tasks.spawn(forward(Api::namespaced(client.clone(), namespace), secret, Input::Secret, sender));
    (receiver, tasks)
}

/// Forwards one kind's events for as long as somebody listens.
async fn forward<W, T>(
    api: Api<W>,
    view: fn(W) -> Seen<T>,
    wrap: fn(Event<T>) -> Input,
    sender: mpsc::Sender<Input>,
) where
    W: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    T: Send,
{
    let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut listed = false;
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(watcher::Event::Init) => Event::ListStart,
            Ok(watcher::Event::InitApply(object)) => Event::Listed(view(object)),
            Ok(watcher::Event::InitDone) => Event::ListEnd,
            Ok(watcher::Event::Apply(object)) => Event::Changed(view(object)),
            Ok(watcher::Event::Delete(object)) => {
                Event::Gone { name: object.name_any(), version: version(object.meta()) }
            }
            Err(error) => {
                tracing::warn!(kind = %W::kind(&()), %error, "watch interrupted");
                if listed && sender.send(Input::Interrupted).await.is_err() {
                    return;
                }
                listed = false;
                continue;
            }
        };
        if let Event::Listed(Seen { name, object: Err(e), .. })
        | Event::Changed(Seen { name, object: Err(e), .. }) = &event
        {
            tracing::warn!(kind = %W::kind(&()), name, error = e.error, "object passed over: can't be read");
        }
        listed |= matches!(event, Event::ListEnd);
        if sender.send(wrap(event)).await.is_err() {
            return;
        }
    }
}

/// An object, or why it can't be read.
pub(super) fn object<K: Resource<DynamicType = ()>>(guard: DeserializeGuard<K>) -> Seen<K> {
    let (name, version) = (guard.name_any(), version(guard.meta()));
    let object = guard.0.map(without_managed_fields).map_err(|invalid| Unreadable {
        uid: invalid.metadata.uid.unwrap_or_default(),
        generation: invalid.metadata.generation,
        error: invalid.error,
    });
    Seen { name, version, object }
}

fn without_managed_fields<K: Resource>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}

/// A Node reduced to what plans depend on: most of its changes are heartbeats.
fn node(guard: DeserializeGuard<Node>) -> Seen<NodeView> {
    let Seen { name, version, object } = object(guard);
    Seen { name, version, object: object.map(|node| NodeView::from(&node)) }
}

fn secret(meta: PartialObjectMeta<Secret>) -> Seen<SecretMeta> {
    let (name, version) = (meta.name_any(), version(meta.meta()));
    let uid = meta.uid().unwrap_or_default();
    let resource_version = meta.resource_version().unwrap_or_default();
    Seen { name, version, object: Ok(SecretMeta { uid, resource_version }) }
}

/// `metadata.resourceVersion` as a number, which makes the versions of one kind comparable (Kubernetes 1.35 on says
/// so; true before as well).
fn version(meta: &ObjectMeta) -> Option<u64> {
    meta.resource_version.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests;
