//! Policies beside others that protect some of the same packets.
//!
//! While one is switched on or off, some nodes send such packets by it and some by another, and the kernel asks only the
//! first policy whether it takes what arrives. So as long as a policy isn't in force everywhere, it takes what comes on the
//! others' SAs, too.

use std::collections::BTreeMap;
use std::iter;

use esplanade_crds::{NodePolicy, Phase};
use esplanade_model::{Direction, Policy, Template};
use ipnet::IpNet;

use crate::policies::Made;

/// The most templates of a policy (`XFRM_MAX_DEPTH`).
const MAX_TEMPLATES: usize = 6;

/// Has inbound policies of all that aren't at Enforce take what comes by others that cover some of the same packets.
pub(crate) fn admit(all: &mut [Made<'_>]) {
    let inbound = Inbound::of(all);
    let admitting: Vec<(usize, Vec<Template>)> = all
        .iter()
        .enumerate()
        .filter(|(_, one)| one.of.phase < Phase::Enforce && protects_inbound(&one.policy))
        .filter_map(|(place, one)| Some((place, templates(one, &inbound.beside(one))?)))
        .collect();
    for (place, templates) in admitting {
        if let Some(one) = all.get_mut(place) {
            one.policy.templates = templates;
        }
    }
}

fn protects_inbound(policy: &Policy) -> bool {
    policy.direction != Direction::Out && !policy.templates.is_empty()
}

/// What protects inbound packets, by where they come from.
struct Inbound<'a>(BTreeMap<IpNet, Vec<&'a Made<'a>>>);

impl<'a> Inbound<'a> {
    fn of(all: &'a [Made<'a>]) -> Self {
        let mut by_source: BTreeMap<IpNet, Vec<&Made<'_>>> = BTreeMap::new();
        for one in all.iter().filter(|one| protects_inbound(&one.policy)) {
            by_source.entry(one.policy.selector.source()).or_default().push(one);
        }
        Self(by_source)
    }

    /// Those that cover some of its packets. Not its other revisions, which have the same templates.
    fn beside(&self, one: &Made<'_>) -> Vec<&'a Made<'a>> {
        let source = one.policy.selector.source();
        // Of two networks that overlap, one lies in the other. In order of their first addresses, the narrower ones follow.
        let wider = iter::successors(source.supernet(), IpNet::supernet).filter_map(|net| self.0.get(&net));
        let within = self.0.range(source..).take_while(|(net, _)| source.contains(*net)).map(|(_, made)| made);
        let others = wider.chain(within).flatten().copied();
        others.filter(|other| other.of.name != one.of.name && other.policy.overlaps(&one.policy)).collect()
    }
}

/// What the policy takes where others protect some of its packets: all of it optional, for it takes clear text as well. But not
/// where another one is in force for all of them and drops their clear text.
fn templates(one: &Made<'_>, others: &[&Made<'_>]) -> Option<Vec<Template>> {
    if others.is_empty() {
        return None;
    }
    let mut templates = one.policy.templates.clone();
    let is_closed = |other: &&Made<'_>| other.of.phase == Phase::Enforce && other.policy.covers(&one.policy);
    if is_on_its_way(one.of)
        && others.iter().any(is_closed)
        && let Some(any) = any_of(&templates, others)
    {
        templates.push(any);
        return Some(templates);
    }
    for other in others.iter().flat_map(|other| &other.policy.templates) {
        let other = Template { optional: true, ..*other };
        if !templates.contains(&other) && templates.len() < MAX_TEMPLATES {
            templates.push(other);
        }
    }
    Some(templates)
}

/// A template that all their SAs agree with and clear text doesn't, if they differ in nothing but their reqids.
fn any_of(templates: &[Template], others: &[&Made<'_>]) -> Option<Template> {
    let any = |one: &Template| Template { reqid: None, optional: false, ..*one };
    let [template] = templates else { return None };
    let same = |other: &&Made<'_>| matches!(&*other.policy.templates, [one] if any(one) == any(template));
    others.iter().all(same).then(|| any(template))
}

/// It isn't where it leads: what it says of clear text doesn't count yet, or not any more.
fn is_on_its_way(policy: &NodePolicy) -> bool {
    policy.target.phase() != Some(policy.phase)
}
