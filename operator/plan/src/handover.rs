//! An IpsecSA gets another SPI: no packet is lost, though the two ends act by themselves.
//!
//! The receiver is told of the new SA and keeps the old one. When it has confirmed, the sender is told, which goes over
//! from one packet to the next. When that has confirmed as well, and what was on its way has had the time to arrive, the
//! receiver lets the old one go. Where each stands is in the IpsecNodeStates; nothing else is remembered.

use esplanade_crds::conditions::reason;
use esplanade_crds::{NodeSecurityAssociation, ProblemKind, RetiringSecurityAssociation};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::cluster::Cluster;
use crate::finding::Finding;

/// How long what was sent under an old SPI may take to arrive.
const DRAIN: SignedDuration = SignedDuration::from_secs(10);

/// An SA between two nodes as each should know it in the end.
pub(crate) struct Between<'a> {
    pub(crate) name: &'a str,
    pub(crate) sender: (&'a str, NodeSecurityAssociation),
    pub(crate) receiver: (&'a str, NodeSecurityAssociation),
}

/// What each end is told now.
pub(crate) struct Handover {
    /// None while there is no SPI.
    pub(crate) sender: Option<NodeSecurityAssociation>,
    /// Why the sender still has the old one, or none.
    pub(crate) waits: Option<Finding>,
    pub(crate) receiver: NodeSecurityAssociation,
    /// The old ones that the receiver keeps.
    pub(crate) retiring: Vec<RetiringSecurityAssociation>,
}

/// The next step on the way to what both should know in the end.
pub(crate) fn step(between: Between<'_>, cluster: &Cluster<'_>, now: &Time) -> Handover {
    let Between { name, sender: (sender, sends), receiver: (receiver, receives) } = between;
    let there = |node: &str, wanted: &NodeSecurityAssociation| {
        cluster.installed_sa(node, name) == Some(wanted) && confirmed(node, name, cluster)
    };
    let chosen = receives.spi.is_none();
    let numbered = NodeSecurityAssociation {
        spi: receives.spi.or_else(|| cluster.allocated_spi(receiver, name)),
        ..receives.clone()
    };
    let has = cluster.installed_sa(sender, name);
    let old = has.filter(|old| moved(old, &sends));
    let ready = there(receiver, &receives);
    let waiting = old.filter(|_| !ready);
    // What its kernel chose may be known before the SA is there.
    let sends_already = has.is_some_and(|has| has.spi == sends.spi);
    let early = waiting.is_none() && chosen && !ready && !sends_already;
    let left = sends.spi == numbered.spi && there(sender, &sends);
    let retiring = retiring(name, receiver, &numbered, cluster).into_iter().filter_map(|old| {
        // Once its sender has left it, nobody comes back to it, whatever else the sender has to do.
        let until = match old.until {
            Some(until) if is_over(&until, now) => return None,
            None if left => Some(now.0.checked_add(DRAIN).unwrap_or(now.0).to_string()),
            until => until,
        };
        Some(RetiringSecurityAssociation { until, ..old })
    });
    let waits = match (waiting.and_then(|old| old.spi), numbered.spi) {
        (_, None) => Some(format!("{receiver} hasn't chosen an SPI yet")),
        (Some(before), Some(spi)) => {
            Some(format!("{sender} sends under spi {before} until {receiver} takes what comes under {spi}"))
        }
        (None, Some(spi)) => {
            early.then(|| format!("{sender} sends nothing until {receiver} takes what comes under spi {spi}"))
        }
    };
    Handover {
        waits: waits.map(|message| Finding::new(reason::PENDING, message)),
        retiring: retiring.collect(),
        sender: match waiting {
            Some(old) => Some(old.clone()),
            None => Some(sends).filter(|sends| sends.spi.is_some() && !early),
        },
        receiver: receives,
    }
}

/// The earliest time at which one of these may go.
pub(crate) fn next(retiring: &[RetiringSecurityAssociation]) -> Option<Time> {
    retiring.iter().filter_map(|old| parse(old.until.as_deref()?)).min().map(Time)
}

fn parse(time: &str) -> Option<Timestamp> {
    time.parse().ok()
}

fn is_over(until: &str, now: &Time) -> bool {
    parse(until).is_none_or(|until| until <= now.0)
}

/// The SAs of this name that the receiver has, besides the one that it should have in the end.
fn retiring(
    name: &str,
    receiver: &str,
    receives: &NodeSecurityAssociation,
    cluster: &Cluster<'_>,
) -> Vec<RetiringSecurityAssociation> {
    let Some(state) = cluster.state(receiver) else { return Vec::new() };
    let before = state.spec.retiring.iter().filter(|one| one.association.name == name).cloned();
    // Under the SPI that its kernel chose, if it did.
    let main = cluster.installed_sa(receiver, name).and_then(|main| {
        let spi = main.spi.or_else(|| cluster.allocated_spi(receiver, name))?;
        Some(NodeSecurityAssociation { spi: Some(spi), ..main.clone() })
    });
    let main = main.map(|association| RetiringSecurityAssociation { association, until: None });
    let key = cluster.sealing_key(receiver).map(|key| key.id.as_str());
    // After a boot they are gone, and can't be opened.
    let readable = |old: &NodeSecurityAssociation| {
        let encryption = old.encryption.iter().filter_map(|one| one.key.as_ref());
        let mut keys = encryption.chain(old.integrity.iter().map(|one| &one.key));
        keys.all(|sealed| key.is_none_or(|key| key == sealed.recipient))
    };
    before.chain(main).filter(|old| moved(&old.association, receives) && readable(&old.association)).collect()
}

/// The SPI is another one, and what tells the two apart on the wire besides is the same: both can be there at once, under
/// the same policies.
fn moved(old: &NodeSecurityAssociation, new: &NodeSecurityAssociation) -> bool {
    old.spi != new.spi
        && old.expired.is_none()
        && new.expired.is_none()
        && (old.source == new.source && old.destination == new.destination)
        && (old.protocol, old.mode) == (new.protocol, new.mode)
        && (old.interface_id, old.mark) == (new.interface_id, new.mark)
        && old.policy == new.policy
}

/// The node's kernel has what its IpsecNodeState says of the SA.
fn confirmed(node: &str, name: &str, cluster: &Cluster<'_>) -> bool {
    let Some(state) = cluster.state(node) else { return false };
    let Some(status) = &state.status else { return false };
    let concerns = |problem: &esplanade_crds::Problem| {
        problem.kind == ProblemKind::IpsecSA && problem.name == name && problem.category != reason::EXPIRING
    };
    status.observed_generation.is_some()
        && status.observed_generation == state.metadata.generation
        && !status.problems.iter().any(concerns)
}
