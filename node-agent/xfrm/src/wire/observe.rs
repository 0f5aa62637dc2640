//! Records to what they show.

use esplanade_model::{
    Glance, Observed, ObservedPolicy, ObservedSa, PolicyIndex, PolicyRecord, Reader, ReplayState, SaRecord,
    Used,
};
use netlink_packet_xfrm::constants::{
    XFRM_MSG_GETPOLICY, XFRM_MSG_GETSA, XFRM_MSG_NEWPOLICY, XFRM_MSG_NEWSA,
};
use netlink_packet_xfrm::{UserPolicyInfo, UserSaInfo, XFRM_USER_POLICY_INFO_LEN, XFRM_USER_SA_INFO_LEN};

use super::attributes::Attributes;
use super::crypto::Algorithms;
use super::replay::WireReplay;
use super::{policy, sa};
use crate::KernelError;

/// `IPPROTO_IPIP` and `IPPROTO_IPV6`.
const IPIP: u8 = 4;
const IPV6: u8 = 41;

/// The databases that dumps are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dumped {
    /// The Security Association Database.
    Sas,
    /// The Security Policy Database.
    Policies,
}

impl Dumped {
    /// What is in it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sas => "SAs",
            Self::Policies => "policies",
        }
    }

    /// The message that asks for it.
    pub(crate) fn request(self) -> u16 {
        match self {
            Self::Sas => XFRM_MSG_GETSA,
            Self::Policies => XFRM_MSG_GETPOLICY,
        }
    }

    /// The message that a record of it comes in.
    pub(crate) fn record(self) -> u16 {
        match self {
            Self::Sas => XFRM_MSG_NEWSA,
            Self::Policies => XFRM_MSG_NEWPOLICY,
        }
    }
}

/// What the kernel's messages say.
pub trait Decode: Sized {
    /// Reads the body of a NEWSA or NEWPOLICY message.
    ///
    /// # Errors
    /// It is shorter than its fixed header.
    fn decode(body: &[u8]) -> Result<Self, KernelError>;
}

impl Decode for SaRecord {
    fn decode(body: &[u8]) -> Result<Self, KernelError> {
        let short = KernelError::Malformed("an SA shorter than its header");
        let Some((header, rest)) = body.split_at_checked(XFRM_USER_SA_INFO_LEN) else { return Err(short) };
        let Ok(info) = UserSaInfo::parse(header) else { return Err(short) };
        Ok(sa_record(&info, &Attributes::parse(rest)))
    }
}

pub(super) fn sa_record(info: &UserSaInfo, attributes: &Attributes) -> SaRecord {
    let algorithms = Algorithms::of(attributes);
    let id = sa::decode_id(info);
    match id {
        // Nobody else can make one (`verify_newsa_info`).
        _ if matches!(info.id.proto, IPIP | IPV6) => SaRecord::OfKernel,
        // Every SA of ours has an algorithm once it is one (`esp_init_state`, `ah_init_state`, `ipcomp_init_state`).
        _ if sa::decode_protocol(info.id.proto).is_some() && algorithms.none() => SaRecord::Larval,
        Some(id) => match sa::mark_of_ours(info, attributes) {
            Some(mark) => {
                let (sa, state) = sa::decode(info, attributes, &algorithms);
                SaRecord::Ours(ObservedSa { id, mark, sa, state, used: sa::decode_used(info) })
            }
            None => SaRecord::Foreign(Some(id)),
        },
        None => SaRecord::Foreign(None),
    }
}

/// Where the SA of a NEWSA message has come to.
///
/// # Errors
/// It is shorter than its fixed header.
pub fn decode_state(body: &[u8]) -> Result<(ReplayState, Used), KernelError> {
    let short = KernelError::Malformed("an SA shorter than its header");
    let Some((header, rest)) = body.split_at_checked(XFRM_USER_SA_INFO_LEN) else { return Err(short) };
    let Ok(info) = UserSaInfo::parse(header) else { return Err(short) };
    Ok((WireReplay::of(&info, &Attributes::parse(rest)).state(), sa::decode_used(&info)))
}

impl Decode for PolicyRecord {
    fn decode(body: &[u8]) -> Result<Self, KernelError> {
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

/// Collects everything.
#[derive(Debug, Default)]
pub struct Observer(Observed);

impl Observer {
    /// Takes a record of a dump in.
    ///
    /// # Errors
    /// It is shorter than its fixed header.
    pub fn record(&mut self, of: Dumped, body: &[u8]) -> Result<(), KernelError> {
        match of {
            Dumped::Sas => self.take_sa(SaRecord::decode(body)?),
            Dumped::Policies => self.take_policy(PolicyRecord::decode(body)?),
        }
        Ok(())
    }

    fn take_sa(&mut self, record: SaRecord) {
        match record {
            SaRecord::Ours(sa) => self.0.sas.push(sa),
            SaRecord::Foreign(id) => {
                self.0.foreign_sas.extend(id);
                self.0.foreign_sa_count += 1;
            }
            SaRecord::Larval | SaRecord::OfKernel => {}
        }
    }

    fn take_policy(&mut self, record: PolicyRecord) {
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

impl Reader for Observer {
    fn begin_sas(&mut self) {
        self.0 = Observed::default();
    }

    fn begin_policies(&mut self) {
        self.0.policies.clear();
        self.0.foreign_policies.clear();
        self.0.foreign_policy_count = 0;
        self.0.taken_indexes.clear();
    }

    fn sa(&mut self, _: Glance, record: SaRecord) {
        self.take_sa(record);
    }

    fn policy(&mut self, _: Glance, record: PolicyRecord) {
        self.take_policy(record);
    }
}
