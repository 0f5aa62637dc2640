//! Policies that say different things about the same packets, with the same priority.

use std::collections::BTreeMap;

use esplanade_crds::{IpFamily, TrafficSelector};
use ipnet::IpNet;

use crate::accept::{End, PolicyIntent, mark};
use crate::finding::in_words;
use crate::participants::{Participants, around};
use crate::policies::{Policies, State};

/// How many others a message names.
const OTHERS_IN_WORDS: usize = 3;

/// Of each policy that others contradict, what to say: they have its priority and another action, and cover some of the same
/// packets. What then counts is decided all the same, and the traffic of none is let through for it.
pub(crate) fn contradictions<'a>(policies: &'a Policies<'_>) -> BTreeMap<&'a str, String> {
    let mut by_priority: BTreeMap<u16, Vec<Covers<'_>>> = BTreeMap::new();
    for (name, policy) in policies.iter() {
        if let State::Accepted { intent, participants, .. } = &policy.state {
            let covers = Covers { name, intent, participants };
            by_priority.entry(intent.priority).or_default().push(covers);
        }
    }
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for group in by_priority.values() {
        for (at, one) in group.iter().enumerate() {
            for other in group.iter().skip(at + 1).filter(|other| other.intent.action != one.intent.action) {
                let Some((source, destination)) = one.meets(other) else { continue };
                let to = format!("from {source} to {destination}");
                found.entry(one.name).or_default().push(one.beside(other, &to));
                found.entry(other.name).or_default().push(other.beside(one, &to));
            }
        }
    }
    let words = |(name, others): (&'a str, Vec<String>)| {
        let others = in_words(&others, OTHERS_IN_WORDS)?;
        Some((name, format!("{others}: write another priority in one of them; the lower one counts")))
    };
    found.into_iter().filter_map(words).collect()
}

/// What a policy covers.
struct Covers<'a> {
    name: &'a str,
    intent: &'a PolicyIntent,
    participants: &'a Participants,
}

impl Covers<'_> {
    /// What is said of this one.
    fn beside(&self, other: &Self, what: &str) -> String {
        let (action, theirs) = (self.intent.action, other.intent.action);
        let counts = if action.rank() < theirs.rank() { action } else { theirs };
        format!(
            "IpsecPolicy {} has the same priority, {}, and action {theirs:?}, and covers some of the same traffic ({what}): \
             there {counts:?} counts",
            other.name, self.intent.priority
        )
    }

    /// Between which networks there are packets that both cover.
    fn meets(&self, other: &Self) -> Option<(IpNet, IpNet)> {
        let (one, two) = (self.intent, other.intent);
        let interface = |intent: &PolicyIntent| intent.protect.as_ref().map_or(0, |one| one.interface_id);
        if !mark::are_compatible(one.mark, two.mark) || interface(one) != interface(two) {
            return None;
        }
        let (mine, theirs) = (self.participants, other.participants);
        // The sides may stand the other way round, as a policy covers both directions.
        let straight = || meet(mine.in_from(), theirs.in_from(), mine.in_to(), theirs.in_to());
        let crossed = || meet(mine.in_from(), theirs.in_to(), mine.in_to(), theirs.in_from());
        let ports = |same_side| move |family| in_common(&one.traffic, &two.traffic, family, same_side);
        straight()
            .find(|(source, _)| ports(true)(family(source)))
            .or_else(|| crossed().find(|(source, _)| ports(false)(family(source))))
    }
}

type Side<'a> = Vec<(IpNet, Option<&'a End>)>;

/// Pairs of networks that lie on both policies' sides, at different participants for each: what stays at one of them no
/// policy covers.
fn meet<'a>(
    from: Side<'a>,
    their_from: Side<'a>,
    to: Side<'a>,
    their_to: Side<'a>,
) -> impl Iterator<Item = (IpNet, IpNet)> {
    let (sources, destinations) = (common(&from, &their_from), common(&to, &their_to));
    sources.into_iter().flat_map(move |((mine, theirs, family), source)| {
        let elsewhere = |(at, _): &(&At<'a>, _)| at.0 != mine && at.1 != theirs && at.2 == family;
        let found = destinations.iter().filter(elsewhere).map(|(_, network)| (source, *network));
        found.collect::<Vec<_>>()
    })
}

/// At which participants of two policies something lies, and of which family it is.
type At<'a> = (Option<&'a End>, Option<&'a End>, IpFamily);

/// What lies on both sides: one network for each two participants that have any in common.
fn common<'a>(mine: &Side<'a>, theirs: &Side<'a>) -> BTreeMap<At<'a>, IpNet> {
    let (by_network, other) = (indexed(mine), indexed(theirs));
    let mut common = BTreeMap::new();
    let mut add = |network: IpNet, mine: &[Option<&'a End>], theirs: &[Option<&'a End>]| {
        for one in mine {
            for two in theirs {
                common.entry((*one, *two, family(&network))).or_insert(network);
            }
        }
    };
    // Of two networks that overlap, one lies in the other.
    for (network, ends) in &by_network {
        around(*network).filter_map(|wider| other.get(&wider)).for_each(|theirs| add(*network, ends, theirs));
    }
    for (network, ends) in &other {
        around(*network)
            .filter_map(|wider| by_network.get(&wider))
            .for_each(|mine| add(*network, mine, ends));
    }
    common
}

fn indexed<'a>(side: &Side<'a>) -> BTreeMap<IpNet, Vec<Option<&'a End>>> {
    let mut indexed: BTreeMap<IpNet, Vec<Option<&End>>> = BTreeMap::new();
    side.iter().for_each(|(network, end)| indexed.entry(network.trunc()).or_default().push(*end));
    indexed
}

fn family(network: &IpNet) -> IpFamily {
    match network {
        IpNet::V4(_) => IpFamily::IPv4,
        IpNet::V6(_) => IpFamily::IPv6,
    }
}

/// There are packets of the family that both select; without a selector, all are. `same_side`: the ports of both are those of
/// the same end.
fn in_common(one: &[TrafficSelector], two: &[TrafficSelector], family: IpFamily, same_side: bool) -> bool {
    let exists = |selector: &&TrafficSelector| selector.protocol.family().is_none_or(|only| only == family);
    let (ours, theirs): (Vec<_>, Vec<_>) =
        (one.iter().filter(exists).collect(), two.iter().filter(exists).collect());
    match (one.is_empty(), two.is_empty()) {
        (true, true) => true,
        (true, false) => !theirs.is_empty(),
        (false, true) => !ours.is_empty(),
        (false, false) => ours.iter().any(|one| theirs.iter().any(|two| selects_alike(one, two, same_side))),
    }
}

fn selects_alike(one: &TrafficSelector, two: &TrafficSelector, same_side: bool) -> bool {
    let ports = |one: &TrafficSelector| one.port.map(|first| (first, one.end_port.unwrap_or(first)));
    let ports_meet = match (ports(one), ports(two)) {
        (Some((first, last)), Some((other_first, other_last))) => {
            !same_side || first <= other_last && other_first <= last
        }
        _ => true,
    };
    let alike = |one: Option<u8>, two: Option<u8>| one.zip(two).is_none_or(|(one, two)| one == two);
    one.protocol.number() == two.protocol.number()
        && ports_meet
        && alike(one.icmp_type, two.icmp_type)
        && alike(one.icmp_code, two.icmp_code)
}
