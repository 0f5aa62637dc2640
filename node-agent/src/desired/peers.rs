//! All IpsecPeers.

use std::collections::BTreeMap;
use std::sync::Arc;

use esplanade_crds::{IpsecPeer, IpsecPeerSpec, Problem};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;

use super::{KeyedPeer, Watched, resource_version, unreadable};

#[derive(Debug, Default)]
pub(super) struct Peers {
    now: Seen,
    /// While a list comes in: what is in it so far.
    listing: Option<Seen>,
    complete: bool,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    specs: Arc<BTreeMap<String, IpsecPeerSpec>>,
    keyed: Arc<BTreeMap<String, KeyedPeer>>,
    /// Those that can't be read as they are now, with their resourceVersions and why.
    unreadable: BTreeMap<String, (Option<u64>, String)>,
    /// Of the events that came.
    highest: Option<u64>,
}

impl Peers {
    pub(super) fn apply(&mut self, event: Watched<IpsecPeer>) -> bool {
        match event {
            Event::Init => {
                self.listing = Some(Seen::default());
                false
            }
            Event::InitApply(object) => {
                // What can't be read counts as it was.
                let (before, keyed) = (Arc::clone(&self.now.specs), Arc::clone(&self.now.keyed));
                let listing = self.listing.get_or_insert_default();
                listing.take(object, |name| Some((before.get(name).cloned()?, keyed.get(name).cloned())));
                false
            }
            Event::InitDone => {
                self.now = self.listing.take().unwrap_or_default();
                self.complete = true;
                true
            }
            Event::Apply(object) => {
                self.now.take(object, |_| None);
                true
            }
            Event::Delete(object) => {
                let meta = meta(&object);
                self.now.highest = self.now.highest.max(resource_version(meta));
                let name = meta.name.clone().unwrap_or_default();
                self.now.unreadable.remove(&name);
                Arc::make_mut(&mut self.now.keyed).remove(&name);
                Arc::make_mut(&mut self.now.specs).remove(&name);
                true
            }
        }
    }

    pub(super) fn complete(&self) -> bool {
        self.complete
    }

    pub(super) fn specs(&self) -> Arc<BTreeMap<String, IpsecPeerSpec>> {
        Arc::clone(&self.now.specs)
    }

    pub(super) fn keyed(&self) -> Arc<BTreeMap<String, KeyedPeer>> {
        Arc::clone(&self.now.keyed)
    }

    /// Of the events that came.
    pub(super) fn highest(&self) -> Option<u64> {
        self.now.highest
    }

    /// Everything up to here has been taken in: less than any object that can't be read.
    pub(super) fn through(&self) -> Option<u64> {
        let first_unreadable = self.now.unreadable.values().filter_map(|(version, _)| *version).min();
        match first_unreadable {
            Some(version) => self.now.highest.map(|highest| highest.min(version.saturating_sub(1))),
            None => self.now.highest,
        }
    }

    pub(super) fn problems(&self, node: &str) -> Vec<Problem> {
        let all = self.now.unreadable.iter();
        all.map(|(name, (_, error))| unreadable(node, &format!("IpsecPeer {name}"), error)).collect()
    }
}

impl Seen {
    fn take(
        &mut self,
        object: DeserializeGuard<IpsecPeer>,
        before: impl Fn(&str) -> Option<(IpsecPeerSpec, Option<KeyedPeer>)>,
    ) {
        let (name, version) = {
            let meta = meta(&object);
            (meta.name.clone().unwrap_or_default(), resource_version(meta))
        };
        self.highest = self.highest.max(version);
        match object.0 {
            Ok(peer) => {
                self.unreadable.remove(&name);
                let keyed = KeyedPeer::of(&peer);
                if self.keyed.get(&name) != Some(&keyed) {
                    Arc::make_mut(&mut self.keyed).insert(name.clone(), keyed);
                }
                // A clone of all specs only if a pass still has the old ones, and only for a difference.
                if self.specs.get(&name) != Some(&peer.spec) {
                    Arc::make_mut(&mut self.specs).insert(name, peer.spec);
                }
            }
            Err(invalid) => {
                if let Some((spec, keyed)) = before(&name) {
                    if let Some(keyed) = keyed {
                        Arc::make_mut(&mut self.keyed).insert(name.clone(), keyed);
                    }
                    Arc::make_mut(&mut self.specs).insert(name.clone(), spec);
                }
                self.unreadable.insert(name, (version, invalid.error));
            }
        }
    }
}

fn meta(object: &DeserializeGuard<IpsecPeer>) -> &kube::core::ObjectMeta {
    match &object.0 {
        Ok(object) => &object.metadata,
        Err(invalid) => &invalid.metadata,
    }
}
