//! Keys for one node.

use esplanade_crds::conditions::reason;
use esplanade_crds::{
    NodeAutomaticKeying, NodeEncryption, NodeIntegrity, NodePolicy, SealedKey, SecretVersion,
};
use esplanade_seal::{Context, PublicKey, Source, Usage};
use rand_core::CryptoRng;

use crate::accept::KeyUse;
use crate::cluster::Cluster;
use crate::finding::Finding;
use crate::resolve::{Accepted, KeyState, Ppk};

/// The algorithms of an SA with their keys, sealed to one node.
pub(crate) struct Sealing {
    pub(crate) encryption: Option<NodeEncryption>,
    pub(crate) integrity: Option<NodeIntegrity>,
}

/// Seals the keys of an IpsecSA to a node. What is sealed already stays while neither the node's key nor the
/// Secret changed, and where there is nothing newer to seal. `None` if a key is missing; an error if the
/// node can't be sealed to.
pub(crate) fn seal(
    name: &str,
    sa: &Accepted<'_>,
    node: &str,
    cluster: &Cluster<'_>,
    rng: &mut dyn CryptoRng,
) -> Result<Option<Sealing>, Finding> {
    let installed = cluster.installed_sa(node, name);
    let recipient = Recipient { node, cluster };
    let before = installed.and_then(|sa| sa.encryption.as_ref());
    let before = before.map(|before| (before.algorithm.as_str(), before.key.as_ref()));
    let encryption = match (&sa.intent.encryption, &sa.keys.encryption) {
        (Some(one), Some(state)) => recipient.key(name, Usage::Encryption, one, state, before, rng),
        _ => Ok(Key::None),
    };
    let before = installed.and_then(|sa| sa.integrity.as_ref());
    let before = before.map(|before| (before.algorithm.as_str(), Some(&before.key)));
    let integrity = match (&sa.intent.integrity, &sa.keys.integrity) {
        (Some(one), Some(state)) => recipient.key(name, Usage::Integrity, one, state, before, rng),
        _ => Ok(Key::None),
    };
    // A missing key is missing for whatever node.
    if matches!(encryption, Ok(Key::Missing)) || matches!(integrity, Ok(Key::Missing)) {
        return Ok(None);
    }
    let name = |one: &KeyUse| one.algorithm.to_owned();
    let (encryption, integrity) = (encryption?.sealed(), integrity?.sealed());
    let encryption =
        sa.intent.encryption.as_ref().map(|one| NodeEncryption { algorithm: name(one), key: encryption });
    let integrity = sa.intent.integrity.as_ref().zip(integrity);
    let integrity = integrity.map(|(one, key)| NodeIntegrity { algorithm: name(one), key });
    Ok(Some(Sealing { encryption, integrity }))
}

/// What a node is told of a policy, with the PPK sealed to it, if there is one. What is sealed already stays while neither
/// the node's key nor the Secret changed. An error if the node can't be sealed to: without the PPK it would derive other
/// keys.
pub(crate) fn with_ppk(
    told: NodePolicy,
    ppk: Option<&Ppk<'_>>,
    node: &str,
    cluster: &Cluster<'_>,
    rng: &mut dyn CryptoRng,
) -> Result<NodePolicy, Finding> {
    let (Some(ppk), Some(keying)) = (ppk, &told.automatic) else { return Ok(told) };
    // An earlier revision's is another one's.
    if keying.ppk.as_ref().is_some_and(|before| before.source != ppk.version) {
        return Ok(told);
    }
    let installed = cluster.installed_revisions(node, &told.name).filter(|before| before.uid == told.uid);
    let before = installed.filter_map(|before| before.automatic.as_ref()?.ppk.as_ref());
    let before = before.collect::<Vec<_>>().into_iter().find(|before| before.source == ppk.version);
    let (what, key) = ((told.uid.as_str(), Usage::Ppk), (ppk.bytes.as_slice(), &ppk.version));
    let sealed = Recipient { node, cluster }.seal(what, key, (before, before), rng)?;
    Ok(NodePolicy { automatic: Some(NodeAutomaticKeying { ppk: Some(sealed), ..keying.clone() }), ..told })
}

/// A key of an SA for one node.
enum Key {
    /// The algorithm takes none.
    None,
    /// There is nothing to seal, and nothing from before.
    Missing,
    Sealed(SealedKey),
}

impl Key {
    fn sealed(self) -> Option<SealedKey> {
        match self {
            Self::Sealed(key) => Some(key),
            Self::None | Self::Missing => None,
        }
    }
}

struct Recipient<'a> {
    node: &'a str,
    cluster: &'a Cluster<'a>,
}

impl Recipient<'_> {
    /// `before` is the algorithm that the node has been told, and its key.
    fn key(
        &self,
        sa: &str,
        usage: Usage,
        one: &KeyUse,
        state: &KeyState<'_>,
        before: Option<(&str, Option<&SealedKey>)>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Key, Finding> {
        let same = before.is_some_and(|(algorithm, _)| algorithm == one.algorithm);
        let before = before.and_then(|(_, key)| key);
        let goes_on = before.filter(|_| same);
        let (bytes, version) = match state {
            KeyState::None => return Ok(Key::None),
            // Traffic goes on with the key that the node has.
            KeyState::Bad(_) => return Ok(goes_on.cloned().map_or(Key::Missing, Key::Sealed)),
            KeyState::Found(bytes, version) => (bytes, version),
        };
        self.seal((sa, usage), (bytes, version), (before, goes_on), rng).map(Key::Sealed)
    }

    /// Seals a key, unless that is done already: `before` is what the node has been told, which stays where it is of this
    /// version and for this recipient; `goes_on` stays where there is nobody to seal to.
    fn seal(
        &self,
        (object, usage): (&str, Usage),
        (bytes, version): (&[u8], &SecretVersion),
        (before, goes_on): (Option<&SealedKey>, Option<&SealedKey>),
        rng: &mut dyn CryptoRng,
    ) -> Result<SealedKey, Finding> {
        let public = match (self.public_key(), goes_on) {
            (Ok(public), _) => public,
            (Err(_), Some(before)) => return Ok(before.clone()),
            (Err(finding), None) => return Err(finding),
        };
        let recipient = public.id();
        if let Some(before) = before
            && before.recipient == recipient
            && before.source == *version
        {
            return Ok(before.clone());
        }
        let source =
            Source { uid: &version.uid, resource_version: &version.resource_version, key: &version.key };
        let context = Context { object, usage, source };
        let sealed =
            esplanade_seal::seal(&public, &context, bytes, rng).map_err(|error| self.unusable(&error))?;
        Ok(SealedKey { recipient, sealed, source: version.clone() })
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
