//! Attribute lists, wiped when dropped.

use netlink_packet_core::{NlasIterator, Parseable};
use netlink_packet_xfrm::{Alg, AlgAead, AlgAuth, XfrmAttrs};
use zeroize::Zeroize;

/// The attributes of one message. Deliberately without Debug: there are keys in it.
#[derive(Default)]
pub(super) struct Attributes {
    list: Vec<XfrmAttrs>,
    /// Some attribute was malformed, and left out.
    pub(super) malformed: bool,
}

impl Attributes {
    /// Parses what follows the fixed header.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut attributes = Self::default();
        for item in NlasIterator::new(bytes) {
            match item.and_then(|item| XfrmAttrs::parse(&item)) {
                Ok(attribute) => attributes.list.push(attribute),
                Err(_) => attributes.malformed = true,
            }
        }
        attributes
    }

    pub(super) fn push(&mut self, attribute: XfrmAttrs) {
        self.list.push(attribute);
    }

    pub(super) fn as_slice(&self) -> &[XfrmAttrs] {
        &self.list
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        for attribute in &mut self.list {
            match attribute {
                XfrmAttrs::AuthenticationAlg(Alg { alg_key: key, .. })
                | XfrmAttrs::EncryptionAlg(Alg { alg_key: key, .. })
                | XfrmAttrs::AuthenticationAlgTrunc(AlgAuth { alg_key: key, .. })
                | XfrmAttrs::EncryptionAlgAead(AlgAead { alg_key: key, .. }) => key.zeroize(),
                _ => {}
            }
        }
    }
}
