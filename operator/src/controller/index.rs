//! Everything that was seen of the cluster.

use std::collections::BTreeMap;

use esplanade_crds::{IpsecNodeState, IpsecPeer, IpsecPolicy, IpsecSA};
use esplanade_plan::{NodeView, SecretView, Snapshot};

use super::cache::{Cache, Event, Unreadable};
use super::change::Kind;

/// What is known of a Secret without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMeta {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

/// An event of one of the watches.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // there is one at a time
pub enum Input {
    /// Of Nodes.
    Node(Event<NodeView>),
    /// Of IpsecPolicies.
    Policy(Event<IpsecPolicy>),
    /// Of IpsecSAs.
    Sa(Event<IpsecSA>),
    /// Of IpsecNodeStates.
    NodeState(Event<IpsecNodeState>),
    /// Of IpsecPeers.
    Peer(Event<IpsecPeer>),
    /// Of Secrets in the operator's namespace, without their data.
    Secret(Event<SecretMeta>),
    /// A watch that had told everything has lost its way: what it missed may be a restored etcd.
    Interrupted,
}

/// Everything that was seen of the cluster, by kind.
#[derive(Debug, Default)]
pub struct Index {
    /// Nodes, reduced to what plans depend on.
    pub nodes: Cache<NodeView>,
    /// IpsecPolicies.
    pub policies: Cache<IpsecPolicy>,
    /// IpsecSAs.
    pub sas: Cache<IpsecSA>,
    /// IpsecNodeStates.
    pub node_states: Cache<IpsecNodeState>,
    /// IpsecPeers.
    pub peers: Cache<IpsecPeer>,
    /// Secrets in the operator's namespace, without their data.
    pub secrets: Cache<SecretMeta>,
}

impl Index {
    /// Takes in an event; returns whether anything is different now.
    pub fn apply(&mut self, input: Input) -> bool {
        match input {
            Input::Node(event) => self.nodes.apply(event),
            Input::Policy(event) => self.policies.apply(event),
            Input::Sa(event) => self.sas.apply(event),
            Input::NodeState(event) => self.node_states.apply(event),
            Input::Peer(event) => self.peers.apply(event),
            Input::Secret(event) => self.secrets.apply(event),
            Input::Interrupted => {
                self.begin_anew();
                false
            }
        }
    }

    /// Everything has to be listed again before anything may be decided. Kinds that are listed anew one by one may be of two
    /// histories, and a policy that one of them has and the other hasn't would look like one that a user has deleted.
    fn begin_anew(&mut self) {
        let Self { nodes, policies, sas, node_states, peers, secrets } = self;
        nodes.begin_anew();
        policies.begin_anew();
        sas.begin_anew();
        node_states.begin_anew();
        peers.begin_anew();
        secrets.begin_anew();
    }

    /// The newest resourceVersion seen of the kinds that share a history with IpsecPeers.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        let Self { policies, sas, node_states, peers, nodes: _, secrets: _ } = self;
        policies.newest().max(sas.newest()).max(node_states.newest()).max(peers.newest())
    }

    /// What a plan is made from, without the Secrets' data.
    #[must_use]
    pub fn snapshot(&self, namespace: &str, secrets: BTreeMap<String, SecretView>) -> Snapshot {
        Snapshot {
            namespace: namespace.to_owned(),
            nodes: objects(&self.nodes),
            policies: objects(&self.policies),
            unreadable: self
                .policies
                .unreadable()
                .map(|(name, unreadable)| (name.to_owned(), unreadable.uid.clone()))
                .collect(),
            sas: objects(&self.sas),
            secrets,
            node_states: objects(&self.node_states),
            peers: objects(&self.peers),
        }
    }

    /// Users' objects that can't be read.
    pub fn unreadable(&self) -> impl Iterator<Item = (Kind, Unreadable)> {
        let sas = self.sas.unreadable().map(|(_, error)| (Kind::IpsecSA, error.clone()));
        sas.chain(self.policies.unreadable().map(|(_, error)| (Kind::IpsecPolicy, error.clone())))
    }

    /// The kinds that haven't been listed yet. Until it is empty nothing may be decided: what wasn't seen yet would
    /// look like what isn't there.
    #[must_use]
    pub fn incomplete(&self) -> Vec<&'static str> {
        let Self { nodes, policies, sas, node_states, peers, secrets } = self;
        [
            ("Node", nodes.is_complete()),
            ("IpsecPolicy", policies.is_complete()),
            ("IpsecSA", sas.is_complete()),
            ("IpsecNodeState", node_states.is_complete()),
            ("IpsecPeer", peers.is_complete()),
            ("Secret", secrets.is_complete()),
        ]
        .into_iter()
        .filter_map(|(kind, complete)| (!complete).then_some(kind))
        .collect()
    }
}

fn objects<T: Clone + PartialEq>(cache: &Cache<T>) -> Vec<T> {
    cache.iter().map(|(_, object)| object.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Event, Index, Input};

    #[test]
    fn one_interrupted_watch_asks_for_every_list_anew() {
        let mut index = Index::default();
        let lists = [
            Input::Node(Event::ListEnd),
            Input::Policy(Event::ListEnd),
            Input::Sa(Event::ListEnd),
            Input::NodeState(Event::ListEnd),
            Input::Peer(Event::ListEnd),
            Input::Secret(Event::ListEnd),
        ];
        assert!(lists.into_iter().all(|list| index.apply(list)));
        assert_eq!(index.incomplete(), [""; 0]);
        index.apply(Input::Interrupted);
        assert_eq!(index.incomplete().len(), 6);
    }
}
