//! The keys that IpsecSAs and IpsecPolicies name: only those Secrets are read, each once per version.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use esplanade_plan::SecretView;
use http::Request;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use zeroize::Zeroizing;

use super::cache::Cache;
use super::error::{Category, ReadError};
use super::index::SecretMeta;

/// How long reading one Secret may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The Secrets that are named, with their data.
pub(super) struct Secrets {
    client: Client,
    api: Api<Secret>,
    known: BTreeMap<String, SecretView>,
}

impl Secrets {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client.clone(), namespace), client, known: BTreeMap::new() }
    }

    /// The Secrets that were read last.
    pub(super) fn known(&self) -> &BTreeMap<String, SecretView> {
        &self.known
    }

    /// Reads what is wanted and new, and forgets what isn't wanted any more.
    ///
    /// # Errors
    /// One of them can't be read. Those read before stay known.
    pub(super) async fn refresh(
        &mut self,
        wanted: &BTreeSet<String>,
        seen: &Cache<SecretMeta>,
    ) -> Result<(), ReadError> {
        self.known.retain(|name, _| wanted.contains(name) && seen.contains(name));
        for name in wanted {
            let Some(meta) = seen.get(name) else { continue };
            if self.known.get(name).is_some_and(|known| current(known, meta)) {
                continue;
            }
            match self.read(name).await? {
                Some(view) => self.known.insert(name.clone(), view),
                None => self.known.remove(name),
            };
        }
        Ok(())
    }

    /// Reads one Secret. Not with [`Api::get`], which leaves copies of what it parsed in memory and, when it can't
    /// parse it, in the log.
    async fn read(&self, name: &str) -> Result<Option<SecretView>, ReadError> {
        let failed = |category, message| ReadError { name: name.to_owned(), category, message };
        let url = format!("{}/{name}", self.api.resource_url());
        let request = Request::get(url).body(Vec::new());
        let request = request.map_err(|error| failed(Category::Invalid, error.to_string()))?;
        let answer = tokio::time::timeout(LIMIT, self.client.request_text(request)).await;
        let slow = |_| failed(Category::Unavailable, format!("no answer within {LIMIT:?}"));
        let text = match answer.map_err(slow)? {
            Ok(text) => Zeroizing::new(text),
            Err(error) if Category::of(&error) == Category::Gone => return Ok(None),
            Err(error) => return Err(failed(Category::of(&error), super::error::words(&error))),
        };
        // The parser's error would quote the text.
        let secret: Secret = serde_json::from_str(&text)
            .map_err(|_| failed(Category::Invalid, "the API server's answer is not a Secret".to_owned()))?;
        let data = secret.data.unwrap_or_default();
        Ok(Some(SecretView {
            uid: secret.metadata.uid.unwrap_or_default(),
            resource_version: secret.metadata.resource_version.unwrap_or_default(),
            data: data.into_iter().map(|(key, value)| (key, Zeroizing::new(value.0))).collect(),
        }))
    }
}

/// Whether what is known is at least as new as what the watch says.
fn current(known: &SecretView, meta: &SecretMeta) -> bool {
    let number = |version: &str| version.parse::<u64>().ok();
    known.uid == meta.uid
        && (known.resource_version == meta.resource_version
            || number(&known.resource_version) > number(&meta.resource_version))
}
