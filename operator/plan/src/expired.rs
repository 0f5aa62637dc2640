//! IpsecSAs that a hard lifetime ended. Both ends are told, so that neither uses the keys again, whatever happens to the
//! other; it stays so until there are other keys.

use esplanade_crds::conditions::reason;
use esplanade_crds::{NodeSecurityAssociation, ProblemKind, SealedKey};

use crate::accept::{End, KeyUse};
use crate::cluster::Cluster;
use crate::resolve::{Accepted, KeyState};

/// At which node the SA ended and how, if it did.
pub(crate) fn expired(name: &str, sa: &Accepted<'_>, cluster: &Cluster<'_>) -> Option<String> {
    let ends = [&sa.intent.source, &sa.intent.destination];
    let nodes = || {
        ends.into_iter().filter_map(|end| match end {
            End::Node(node) => Some(node),
            End::Address(_) => None,
        })
    };
    let with_these_keys = |node: &str| cluster.installed_sa(node, name).filter(|told| has_keys_of(told, sa));
    let before = nodes().find_map(|node| with_these_keys(node)?.expired.clone());
    before.or_else(|| {
        nodes().find_map(|node| {
            with_these_keys(node)?;
            let state = cluster.state(node)?;
            let status = state.status.as_ref()?;
            // What was said of an earlier spec may have been about other keys.
            (status.observed_generation == state.metadata.generation).then_some(())?;
            let problem = status.problems.iter().find(|problem| {
                problem.kind == ProblemKind::IpsecSA
                    && problem.name == name
                    && problem.category == reason::EXPIRED
            })?;
            Some(format!("{node}: {}", problem.message))
        })
    })
}

/// The node was told of the SA with the keys that it has now.
fn has_keys_of(told: &NodeSecurityAssociation, sa: &Accepted<'_>) -> bool {
    let same =
        |told: Option<(&str, Option<&SealedKey>)>, now: Option<&KeyUse>, state: Option<&KeyState<'_>>| {
            let same_algorithm = told.map(|(algorithm, _)| algorithm) == now.map(|now| now.algorithm);
            let same_version = match state {
                Some(KeyState::Found(_, version)) => {
                    told.and_then(|(_, key)| key).is_some_and(|key| key.source == *version)
                }
                // The node keeps what it has.
                Some(KeyState::Bad(_) | KeyState::None) | None => true,
            };
            same_algorithm && same_version
        };
    let encryption = told.encryption.as_ref().map(|one| (one.algorithm.as_str(), one.key.as_ref()));
    let integrity = told.integrity.as_ref().map(|one| (one.algorithm.as_str(), Some(&one.key)));
    same(encryption, sa.intent.encryption.as_ref(), sa.keys.encryption.as_ref())
        && same(integrity, sa.intent.integrity.as_ref(), sa.keys.integrity.as_ref())
}
