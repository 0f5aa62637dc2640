//! How far a policy with automatic keys is switched on, for its status.

use esplanade_crds::{NodePolicy, Phase};

use super::Context;
use crate::accept::PolicyIntent;
use crate::participants::Participants;
use crate::rollout::{Of, reached};

/// How far a policy with automatic keys is switched on.
pub(super) struct Levels {
    /// Where the one that is least far is; none if it isn't told at all.
    pub(super) least: Option<Phase>,
    /// What the kernels have of the newest revision, or of one before it that covers the same: the least.
    pub(super) kept: Option<Phase>,
    /// Everyone has been told to go all the way.
    pub(super) all_there: bool,
    /// Somebody has been told of an earlier revision.
    pub(super) replaces: bool,
}

impl Levels {
    /// None for a policy without automatic keys.
    pub(super) fn of(
        name: &str,
        intent: &PolicyIntent,
        participants: &Participants,
        context: &Context<'_>,
    ) -> Option<Self> {
        let protect = intent.protect.as_ref().filter(|protect| protect.automatic.is_some())?;
        let target = protect.target();
        let uid = context.uid(name);
        let of_node = |node: &str| {
            let told: Vec<_> =
                context.cluster.installed_revisions(node, name).filter(|told| told.uid == uid).collect();
            let newest = told.iter().find(|told| told.revision == intent.revision).map(|told| told.phase);
            let peer = context.cluster.peer(node).map(|peer| &peer.spec);
            let ends = |revision: &str| {
                let published = peer.and_then(|peer| peer.selectors_of(name, revision));
                published.map(|one| (&one.from, &one.to))
            };
            let same = told.iter().filter(|told| {
                told.traffic == intent.traffic && ends(&told.revision) == ends(&intent.revision)
            });
            let in_kernel = |told: &&NodePolicy| {
                let of = Of { name, uid, revision: &told.revision };
                reached(&of, node, context.cluster)
            };
            let kept = same.filter_map(in_kernel).max();
            (newest, kept, told.iter().any(|told| told.revision != intent.revision))
        };
        let told: Vec<_> = participants.nodes().map(|(node, _)| of_node(node)).collect();
        let least = told.iter().map(|(newest, ..)| *newest).min().flatten();
        let kept = told.iter().map(|(_, kept, _)| *kept).min().flatten();
        let replaces = told.iter().any(|(.., replaces)| *replaces);
        let all_there = told.iter().all(|(newest, ..)| *newest == Some(target));
        Some(Self { least, kept, all_there, replaces })
    }
}
