//! The node's own IpsecNodeState.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use esplanade_crds::{GIVE_UP_ANNOTATION, IpsecNodeState, IpsecNodeStateSpec, Problem, ROTATE_ANNOTATION};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;

use super::{DELETION_GRACE, NotYet, Target, Watched, unreadable};

#[derive(Debug, Default)]
pub(super) struct Own {
    presence: Presence,
    /// Why the object as it is now can't be read.
    unreadable: Option<String>,
    target: Option<Target>,
    /// A key that is older is to be renewed.
    rotate_before: Option<jiff::Timestamp>,
    /// UIDs of policies that aren't to be kept.
    given_up: BTreeSet<String>,
    /// While a list comes in: whether the object was in it.
    listed: bool,
    /// While a list comes in: since when.
    listing: Option<Instant>,
}

#[derive(Debug, Default)]
enum Presence {
    /// No list has come yet.
    #[default]
    Unknown,
    /// Never seen, or gone while nobody was watching: a list without it isn't reason enough to clear the kernel.
    Missing,
    /// The last one that could be read.
    Present { generation: i64, spec: Arc<IpsecNodeStateSpec> },
    /// Seen deleted at this time.
    Deleted(Instant),
}

impl Own {
    pub(super) fn apply(&mut self, node: &str, event: Watched<IpsecNodeState>, now: Instant) -> bool {
        match event {
            Event::Init => {
                (self.listed, self.listing) = (false, Some(now));
                false
            }
            Event::InitApply(object) => {
                self.listed |= is(&object, node);
                self.take(node, object)
            }
            Event::InitDone if self.listed => {
                self.listing = None;
                false
            }
            Event::InitDone => {
                (self.target, self.listing) = (None, None);
                if let Presence::Unknown | Presence::Present { .. } = self.presence {
                    self.presence = Presence::Missing;
                    self.unreadable = None;
                }
                false
            }
            Event::Apply(object) => self.take(node, object),
            Event::Delete(object) if is(&object, node) => {
                self.target = None;
                self.unreadable = None;
                self.presence = Presence::Deleted(now);
                true
            }
            Event::Delete(_) => false,
        }
    }

    /// Whether the spec, or whether it can be read, is new.
    fn take(&mut self, node: &str, object: DeserializeGuard<IpsecNodeState>) -> bool {
        if !is(&object, node) {
            return false;
        }
        match object.0 {
            Ok(object) => {
                let generation = object.metadata.generation.unwrap_or_default();
                // One that was made anew has to be reported on, whatever it says.
                let target = Target { listed: self.listing, ..Target::of(&object) };
                let same_object = self.target.as_ref().is_some_and(|before| before.uid == target.uid);
                let same = same_object
                    && match &self.presence {
                        Presence::Present { generation: old, spec } => {
                            *old == generation && **spec == object.spec
                        }
                        _ => false,
                    };
                self.target = Some(target);
                let annotation = |name| object.metadata.annotations.as_ref().and_then(|all| all.get(name));
                let asked = annotation(ROTATE_ANNOTATION).and_then(|time| time.parse().ok());
                let uids = annotation(GIVE_UP_ANNOTATION).into_iter().flat_map(|uids| uids.split(','));
                let uids: BTreeSet<String> = uids.map(|uid| uid.trim().to_owned()).collect();
                let not_asked = (self.rotate_before, &self.given_up) == (asked, &uids);
                (self.rotate_before, self.given_up) = (asked, uids);
                let was_readable = self.unreadable.take().is_none();
                self.presence = Presence::Present { generation, spec: Arc::new(object.spec) };
                !(same && was_readable && not_asked)
            }
            Err(invalid) => {
                // Its status can't be read either: it is written anew.
                self.target = Some(Target { listed: self.listing, ..Target::new(&invalid.metadata, None) });
                if !matches!(self.presence, Presence::Present { .. }) {
                    self.presence = Presence::Missing;
                }
                let news = self.unreadable.as_ref() != Some(&invalid.error);
                self.unreadable = Some(invalid.error);
                news
            }
        }
    }

    /// The generation and the spec to follow, and what is wrong with the object.
    #[allow(clippy::type_complexity)] // told apart by their types
    pub(super) fn spec(
        &self,
        node: &str,
        now: Instant,
    ) -> Result<(Option<i64>, Arc<IpsecNodeStateSpec>, Vec<Problem>), NotYet> {
        match &self.presence {
            Presence::Unknown => Err(NotYet::Lists),
            Presence::Missing => Err(NotYet::NoNodeState),
            Presence::Present { generation, spec } => {
                let problem = self.unreadable.iter();
                let problems =
                    problem.map(|error| unreadable(node, &format!("IpsecNodeState {node}"), error));
                Ok((Some(*generation), Arc::clone(spec), problems.collect()))
            }
            Presence::Deleted(at) if now < *at + DELETION_GRACE => Err(NotYet::Deleted(*at + DELETION_GRACE)),
            Presence::Deleted(_) => Ok((None, Arc::default(), Vec::new())),
        }
    }

    pub(super) fn rotate_before(&self) -> Option<jiff::Timestamp> {
        self.rotate_before
    }

    pub(super) fn given_up(&self) -> &BTreeSet<String> {
        &self.given_up
    }

    pub(super) fn is_deleted(&self) -> bool {
        matches!(self.presence, Presence::Deleted(_))
    }

    pub(super) fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }
}

/// The watch asks for one name only; it costs nothing to look.
fn is(object: &DeserializeGuard<IpsecNodeState>, node: &str) -> bool {
    let meta = match &object.0 {
        Ok(object) => &object.metadata,
        Err(invalid) => &invalid.metadata,
    };
    meta.name.as_deref() == Some(node)
}
