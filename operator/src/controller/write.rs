//! Makes a change: server-side apply, each part of an object under a field manager of its own.

use std::fmt::Debug;
use std::time::Duration;

use esplanade_crds::conditions::{ACCEPTED, reason};
use esplanade_crds::{IpsecNodeState, IpsecPeer, IpsecPolicy, IpsecSA};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::DeserializeGuard;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cache::{Event, Unreadable};
use super::change::{Change, Kind, What};
use super::error::{Category, WriteError, words};
use super::index::Input;
use super::watch::object;

/// Owns the spec of IpsecNodeStates and IpsecPeers.
pub const SPEC_MANAGER: &str = "esplanade-operator";
/// Owns the status of IpsecPolicies and IpsecSAs.
pub const STATUS_MANAGER: &str = "esplanade-operator/status";

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(10);

/// Makes changes.
#[derive(Clone)]
pub(super) struct Writer {
    client: Client,
}

/// The half of an object that a write concerns.
#[derive(Clone, Copy)]
enum Part {
    Spec,
    Status,
}

impl Part {
    fn path(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Status => "status",
        }
    }

    fn manager(self) -> &'static str {
        match self {
            Self::Spec => SPEC_MANAGER,
            Self::Status => STATUS_MANAGER,
        }
    }
}

impl Writer {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Makes a change; returns what is there now, as the watch will tell later.
    pub(super) async fn write(&self, change: &Change) -> Result<Input, WriteError> {
        let name = change.name.as_str();
        let (verb, result) = match &change.what {
            What::Peer { owner, spec } => {
                let exact = |peer: &IpsecPeer| peer.spec == *spec;
                let body = owned(name, owner, spec);
                ("apply", self.apply(name, body, Part::Spec, exact).await.map(Input::Peer))
            }
            What::NodeState { owner, spec } => {
                let exact = |state: &IpsecNodeState| state.spec == *spec;
                let body = owned(name, owner, spec);
                ("apply", self.apply(name, body, Part::Spec, exact).await.map(Input::NodeState))
            }
            What::SaStatus { uid, status } => {
                let exact = |sa: &IpsecSA| sa.status.as_ref() == Some(status);
                let body = json!({"metadata": {"name": name, "uid": uid}, "status": status});
                ("apply the status of", self.apply(name, body, Part::Status, exact).await.map(Input::Sa))
            }
            What::PolicyStatus { uid, status } => {
                let exact = |policy: &IpsecPolicy| policy.status.as_ref() == Some(status);
                let body = json!({"metadata": {"name": name, "uid": uid}, "status": status});
                ("apply the status of", self.apply(name, body, Part::Status, exact).await.map(Input::Policy))
            }
            What::Unreadable(kind, error) => ("apply the status of", self.tell(*kind, name, error).await),
            What::Remove(kind, uid) => ("remove", self.remove(*kind, name, uid).await),
        };
        result.map_err(|error| WriteError {
            verb,
            kind: change.kind(),
            name: name.to_owned(),
            category: Category::of(&error),
            message: words(&error),
        })
    }

    /// Server-side apply. What somebody else has added beside it stays with that, so where the object isn't `exact`
    /// afterwards, the whole part is replaced.
    async fn apply<K>(
        &self,
        name: &str,
        mut body: Value,
        part: Part,
        exact: impl Fn(&K) -> bool,
    ) -> Result<Event<K>, kube::Error>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        body["apiVersion"] = K::api_version(&()).into();
        body["kind"] = K::kind(&()).into();
        let params = PatchParams::apply(part.manager()).force();
        let mut written: DeserializeGuard<K> = self.patch(name, part, &params, &Patch::Apply(&body)).await?;
        if written.0.as_ref().is_ok_and(|object| !exact(object)) {
            let params =
                PatchParams { field_manager: Some(part.manager().to_owned()), ..PatchParams::default() };
            let replace = json!([
                {"op": "test", "path": "/metadata/uid", "value": written.meta().uid},
                {"op": "add", "path": format!("/{}", part.path()), "value": body[part.path()]},
            ]);
            let replace: json_patch::Patch =
                serde_json::from_value(replace).map_err(kube::Error::SerdeError)?;
            written = self.patch(name, part, &params, &Patch::Json::<()>(replace)).await?;
        }
        Ok(Event::Changed(object(written)))
    }

    async fn patch<K, P>(
        &self,
        name: &str,
        part: Part,
        params: &PatchParams,
        patch: &Patch<P>,
    ) -> Result<DeserializeGuard<K>, kube::Error>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
        P: serde::Serialize + Debug,
    {
        let api: Api<DeserializeGuard<K>> = Api::all(self.client.clone());
        within(async {
            match part {
                Part::Spec => api.patch(name, params, patch).await,
                Part::Status => api.patch_status(name, params, patch).await,
            }
        })
        .await
    }

    /// Says on a user's object that it can't be read.
    async fn tell(&self, kind: Kind, name: &str, error: &Unreadable) -> Result<Input, kube::Error> {
        let body = json!({"metadata": {"name": name, "uid": error.uid}, "status": {"conditions": [{
            "type": ACCEPTED, "status": "False", "reason": reason::INVALID,
            "message": format!("the operator can't read this object: {}", error.error),
            "observedGeneration": error.generation.unwrap_or_default(),
            "lastTransitionTime": jiff::Timestamp::now().strftime("%FT%TZ").to_string(),
        }]}});
        match kind {
            Kind::IpsecPolicy => {
                self.apply(name, body, Part::Status, |_: &IpsecPolicy| true).await.map(Input::Policy)
            }
            _ => self.apply(name, body, Part::Status, |_: &IpsecSA| true).await.map(Input::Sa),
        }
    }

    async fn remove(&self, kind: Kind, name: &str, uid: &str) -> Result<Input, kube::Error> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams::default().preconditions(preconditions);
        let name = name.to_owned();
        Ok(match kind {
            Kind::IpsecPeer => Input::Peer(self.delete::<IpsecPeer>(name, &params).await?),
            _ => Input::NodeState(self.delete::<IpsecNodeState>(name, &params).await?),
        })
    }

    async fn delete<K>(&self, name: String, params: &DeleteParams) -> Result<Event<K>, kube::Error>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::all(self.client.clone());
        match within(api.delete(&name, params)).await {
            Err(error) if Category::of(&error) != Category::Gone => Err(error),
            _ => Ok(Event::Gone { name, version: None }),
        }
    }
}

/// An object that a Node owns: it goes when the Node goes.
fn owned(name: &str, owner: &str, spec: &impl serde::Serialize) -> Value {
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": name, "uid": owner});
    json!({"metadata": {"name": name, "ownerReferences": [owner]}, "spec": spec})
}

async fn within<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    match tokio::time::timeout(REQUEST, request).await {
        Ok(result) => result,
        Err(_) => Err(kube::Error::Service(format!("no answer within {REQUEST:?}").into())),
    }
}
