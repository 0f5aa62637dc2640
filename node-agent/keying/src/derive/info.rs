//! Which SA it is, in bytes that can't mean another.

use esplanade_crds::Suite;
use esplanade_model::AddressPair;

use super::{DeriveError, keymat};
use crate::pair::PublicKey;

/// The CPU that an SA is for (RFC 9611).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cpu {
    /// Every one.
    #[default]
    Any,
    /// This one, by the sender's numbers.
    Only(u32),
}

/// What tells an SA from every other between the same two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaInfo<'a> {
    /// UID of the IpsecPolicy.
    pub policy: &'a str,
    /// The policy's revision.
    pub revision: &'a str,
    /// Its algorithms.
    pub suite: Suite,
    /// UID of the sending Node.
    pub sender: &'a str,
    /// UID of the receiving Node.
    pub receiver: &'a str,
    /// The sender's CPU.
    pub cpu: Cpu,
    /// In transport mode: the two nodes' addresses.
    pub addresses: Option<AddressPair>,
}

impl SaInfo<'_> {
    /// HKDF's `info`: each field after its length, as 2 bytes in network order.
    pub(super) fn encode(&self, sender: &PublicKey, receiver: &PublicKey) -> Result<Vec<u8>, DeriveError> {
        let cpu = match self.cpu {
            Cpu::Any => "any".to_owned(),
            Cpu::Only(number) => number.to_string(),
        };
        let addresses = self.addresses.map(|pair| pair.to_string());
        let fields = [
            self.policy.as_bytes(),
            self.revision.as_bytes(),
            keymat::name(self.suite).as_bytes(),
            self.sender.as_bytes(),
            self.receiver.as_bytes(),
            sender.as_bytes(),
            receiver.as_bytes(),
            cpu.as_bytes(),
        ];
        let mut info = Vec::new();
        for field in fields.into_iter().chain(addresses.as_deref().map(str::as_bytes)) {
            let length = u16::try_from(field.len()).map_err(|_| DeriveError::TooLong)?;
            info.extend(length.to_be_bytes());
            info.extend(field);
        }
        Ok(info)
    }
}
