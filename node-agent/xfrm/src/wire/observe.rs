//! Dump records to what they show.

use esplanade_model::{Observed, ObservedPolicy, ObservedSa, PolicyIndex, PolicyKey, SaId};
use netlink_packet_xfrm::{UserPolicyInfo, UserSaInfo, XFRM_USER_POLICY_INFO_LEN, XFRM_USER_SA_INFO_LEN};

use super::attributes::Attributes;
use super::crypto::Algorithms;
use super::{policy, sa};
use crate::KernelError;

/// One SA of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaRecord {
    /// It carries our tags.
    Ours(ObservedSa),
    /// Somebody else's, with its name if one of ours could have it.
    Foreign(Option<SaId>),
    /// Not an SA yet: made by an acquire or for an SPI (`xfrm_find_acq`).
    Larval,
}

/// One policy of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyRecord {
    /// It carries our tags.
    Ours(ObservedPolicy),
    /// Somebody else's.
    Foreign {
        /// The kernel's name for it.
        index: u32,
        /// What names it besides, if it could name one of ours.
        key: Option<PolicyKey>,
    },
    /// A single socket's.
    OfSocket,
}

/// The databases that dumps are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dumped {
    /// The Security Association Database.
    Sas,
    /// The Security Policy Database.
    Policies,
}

impl SaRecord {
    /// Reads the body of a NEWSA message.
    ///
    /// # Errors
    /// It is shorter than its fixed header.
    pub fn decode(body: &[u8]) -> Result<Self, KernelError> {
        let short = KernelError::Malformed("an SA shorter than its header");
        let Some((header, rest)) = body.split_at_checked(XFRM_USER_SA_INFO_LEN) else { return Err(short) };
        let Ok(info) = UserSaInfo::parse(header) else { return Err(short) };
        let attributes = Attributes::parse(rest);
        let algorithms = Algorithms::of(&attributes);
        let id = sa::decode_id(&info);
        Ok(match id {
            // Every SA of ESP and AH has an algorithm once it is one (`esp_init_state`, `ah_init_state`).
            _ if sa::decode_protocol(info.id.proto).is_some() && algorithms.none() => Self::Larval,
            Some(id) if sa::is_ours(&info, &attributes) => {
                let (sa, state) = sa::decode(&info, &attributes, &algorithms);
                Self::Ours(ObservedSa { id, sa, state })
            }
            id => Self::Foreign(id),
        })
    }
}

impl PolicyRecord {
    /// Reads the body of a NEWPOLICY message.
    ///
    /// # Errors
    /// It is shorter than its fixed header.
    pub fn decode(body: &[u8]) -> Result<Self, KernelError> {
        let short = KernelError::Malformed("a policy shorter than its header");
        let Some((header, rest)) = body.split_at_checked(XFRM_USER_POLICY_INFO_LEN) else {
            return Err(short);
        };
        let Ok(info) = UserPolicyInfo::parse(header) else { return Err(short) };
        if policy::is_of_a_socket(&info) {
            return Ok(Self::OfSocket);
        }
        let attributes = Attributes::parse(rest);
        let key = policy::decode_key(&info, &attributes);
        Ok(match (key, policy::owned_index(&info, &attributes)) {
            (Some(key), Some(index)) => {
                let policy = policy::decode(&info, &attributes, key, index);
                Self::Ours(ObservedPolicy { index, key, policy })
            }
            (key, _) => Self::Foreign { index: info.index, key },
        })
    }
}

/// Collects records.
#[derive(Debug, Default)]
pub struct Observer(Observed);

impl Observer {
    /// Takes a record of a dump in.
    ///
    /// # Errors
    /// It is shorter than its fixed header.
    pub fn record(&mut self, of: Dumped, body: &[u8]) -> Result<(), KernelError> {
        match of {
            Dumped::Sas => self.sa(SaRecord::decode(body)?),
            Dumped::Policies => self.policy(PolicyRecord::decode(body)?),
        }
        Ok(())
    }

    fn sa(&mut self, record: SaRecord) {
        match record {
            SaRecord::Ours(sa) => self.0.sas.push(sa),
            SaRecord::Foreign(id) => {
                self.0.foreign_sas.extend(id);
                self.0.foreign_sa_count += 1;
            }
            SaRecord::Larval => {}
        }
    }

    fn policy(&mut self, record: PolicyRecord) {
        match record {
            PolicyRecord::Ours(policy) => {
                self.0.taken_indexes.insert(policy.index.get());
                self.0.policies.push(policy);
            }
            PolicyRecord::Foreign { index, key } => {
                self.0.taken_indexes.extend(PolicyIndex::owned(index).map(PolicyIndex::get));
                self.0.foreign_policies.extend(key);
                self.0.foreign_policy_count += 1;
            }
            PolicyRecord::OfSocket => {}
        }
    }

    /// Everything taken in.
    pub fn finish(self) -> Observed {
        self.0
    }
}
