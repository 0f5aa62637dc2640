//! Post-quantum preshared keys.

use esplanade_crds::{
    NodeAutomaticKeying, NodePolicy, Phase, ProblemKind, SealedKey, SecretVersion, conditions::reason,
};
use esplanade_seal::{Context, KeyPair, Source, Usage};

use super::{Cluster, policy};
use crate::status::PassResult;
use crate::worker::Done;

/// A PPK of these bytes, sealed to the agents' own sealing key.
fn sealed(byte: u8) -> SealedKey {
    sealed_to(&KeyPair::from_bytes(&[7; 32]), byte, 32)
}

fn sealed_to(pair: &KeyPair, byte: u8, length: usize) -> SealedKey {
    let source = SecretVersion { uid: "s".into(), resource_version: "1".into(), key: "k".into() };
    let SecretVersion { uid, resource_version, key } = &source;
    let context =
        Context { object: "uid-of-pods", usage: Usage::Ppk, source: Source { uid, resource_version, key } };
    let ppk = vec![byte; length];
    let sealed = esplanade_seal::seal(pair.public(), &context, &ppk, &mut rand::rng()).unwrap();
    SealedKey { recipient: pair.public().id(), sealed, source }
}

impl Cluster {
    fn tell_ppk(&mut self, name: &str, phase: Phase, ppk: SealedKey) {
        let told = policy(phase);
        let automatic = told.automatic.map(|keying| NodeAutomaticKeying { ppk: Some(ppk), ..keying });
        let host = self.hosts.get_mut(name).unwrap();
        host.spec.policies = vec![NodePolicy { automatic, ..told }];
        host.generation += 1;
    }

    /// In force at both, with the PPK of each.
    async fn with_ppks(ppks: [u8; 2]) -> Self {
        let mut cluster = Self::new();
        for (name, ppk) in ["a", "b"].into_iter().zip(ppks) {
            cluster.tell_ppk(name, Phase::Prepare, sealed(ppk));
        }
        cluster.settle().await;
        for (name, ppk) in ["a", "b"].into_iter().zip(ppks) {
            cluster.acknowledge(name);
            cluster.tell_ppk(name, Phase::Enforce, sealed(ppk));
        }
        cluster.settle().await;
        cluster
    }
}

fn problems(done: &Done) -> Vec<(ProblemKind, &str, &str, &str)> {
    let PassResult::Done { problems, .. } = &done.report.result else { panic!("{done:?}") };
    let parts = problems.iter().map(|one| (one.kind, &*one.name, &*one.category, &*one.message));
    parts.collect()
}

#[tokio::test]
async fn both_ends_mix_in_the_same_and_a_restarted_agent_opens_it_again() {
    let mut cluster = Cluster::with_ppks([1, 1]).await;
    for to in ["192.0.2.1", "192.0.2.2"] {
        let (at_a, at_b) = (cluster.sas("a", to), cluster.sas("b", to));
        assert_eq!((at_a.len(), &at_a), (1, &at_b));
    }
    cluster.restart("a");
    let done = cluster.pass("a").await;
    assert_eq!((done.operations, done.report.confirmed), (0, Some(true)));
    // Nothing that the agent keeps has it.
    for file in std::fs::read_dir(cluster.directory.path().join("a")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(8).any(|window| window == [1; 8]));
    }
}

#[tokio::test]
async fn another_ppk_is_another_sa() {
    let cluster = Cluster::with_ppks([1, 2]).await;
    let spis = |name| cluster.sas(name, "192.0.2.1").iter().map(|(id, ..)| id.spi).collect::<Vec<_>>();
    assert_ne!(spis("a"), spis("b"));
    assert_eq!((spis("a").len(), spis("b").len()), (1, 1));
}

#[tokio::test]
async fn what_cannot_be_opened_is_told_and_nothing_is_sent_without_it() {
    let other = KeyPair::from_bytes(&[8; 32]);
    let own = KeyPair::from_bytes(&[7; 32]).public().id();
    let mut moved = sealed(1);
    moved.source.resource_version = "2".into();
    let for_another = format!(
        "no keys without the policy's PPK: it is sealed to {}, this node's sealing key is {own}: it will be sealed anew",
        other.public().id()
    );
    let cases = [
        (sealed_to(&other, 1, 32), reason::UNSEALABLE, for_another.as_str()),
        (
            moved,
            reason::UNSEALABLE,
            "no keys without the policy's PPK: the sealed key doesn't open: it is for another key pair or another use, or was \
             altered",
        ),
        (
            sealed_to(&KeyPair::from_bytes(&[7; 32]), 1, 31),
            reason::INVALID_KEY,
            "no keys without the policy's PPK: a post-quantum preshared key has 32 to 1024 bytes (256 bits of entropy or more, \
             RFC 8784 §6), this one has 31",
        ),
    ];
    for (ppk, category, words) in cases {
        let mut cluster = Cluster::new();
        cluster.tell_ppk("a", Phase::Enforce, ppk);
        cluster.tell_ppk("b", Phase::Enforce, sealed(1));
        let [done, _] = cluster.settle().await;
        assert_eq!(problems(&done), [(ProblemKind::IpsecPolicy, "pods", category, words)]);
        // Closed: the policy is there, and no SA.
        assert!(cluster.sends_protected("a"));
        assert!(cluster.sas("a", "192.0.2.1").is_empty() && cluster.sas("a", "192.0.2.2").is_empty());

        // Sealed anew.
        cluster.tell_ppk("a", Phase::Enforce, sealed(1));
        let [done, _] = cluster.settle().await;
        assert_eq!(problems(&done), []);
        assert_eq!(cluster.sas("a", "192.0.2.1").len(), 1);
    }
}

#[tokio::test]
async fn what_was_opened_once_stays_for_its_revision() {
    let mut cluster = Cluster::with_ppks([1, 1]).await;
    let before = cluster.sas("a", "192.0.2.2");
    cluster.tell_ppk("a", Phase::Enforce, sealed_to(&KeyPair::from_bytes(&[8; 32]), 1, 32));
    let done = cluster.pass("a").await;
    assert_eq!((done.operations, done.report.confirmed), (0, Some(true)));
    assert_eq!((problems(&done), cluster.sas("a", "192.0.2.2")), (vec![], before));
}
