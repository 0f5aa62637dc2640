//! Work for network devices: the device of an SA is that which has the SA's own address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use esplanade_model::{InboundSa, Offload, OutboundSa, SaId, WantedSa};

use crate::Expansion;
use crate::error::SaError;

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
}

/// Work that a device was asked to take.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// The SA's name.
    pub id: SaId,
    /// The device's index.
    pub device: u32,
    algorithms: Vec<&'static str>,
    extended_sequence_numbers: bool,
}

/// Gives SAs that a device is to work for the one that has their own address; what is asked of devices by that. `devices`: by
/// their addresses. `refused`: what was asked before and wasn't taken. An SA that no device takes is left out: what it should
/// carry is dropped.
pub fn place(
    expansion: &mut Expansion,
    devices: &BTreeMap<IpAddr, Device>,
    refused: &BTreeSet<Asked>,
) -> BTreeSet<Asked> {
    let Expansion { wanted, problems } = expansion;
    let mut asked = BTreeSet::new();
    wanted.sas.retain_mut(|(name, wanted)| {
        let own = match wanted {
            WantedSa::Inbound(InboundSa(sa)) => sa.destination,
            WantedSa::Outbound(OutboundSa(sa)) => sa.source,
        };
        let (WantedSa::Inbound(InboundSa(sa)) | WantedSa::Outbound(OutboundSa(sa))) = wanted;
        let Some(offload) = sa.offload else { return true };
        let Some(device) = devices.get(&own) else {
            problems.push(SaError::NoDevice(own).problem(name));
            return false;
        };
        sa.offload = Some(Offload { device: device.index, ..offload });
        let one = Asked {
            id: sa.id(),
            device: device.index,
            algorithms: sa.crypto.keys().map(|(algorithm, _)| algorithm).collect(),
            extended_sequence_numbers: sa.replay.extended_sequence_numbers,
        };
        let taken = !refused.contains(&one);
        if !taken {
            problems.push(SaError::DeviceUnable(device.name.clone()).problem(name));
        }
        asked.insert(one);
        taken
    });
    asked
}

#[cfg(test)]
mod tests;
