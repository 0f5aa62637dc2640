//! Policies beside others that protect some of the same packets.
//!
//! While one is switched on or off, be it one that lets pass, some nodes send such packets by it and some by another, and the
//! kernel asks only the first policy whether it takes what arrives. So as long as a policy isn't in force everywhere, it
//! takes what comes on the others' SAs, too.

use std::collections::BTreeMap;
use std::iter;

use esplanade_crds::{Action, NodePolicy, Phase};
use esplanade_model::{Direction, Template};
use ipnet::IpNet;

use crate::policies::Made;

/// The most templates of a policy (`XFRM_MAX_DEPTH`).
const MAX_TEMPLATES: usize = 6;

/// Has inbound policies of all that aren't at Enforce take what comes by others that cover some of the same packets.
pub(crate) fn admit(all: &mut [Made<'_>]) {
    if all.iter().all(|one| one.of.phase == Phase::Enforce) {
        return;
    }
    let inbound = Inbound::of(all);
    let admitting: Vec<(usize, Vec<Template>)> = all
        .iter()
        .enumerate()
        .filter(|(_, one)| one.of.phase < Phase::Enforce && takes(one))
        .filter_map(|(place, one)| Some((place, templates(one, &inbound.beside(one))?)))
        .collect();
    for (place, templates) in admitting {
        if let Some(one) = all.get_mut(place) {
            one.policy.templates = templates;
        }
    }
}

/// Clear text or what is protected comes in by it.
fn takes(one: &Made<'_>) -> bool {
    one.policy.direction != Direction::Out
        && (one.of.action == Action::Bypass || !one.policy.templates.is_empty())
}

/// What is for inbound packets, by where they come from.
struct Inbound<'a>(BTreeMap<IpNet, Vec<&'a Made<'a>>>);

impl<'a> Inbound<'a> {
    fn of(all: &'a [Made<'a>]) -> Self {
        let mut by_source: BTreeMap<IpNet, Vec<&Made<'_>>> = BTreeMap::new();
        for one in all.iter().filter(|one| one.policy.direction != Direction::Out) {
            by_source.entry(one.policy.selector.source()).or_default().push(one);
        }
        Self(by_source)
    }

    /// Those that are for some of its packets, as the kernel looks at them. Not its other revisions, which have the same
    /// templates.
    fn beside(&self, one: &Made<'_>) -> Vec<&'a Made<'a>> {
        let source = one.policy.selector.source();
        // Of two networks that overlap, one lies in the other. In order of their first addresses, the narrower ones follow.
        let wider = iter::successors(source.supernet(), IpNet::supernet).filter_map(|net| self.0.get(&net));
        let within =
            self.0.range(source..).take_while(|(net, _)| source.contains(*net)).map(|(_, made)| made);
        let others = wider.chain(within).flatten().copied();
        let mut beside: Vec<&Made<'_>> = others
            .filter(|other| other.of.name != one.of.name && other.policy.overlaps(&one.policy))
            .collect();
        beside.sort_by_key(|other| other.policy.priority);
        beside
    }
}

/// What the policy takes where others protect some of its packets: all of it optional, for it takes clear text as well. But not
/// one that protects, where another is in force for all of them and drops their clear text.
fn templates(one: &Made<'_>, beside: &[&Made<'_>]) -> Option<Vec<Template>> {
    let protecting: Vec<&Made<'_>> =
        beside.iter().copied().filter(|other| !other.policy.templates.is_empty()).collect();
    if protecting.is_empty() {
        return None;
    }
    let mut templates = one.policy.templates.clone();
    if is_closed(one, beside)
        && let Some(any) = any_of(&templates, &protecting)
    {
        templates.push(any);
        return Some(templates);
    }
    // Beside optional templates, what comes in transport mode passes anyway (`secpath_has_nontransport`).
    let tunnels =
        protecting.iter().flat_map(|other| &other.policy.templates).filter(|one| one.mode.is_tunnel());
    for other in tunnels {
        let other = Template { optional: true, ..*other };
        if !templates.contains(&other) && templates.len() < MAX_TEMPLATES {
            templates.push(other);
        }
    }
    Some(templates)
}

/// Without it, no clear text of its packets would be taken, and it doesn't say otherwise yet, or any more: one behind it is in
/// force for all of them, and what the kernel looks at before that one is, or is to be, no less strict.
fn is_closed(one: &Made<'_>, beside: &[&Made<'_>]) -> bool {
    let drops = |other: &&&Made<'_>| other.of.phase == Phase::Enforce && other.of.action != Action::Bypass;
    let mut behind = beside
        .iter()
        .filter(|other| other.policy.priority > one.policy.priority)
        .take_while(|other| drops(other) || other.of.action == Action::Protect && is_on_its_way(other.of));
    is_on_its_way(one.of) && behind.any(|other| drops(&other) && other.policy.covers(&one.policy))
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
