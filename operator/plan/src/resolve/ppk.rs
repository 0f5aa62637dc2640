//! A policy's post-quantum preshared key.

use esplanade_crds::conditions::reason;
use esplanade_crds::{SecretKeyRef, SecretVersion};
use esplanade_model::PpkLengthError;
use zeroize::Zeroizing;

use super::keys::lacks;
use crate::finding::Finding;
use crate::snapshot::Snapshot;

/// A policy's PPK.
#[derive(Clone)]
pub(crate) struct Ppk<'a> {
    pub(crate) bytes: &'a Zeroizing<Vec<u8>>,
    pub(crate) version: SecretVersion,
}

/// The PPK that is named, or what is wrong with it.
pub(crate) fn ppk<'a>(named: &SecretKeyRef, snapshot: &'a Snapshot) -> Result<Ppk<'a>, Finding> {
    let SecretKeyRef { name, key } = named;
    let namespace = &snapshot.namespace;
    let Some(secret) = snapshot.secrets.get(name) else {
        return Err(Finding::new(
            reason::SECRET_NOT_FOUND,
            format!(
                "there is no Secret {name} in namespace {namespace} for the PPK: write kubectl -n {namespace} create secret \
                 generic {name} --from-file={key}=FILE (32 bytes or more from a random generator, e.g. head -c 32 \
                 /dev/urandom >FILE)"
            ),
        ));
    };
    let Some(bytes) = secret.data.get(key) else {
        return Err(lacks(namespace, secret, named, "32 bytes or more", "ppkSecretRef.key"));
    };
    PpkLengthError::check(bytes.len()).map_err(|error| {
        let message = format!("Secret {name} in namespace {namespace}, key {key}: {error}");
        Finding::new(reason::INVALID_KEY, message)
    })?;
    let version = SecretVersion {
        uid: secret.uid.clone(),
        resource_version: secret.resource_version.clone(),
        key: key.clone(),
    };
    Ok(Ppk { bytes, version })
}
