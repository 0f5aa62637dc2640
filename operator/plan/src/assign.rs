//! Which IpsecSA carries which policy's traffic.

use std::collections::BTreeMap;

use esplanade_crds::conditions::reason;
use esplanade_crds::{Compression, Mode, Offload, Protocol};

use crate::accept::{Age, End, PolicyIntent, Protect, mark};
use crate::cluster::Cluster;
use crate::elsewhere::elsewhere;
use crate::families::Families;
use crate::finding::Finding;
use crate::participants::{Participants, family};
use crate::policies::{Policies, State};
use crate::resolve::{Accepted, Ends, Sas};

/// How many pairs without an SA a message names.
const PAIRS_IN_WORDS: usize = 3;

/// Which IpsecSA carries which policy's traffic, and what is wrong with the policies' references.
#[derive(Default)]
pub(crate) struct Assignment {
    policies: BTreeMap<String, String>,
    findings: BTreeMap<String, Vec<Finding>>,
}

impl Assignment {
    /// The policy that the IpsecSA is for.
    pub(crate) fn policy(&self, sa: &str) -> Option<&str> {
        self.policies.get(sa).map(String::as_str)
    }

    /// The IpsecSAs of a policy.
    pub(crate) fn sas<'a>(&'a self, policy: &'a str) -> impl Iterator<Item = &'a str> {
        self.policies.iter().filter(move |(_, of)| *of == policy).map(|(sa, _)| sa.as_str())
    }

    /// What is wrong with a policy's references.
    pub(crate) fn findings(&self, policy: &str) -> &[Finding] {
        self.findings.get(policy).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Gives each IpsecSA to the oldest policy that names it, if it fits there.
pub(crate) fn assign(policies: &Policies<'_>, sas: &Sas<'_>, cluster: &Cluster<'_>) -> Assignment {
    let mut assignment = Assignment::default();
    let mut named: BTreeMap<String, String> = BTreeMap::new();
    // What a refused policy had stays with it, first of all: it is in use.
    for (name, policy) in policies.iter() {
        let (State::Refused { kept_at, .. } | State::Unresolved { kept_at, .. }) = &policy.state else {
            continue;
        };
        for installed in kept_at.iter().filter_map(|node| cluster.state(node)) {
            for sa in &installed.spec.security_associations {
                if sa.policy.as_deref() == Some(name) && sas.get(&sa.name).is_some() {
                    named.insert(sa.name.clone(), name.to_owned());
                    assignment.policies.insert(sa.name.clone(), name.to_owned());
                }
            }
        }
    }
    for (name, policy) in policies.by_age() {
        let State::Accepted { intent, participants, unmatched, .. } = &policy.state else { continue };
        let mut findings = Vec::new();
        if let Some(protect) = intent.protect.as_ref().filter(|protect| protect.automatic.is_none()) {
            let mut fitting = Vec::new();
            for sa in &protect.security_associations {
                match named.get(sa) {
                    Some(first) => {
                        findings.push(mismatch(sa, format!("is IpsecPolicy {first}'s already")));
                        continue;
                    }
                    None => named.insert(sa.clone(), name.to_owned()),
                };
                match fit(sa, (intent, protect), participants, sas, &mut findings) {
                    Some(fits) => fitting.push((sa.as_str(), fits)),
                    None => continue,
                }
            }
            let carried = carry(fitting, protect.mode, &mut assignment, name, &mut findings);
            findings.extend(missing(participants, protect, &carried));
        }
        findings.extend(unmatched.iter().cloned());
        findings.extend(elsewhere(name, (intent, participants), policies, cluster));
        findings.sort_by_key(|finding| RANK.iter().position(|reason| *reason == finding.reason));
        assignment.findings.insert(name.to_owned(), findings);
    }
    assignment
}

/// Which reason a condition shows when there are several.
const RANK: &[&str] = &[
    reason::SECURITY_ASSOCIATION_NOT_FOUND,
    reason::SECURITY_ASSOCIATION_MISMATCH,
    reason::SECURITY_ASSOCIATION_NOT_READY,
    reason::NO_MATCH,
    reason::CONFLICTED,
    reason::SECURITY_ASSOCIATION_MISSING,
];

fn mismatch(sa: &str, what: impl AsRef<str>) -> Finding {
    Finding::new(reason::SECURITY_ASSOCIATION_MISMATCH, format!("IpsecSA {sa} {}", what.as_ref()))
}

/// An IpsecSA that may carry a policy's traffic.
struct Fit {
    age: Age,
    source: End,
    destination: End,
    protocol: Protocol,
    ends: Ends,
    /// It carries one CPU's packets only.
    of_one_cpu: bool,
}

/// The IpsecSA, if it fits the policy. It may fit and not be ready.
fn fit(
    name: &str,
    policy: (&PolicyIntent, &Protect),
    participants: &Participants,
    sas: &Sas<'_>,
    findings: &mut Vec<Finding>,
) -> Option<Fit> {
    let not_ready =
        |why: &str| Finding::new(reason::SECURITY_ASSOCIATION_NOT_READY, format!("IpsecSA {name} {why}"));
    let Some(sa) = sas.get(name) else {
        findings.push(Finding::new(
            reason::SECURITY_ASSOCIATION_NOT_FOUND,
            format!("there is no IpsecSA {name}"),
        ));
        return None;
    };
    let Ok(accepted) = &sa.state else {
        findings.push(not_ready("isn't accepted: see its condition Accepted"));
        return None;
    };
    if let Some(why) = misfit(accepted, policy, participants) {
        findings.push(mismatch(name, why));
        return None;
    }
    if let Some(first) = accepted.unresolved().first() {
        findings
            .push(not_ready(&format!("isn't complete ({}): see its condition ResolvedRefs", first.reason)));
    }
    let intent = &accepted.intent;
    accepted.ends.as_ref().ok().map(|ends| Fit {
        age: sa.age.clone(),
        source: intent.source.clone(),
        destination: intent.destination.clone(),
        protocol: intent.protocol,
        ends: *ends,
        of_one_cpu: intent.cpu.is_some(),
    })
}

/// Of each there must be an IpsecSA.
fn protocols(protect: &Protect) -> &'static [Protocol] {
    match (protect.compression, protect.protocol) {
        (Compression::Deflate, _) => &[Protocol::IPComp, Protocol::ESP],
        (Compression::None, Protocol::ESP) => &[Protocol::ESP],
        (Compression::None, Protocol::AH) => &[Protocol::AH],
        (Compression::None, Protocol::IPComp) => &[Protocol::IPComp],
    }
}

/// In what an IpsecSA doesn't fit a policy.
fn misfit(
    sa: &Accepted<'_>,
    (policy, protect): (&PolicyIntent, &Protect),
    participants: &Participants,
) -> Option<String> {
    let intent = &sa.intent;
    if intent.mode != protect.mode {
        return Some(format!("has mode {:?}, the policy {:?}", intent.mode, protect.mode));
    }
    if !protocols(protect).contains(&intent.protocol) {
        return Some(format!("has protocol {:?}, the policy {:?}", intent.protocol, protect.protocol));
    }
    if intent.interface_id != protect.interface_id {
        let (own, other) = (intent.interface_id, protect.interface_id);
        return Some(format!("has interfaceId {own}, the policy {other}"));
    }
    if let Some(own) = intent.mark.filter(|_| !mark::implies(policy.mark, intent.mark)) {
        let packets = policy.mark.map_or("none".to_owned(), |mark| mark.to_string());
        return Some(format!("has mark {own}, which the policy's packets (mark {packets}) don't have"));
    }
    if intent.udp.is_some() && protect.offload != Offload::None {
        return Some("is in UDP, whose work devices don't take: remove the policy's offload".to_owned());
    }
    let ends = [&intent.source, &intent.destination];
    if let Some(outside) = ends.iter().find(|end| !participants.contains(end)) {
        return Some(format!("has end {outside}, which takes no part in the policy"));
    }
    let covered = participants.between(&intent.source, &intent.destination);
    if covered.is_empty() {
        return Some(format!(
            "is from {} to {}, between which the policy covers no traffic",
            intent.source, intent.destination
        ));
    }
    match &sa.ends {
        Ok(ends) if own_family_only(protect) && covered.and(family(ends.source)).is_empty() => Some(format!(
            "is {}, the policy covers {covered} only between {} and {}",
            family(ends.source),
            intent.source,
            intent.destination
        )),
        _ => None,
    }
}

/// What the SAs carry is of their own address family. A tunnel of IPComp could carry both, and ESP around it can't: it
/// isn't a tunnel (`xfrm_state_look_at`).
fn own_family_only(protect: &Protect) -> bool {
    protect.mode == Mode::Transport || protect.compression != Compression::None
}

/// The address families of what goes from one end to another, by each protocol, whichever CPU sends it.
type Carried = BTreeMap<(End, End), BTreeMap<Protocol, Families>>;

/// Assigns what fits. A tunnel's addresses stand in the policy's template, so that all of one direction must
/// be of one address family; the oldest decides.
fn carry(
    mut fitting: Vec<(&str, Fit)>,
    mode: Mode,
    assignment: &mut Assignment,
    policy: &str,
    findings: &mut Vec<Finding>,
) -> Carried {
    fitting.sort_by(|(_, one), (_, other)| one.age.cmp(&other.age));
    let mut carried = Carried::new();
    let mut firsts: BTreeMap<(End, End), (&str, Families)> = BTreeMap::new();
    for (name, fit) in fitting {
        let way = (fit.source, fit.destination);
        let own = family(fit.ends.source);
        let (first, theirs) = *firsts.entry(way.clone()).or_insert((name, own));
        if mode != Mode::Transport && theirs != own {
            findings.push(mismatch(
                name,
                format!(
                    "is {own}, and IpsecSA {first} of the same direction is {theirs}: write ipFamily: \
                     {theirs}"
                ),
            ));
            continue;
        }
        let families = carried.entry(way).or_default().entry(fit.protocol).or_default();
        if !fit.of_one_cpu {
            *families = families.or(own);
        }
        assignment.policies.insert(name.to_owned(), policy.to_owned());
    }
    carried
}

/// Directions in which the policy covers traffic that no IpsecSA carries.
fn missing(participants: &Participants, protect: &Protect, carried: &Carried) -> Option<Finding> {
    let (mut pairs, mut count) = (Vec::new(), 0_usize);
    for (source, destination, covered) in participants.directions() {
        let there = carried.get(&(source.clone(), destination.clone()));
        // SAs there are, and all of single CPUs.
        let cpus = there.is_some_and(|by| by.values().any(|families| families.is_empty()));
        let cpus = if cpus { " without cpu" } else { "" };
        let lacks = |protocol: &Protocol| {
            let there = there.and_then(|by| by.get(protocol)).copied().unwrap_or_default();
            match own_family_only(protect) {
                true => covered.without(there),
                false if there.is_empty() => covered,
                false => Families::default(),
            }
        };
        let lacking = protocols(protect).iter().map(lacks).fold(Families::default(), Families::or);
        if lacking.is_empty() {
            continue;
        }
        count += 1;
        if pairs.len() < PAIRS_IN_WORDS {
            let only = if lacking == covered { String::new() } else { format!(" ({lacking})") };
            let of = protocols(protect).iter().filter(|protocol| !lacks(protocol).is_empty());
            let of: Vec<_> = of.map(|protocol| format!("{protocol:?}")).collect();
            let of = match protect.compression {
                Compression::None => String::new(),
                Compression::Deflate => format!(" of {}", of.join(" and ")),
            };
            pairs.push(format!("from {source} to {destination}{of}{only}{cpus}"));
        }
    }
    let message = match (count, count - pairs.len()) {
        (0, _) => return None,
        (_, 0) => format!("no IpsecSA {}: that traffic is dropped", pairs.join(", ")),
        (_, more) => {
            format!(
                "no IpsecSA {} and {more} more ({count} in all): that traffic is dropped",
                pairs.join(", ")
            )
        }
    };
    Some(Finding::new(reason::SECURITY_ASSOCIATION_MISSING, message))
}
