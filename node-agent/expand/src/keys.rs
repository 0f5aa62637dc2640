//! Keys sealed to this node, opened.

use std::cell::RefCell;

use esplanade_crds::{NodeEncryption, NodeIntegrity, NodeSecurityAssociation, Protocol, SealedKey};
use esplanade_model::{Aead, Authentication, Cipher, Crypto, Key};
use esplanade_seal::{Context, KeyPair, Source, Usage};
use zeroize::Zeroizing;

use crate::SaError;
use crate::opened::OpenedKeys;

/// What opens sealed keys, if there is something.
pub(crate) struct Opener<'a> {
    pair: Option<(&'a KeyPair, String)>,
    before: &'a OpenedKeys,
    now: RefCell<OpenedKeys>,
}

impl<'a> Opener<'a> {
    /// `before`: what was opened before.
    pub(crate) fn new(keys: Option<&'a KeyPair>, before: &'a OpenedKeys) -> Self {
        let pair = keys.map(|pair| (pair, pair.public().id()));
        Self { pair, before, now: RefCell::default() }
    }

    /// What was opened, now or before.
    pub(crate) fn into_opened(self) -> OpenedKeys {
        self.now.into_inner()
    }

    fn open(&self, sa: &str, usage: Usage, sealed: &SealedKey) -> Result<Key, SaError> {
        let (pair, own) = self.pair.as_ref().ok_or(SaError::NoSealingKey)?;
        if sealed.recipient != *own {
            return Err(SaError::Recipient { recipient: sealed.recipient.clone(), own: own.clone() });
        }
        if let Some(known) = self.before.get(sa, usage, sealed) {
            self.now.borrow_mut().put(sa, usage, sealed, known.clone(), false);
            return Ok(known.clone());
        }
        let source = Source {
            uid: &sealed.source.uid,
            resource_version: &sealed.source.resource_version,
            key: &sealed.source.key,
        };
        let context = Context { object: sa, usage, source };
        let key = Key::new(pair.open(&context, &sealed.sealed)?);
        self.now.borrow_mut().put(sa, usage, sealed, key.clone(), true);
        Ok(key)
    }
}

/// The algorithms of an SA, before any key is opened.
pub(crate) enum Algorithms<'a> {
    Aead(Aead, Option<&'a SealedKey>),
    EncryptThenAuthenticate(Cipher, Option<&'a SealedKey>, Authentication, &'a SealedKey),
    Authenticate(Authentication, &'a SealedKey),
    Deflate,
}

impl<'a> Algorithms<'a> {
    /// In the combinations that RFC 8221 §4 leaves.
    pub(crate) fn parse(sa: &'a NodeSecurityAssociation) -> Result<Self, SaError> {
        match (sa.protocol, &sa.encryption, &sa.integrity) {
            (Protocol::IPComp, None, None) => Ok(Self::Deflate),
            (Protocol::IPComp, ..) => Err(SaError::Combination("IPComp only compresses: it has no keys")),
            (Protocol::AH, None, Some(integrity)) => {
                Ok(Self::Authenticate(authentication(integrity)?, &integrity.key))
            }
            (Protocol::AH, None, None) => Err(SaError::Combination("AH needs integrity")),
            (Protocol::AH, Some(_), _) => Err(SaError::Combination("AH doesn't encrypt: remove encryption")),
            (Protocol::ESP, None, _) => Err(SaError::Combination("ESP needs encryption")),
            (Protocol::ESP, Some(encryption), integrity) => esp(encryption, integrity.as_ref()),
        }
    }

    /// With their keys.
    pub(crate) fn open(&self, sa: &str, opener: &Opener<'_>) -> Result<Crypto, SaError> {
        let key = |usage, sealed: Option<&SealedKey>| match sealed {
            Some(sealed) => opener.open(sa, usage, sealed),
            None => Ok(Key::new(Zeroizing::new(Vec::new()))),
        };
        Ok(match self {
            Self::Aead(aead, sealed) => Crypto::aead(*aead, key(Usage::Encryption, *sealed)?)?,
            Self::EncryptThenAuthenticate(cipher, cipher_key, authentication, authentication_key) => {
                Crypto::encrypt_then_authenticate(
                    *cipher,
                    key(Usage::Encryption, *cipher_key)?,
                    *authentication,
                    key(Usage::Integrity, Some(authentication_key))?,
                )?
            }
            Self::Deflate => Crypto::Deflate,
            Self::Authenticate(authentication, sealed) => {
                Crypto::authenticate(*authentication, key(Usage::Integrity, Some(sealed))?)?
            }
        })
    }
}

fn esp<'a>(
    encryption: &'a NodeEncryption,
    integrity: Option<&'a NodeIntegrity>,
) -> Result<Algorithms<'a>, SaError> {
    let Ok(aead) = Aead::parse(&encryption.algorithm) else {
        let cipher = Cipher::parse(&encryption.algorithm)
            .map_err(|error| SaError::Algorithm(encryption.algorithm.clone(), error))?;
        let unauthenticated = SaError::Combination("encryption without integrity is forbidden (RFC 8221 §4)");
        let integrity = integrity.ok_or(unauthenticated)?;
        let authentication = authentication(integrity)?;
        let cipher_key = encryption.key.as_ref();
        return Ok(Algorithms::EncryptThenAuthenticate(cipher, cipher_key, authentication, &integrity.key));
    };
    if integrity.is_some() {
        return Err(SaError::Combination("this encryption authenticates by itself: remove integrity"));
    }
    Ok(Algorithms::Aead(aead, encryption.key.as_ref()))
}

fn authentication(integrity: &NodeIntegrity) -> Result<Authentication, SaError> {
    Authentication::parse(&integrity.algorithm)
        .map_err(|error| SaError::Algorithm(integrity.algorithm.clone(), error))
}
