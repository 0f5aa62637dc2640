//! Keys in Secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use esplanade_crds::conditions::reason;
use esplanade_crds::{SecretKeyRef, SecretVersion};
use esplanade_model::KeyLengthError;
use zeroize::Zeroizing;

use crate::accept::{KeyUse, SaIntent};
use crate::finding::Finding;
use crate::snapshot::{SecretView, Snapshot};

/// The keys of an SA.
#[derive(Debug)]
pub(crate) struct Keys<'a> {
    pub(crate) encryption: Option<KeyState<'a>>,
    pub(crate) integrity: Option<KeyState<'a>>,
}

/// A key of an SA.
pub(crate) enum KeyState<'a> {
    /// The algorithm takes none.
    None,
    /// It is there and fits.
    Found(&'a Zeroizing<Vec<u8>>, SecretVersion),
    /// It isn't.
    Bad(Finding),
}

impl std::fmt::Debug for KeyState<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Found(_, version) => f.debug_tuple("Found").field(version).finish(),
            Self::Bad(finding) => f.debug_tuple("Bad").field(finding).finish(),
        }
    }
}

impl Keys<'_> {
    /// What is wrong with them.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = Vec::new();
        for state in [&self.encryption, &self.integrity].into_iter().flatten() {
            if let KeyState::Bad(finding) = state
                && !findings.contains(finding)
            {
                findings.push(finding.clone());
            }
        }
        findings
    }
}

/// The keys that the SA names.
pub(crate) fn keys<'a>(intent: &SaIntent, snapshot: &'a Snapshot) -> Keys<'a> {
    let uses: Vec<&KeyUse> = [&intent.encryption, &intent.integrity].into_iter().flatten().collect();
    let state = |one: &KeyUse| match &one.secret {
        None => KeyState::None,
        Some(named) => match snapshot.secrets.get(&named.name) {
            None => KeyState::Bad(no_secret(&snapshot.namespace, &named.name, &uses)),
            Some(secret) => match found(&snapshot.namespace, secret, one, named) {
                Ok(bytes) => KeyState::Found(
                    bytes,
                    SecretVersion {
                        uid: secret.uid.clone(),
                        resource_version: secret.resource_version.clone(),
                        key: named.key.clone(),
                    },
                ),
                Err(finding) => KeyState::Bad(finding),
            },
        },
    };
    Keys {
        encryption: intent.encryption.as_ref().map(state),
        integrity: intent.integrity.as_ref().map(state),
    }
}

/// With the command that makes the Secret, with all the keys that the SA wants in it.
fn no_secret(namespace: &str, name: &str, uses: &[&KeyUse]) -> Finding {
    let wanted: Vec<(&str, usize)> = uses
        .iter()
        .filter_map(|one| one.secret.as_ref().map(|named| (named, one.key_len)))
        .filter(|(named, _)| named.name == name)
        .map(|(named, length)| (named.key.as_str(), length))
        .collect();
    let files: String = wanted.iter().map(|(key, _)| format!(" --from-file={key}=FILE")).collect();
    let lengths: Vec<String> = wanted.iter().map(|(key, length)| format!("{key}: {length} bytes")).collect();
    Finding::new(
        reason::SECRET_NOT_FOUND,
        format!(
            "there is no Secret {name} in namespace {namespace}: write kubectl -n {namespace} create secret \
             generic {name}{files} ({})",
            lengths.join(", ")
        ),
    )
}

fn found<'a>(
    namespace: &str,
    secret: &'a SecretView,
    one: &KeyUse,
    named: &SecretKeyRef,
) -> Result<&'a Zeroizing<Vec<u8>>, Finding> {
    let SecretKeyRef { name, key } = named;
    let Some(bytes) = secret.data.get(key) else {
        let wanted = format!("{} bytes", one.key_len);
        return Err(lacks(namespace, secret, named, &wanted, "keySecretRef.key"));
    };
    if bytes.len() == one.key_len {
        return Ok(bytes);
    }
    let error = KeyLengthError {
        algorithm: one.algorithm,
        expected: one.key_len,
        actual: bytes.len(),
        salt: one.salt,
    };
    Err(Finding::new(
        reason::INVALID_KEY,
        format!("Secret {name} in namespace {namespace}, key {key}: {error}{}", hint(bytes, one.key_len)),
    ))
}

/// The Secret hasn't this key, so long, which that field names.
pub(super) fn lacks(
    namespace: &str,
    secret: &SecretView,
    named: &SecretKeyRef,
    length: &str,
    field: &str,
) -> Finding {
    let SecretKeyRef { name, key } = named;
    let keys: Vec<&str> = secret.data.keys().map(String::as_str).collect();
    let has = if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") };
    Finding::new(
        reason::SECRET_NOT_FOUND,
        format!(
            "Secret {name} in namespace {namespace} has no key {key} ({length} wanted), it has {has}: add it, or \
             correct {field}"
        ),
    )
}

/// How a key of the right length may have come to a wrong one. Says nothing else of its content.
fn hint(bytes: &[u8], expected: usize) -> &'static str {
    let trimmed = bytes.strip_suffix(b"\n").map_or(bytes, |rest| rest.strip_suffix(b"\r").unwrap_or(rest));
    let newline = trimmed.len() < bytes.len();
    if newline && trimmed.len() == expected {
        return ": it ends in a newline, write the file without one";
    }
    if trimmed.len() == 2 * expected && trimmed.iter().all(u8::is_ascii_hexdigit) {
        return ": it looks like the key in hex, write its raw bytes";
    }
    if BASE64.decode(trimmed).map(Zeroizing::new).is_ok_and(|raw| raw.len() == expected) {
        return ": it looks like the key in base64, write its raw bytes";
    }
    ""
}
