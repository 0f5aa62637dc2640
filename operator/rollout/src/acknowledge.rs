//! Which of a node's keys its peers have acknowledged (rule R4).

/// A peer of the node whose keys it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener<N> {
    /// Names it.
    pub name: N,
    /// Its `IpsecNodeState.status.peersAppliedThrough`.
    pub applied_through: Option<u64>,
    /// It hasn't answered for so long that nobody waits for it.
    pub skipped: bool,
}

/// `IpsecNodeState.spec.keys`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Acknowledged<K, N> {
    /// The newest key that every peer but the pending ones has acknowledged.
    pub key: Option<K>,
    /// Peers that haven't, because they don't answer.
    pub pending: Vec<N>,
}

impl<K, N> Default for Acknowledged<K, N> {
    fn default() -> Self {
        Self { key: None, pending: Vec::new() }
    }
}

/// What is acknowledged of a node's keys.
///
/// `keys` are the published ones, oldest first, as the node's IpsecPeer had them at `version`. A peer whose watermark
/// has reached that version has them all in its kernel. `listeners` is every IpsecPeer but the node's own, also those
/// without keys: one that has just joined may have listed the others' keys before the newest was there.
pub fn acknowledge<K: Clone + PartialEq, N: Clone + PartialEq>(
    before: &Acknowledged<K, N>,
    keys: &[K],
    version: u64,
    listeners: &[Listener<N>],
) -> Acknowledged<K, N> {
    let behind = |listener: &&Listener<N>| listener.applied_through.is_none_or(|through| through < version);
    let names = |listeners: &mut dyn Iterator<Item = &Listener<N>>| -> Vec<N> {
        listeners.map(|listener| listener.name.clone()).collect()
    };
    let newest = keys.last();
    let still = before.key.as_ref().filter(|key| keys.contains(key));
    let waiting = listeners.iter().filter(behind).any(|listener| !listener.skipped);
    if still == newest || waiting {
        // Nothing new is acknowledged; but whoever was pending and has caught up isn't any more.
        let late = listeners.iter().filter(behind).filter(|listener| before.pending.contains(&listener.name));
        return Acknowledged { key: still.cloned(), pending: names(&mut { late }) };
    }
    Acknowledged { key: newest.cloned(), pending: names(&mut listeners.iter().filter(behind)) }
}

#[cfg(test)]
mod tests;
