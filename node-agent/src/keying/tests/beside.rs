//! Policies with automatic keys beside others for the same packets.

use esplanade_crds::{NodePolicy, PeerSelectors, Phase};
use esplanade_expand::reqid_of_policy;
use esplanade_model::{Direction, Reqid};

use super::{Cluster, policy};

/// What the node's kernel sends by.
fn sends_by(cluster: &Cluster, name: &str) -> Vec<Reqid> {
    let observed = cluster.hosts[name].kernel.observed();
    let out = observed.policies.into_iter().filter(|policy| policy.key.direction == Direction::Out);
    out.map(|policy| policy.policy.unwrap().templates[0].reqid.unwrap()).collect()
}

/// Another agent of node a's, which finds nothing but the kernel.
fn begin_without_files(cluster: &mut Cluster) {
    let files = cluster.directory.path().join("a");
    std::fs::remove_dir_all(&files).unwrap();
    std::fs::create_dir(&files).unwrap();
    cluster.restart("a");
}

#[tokio::test]
async fn what_another_policy_has_in_the_kernel_is_not_taken_for_ones_own() {
    let mut cluster = Cluster::new();
    for spec in cluster.specs.values_mut() {
        let selectors = PeerSelectors { policy: "manual".into(), ..spec.selectors[0].clone() };
        spec.selectors.push(selectors);
    }
    let manual = NodePolicy { name: "manual".into(), automatic: None, ..policy(Phase::Enforce) };
    cluster.hosts.get_mut("a").unwrap().spec.policies = vec![manual.clone()];
    cluster.pass("a").await;
    let before = sends_by(&cluster, "a");
    assert_eq!(before, [reqid_of_policy("manual", "a", "b")]);

    // Another one comes to stand before it, from the beginning.
    let first = NodePolicy { priority: 100, ..policy(Phase::Prepare) };
    let host = cluster.hosts.get_mut("a").unwrap();
    (host.spec.policies, host.generation) = (vec![manual.clone(), first.clone()], host.generation + 1);
    let done = cluster.pass("a").await;
    assert_eq!((sends_by(&cluster, "a"), done.publish.is_some()), (before.clone(), true));

    // So it does where the agent begins with both, and isn't told by its files what there is.
    begin_without_files(&mut cluster);
    cluster.pass("a").await;
    assert_eq!(sends_by(&cluster, "a"), before);

    // What its files say counts whatever there is, also where it is told less than that.
    for (phase, again) in [(Phase::Enforce, false), (Phase::Prepare, true)] {
        let host = cluster.hosts.get_mut("a").unwrap();
        let first = NodePolicy { phase, ..first.clone() };
        (host.spec.policies, host.generation) = (vec![manual.clone(), first], host.generation + 1);
        if again {
            cluster.restart("a");
        }
        cluster.pass("a").await;
        assert_eq!(sends_by(&cluster, "a"), [reqid_of_policy("pods", "a", "b")]);
    }

    // But nobody sends in the clear what somebody sends protected.
    let host = cluster.hosts.get_mut("a").unwrap();
    (host.spec.policies, host.generation) = (vec![first], host.generation + 1);
    begin_without_files(&mut cluster);
    cluster.pass("a").await;
    assert_eq!(sends_by(&cluster, "a"), [reqid_of_policy("pods", "a", "b")]);
}
