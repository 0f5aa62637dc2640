//! Senders behind address translations, followed to where their packets come from now (RFC 7296 §2.23).
//!
//! What the objects say names them; where they are now is written over it once everything else is made, so that reqids,
//! selectors and the other end stay as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use esplanade_crds::IpsecNodeStateSpec;
use esplanade_model::{
    InboundSa, OutboundSa, Protocol, Reqid, Sa, SaId, Spi, UdpEncapsulation, Wanted, WantedSa,
};

use crate::Expansion;
use crate::error::SaError;

/// Inbound SAs whose senders are followed, each with the address and port that are written for its sender.
pub type Followed = BTreeMap<SaId, SocketAddr>;

/// The SAs of `node` that ask for it.
pub fn followed(node: &str, spec: &IpsecNodeStateSpec) -> Followed {
    let retiring = spec.retiring.iter().map(|retiring| &retiring.association);
    let asked = spec.security_associations.iter().chain(retiring).filter(|sa| {
        let inbound = sa.destination.node.as_deref() == Some(node) && sa.source.node.is_none();
        inbound && sa.expired.is_none() && sa.anti_replay.window > 0
    });
    let one = |sa: &esplanade_crds::NodeSecurityAssociation| {
        let udp = sa.udp.filter(|udp| udp.follow_mapping)?;
        let destination = sa.destination.address.parse().ok()?;
        let id = SaId { destination, protocol: Protocol::Esp, spi: Spi::new(sa.spi?)? };
        Some((id, SocketAddr::new(sa.source.address.parse().ok()?, udp.source)))
    };
    asked.filter_map(one).collect()
}

/// Where senders are that aren't where it is written: that, and where they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mappings(BTreeMap<SocketAddr, SocketAddr>);

impl Mappings {
    /// As [`Self::text`] wrote it. Lines that say something else are passed over: of those senders nothing is known.
    pub fn read(text: &str) -> Self {
        let line = |line: &str| {
            let (written, now) = line.split_once(' ')?;
            Some((written.parse().ok()?, now.parse().ok()?))
        };
        Self(text.lines().filter_map(line).collect())
    }

    /// All of it, a line each.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (written, now) in &self.0 {
            // A String takes everything.
            let _ = writeln!(text, "{written} {now}");
        }
        text
    }

    /// Takes in that a packet came through an SA from there; whether that is news.
    pub fn moved(&mut self, followed: &Followed, id: SaId, now: SocketAddr) -> bool {
        let Some(written) = followed.get(&id) else { return false };
        if now.is_ipv4() != written.is_ipv4() || now.ip().is_unspecified() || now.port() == 0 {
            return false;
        }
        match now == *written {
            true => self.0.remove(written).is_some(),
            false => self.0.insert(*written, now) != Some(now),
        }
    }

    /// Forgets those that nobody asks for any more; whether there were any.
    pub fn keep(&mut self, followed: &Followed) -> bool {
        let before = self.0.len();
        let asked: BTreeSet<_> = followed.values().collect();
        self.0.retain(|written, _| asked.contains(written));
        self.0.len() != before
    }

    /// Puts where the senders are in the place of what is written: in the SAs from them and to them, and in the templates
    /// that name those. In transport mode, where policies are for the very addresses, only ports.
    pub fn follow(&self, expansion: &mut Expansion) {
        if self.0.is_empty() {
            return;
        }
        let Expansion { wanted, problems } = expansion;
        let tunnels: BTreeSet<Reqid> = wanted
            .sas
            .iter()
            .map(|(_, sa)| sa.sa())
            .filter(|sa| sa.mode.is_tunnel())
            .map(|sa| sa.reqid)
            .collect();
        let mut names: BTreeMap<SaId, String> =
            wanted.sas.iter().map(|(name, sa)| (sa.sa().id(), name.clone())).collect();
        // The ends of tunnels, as written and as they are.
        let mut moved = BTreeMap::new();
        for (name, wanted) in &mut wanted.sas {
            let (sa, far) = parts(wanted);
            let Some((now, port)) = sa.encapsulation.and_then(|udp| self.now(sa, udp, far)) else { continue };
            let before = (sa.source, sa.destination);
            let at = |ip: IpAddr| if tunnels.contains(&sa.reqid) { now.ip() } else { ip };
            let (source, destination) = match far {
                Far::Source => (at(sa.source), sa.destination),
                Far::Destination => (sa.source, at(sa.destination)),
            };
            let id = SaId { destination, ..sa.id() };
            if let Some(other) = names.get(&id).filter(|_| id != sa.id()) {
                problems.push(SaError::Taken(id, other.clone()).problem(name));
                continue;
            }
            names.remove(&sa.id());
            names.insert(id, name.clone());
            (sa.source, sa.destination, sa.encapsulation) = (source, destination, Some(port));
            if before != (source, destination) {
                moved.insert((sa.reqid, before), (source, destination));
            }
        }
        self.follow_in_tunnels(&moved, wanted);
    }

    /// What has no ports of its own: the tunnel of IPComp inside, templates, and SAs that aren't known now.
    fn follow_in_tunnels(&self, moved: &BTreeMap<(Reqid, Ends), Ends>, wanted: &mut Wanted) {
        for (_, wanted) in &mut wanted.sas {
            let (sa, _) = parts(wanted);
            if let (None, Some(ends)) =
                (sa.encapsulation, moved.get(&(sa.reqid, (sa.source, sa.destination))))
            {
                (sa.source, sa.destination) = *ends;
            }
        }
        for template in wanted.policies.iter_mut().flat_map(|(_, policy)| &mut policy.templates) {
            let Some(ends) = &mut template.tunnel else { continue };
            if let Some(now) = template.reqid.and_then(|reqid| moved.get(&(reqid, *ends))) {
                *ends = *now;
            }
        }
        let held = wanted.hold.iter().flat_map(|id| {
            let there = self.0.iter().filter(|(written, _)| written.ip() == id.destination);
            there.map(|(_, now)| SaId { destination: now.ip(), ..*id })
        });
        let held: Vec<SaId> = held.collect();
        wanted.hold.extend(held);
    }

    /// Where the SA's other end is, and its ports with that, if it isn't where it is written.
    fn now(&self, sa: &Sa, udp: UdpEncapsulation, far: Far) -> Option<(SocketAddr, UdpEncapsulation)> {
        let written = match far {
            Far::Source => SocketAddr::new(sa.source, udp.source_port),
            Far::Destination => SocketAddr::new(sa.destination, udp.destination_port),
        };
        let now = *self.0.get(&written)?;
        let ports = match far {
            Far::Source => UdpEncapsulation { source_port: now.port(), ..udp },
            Far::Destination => UdpEncapsulation { destination_port: now.port(), ..udp },
        };
        Some((now, ports))
    }
}

/// Source and destination.
type Ends = (IpAddr, IpAddr);

/// Which end of an SA isn't here.
#[derive(Clone, Copy)]
enum Far {
    Source,
    Destination,
}

fn parts(wanted: &mut WantedSa) -> (&mut Sa, Far) {
    match wanted {
        WantedSa::Inbound(InboundSa(sa)) => (sa, Far::Source),
        WantedSa::Outbound(OutboundSa(sa)) => (sa, Far::Destination),
    }
}

#[cfg(test)]
mod tests;
