//! Limits of packets and bytes.

use esplanade_crds::{NodeAutomaticKeying, NodePolicy, Phase, Problem, ProblemKind, conditions::reason};
use esplanade_model::SaId;

use super::{Cluster, policy};
use crate::status::PassResult;
use crate::worker::Done;

impl Cluster {
    /// In force at both, keys renewed after so many packets and bytes.
    async fn limited(packets: Option<i64>, bytes: Option<i64>) -> Self {
        let mut cluster = Self::in_force().await;
        for name in ["a", "b"] {
            let told = policy(Phase::Enforce);
            let limit = |keying| NodeAutomaticKeying { max_packets: packets, max_bytes: bytes, ..keying };
            let automatic = told.automatic.map(limit);
            let host = cluster.hosts.get_mut(name).unwrap();
            host.spec.policies = vec![NodePolicy { automatic, ..told }];
            host.generation += 1;
        }
        cluster.settle().await;
        cluster
    }

    /// a has sent so many packets of 100 bytes on its newest SA, and its kernel says that a limit is reached.
    async fn send(&mut self, packets: u64) -> (SaId, Done) {
        let id = self.sas("a", "192.0.2.2").last().unwrap().0;
        let kernel = self.hosts["a"].kernel.clone();
        assert!(kernel.count_traffic(id, packets, 0) && kernel.warn_of_sa(id));
        (id, self.pass("a").await)
    }

    fn key_count(&self) -> usize {
        self.peers["a"].keys.len()
    }
}

fn problems(done: &Done) -> &[Problem] {
    let PassResult::Done { problems, .. } = &done.report.result else { panic!("{done:?}") };
    problems
}

#[tokio::test]
async fn a_soft_limit_renews_the_senders_key_and_the_hard_one_is_well_above() {
    for (packets, bytes) in [(Some(1000), None), (None, Some(100_000))] {
        let mut cluster = Cluster::limited(packets, bytes).await;
        let observed = cluster.hosts["a"].kernel.observed();
        for sa in observed.sas.iter().map(|sa| sa.sa.clone().unwrap()) {
            let soft = [sa.lifetime.soft.packets, sa.lifetime.soft.bytes];
            let hard = [sa.lifetime.hard.packets, sa.lifetime.hard.bytes];
            let outbound = sa.destination.to_string() == "192.0.2.2";
            let limits = [packets.zip(Some(1 << 24)), bytes.zip(Some(1 << 34))];
            for ((soft, hard), limit) in soft.into_iter().zip(hard).zip(limits) {
                let limit = limit.filter(|_| outbound).map(|(limit, more)| (limit.unsigned_abs(), more));
                assert_eq!(soft.map(u64::from), limit.map(|(limit, _)| limit));
                assert_eq!(hard.map(u64::from), limit.map(|(limit, more)| limit + more));
            }
        }
        cluster.send(999).await;
        assert_eq!(cluster.key_count(), 1);
        let (_, done) = cluster.send(1000).await;
        assert_eq!((cluster.key_count(), problems(&done)), (2, &[][..]));
        // Of the other's sending nothing follows for this key.
        assert_eq!(cluster.peers["b"].keys.len(), 1);
    }
}

#[tokio::test]
async fn a_limit_that_is_reached_again_too_soon_is_told_and_waits() {
    let mut cluster = Cluster::limited(Some(1000), None).await;
    cluster.send(1000).await;
    cluster.settle().await;
    cluster.acknowledge("a");
    cluster.settle().await;
    // The key before isn't gone before the drain time is over.
    let (_, done) = cluster.send(1000).await;
    let done = if problems(&done).is_empty() { cluster.pass("a").await } else { done };
    let said: Vec<_> = problems(&done).iter().map(|one| (one.kind, &*one.category, &*one.message)).collect();
    let words = "keys wear out faster than they can be renewed (an SA under the newest has carried 1000 packets): the next \
                 rotation waits until the one before is over. Write a longer rotateEvery, or higher maxPackets and maxBytes";
    assert_eq!(said, [(ProblemKind::Node, reason::ROTATION_BEHIND, words)]);
    assert_eq!((cluster.key_count(), done.report.confirmed), (2, Some(true)));
}

#[tokio::test]
async fn a_hard_limit_ends_the_sa_until_there_is_another_key() {
    let mut cluster = Cluster::limited(Some(1000), None).await;
    let id = cluster.sas("a", "192.0.2.2")[0].0;
    assert!(cluster.hosts["a"].kernel.expire_sa(id));
    let done = cluster.pass("a").await;
    assert_eq!(cluster.sas("a", "192.0.2.2"), []);
    let [problem] = problems(&done) else { panic!("{done:?}") };
    assert_eq!(
        (problem.kind, &*problem.name, &*problem.category),
        (ProblemKind::IpsecPolicy, "pods", reason::EXPIRED)
    );
    assert!(problem.message.contains("its traffic is dropped until it is"), "{}", problem.message);
    cluster.settle().await;
    cluster.acknowledge("a");
    let [done, _] = cluster.settle().await;
    let after = cluster.sas("a", "192.0.2.2");
    assert!(after.len() == 1 && after[0].0 != id, "{after:?}");
    assert_eq!(problems(&done), []);
}
