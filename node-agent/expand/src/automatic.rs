//! SAs with automatic keys.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use esplanade_crds::{IpsecPeerSpec, Mode, NodePolicy, Problem};
use esplanade_model::{
    AddressPair, Capabilities, Capability, Crypto, InboundSa, Missing, OutboundSa, ReplayProtection, Sa,
    SaDirection, Spi, WantedSa,
};

use crate::error::PolicyError;
use crate::participant::Participant;
use crate::{lifetime, reqid, sas, selectors};

/// An SA of a policy's between two nodes.
pub struct AutomaticSa<'a> {
    /// This end.
    pub node: &'a str,
    /// The other one.
    pub other: &'a str,
    /// The policy.
    pub policy: &'a NodePolicy,
    /// In transport mode: between which addresses, `node`'s first.
    pub addresses: Option<AddressPair>,
    /// Which way it goes.
    pub direction: SaDirection,
}

impl AutomaticSa<'_> {
    /// As the kernel is to have it. None where the two have no addresses for it.
    ///
    /// # Errors
    /// The kernel lacks something that it needs.
    pub fn make(
        &self,
        peers: &BTreeMap<String, IpsecPeerSpec>,
        spi: Spi,
        crypto: Crypto,
        kernel: &Capabilities,
    ) -> Result<Option<WantedSa>, Missing> {
        let Self { policy, direction, .. } = *self;
        let (Some(me), Some(other)) = (end(self.node, peers), end(self.other, peers)) else {
            return Ok(None);
        };
        let inbound = direction == SaDirection::In;
        let (from, to) = if inbound { (&other, &me) } else { (&me, &other) };
        let addresses = match self.addresses {
            None => from.tunnel_to(to),
            Some(pair) => {
                let pair = if inbound { pair.reversed() } else { pair };
                pair.among(&from.addresses, &to.addresses)
            }
        };
        let Some((source, destination)) = addresses else { return Ok(None) };
        let replay = policy.automatic.as_ref().map(|keying| keying.anti_replay).unwrap_or_default();
        let reqid = reqid::of_policy(&policy.name, &from.identity, &to.identity);
        let sa = Sa {
            mode: sas::mode(policy.mode),
            replay: ReplayProtection {
                window: replay.window,
                extended_sequence_numbers: replay.extended_sequence_numbers,
            },
            direction: kernel.has(Capability::Direction).then_some(direction),
            icmp_errors: policy.icmp_errors && inbound,
            // Who sends renews the key; what has arrived, it has counted.
            lifetime: policy
                .automatic
                .as_ref()
                .filter(|_| !inbound)
                .map(lifetime::of_keying)
                .unwrap_or_default(),
            ..Sa::tunnel(source, destination, spi, reqid, crypto)
        };
        let wanted =
            if inbound { WantedSa::Inbound(InboundSa(sa)) } else { WantedSa::Outbound(OutboundSa(sa)) };
        kernel.require_sa(&wanted)?;
        Ok(Some(wanted))
    }
}

/// What every SA of a policy with these algorithms asks of the kernel, whatever its ends.
///
/// # Errors
/// The kernel lacks it.
pub fn require_automatic(crypto: Crypto, kernel: &Capabilities) -> Result<(), Missing> {
    let (here, reqid) = (IpAddr::from(Ipv4Addr::LOCALHOST), reqid::of_lone_sa(""));
    kernel.require_sa(&WantedSa::Outbound(OutboundSa(Sa::tunnel(here, here, Spi::MIN, reqid, crypto))))
}

/// What is wrong with a policy with automatic keys whose SAs the kernel can't have.
pub fn unsupported(missing: &Missing, policy: &NodePolicy) -> Problem {
    PolicyError::AutomaticSas(missing.clone()).problem(&policy.name)
}

/// Between which addresses of `node`'s and of another one's there are SAs for the policy's traffic between the two, `node`'s
/// first: in transport mode each pair that any of it goes between, else one tunnel (none) if both take part.
pub fn address_pairs(
    node: &str,
    other: &str,
    policy: &NodePolicy,
    peers: &BTreeMap<String, IpsecPeerSpec>,
) -> BTreeSet<Option<AddressPair>> {
    // What can't be read is told of elsewhere.
    let part = |name: &str| Participant::node(name, peers.get(name)?, policy, &mut Vec::new());
    if policy.mode != Mode::Transport {
        let takes_part =
            peers.get(other).is_some_and(|peer| peer.selectors_of(&policy.name, &policy.revision).is_some());
        return takes_part.then_some(None).into_iter().collect();
    }
    let (Some(me), Some(other)) = (part(node), part(other)) else { return BTreeSet::new() };
    let selectors = selectors::outbound(&me, &other, &policy.traffic);
    let covered = selectors.iter().filter(|one| me.is_host(one.source()) && other.is_host(one.destination()));
    covered
        .filter_map(|one| {
            let (source, destination) = (one.source().addr(), one.destination().addr());
            AddressPair::of((source, &me.addresses), (destination, &other.addresses)).map(Some)
        })
        .collect()
}

fn end(name: &str, peers: &BTreeMap<String, IpsecPeerSpec>) -> Option<Participant> {
    let addresses = peers.get(name)?.addresses.iter().filter_map(|address| address.parse().ok()).collect();
    let identity = reqid::identity(Some(name), "");
    Some(Participant { identity, addresses, from: Vec::new(), to: Vec::new() })
}
