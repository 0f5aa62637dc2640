//! Reqids that both ends, and every restart, agree on without being told.

use std::net::IpAddr;

use esplanade_crds::ResolvedEndpoint;
use esplanade_model::Reqid;
use sha2::{Digest, Sha256};

/// An end of an SA or a policy: a node by its name, anything else by its address (however it is written).
pub(crate) fn identity(node: Option<&str>, address: &str) -> String {
    match (node, address.parse::<IpAddr>()) {
        (Some(node), _) => node.to_owned(),
        (None, Ok(address)) => format!("address:{address}"),
        (None, Err(_)) => format!("address:{address}"),
    }
}

/// An end of an SA.
pub(crate) fn end(endpoint: &ResolvedEndpoint) -> String {
    identity(endpoint.node.as_deref(), &endpoint.address)
}

/// The reqid of a policy's traffic from one end to another, and of the SAs that carry it.
pub fn of_policy(policy: &str, source: &str, destination: &str) -> Reqid {
    hash(&["policy", policy, source, destination])
}

/// The reqid of an SA that no policy names.
pub(crate) fn of_lone_sa(name: &str) -> Reqid {
    hash(&["security association", name])
}

/// The first 4 bytes of SHA-256 over the parts, each after its length.
fn hash(parts: &[&str]) -> Reqid {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let digest = hasher.finalize();
    let first = digest.iter().take(4).fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
    Reqid::from_hash(first)
}

#[cfg(test)]
mod tests {
    use super::{of_lone_sa, of_policy};

    #[test]
    fn every_part_counts_and_so_does_their_order() {
        let one = of_policy("p", "a", "b");
        assert_eq!(one, of_policy("p", "a", "b"));
        for other in [
            of_policy("p", "b", "a"),
            of_policy("q", "a", "b"),
            of_policy("pa", "", "b"),
            of_policy("p", "ab", ""),
            of_lone_sa("p"),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn it_never_changes() {
        // Nodes of different versions must agree while a cluster is upgraded.
        assert_eq!(format!("{:#x}", of_policy("pods", "a", "b").get()), "0x57a3bdc8");
    }
}
