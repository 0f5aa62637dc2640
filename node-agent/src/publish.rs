//! Publishing the node's keys in its IpsecPeer.

use std::time::Duration;

use esplanade_crds::IpsecPeer;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::keying::PublishKeys;
use crate::report::FIELD_MANAGER;

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Publishes what it is told, until the sender is gone. Keys are written only over the very object that was seen: whoever
/// has listed the peers before it knows which keys are newer.
pub async fn run(client: Client, node: String, mut wanted: watch::Receiver<Option<PublishKeys>>) {
    let api: Api<IpsecPeer> = Api::all(client);
    let mut pause = FIRST_RETRY;
    let mut published = None;
    loop {
        let keys = wanted.borrow_and_update().clone();
        let failed = match keys.filter(|keys| published.as_ref() != Some(keys)) {
            None => false,
            Some(keys) => match publish(&api, &node, &keys).await {
                Ok(()) => {
                    tracing::info!(keys = keys.keys.len(), "keys published");
                    published = Some(keys);
                    false
                }
                Err(error) => {
                    tracing::warn!(%error, "keys can't be published");
                    true
                }
            },
        };
        if failed {
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = sleep(pause) => pause = (pause * 2).min(LAST_RETRY),
            }
        } else {
            pause = FIRST_RETRY;
            if wanted.changed().await.is_err() {
                return;
            }
        }
    }
}

async fn publish(api: &Api<IpsecPeer>, node: &str, keys: &PublishKeys) -> kube::Result<()> {
    let object = json!({
        "metadata": {"uid": keys.uid, "resourceVersion": keys.version.to_string()},
        "status": {"keys": keys.keys},
    });
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch_status(node, &parameters, &Patch::Merge(object)).await.map(drop)
}
