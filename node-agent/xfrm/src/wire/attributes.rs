//! Attribute lists, wiped when dropped.

use std::ops::Range;

use netlink_packet_core::{NlasIterator, Parseable};
use netlink_packet_xfrm::{Alg, AlgAead, AlgAuth, XfrmAttrs};
use zeroize::Zeroize;

/// Length of `struct nlattr`.
pub(super) const ATTRIBUTE_HEADER: usize = 4;

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

    /// Leaves out those that a message has beside the record's own.
    pub(super) fn remove(&mut self, mut which: impl FnMut(&XfrmAttrs) -> bool) {
        self.list.retain(|attribute| !which(attribute));
    }

    pub(super) fn push(&mut self, attribute: XfrmAttrs) {
        self.list.push(attribute);
    }

    pub(super) fn extend(&mut self, attribute: Option<XfrmAttrs>) {
        self.list.extend(attribute);
    }

    pub(super) fn as_slice(&self) -> &[XfrmAttrs] {
        &self.list
    }
}

/// Attributes as bytes: the kind of each, and where it begins and its value ends. Ends where one is malformed.
pub(super) fn raw(bytes: &[u8]) -> impl Iterator<Item = (u16, Range<usize>)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let header = bytes.get(at..at + ATTRIBUTE_HEADER)?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]);
        let place = at..at + length;
        if length < ATTRIBUTE_HEADER || place.end > bytes.len() {
            return None;
        }
        at = place.end.next_multiple_of(4);
        Some((kind, place))
    })
}

/// The value of the first attribute of a kind.
pub(super) fn value(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    let (_, place) = raw(bytes).find(|(found, _)| *found == kind)?;
    bytes.get(place.start + ATTRIBUTE_HEADER..place.end)
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
