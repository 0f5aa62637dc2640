//! SAs with automatic keys.

use std::collections::BTreeMap;

use esplanade_crds::{IpsecPeerSpec, NodePolicy};
use esplanade_model::{
    Capabilities, Capability, Crypto, InboundSa, Missing, OutboundSa, ReplayProtection, Sa, SaDirection, Spi,
    WantedSa,
};

use crate::participant::Participant;
use crate::reqid;

/// The SA of `node` with another one for a policy's traffic, that ends or starts here. None where the two have no addresses
/// for a tunnel.
///
/// # Errors
/// The kernel lacks something that it needs.
#[allow(clippy::too_many_arguments)] // each is told apart by its type or its name
pub fn automatic_sa(
    node: &str,
    other: &str,
    policy: &NodePolicy,
    peers: &BTreeMap<String, IpsecPeerSpec>,
    direction: SaDirection,
    spi: Spi,
    crypto: Crypto,
    kernel: &Capabilities,
) -> Result<Option<WantedSa>, Missing> {
    let (Some(me), Some(other)) = (end(node, peers), end(other, peers)) else { return Ok(None) };
    let (from, to) = match direction {
        SaDirection::In => (&other, &me),
        SaDirection::Out => (&me, &other),
    };
    let Some((source, destination)) = from.tunnel_to(to) else { return Ok(None) };
    let replay = policy.automatic.as_ref().map(|keying| keying.anti_replay).unwrap_or_default();
    let reqid = reqid::of_policy(&policy.name, &from.identity, &to.identity);
    let sa = Sa {
        replay: ReplayProtection {
            window: replay.window,
            extended_sequence_numbers: replay.extended_sequence_numbers,
        },
        direction: kernel.has(Capability::Direction).then_some(direction),
        icmp_errors: policy.icmp_errors && direction == SaDirection::In,
        ..Sa::tunnel(source, destination, spi, reqid, crypto)
    };
    let wanted = match direction {
        SaDirection::In => WantedSa::Inbound(InboundSa(sa)),
        SaDirection::Out => WantedSa::Outbound(OutboundSa(sa)),
    };
    kernel.require_sa(&wanted)?;
    Ok(Some(wanted))
}

fn end(name: &str, peers: &BTreeMap<String, IpsecPeerSpec>) -> Option<Participant> {
    let addresses = peers.get(name)?.addresses.iter().filter_map(|address| address.parse().ok()).collect();
    let identity = reqid::identity(Some(name), "");
    Some(Participant { identity, addresses, from: Vec::new(), to: Vec::new() })
}
