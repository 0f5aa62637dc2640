//! The ring in bytes: a mark, a version, the content, and SHA-256 over all of that. Numbers are in network order.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Record, Ring, Stage};
use crate::{KeyId, KeyPair, NodeUid, PolicyRevision, Sa, Time};

const MARK: &[u8; 8] = b"ESPLRING";
const VERSION: u8 = 1;
const SUM: usize = 32;
const SA: usize = 16 + 8 + 8 + 8;

/// Why there is no ring in these bytes. None of them is quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// Not a key ring.
    #[error("not a key ring")]
    Foreign,
    /// Written by a later agent.
    #[error("a key ring of version {0}, this agent reads version {VERSION}")]
    Version(u8),
    /// Cut off or changed.
    #[error("a damaged key ring")]
    Damaged,
    /// Of a Node with another UID.
    #[error("the key ring of another Node")]
    OtherNode,
}

pub(super) fn encode(ring: &Ring) -> Zeroizing<Vec<u8>> {
    let made: usize = ring.keys.iter().map(|(_, record)| record.made.len()).sum();
    // Room for all of it, so that no copy of a key is left behind by growing.
    let mut out = Zeroizing::new(Vec::with_capacity(64 + SUM + ring.keys.len() * 64 + made * SA));
    out.extend(MARK);
    out.push(VERSION);
    out.extend(ring.node.0.to_be_bytes());
    out.extend((ring.keys.len() as u64).to_be_bytes());
    for (pair, record) in &ring.keys {
        out.extend_from_slice(pair.to_bytes().as_slice());
        out.extend(record.created.0.to_be_bytes());
        out.extend(record.rotate.0.to_be_bytes());
        out.push(match record.stage {
            Stage::Created => 0,
            Stage::Published => 1,
            Stage::Retiring => 2,
        });
        out.extend((record.made.len() as u64).to_be_bytes());
        for sa in &record.made {
            out.extend(sa.peer.0.to_be_bytes());
            for number in [sa.policy.0, sa.own.0, sa.theirs.0] {
                out.extend(number.to_be_bytes());
            }
        }
    }
    let sum = Sha256::digest(out.as_slice());
    out.extend(sum);
    out
}

pub(super) fn decode(bytes: &[u8]) -> Result<Ring, RingError> {
    let after = bytes.strip_prefix(MARK).ok_or(RingError::Foreign)?;
    let version = *after.first().ok_or(RingError::Damaged)?;
    if version != VERSION {
        return Err(RingError::Version(version));
    }
    let (content, sum) = bytes.split_last_chunk::<SUM>().ok_or(RingError::Damaged)?;
    if Sha256::digest(content).as_slice() != sum {
        return Err(RingError::Damaged);
    }
    let mut rest = Rest(content.get(MARK.len() + 1..).ok_or(RingError::Damaged)?);
    let ring = read(&mut rest).ok_or(RingError::Damaged)?;
    if rest.0.is_empty() { Ok(ring) } else { Err(RingError::Damaged) }
}

fn read(rest: &mut Rest<'_>) -> Option<Ring> {
    let node = NodeUid(u128::from_be_bytes(rest.take()?));
    let count = rest.number()?;
    let mut keys = Vec::new();
    for _ in 0..count {
        let pair = KeyPair::from_bytes(&Zeroizing::new(rest.take()?));
        let (created, rotate) = (Time(rest.number()?), Time(rest.number()?));
        let stage = match rest.take::<1>()? {
            [0] => Stage::Created,
            [1] => Stage::Published,
            [2] => Stage::Retiring,
            _ => return None,
        };
        let mut made = BTreeSet::new();
        for _ in 0..rest.number()? {
            let peer = NodeUid(u128::from_be_bytes(rest.take()?));
            let policy = PolicyRevision(rest.number()?);
            made.insert(Sa { peer, policy, own: KeyId(rest.number()?), theirs: KeyId(rest.number()?) });
        }
        let id = pair.id();
        keys.push((pair, Record { id, created, rotate, stage, made }));
    }
    Some(Ring { node, keys })
}

/// What hasn't been read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}
