//! What the kernel's databases should hold.

use std::collections::BTreeSet;

use crate::{InboundSa, OutboundSa, Policy, Sa, SaId};

/// An SA with the name of the object that asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedSa {
    /// It ends here.
    Inbound(InboundSa),
    /// It starts here.
    Outbound(OutboundSa),
}

impl WantedSa {
    /// The SA, whichever way it goes.
    pub fn sa(&self) -> &Sa {
        match self {
            Self::Inbound(InboundSa(sa)) | Self::Outbound(OutboundSa(sa)) => sa,
        }
    }
}

/// What the name of an SA's object begins with where its keys are automatic, and never come back: no IpsecSA can have such a
/// name.
pub const AUTOMATIC: &str = "policy/";

/// What the kernel's databases should hold, each with the name of the API object that it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// SAs, with the name of their IpsecSA.
    pub sas: Vec<(String, WantedSa)>,
    /// Policies, with the name of their IpsecPolicy.
    pub policies: Vec<(String, Policy)>,
    /// SAs whose keys can't be opened at the moment: what the kernel has of them stays as it is.
    pub hold: BTreeSet<SaId>,
}
