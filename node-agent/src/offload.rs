//! Network devices that are asked to do IPsec's work.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use esplanade_expand::{Asked, Device, Expansion, place};
use esplanade_sync::Engine;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;

/// The devices, what is asked of them, and what of it they didn't take.
#[derive(Debug, Default)]
pub(crate) struct Offloading {
    devices: BTreeMap<IpAddr, Device>,
    asked: BTreeSet<Asked>,
    refused: BTreeSet<Asked>,
    /// Some SA wants a device.
    wanted: bool,
}

impl Offloading {
    /// Whether other devices have the addresses now, and that matters.
    pub(crate) fn devices_changed(&self) -> bool {
        self.wanted && devices() != self.devices
    }

    /// Gives the SAs that want one a device.
    pub(crate) fn place(&mut self, expansion: &mut Expansion) {
        self.wanted = expansion.wanted.sas.iter().any(|(_, sa)| sa.sa().offload.is_some());
        if !self.wanted {
            *self = Self::default();
            return;
        }
        self.devices = devices();
        self.asked = place(expansion, &self.devices, &self.refused);
        self.refused.retain(|one| self.asked.contains(one));
    }

    /// Looks what devices have taken: the kernel tells of it only by what it shows. Whether something is to be left out now.
    pub(crate) fn learn(&mut self, engine: &Engine) -> bool {
        let before = self.refused.len();
        let not_taken = |one: &&Asked| engine.shown(&one.id).is_some_and(|sa| sa.offload.is_none());
        self.refused.extend(self.asked.iter().filter(not_taken).cloned());
        self.refused.len() != before
    }
}

/// The devices of this network namespace by their addresses. None where the kernel can't be asked: then no SA gets one, and
/// that is told.
fn devices() -> BTreeMap<IpAddr, Device> {
    let all = match getifaddrs() {
        Ok(all) => all,
        Err(error) => {
            tracing::error!(%error, "the addresses of network devices can't be read");
            return BTreeMap::new();
        }
    };
    let one = |entry: nix::ifaddrs::InterfaceAddress| {
        let address = entry.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        let address = v4.or_else(|| Some(IpAddr::V6(address.as_sockaddr_in6()?.ip())))?;
        let index = if_nametoindex(entry.interface_name.as_str()).ok()?;
        Some((address, Device { index, name: entry.interface_name }))
    };
    all.filter_map(one).collect()
}
