//! Those who take part in a policy: this node, other nodes, gateways, whoever else is outside.

use std::net::IpAddr;

use esplanade_crds::{GatewaySelectors, IpsecPeerSpec, NodePolicy, OutsideSelectors};
use ipnet::IpNet;

use crate::error::PolicyError;
use crate::reqid;

/// One who takes part in a policy, with what lies there.
pub(crate) struct Participant {
    /// As in [`reqid::identity`]. Of whoever is outside: nothing.
    pub(crate) identity: String,
    /// Its own addresses, the primary one first.
    pub(crate) addresses: Vec<IpAddr>,
    /// Networks on the policy's `from` side.
    pub(crate) from: Vec<IpNet>,
    /// Networks on the policy's `to` side.
    pub(crate) to: Vec<IpNet>,
}

impl Participant {
    /// A node, if anything of the policy lies there. What can't be read is left out and told.
    pub(crate) fn node(
        name: &str,
        peer: &IpsecPeerSpec,
        policy: &NodePolicy,
        errors: &mut Vec<PolicyError>,
    ) -> Option<Self> {
        let selectors = peer.selectors_of(&policy.name, &policy.revision)?;
        let whose = format!("IpsecPeer {name}");
        Some(Self {
            identity: reqid::identity(Some(name), ""),
            addresses: addresses(&whose, &peer.addresses, errors),
            from: networks(&whose, &selectors.from, errors),
            to: networks(&whose, &selectors.to, errors),
        })
    }

    /// A gateway. What can't be read is left out and told.
    pub(crate) fn gateway(gateway: &GatewaySelectors, errors: &mut Vec<PolicyError>) -> Self {
        let whose = format!("gateway {}", gateway.address);
        Self {
            identity: reqid::identity(None, &gateway.address),
            addresses: addresses(&whose, std::slice::from_ref(&gateway.address), errors),
            from: networks(&whose, &gateway.from, errors),
            to: networks(&whose, &gateway.to, errors),
        }
    }

    /// Whoever has these networks outside the cluster. What can't be read is left out and told.
    pub(crate) fn outside(outside: &OutsideSelectors, errors: &mut Vec<PolicyError>) -> Self {
        let whose = "outside";
        let (from, to) = (networks(whose, &outside.from, errors), networks(whose, &outside.to, errors));
        Self { identity: String::new(), addresses: Vec::new(), from, to }
    }

    /// There is nobody to have an SA with.
    pub(crate) fn is_outside(&self) -> bool {
        self.identity.is_empty()
    }

    /// The network is just one of its own addresses.
    pub(crate) fn is_host(&self, network: IpNet) -> bool {
        network.prefix_len() == network.max_prefix_len() && self.addresses.contains(&network.addr())
    }

    /// The first of its own addresses for which the other one has an address of the same family, and the first of
    /// those.
    pub(crate) fn tunnel_to(&self, other: &Self) -> Option<(IpAddr, IpAddr)> {
        self.addresses.iter().find_map(|own| {
            let same = other.addresses.iter().find(|address| address.is_ipv4() == own.is_ipv4())?;
            Some((*own, *same))
        })
    }
}

fn addresses(whose: &str, texts: &[String], errors: &mut Vec<PolicyError>) -> Vec<IpAddr> {
    readable(texts, errors, |text| PolicyError::Address { whose: whose.to_owned(), text })
}

fn networks(whose: &str, texts: &[String], errors: &mut Vec<PolicyError>) -> Vec<IpNet> {
    let networks: Vec<IpNet> =
        readable(texts, errors, |text| PolicyError::Network { whose: whose.to_owned(), text });
    networks.iter().map(IpNet::trunc).collect()
}

/// Those that can be read; the others become errors.
fn readable<T: std::str::FromStr>(
    texts: &[String],
    errors: &mut Vec<PolicyError>,
    error: impl Fn(String) -> PolicyError,
) -> Vec<T> {
    texts
        .iter()
        .filter_map(|text| match text.parse() {
            Ok(value) => Some(value),
            Err(_) => {
                errors.push(error(text.clone()));
                None
            }
        })
        .collect()
}
