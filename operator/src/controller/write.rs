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
use super::error::{Category, SCHEMA, WriteError, words};
use super::index::Input;
use super::watch::object;

/// Owns the spec of IpsecNodeStates and IpsecPeers.
pub const SPEC_MANAGER: &str = "esplanade-operator";
/// Owns the status of IpsecPolicies and IpsecSAs.
pub const STATUS_MANAGER: &str = "esplanade-operator/status";

/// Makes changes.
#[derive(Clone)]
pub(super) struct Writer {
    client: Client,
    limit: Duration,
}

/// Why a write didn't come to what was wanted.
enum Failure {
    /// The API server's refusal, or no answer.
    Refused(kube::Error),
    /// It answered, and keeps something else: where.
    Altered(Vec<String>),
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        Self::Refused(error)
    }
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
    /// `limit` is how long one change may take.
    pub(super) fn new(client: Client, limit: Duration) -> Self {
        Self { client, limit }
    }

    /// Makes a change; returns what is there now, as the watch will tell later.
    pub(super) async fn write(&self, change: &Change) -> Result<Input, WriteError> {
        let verb = match &change.what {
            What::Peer { .. } | What::NodeState { .. } => "apply",
            What::SaStatus { .. } | What::PolicyStatus { .. } | What::Unreadable(..) => "apply the status of",
            What::Remove(..) => "remove",
        };
        let result = match tokio::time::timeout(self.limit, self.make(change)).await {
            Ok(result) => result,
            Err(_) => Err(kube::Error::Service(format!("no answer within {:?}", self.limit).into()).into()),
        };
        result.map_err(|failure| {
            let (category, message) = match failure {
                Failure::Refused(error) => (Category::of(&error), words(&error)),
                Failure::Altered(where_) => (Category::Schema, altered(&where_)),
            };
            WriteError { verb, kind: change.kind(), name: change.name.clone(), category, message }
        })
    }

    async fn make(&self, change: &Change) -> Result<Input, Failure> {
        let name = change.name.as_str();
        match &change.what {
            What::Peer { owner, spec } => {
                let get = |o: &IpsecPeer| Some(o.spec.clone());
                self.apply(owned(name, owner), Part::Spec, spec, get).await.map(Input::Peer)
            }
            What::NodeState { owner, version, spec } => {
                let get = |o: &IpsecNodeState| Some(o.spec.clone());
                let mut metadata = owned(name, owner);
                if let Some(version) = version {
                    metadata["resourceVersion"] = json!(version);
                }
                self.apply(metadata, Part::Spec, spec, get).await.map(Input::NodeState)
            }
            What::SaStatus { uid, status } => {
                let get = |o: &IpsecSA| o.status.clone();
                self.apply(one(name, uid), Part::Status, status, get).await.map(Input::Sa)
            }
            What::PolicyStatus { uid, status } => {
                let get = |o: &IpsecPolicy| o.status.clone();
                self.apply(one(name, uid), Part::Status, status, get).await.map(Input::Policy)
            }
            What::Unreadable(kind, error) => self.tell(*kind, name, error).await,
            What::Remove(kind, uid) => self.remove(*kind, name, uid).await,
        }
    }

    /// Server-side apply of one part. What somebody else has added beside it stays with that, so where the part isn't
    /// as wanted afterwards, it is replaced as a whole.
    async fn apply<K, T>(
        &self,
        metadata: Value,
        part: Part,
        wanted: &T,
        get: impl Fn(&K) -> Option<T>,
    ) -> Result<Event<K>, Failure>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
        T: PartialEq + serde::Serialize,
    {
        let name = metadata["name"].as_str().unwrap_or_default().to_owned();
        let wanted_json = serde_json::to_value(wanted).map_err(kube::Error::SerdeError)?;
        let body = body::<K>(metadata, part, &wanted_json);
        let other = |written: &DeserializeGuard<K>| match &written.0 {
            Ok(object) => get(object).filter(|found| found != wanted),
            Err(_) => None,
        };
        let params = PatchParams::apply(part.manager()).force();
        let mut written = self.patch(&name, part, &params, &Patch::Apply(&body)).await?;
        if other(&written).is_some() {
            let params =
                PatchParams { field_manager: Some(part.manager().to_owned()), ..PatchParams::default() };
            let replace = json!([
                {"op": "test", "path": "/metadata/uid", "value": written.meta().uid},
                {"op": "add", "path": format!("/{}", part.path()), "value": wanted_json},
            ]);
            let replace: json_patch::Patch =
                serde_json::from_value(replace).map_err(kube::Error::SerdeError)?;
            written = self.patch(&name, part, &params, &Patch::Json::<()>(replace)).await?;
        }
        match other(&written) {
            None => Ok(Event::Changed(object(written))),
            Some(found) => {
                let found = serde_json::to_value(found).map_err(kube::Error::SerdeError)?;
                let differences = json_patch::diff(&wanted_json, &found);
                Err(Failure::Altered(differences.iter().map(|d| d.path().to_string()).collect()))
            }
        }
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
        match part {
            Part::Spec => api.patch(name, params, patch).await,
            Part::Status => api.patch_status(name, params, patch).await,
        }
    }

    /// Says on a user's object that it can't be read.
    async fn tell(&self, kind: Kind, name: &str, error: &Unreadable) -> Result<Input, Failure> {
        let kept = match kind {
            Kind::IpsecPolicy => "; until it can, the nodes keep the policy as it was before",
            _ => "",
        };
        let status = json!({"conditions": [{
            "type": ACCEPTED, "status": "False", "reason": reason::INVALID,
            "message": format!("the operator can't read this object: {}{kept}", error.error),
            "observedGeneration": error.generation.unwrap_or_default(),
            "lastTransitionTime": jiff::Timestamp::now().strftime("%FT%TZ").to_string(),
        }]});
        let metadata = one(name, &error.uid);
        Ok(match kind {
            Kind::IpsecPolicy => {
                Input::Policy(self.apply(metadata, Part::Status, &status, |_: &IpsecPolicy| None).await?)
            }
            _ => Input::Sa(self.apply(metadata, Part::Status, &status, |_: &IpsecSA| None).await?),
        })
    }

    async fn remove(&self, kind: Kind, name: &str, uid: &str) -> Result<Input, Failure> {
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
        match api.delete(&name, params).await {
            Err(error) if Category::of(&error) != Category::Gone => Err(error),
            _ => Ok(Event::Gone { name, version: None }),
        }
    }
}

/// The metadata of one object and no other of its name.
fn one(name: &str, uid: &str) -> Value {
    json!({"name": name, "uid": uid})
}

/// The metadata of an object that a Node owns: it goes when the Node goes.
fn owned(name: &str, owner: &str) -> Value {
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": name, "uid": owner});
    json!({"name": name, "ownerReferences": [owner]})
}

fn body<K: Resource<DynamicType = ()>>(metadata: Value, part: Part, content: &Value) -> Value {
    json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata, part.path(): content,
    })
}

/// What the API server made of what it was told. No values: sealed keys may be among them.
fn altered(paths: &[String]) -> String {
    let first = paths.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    format!("the API server stores it otherwise than it was written, at {first}: {SCHEMA}")
}
