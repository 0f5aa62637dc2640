//! Keys on their way to one node.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A key that only one node's agent can open (HPKE, RFC 9180).
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SealedKey {
    /// `id` of the sealing key it is sealed to.
    pub recipient: String,
    /// HPKE's encapsulated key, then the ciphertext, base64.
    pub sealed: String,
    /// The version of the Secret that it was read from.
    pub source: SecretVersion,
}

/// A version of a Secret.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretVersion {
    /// `metadata.uid` of the Secret.
    pub uid: String,
    /// `metadata.resourceVersion` of the Secret.
    pub resource_version: String,
    /// The key in its `data`.
    pub key: String,
}
