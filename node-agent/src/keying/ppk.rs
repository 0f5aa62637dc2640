//! Post-quantum preshared keys, as they come to this node: sealed.

use esplanade_crds::conditions::reason;
use esplanade_crds::{NodePolicy, Problem, ProblemKind, SealedKey};
use esplanade_keying::derive::Ppk;
use esplanade_model::PpkLengthError;
use esplanade_seal::{Context, KeyPair, OpenError, Source, Usage};

/// Why a policy's PPK can't be had. Says nothing of its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PpkError {
    /// Nobody has tried yet.
    #[error("not opened yet")]
    Unopened,
    /// It is for the agent before a reboot.
    #[error("it is sealed to {recipient}, this node's sealing key is {own}: it will be sealed anew")]
    Recipient { recipient: String, own: String },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Length(#[from] PpkLengthError),
}

impl PpkError {
    /// What is wrong with the policy. Whatever it covers is dropped, or not covered yet.
    pub(super) fn problem(&self, policy: &NodePolicy) -> Problem {
        let category = match self {
            Self::Length(_) => reason::INVALID_KEY,
            Self::Unopened | Self::Recipient { .. } | Self::Open(_) => reason::UNSEALABLE,
        };
        Problem {
            kind: ProblemKind::IpsecPolicy,
            name: policy.name.clone(),
            category: category.to_owned(),
            message: format!("no keys without the policy's PPK: {self}"),
        }
    }
}

/// Opens the PPK of the policy with this UID.
pub(super) fn open(policy: &str, sealed: &SealedKey, keys: &KeyPair) -> Result<Ppk, PpkError> {
    let own = keys.public().id();
    if sealed.recipient != own {
        return Err(PpkError::Recipient { recipient: sealed.recipient.clone(), own });
    }
    let source = Source {
        uid: &sealed.source.uid,
        resource_version: &sealed.source.resource_version,
        key: &sealed.source.key,
    };
    let context = Context { object: policy, usage: Usage::Ppk, source };
    Ok(Ppk::new(keys.open(&context, &sealed.sealed)?)?)
}
