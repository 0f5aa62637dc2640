//! What a sealed key is for.

/// What a sealed key is for. The one who opens it must name the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context<'a> {
    /// Name of the IpsecSA; with [`Usage::Ppk`] UID of the IpsecPolicy.
    pub object: &'a str,
    /// Which of its keys.
    pub usage: Usage,
    /// The Secret that the key was read from.
    pub source: Source<'a>,
}

/// What a key is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Usage {
    /// Encryption, or encryption and integrity in one (AEAD).
    Encryption,
    /// Integrity.
    Integrity,
    /// Derivation of automatic keys: a policy's post-quantum preshared key.
    Ppk,
}

/// One key of one version of a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source<'a> {
    /// `metadata.uid` of the Secret.
    pub uid: &'a str,
    /// `metadata.resourceVersion` of the Secret.
    pub resource_version: &'a str,
    /// The key in its `data`.
    pub key: &'a str,
}

impl Context<'_> {
    /// As HPKE's additional data: each part after its length (8 bytes, big endian), so that no two contexts
    /// read the same.
    pub(crate) fn additional_data(&self) -> Vec<u8> {
        let usage = match self.usage {
            Usage::Encryption => "encryption",
            Usage::Integrity => "integrity",
            Usage::Ppk => "ppk",
        };
        let Source { uid, resource_version, key } = self.source;
        let mut data = Vec::new();
        for part in [self.object, usage, uid, resource_version, key] {
            data.extend_from_slice(&(part.len() as u64).to_be_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data
    }
}
