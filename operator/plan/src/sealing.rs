//! Keys for one node.

use esplanade_crds::conditions::reason;
use esplanade_crds::{NodeEncryption, NodeIntegrity, SealedKey};
use esplanade_seal::{Context, PublicKey, Source, Usage};
use rand_core::CryptoRng;

use crate::cluster::Cluster;
use crate::finding::Finding;
use crate::resolve::{Accepted, KeyState};

/// The algorithms of an SA with their keys, sealed to one node.
pub(crate) struct Sealing {
    pub(crate) encryption: Option<NodeEncryption>,
    pub(crate) integrity: Option<NodeIntegrity>,
}

/// Seals the keys of an IpsecSA to a node. What is sealed already stays while neither the node's key nor the Secret
/// changed, and where there is nothing newer to seal. `None` if a key is missing; an error if the node can't be
/// sealed to.
pub(crate) fn seal(
    name: &str,
    sa: &Accepted<'_>,
    node: &str,
    cluster: &Cluster<'_>,
    rng: &mut dyn CryptoRng,
) -> Result<Option<Sealing>, Finding> {
    let installed = cluster.installed_sa(node, name);
    let recipient = Recipient { node, cluster };
    let mut encryption = None;
    if let (Some(one), Some(state)) = (&sa.intent.encryption, &sa.keys.encryption) {
        let before = installed.and_then(|sa| sa.encryption.as_ref());
        let same = before.is_some_and(|before| before.algorithm == one.algorithm);
        let before = before.and_then(|before| before.key.as_ref());
        let key = match state {
            KeyState::None => None,
            state => match recipient.key(name, Usage::Encryption, state, before, same, rng)? {
                Some(key) => Some(key),
                None => return Ok(None),
            },
        };
        encryption = Some(NodeEncryption { algorithm: one.algorithm.to_owned(), key });
    }
    let mut integrity = None;
    if let (Some(one), Some(state)) = (&sa.intent.integrity, &sa.keys.integrity) {
        let before = installed.and_then(|sa| sa.integrity.as_ref());
        let same = before.is_some_and(|before| before.algorithm == one.algorithm);
        let before = before.map(|before| &before.key);
        let Some(key) = recipient.key(name, Usage::Integrity, state, before, same, rng)? else {
            return Ok(None);
        };
        integrity = Some(NodeIntegrity { algorithm: one.algorithm.to_owned(), key });
    }
    Ok(Some(Sealing { encryption, integrity }))
}

struct Recipient<'a> {
    node: &'a str,
    cluster: &'a Cluster<'a>,
}

impl Recipient<'_> {
    /// `before` is what the node has been told, `same` whether it was for the same algorithm.
    fn key(
        &self,
        sa: &str,
        usage: Usage,
        state: &KeyState<'_>,
        before: Option<&SealedKey>,
        same: bool,
        rng: &mut dyn CryptoRng,
    ) -> Result<Option<SealedKey>, Finding> {
        let KeyState::Found(bytes, version) = state else {
            // Traffic goes on with the key that the node has.
            return Ok(before.filter(|_| same).cloned());
        };
        let public = match (self.public_key(), before) {
            (Ok(public), _) => public,
            (Err(_), Some(before)) if same => return Ok(Some(before.clone())),
            (Err(finding), _) => return Err(finding),
        };
        let recipient = public.id();
        if let Some(before) = before
            && before.recipient == recipient
            && before.source == *version
        {
            return Ok(Some(before.clone()));
        }
        let source =
            Source { uid: &version.uid, resource_version: &version.resource_version, key: &version.key };
        let context = Context { security_association: sa, usage, source };
        let sealed =
            esplanade_seal::seal(&public, &context, bytes, rng).map_err(|error| self.unusable(&error))?;
        Ok(Some(SealedKey { recipient, sealed, source: version.clone() }))
    }

    fn public_key(&self) -> Result<PublicKey, Finding> {
        let Some(key) = self.cluster.sealing_key(self.node) else {
            return Err(Finding::new(
                reason::PENDING,
                format!("node {} has no sealing key yet: is its agent running?", self.node),
            ));
        };
        PublicKey::from_base64(&key.public_key).map_err(|error| self.unusable(&error))
    }

    fn unusable(&self, error: &dyn std::error::Error) -> Finding {
        Finding::new(reason::UNSEALABLE, format!("node {}: {error}", self.node))
    }
}
