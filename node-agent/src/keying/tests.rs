//! Two nodes' workers on two kernels in memory, and an API server in a few lines.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use esplanade_crds::{
    Action, AntiReplay, IpsecNodeStateSpec, IpsecPeerSpec, Mode, NodeAutomaticKeying, NodeKeys, NodePolicy,
    PeerSelectors, Phase, PhaseTarget, Protocol, Suite,
};
use esplanade_model::{Aead, Capability, Crypto, Direction, SaId};
use esplanade_seal::KeyPair;
use esplanade_xfrm::fake::FakeKernel;
use esplanade_xfrm::{Noticed, Watch};

use super::{Keying, Settings};
use crate::desired::{Input, KeyedPeer};
use crate::worker::{Done, News, Reasons, Worker};

mod beside;
mod limits;
mod ppk;

/// After so many milliseconds a key is rotated whose SA was put back. The clock since boot counts hundredths of a second.
const VANISHED: u64 = 50;

struct Host {
    kernel: FakeKernel,
    worker: Worker,
    watch: Option<Box<dyn Watch>>,
    spec: IpsecNodeStateSpec,
    generation: i64,
    rotate_before: Option<jiff::Timestamp>,
    given_up: std::collections::BTreeSet<String>,
}

struct Cluster {
    directory: tempfile::TempDir,
    hosts: BTreeMap<&'static str, Host>,
    specs: BTreeMap<String, IpsecPeerSpec>,
    peers: BTreeMap<String, KeyedPeer>,
    version: u64,
    mode: Mode,
    on_demand: bool,
}

fn worker(directory: &Path, name: &str, kernel: &FakeKernel) -> Worker {
    let kernel = kernel.clone();
    let open = Box::new(move |_| Ok((Box::new(kernel.clone()) as _, Box::new(kernel.watch()?) as _)));
    let keying = Keying::new(name, &directory.join(name), "boot");
    let keying = keying.with(Settings { vanished: VANISHED, ..Settings::default() });
    let keys = KeyPair::from_bytes(&[7; 32]);
    Worker::start(name, "6.1.0", keys, Default::default(), keying, open, Box::new(crate::ports::InMemory))
        .unwrap()
}

/// Until the clock since boot is so many milliseconds further, surely.
async fn wait(milliseconds: u64) {
    let start = crate::host::since_boot().unwrap();
    while crate::host::since_boot().unwrap() < start + milliseconds + 10 {
        tokio::task::yield_now().await;
    }
}

pub(super) fn policy(phase: Phase) -> NodePolicy {
    NodePolicy {
        name: "pods".into(),
        uid: "uid-of-pods".into(),
        revision: "1".into(),
        phase,
        target: PhaseTarget::Enforce,
        priority: 500,
        action: Action::Protect,
        mode: Mode::Tunnel,
        protocol: Protocol::ESP,
        compression: esplanade_crds::Compression::None,
        interface_id: 0,
        mark: None,
        icmp_errors: false,
        offload: esplanade_crds::Offload::None,
        local_override: false,
        traffic: vec![],
        gateways: vec![],
        outside: None,
        automatic: Some(NodeAutomaticKeying {
            suite: Suite::AesGcm256,
            anti_replay: AntiReplay { window: 64, extended_sequence_numbers: true },
            rotate_seconds: 3600,
            max_packets: None,
            max_bytes: None,
            ppk: None,
            on_demand: false,
        }),
    }
}

impl Cluster {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut cluster = Self {
            directory,
            hosts: BTreeMap::new(),
            specs: BTreeMap::new(),
            peers: BTreeMap::new(),
            version: 10,
            mode: Mode::Tunnel,
            on_demand: false,
        };
        for (name, address, network) in [("a", "192.0.2.1", "10.1.0.0/24"), ("b", "192.0.2.2", "10.2.0.0/24")]
        {
            let selectors = PeerSelectors {
                policy: "pods".into(),
                revision: None,
                from: vec![network.to_owned()],
                to: vec![network.to_owned()],
            };
            let spec = IpsecPeerSpec { addresses: vec![address.to_owned()], selectors: vec![selectors] };
            let peer = KeyedPeer {
                node_uid: format!("uid-of-{name}"),
                uid: format!("uid-of-peer-{name}"),
                version: cluster.version,
                keys: vec![],
            };
            cluster.specs.insert(name.to_owned(), spec);
            cluster.peers.insert(name.to_owned(), peer);
            std::fs::create_dir(cluster.directory.path().join(name)).unwrap();
            let kernel = FakeKernel::new();
            let worker = worker(cluster.directory.path(), name, &kernel);
            let (spec, generation) = (IpsecNodeStateSpec::default(), 1);
            let host = Host {
                kernel,
                worker,
                watch: None,
                spec,
                generation,
                rotate_before: None,
                given_up: Default::default(),
            };
            cluster.hosts.insert(name, host);
        }
        cluster
    }

    fn tell(&mut self, name: &str, phase: Phase) {
        let host = self.hosts.get_mut(name).unwrap();
        let mut told = NodePolicy { mode: self.mode, ..policy(phase) };
        told.automatic.as_mut().unwrap().on_demand = self.on_demand;
        host.spec.policies = vec![told];
        host.generation += 1;
    }

    /// A pass of a node's; what it wants published is.
    async fn pass(&mut self, name: &str) -> Done {
        let Self { hosts, specs, peers, version, .. } = self;
        let host = hosts.get_mut(name).unwrap();
        let input = Input {
            version: 1000 * *version + u64::try_from(host.generation).unwrap(),
            uid: Some("uid".into()),
            generation: Some(host.generation),
            spec: Arc::new(host.spec.clone()),
            peers: Arc::new(specs.clone()),
            keyed: Arc::new(peers.clone()),
            rotate_before: host.rotate_before,
            given_up: host.given_up.clone(),
            peers_through: Some(*version),
            allocated: Vec::new(),
            problems: vec![],
            api_server: Arc::default(),
            block: false,
        };
        let noticed = match &mut host.watch {
            Some(watch) => watch.look().unwrap(),
            None => Noticed::default(),
        };
        host.worker.pass(input, Reasons { noticed, audit: false }).unwrap();
        loop {
            match host.worker.news().await.unwrap() {
                News::Opened(watch) => host.watch = Some(watch),
                News::Left => panic!("nobody asked it to"),
                News::Done(done) => {
                    if let Some(publish) = &done.publish {
                        let peer = peers.get_mut(name).unwrap();
                        assert_eq!((&publish.uid, publish.version), (&peer.uid, peer.version));
                        *version += 1;
                        (peer.keys, peer.version) = (publish.keys.clone(), *version);
                    }
                    return *done;
                }
            }
        }
    }

    /// Another agent takes the place of a node's.
    fn restart(&mut self, name: &'static str) {
        let again = worker(self.directory.path(), name, &self.hosts[name].kernel);
        let host = self.hosts.get_mut(name).unwrap();
        (host.worker, host.watch) = (again, None);
    }

    /// Both, until nothing is published any more; how far they are then.
    async fn settle(&mut self) -> [Done; 2] {
        for _ in 0..10 {
            let before = self.version;
            let done = [self.pass("a").await, self.pass("b").await];
            if self.version == before {
                return done;
            }
        }
        panic!("keys are published again and again")
    }

    /// The operator says that all have acknowledged the newest key of a node.
    fn acknowledge(&mut self, name: &str) {
        let newest = self.peers[name].keys.last().map(|key| key.id.clone());
        let host = self.hosts.get_mut(name).unwrap();
        host.spec.keys = Some(NodeKeys { acknowledged: newest, pending: vec![] });
        host.generation += 1;
    }

    /// Newer than the one that it has.
    async fn ask_for_a_new_key(&mut self, name: &str) {
        wait(10).await;
        self.hosts.get_mut(name).unwrap().rotate_before = Some(jiff::Timestamp::now());
    }

    /// The SAs in a node's kernel that go to this address, with what they have sent.
    fn sas(&self, name: &str, to: &str) -> Vec<(SaId, Crypto, u64)> {
        let observed = self.hosts[name].kernel.observed();
        let to: std::net::IpAddr = to.parse().unwrap();
        let sas = observed.sas.into_iter().filter(|sa| sa.id.destination == to);
        sas.map(|sa| (sa.id, sa.sa.unwrap().crypto, sa.state.sent)).collect()
    }

    fn sends_protected(&self, name: &str) -> bool {
        let observed = self.hosts[name].kernel.observed();
        observed.policies.iter().any(|policy| policy.key.direction == Direction::Out)
    }

    /// Transport mode between all addresses of the two nodes.
    fn transport() -> Self {
        let mut cluster = Self { mode: Mode::Transport, ..Self::new() };
        let addresses = [
            ("a", ["192.0.2.1", "2001:db8::1", "192.0.2.101"]),
            ("b", ["2001:db8::2", "2001:db8::102", "192.0.2.2"]),
        ];
        for (name, addresses) in addresses {
            let spec = cluster.specs.get_mut(name).unwrap();
            spec.addresses = addresses.map(str::to_owned).to_vec();
            let host = |address: &str| format!("{address}/{}", if address.contains(':') { 128 } else { 32 });
            spec.selectors[0].from = addresses.map(host).to_vec();
            spec.selectors[0].to = spec.selectors[0].from.clone();
        }
        cluster
    }

    /// In force at both, one key each.
    async fn in_force() -> Self {
        Self::new().put_in_force().await
    }

    async fn put_in_force(self) -> Self {
        let mut cluster = self;
        for name in ["a", "b"] {
            cluster.tell(name, Phase::Prepare);
        }
        cluster.settle().await;
        for name in ["a", "b"] {
            cluster.acknowledge(name);
            cluster.tell(name, Phase::Enforce);
        }
        for done in cluster.settle().await {
            assert_eq!(done.report.confirmed, Some(true), "{done:?}");
            assert_eq!(done.report.peers_through, Some(cluster.version));
        }
        cluster
    }
}

#[tokio::test]
async fn two_nodes_come_to_the_same_sas() {
    let mut cluster = Cluster::new();
    for name in ["a", "b"] {
        cluster.tell(name, Phase::Prepare);
    }
    // A key is published after the pass that has made all there is to it, and waits for the others' keys.
    let done = cluster.pass("a").await;
    assert_eq!(done.publish.as_ref().map(|publish| publish.keys.len()), Some(1));
    cluster.settle().await;
    for to in ["192.0.2.1", "192.0.2.2"] {
        let (at_a, at_b) = (cluster.sas("a", to), cluster.sas("b", to));
        assert_eq!((at_a.len(), &at_a), (1, &at_b));
    }
    assert!(!cluster.sends_protected("a"));
}

#[tokio::test]
async fn in_transport_mode_each_pair_of_addresses_has_an_sa_with_keys_of_its_own() {
    let mut cluster = Cluster::transport().put_in_force().await;
    let all = |cluster: &Cluster, name: &str| {
        let observed = cluster.hosts[name].kernel.observed();
        let mut all: Vec<_> = observed.sas.into_iter().map(|one| (one.id, one.sa.unwrap())).collect();
        all.sort_by_key(|(id, _)| *id);
        all
    };
    let (at_a, at_b) = (all(&cluster, "a"), all(&cluster, "b"));
    let named = |all: &[(SaId, esplanade_model::Sa)]| {
        all.iter().map(|(id, sa)| (*id, sa.source, sa.crypto.clone())).collect::<Vec<_>>()
    };
    assert_eq!(named(&at_a), named(&at_b));
    let mut ends: Vec<String> =
        at_a.iter().map(|(id, sa)| format!("{} {}", sa.source, id.destination)).collect();
    ends.sort();
    let wanted = [
        "192.0.2.1 192.0.2.2",
        "192.0.2.101 192.0.2.2",
        "192.0.2.2 192.0.2.1",
        "192.0.2.2 192.0.2.101",
        "2001:db8::1 2001:db8::102",
        "2001:db8::1 2001:db8::2",
        "2001:db8::102 2001:db8::1",
        "2001:db8::2 2001:db8::1",
    ];
    assert_eq!(ends, wanted);
    for (at, (id, sa)) in at_a.iter().enumerate() {
        assert_eq!(sa.mode, esplanade_model::Mode::Transport);
        for (other, another) in &at_a[at + 1..] {
            assert!(id.spi != other.spi && sa.crypto != another.crypto, "{id:?} {other:?}");
        }
    }

    // A restarted agent knows each of them again.
    cluster.restart("a");
    let done = cluster.pass("a").await;
    assert_eq!((done.operations, done.report.confirmed), (0, Some(true)));

    // An address less: its SAs go, and the others stay.
    for (name, rest) in [("a", ["192.0.2.1", "2001:db8::1"]), ("b", ["2001:db8::2", "192.0.2.2"])] {
        let spec = cluster.specs.get_mut(name).unwrap();
        spec.addresses.retain(|address| rest.contains(&address.as_str()));
        spec.selectors[0]
            .from
            .retain(|host| rest.iter().any(|address| host.starts_with(&format!("{address}/"))));
        spec.selectors[0].to = spec.selectors[0].from.clone();
    }
    cluster.version += 1;
    cluster.settle().await;
    let left = all(&cluster, "a");
    assert_eq!(left.len(), 4);
    assert!(left.iter().all(|one| at_a.contains(one)), "{left:?}");
}

#[tokio::test]
async fn on_demand_an_sa_is_made_when_the_kernel_asks() {
    let mut cluster = Cluster { on_demand: true, ..Cluster::new() }.put_in_force().await;
    assert!(cluster.sends_protected("a"));
    // Each could receive.
    assert_eq!((cluster.sas("a", "192.0.2.1").len(), cluster.sas("a", "192.0.2.2").len()), (1, 0));
    let observed = cluster.hosts["a"].kernel.observed();
    let out = observed.policies.iter().find(|policy| policy.key.direction == Direction::Out).unwrap();
    let reqid = out.policy.as_ref().unwrap().templates[0].reqid.unwrap();
    cluster.hosts["a"].kernel.ask(esplanade_model::Reqid::from_hash(1));
    cluster.settle().await;
    assert_eq!(cluster.sas("a", "192.0.2.2"), []);
    cluster.hosts["a"].kernel.ask(reqid);
    cluster.settle().await;
    assert_eq!(cluster.sas("a", "192.0.2.2").len(), 1);
    assert_eq!(cluster.sas("b", "192.0.2.2"), cluster.sas("a", "192.0.2.2"));
    assert_eq!(cluster.sas("b", "192.0.2.1").len(), 0);
}

#[tokio::test]
async fn what_a_kernel_lacks_for_one_policy_keeps_no_other_from_new_keys() {
    let mut cluster = Cluster::in_force().await;
    for name in ["a", "b"] {
        cluster.hosts[name].kernel.without(Capability::Aead(Aead::ChaCha20Poly1305));
    }
    cluster.restart("a");
    let mut lacking = policy(Phase::Prepare);
    (lacking.name, lacking.uid) = ("lacking".into(), "uid-of-lacking".into());
    lacking.automatic.as_mut().unwrap().suite = Suite::ChaCha20Poly1305;
    lacking.priority = 600;
    for spec in cluster.specs.values_mut() {
        let selectors = PeerSelectors { policy: "lacking".into(), ..spec.selectors[0].clone() };
        spec.selectors.push(selectors);
    }
    let host = cluster.hosts.get_mut("a").unwrap();
    host.spec.policies.push(lacking);
    host.generation += 1;
    cluster.version += 1;
    let before = cluster.sas("a", "192.0.2.2");
    cluster.ask_for_a_new_key("a").await;
    cluster.settle().await;
    cluster.acknowledge("a");
    let [done, _] = cluster.settle().await;
    let after = cluster.sas("a", "192.0.2.2");
    assert!(after.len() == 1 && after[0].0 != before[0].0, "{after:?}");
    // All that can be had is there, and what can't is told.
    assert_eq!(
        (done.report.confirmed, done.report.peers_through),
        (Some(true), Some(cluster.version)),
        "{done:?}"
    );
    let crate::status::PassResult::Done { problems, .. } = &done.report.result else { panic!("{done:?}") };
    let told: Vec<_> = problems.iter().map(|one| (one.name.as_str(), one.category.as_str())).collect();
    assert_eq!(told, [("lacking", "UnsupportedByKernel")]);
}

#[tokio::test]
async fn clear_text_is_not_given_up_for_a_key_that_nobody_is_known_to_have() {
    let mut cluster = Cluster::new();
    for name in ["a", "b"] {
        cluster.tell(name, Phase::Prepare);
    }
    cluster.settle().await;
    // Told to go on, but not that b has the key.
    cluster.tell("a", Phase::Encrypt);
    let done = cluster.pass("a").await;
    assert!(!cluster.sends_protected("a"));
    assert_eq!(done.report.confirmed, Some(false));
    cluster.acknowledge("a");
    let done = cluster.pass("a").await;
    assert!(cluster.sends_protected("a"));
    assert_eq!(done.report.confirmed, Some(true));
}

#[tokio::test]
async fn a_restarted_agent_goes_on_and_a_rebooted_node_has_other_keys() {
    let mut cluster = Cluster::in_force().await;
    let (sas, keys) = (cluster.sas("a", "192.0.2.2"), cluster.peers["a"].keys.clone());
    cluster.hosts["a"].kernel.count_traffic(sas[0].0, 77, 0);
    cluster.restart("a");
    let done = cluster.pass("a").await;
    assert_eq!((done.operations, done.report.confirmed), (0, Some(true)));
    assert_eq!(cluster.peers["a"].keys, keys);
    assert_eq!(cluster.sas("a", "192.0.2.2")[0].2, 77);

    std::fs::remove_file(cluster.directory.path().join("a").join(super::file::FILE)).unwrap();
    let kernel = FakeKernel::new();
    let again = worker(cluster.directory.path(), "a", &kernel);
    let host = cluster.hosts.get_mut("a").unwrap();
    (host.kernel, host.worker, host.watch) = (kernel, again, None);
    cluster.settle().await;
    assert!(cluster.peers["a"].keys.len() == 1 && cluster.peers["a"].keys != keys);
    assert_eq!(cluster.sas("a", "192.0.2.1"), cluster.sas("b", "192.0.2.1"));
    assert_eq!(cluster.sas("b", "192.0.2.1").len(), 1);
}

/// What is told may be older than what was told before.
#[tokio::test]
async fn an_older_phase_gives_no_clear_text_back_and_the_node_says_where_it_is() {
    let mut cluster = Cluster::in_force().await;
    let policies = cluster.hosts["a"].kernel.observed().policies;
    for restarted in [false, true] {
        cluster.tell("a", Phase::Prepare);
        if restarted {
            cluster.restart("a");
        }
        let done = cluster.pass("a").await;
        assert_eq!(cluster.hosts["a"].kernel.observed().policies, policies);
        assert_eq!((done.operations, done.report.confirmed), (0, Some(false)));
        assert_eq!(done.report.policies[0].phase, Phase::Enforce);
        // Nor where it isn't told of it at all.
        let host = cluster.hosts.get_mut("a").unwrap();
        host.spec.policies.clear();
        host.generation += 1;
        if restarted {
            cluster.restart("a");
        }
        let done = cluster.pass("a").await;
        assert_eq!(cluster.hosts["a"].kernel.observed().policies, policies);
        assert_eq!((done.operations, done.report.policies[0].phase), (0, Phase::Enforce));
    }
    // It goes the way that says that it leads off.
    for phase in [Some(Phase::Encrypt), Some(Phase::Prepare), None] {
        let off = |phase| NodePolicy { target: PhaseTarget::Absent, ..policy(phase) };
        let host = cluster.hosts.get_mut("a").unwrap();
        host.spec.policies = phase.map(off).into_iter().collect();
        host.generation += 1;
        let done = cluster.pass("a").await;
        assert_eq!(done.report.policies.first().map(|one| one.phase), phase);
    }
    assert_eq!(cluster.hosts["a"].kernel.observed().policies, []);
}

#[tokio::test]
async fn peers_that_are_gone_get_nothing_in_the_clear() {
    let mut cluster = Cluster::in_force().await;
    let policies = cluster.hosts["a"].kernel.observed().policies;
    let all = (cluster.specs.clone(), cluster.peers.clone());
    for gone in [&["b"][..], &["a", "b"]] {
        for name in gone {
            cluster.specs.remove(*name);
            cluster.peers.remove(*name);
        }
        cluster.version += 1;
        cluster.pass("a").await;
        assert_eq!(cluster.hosts["a"].kernel.observed().policies, policies, "without {gone:?}");
        assert_eq!(cluster.sas("a", "192.0.2.2"), []);
        (cluster.specs, cluster.peers) = all.clone();
    }
}

#[tokio::test]
async fn sas_of_a_policy_that_went_while_the_agent_was_away_are_known() {
    let mut cluster = Cluster::in_force().await;
    let host = cluster.hosts.get_mut("a").unwrap();
    host.spec.policies[0] = NodePolicy { target: PhaseTarget::Absent, ..policy(Phase::Prepare) };
    host.generation += 1;
    cluster.pass("a").await;
    cluster.hosts.get_mut("a").unwrap().spec.policies.clear();
    cluster.restart("a");
    cluster.pass("a").await;
    // What may still come is understood for the drain time; nothing is sent any more.
    assert_eq!((cluster.sas("a", "192.0.2.1").len(), cluster.sas("a", "192.0.2.2")), (1, vec![]));
    // Under a key that its peer has withdrawn nothing can come: it isn't held only because nobody can tell what it is.
    cluster.peers.get_mut("b").unwrap().keys.clear();
    cluster.restart("a");
    cluster.pass("a").await;
    assert_eq!(cluster.sas("a", "192.0.2.1"), []);
}

#[tokio::test]
async fn a_key_is_renewed_when_asked_and_the_peer_has_both_until_then() {
    let mut cluster = Cluster::in_force().await;
    let before = cluster.sas("a", "192.0.2.2");
    cluster.ask_for_a_new_key("a").await;
    cluster.settle().await;
    assert_eq!(cluster.peers["a"].keys.len(), 2);
    // b sends nothing under the new key that a wasn't ready for; a goes on as before.
    assert_eq!(cluster.sas("a", "192.0.2.2"), before);
    assert_eq!(cluster.sas("a", "192.0.2.1").len(), 2);
    cluster.acknowledge("a");
    cluster.settle().await;
    let after = cluster.sas("a", "192.0.2.2");
    assert!(after.len() == 1 && after[0].0 != before[0].0, "{after:?}");
    // The old one goes after the drain time, and no third one is made.
    assert_eq!(cluster.peers["a"].keys.len(), 2);
}

#[tokio::test]
async fn whoever_sends_under_a_key_has_it_also_while_no_operator_says_so() {
    let mut cluster = Cluster::in_force().await;
    let (before, inbound) = (cluster.sas("a", "192.0.2.2"), cluster.sas("a", "192.0.2.1"));
    cluster.ask_for_a_new_key("a").await;
    cluster.settle().await;
    let new = cluster.sas("a", "192.0.2.1").into_iter().find(|sa| !inbound.contains(sa)).unwrap();
    let kernel = cluster.hosts["a"].kernel.clone();
    // Nothing came: what was read says nothing.
    kernel.overrun();
    cluster.settle().await;
    assert_eq!(cluster.sas("a", "192.0.2.2"), before);
    kernel.count_traffic(new.0, 0, 3);
    kernel.overrun();
    cluster.settle().await;
    let after = cluster.sas("a", "192.0.2.2");
    assert!(after.len() == 1 && after[0].0 != before[0].0, "{after:?}");
}

#[tokio::test]
async fn flushed_sas_go_on_past_where_they_were_and_get_new_keys() {
    let mut cluster = Cluster::in_force().await;
    let before = cluster.sas("a", "192.0.2.2");
    cluster.hosts["a"].kernel.count_traffic(before[0].0, 1000, 0);
    cluster.hosts["a"].kernel.flush();
    cluster.pass("a").await;
    let after = cluster.sas("a", "192.0.2.2");
    assert_eq!(after[0].0, before[0].0);
    assert!(after[0].2 > 1000, "{}", after[0].2);
    wait(VANISHED).await;
    cluster.settle().await;
    assert_eq!(cluster.peers["a"].keys.len(), 2);
}

/// Whoever flushes SAs goes on with policies.
#[tokio::test]
async fn what_others_did_meanwhile_is_looked_at_before_new_keys_are_made() {
    let mut cluster = Cluster::in_force().await;
    let before = cluster.sas("a", "192.0.2.1");
    cluster.hosts["a"].kernel.flush();
    let done = cluster.pass("a").await;
    assert!(done.in_sync() && !done.losses.is_empty() && done.again);
    let same = |sas: Vec<(SaId, Crypto, u64)>| sas.into_iter().map(|sa| sa.0).collect::<Vec<_>>();
    assert_eq!(same(cluster.sas("a", "192.0.2.1")), same(before.clone()), "no SA under a new key yet");
    let done = cluster.pass("a").await;
    assert!(done.losses.is_empty() && !done.again);
    wait(VANISHED).await;
    cluster.pass("a").await;
    assert_eq!(cluster.sas("a", "192.0.2.1").len(), before.len() + 1);
}

#[tokio::test]
async fn keys_that_are_none_or_under_anothers_name_count_as_not_published() {
    let mut cluster = Cluster::in_force().await;
    let before = cluster.sas("a", "192.0.2.2");
    let peer = cluster.peers.get_mut("b").unwrap();
    for (id, public_key) in [
        ("0123456789abcdef", peer.keys[0].public_key.clone()),
        ("not an id", "AAAA".to_owned()),
        // Of small order: it is itself, and nothing comes of it.
        ("66687aadf862bd77", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned()),
    ] {
        let created_at = String::new();
        peer.keys.push(esplanade_crds::PublishedKey { id: id.to_owned(), public_key, created_at });
    }
    cluster.version += 1;
    cluster.peers.get_mut("b").unwrap().version = cluster.version;
    let done = cluster.pass("a").await;
    assert_eq!(cluster.sas("a", "192.0.2.2"), before);
    assert_eq!(done.report.peers_through, Some(cluster.version));
}

#[tokio::test]
async fn a_key_that_is_published_twice_is_one() {
    let mut cluster = Cluster::in_force().await;
    let before = [cluster.sas("a", "192.0.2.1"), cluster.sas("a", "192.0.2.2")];
    cluster.version += 1;
    let peer = cluster.peers.get_mut("b").unwrap();
    peer.keys.push(peer.keys[0].clone());
    peer.version = cluster.version;
    let done = cluster.pass("a").await;
    assert_eq!([cluster.sas("a", "192.0.2.1"), cluster.sas("a", "192.0.2.2")], before);
    assert_eq!(done.report.peers_through, Some(cluster.version));
}

#[tokio::test]
async fn whoever_publishes_anothers_key_gets_sas_of_its_own_that_it_can_not_use() {
    let mut cluster = Cluster::in_force().await;
    let before = cluster.sas("a", "192.0.2.2");
    cluster.version += 1;
    let stolen = KeyedPeer {
        node_uid: "uid-of-m".into(),
        uid: "uid-of-peer-m".into(),
        version: cluster.version,
        keys: cluster.peers["b"].keys.clone(),
    };
    cluster.peers.insert("m".into(), stolen);
    let spec = IpsecPeerSpec { addresses: vec!["192.0.2.3".into()], ..cluster.specs["b"].clone() };
    cluster.specs.insert("m".into(), spec);
    cluster.pass("a").await;
    assert_eq!(cluster.sas("a", "192.0.2.2"), before);
    // What is under one name or one key with b's would be as good as b's.
    let all: Vec<_> =
        ["192.0.2.1", "192.0.2.2", "192.0.2.3"].iter().flat_map(|to| cluster.sas("a", to)).collect();
    assert_eq!(all.len(), 4, "{all:?}");
    for (at, (id, crypto, _)) in all.iter().enumerate() {
        assert!(!all[..at].iter().any(|(other, same, _)| other.spi == id.spi || same == crypto), "{all:?}");
    }
}

#[tokio::test]
async fn keys_that_vanish_from_an_ipsec_peer_come_back_and_no_number_twice() {
    let mut cluster = Cluster::in_force().await;
    let before = cluster.sas("a", "192.0.2.2");
    cluster.hosts["a"].kernel.count_traffic(before[0].0, 1000, 0);
    let published = cluster.peers["b"].keys.clone();
    cluster.version += 1;
    let peer = cluster.peers.get_mut("b").unwrap();
    (peer.keys, peer.version) = (vec![], cluster.version);
    cluster.pass("a").await;
    cluster.settle().await;
    assert!(cluster.peers["b"].keys.iter().any(|key| published.contains(key)), "{published:?}");
    let after = cluster.sas("a", "192.0.2.2");
    assert!(!after.is_empty() && after.iter().all(|sa| sa.0 != before[0].0 || sa.2 >= 1000), "{after:?}");
}

#[tokio::test]
async fn what_the_kernel_refuses_is_the_policys_problem() {
    let mut cluster = Cluster::in_force().await;
    let id = cluster.sas("a", "192.0.2.1")[0].0;
    let kernel = &cluster.hosts["a"].kernel;
    kernel.refuse_sa(id, esplanade_model::Refusal { errno: 12, message: None });
    kernel.remove_sa(id);
    let done = cluster.pass("a").await;
    let crate::status::PassResult::Done { problems, .. } = done.report.result else { panic!("failed") };
    assert_eq!(
        (problems[0].kind, problems[0].name.as_str()),
        (esplanade_crds::ProblemKind::IpsecPolicy, "pods")
    );
}

/// Revision 2 of the policy, with another suite.
fn edited(phase: Phase) -> NodePolicy {
    let keying = policy(phase)
        .automatic
        .map(|keying| NodeAutomaticKeying { suite: Suite::ChaCha20Poly1305, ..keying });
    NodePolicy { revision: "2".into(), automatic: keying, ..policy(phase) }
}

impl Cluster {
    /// Both are told of these revisions.
    fn tell_all(&mut self, policies: &[NodePolicy]) {
        for host in self.hosts.values_mut() {
            host.spec.policies = policies.to_vec();
            host.generation += 1;
        }
    }

    fn suites(&self, name: &str, to: &str) -> Vec<bool> {
        let is_new = |crypto: &Crypto| format!("{crypto:?}").contains("ChaCha20");
        self.sas(name, to).iter().map(|(_, crypto, _)| is_new(crypto)).collect()
    }
}

#[tokio::test]
async fn an_edit_changes_the_sas_when_all_have_them_and_the_kernels_policies_stay() {
    let mut cluster = Cluster::in_force().await;
    let policies = cluster.hosts["a"].kernel.observed().policies;
    let confirmed = |done: [Done; 2]| done.map(|done| done.report.confirmed);
    cluster.tell_all(&[policy(Phase::Enforce), edited(Phase::Prepare)]);
    assert_eq!(confirmed(cluster.settle().await), [Some(true); 2]);
    // Both are taken, and it is sent as before.
    assert_eq!((cluster.suites("a", "192.0.2.1").len(), cluster.suites("a", "192.0.2.2")), (2, vec![false]));
    // An agent that dies meanwhile doesn't take the new revision for one that is sent by.
    cluster.restart("a");
    assert_eq!(confirmed(cluster.settle().await), [Some(true); 2]);
    assert_eq!(cluster.suites("a", "192.0.2.2"), [false]);

    cluster.tell_all(&[policy(Phase::Enforce), edited(Phase::Encrypt)]);
    assert_eq!(confirmed(cluster.settle().await), [Some(true); 2]);
    assert_eq!((cluster.suites("a", "192.0.2.1").len(), cluster.suites("a", "192.0.2.2")), (2, vec![true]));
    // On the way out the older one isn't gone back to.
    let going = |phase| NodePolicy { target: PhaseTarget::Absent, ..policy(phase) };
    for phase in [Phase::Encrypt, Phase::Prepare] {
        cluster.tell_all(&[going(phase), edited(Phase::Enforce)]);
        assert_eq!(confirmed(cluster.settle().await), [Some(true); 2]);
        assert_eq!(cluster.suites("a", "192.0.2.2"), [true]);
        assert_eq!(cluster.hosts["a"].kernel.observed().policies, policies);
    }
    cluster.tell_all(&[edited(Phase::Enforce)]);
    assert_eq!(confirmed(cluster.settle().await), [Some(true); 2]);
    assert_eq!(cluster.hosts["a"].kernel.observed().policies, policies);
    let told = cluster.pass("a").await.report.policies;
    assert_eq!(told.iter().map(|one| one.revision.as_str()).collect::<Vec<_>>(), ["2"]);
}

#[tokio::test]
async fn who_takes_part_in_one_revision_only_is_sent_to_as_in_that() {
    let mut cluster = Cluster::in_force().await;
    cluster.tell_all(&[policy(Phase::Enforce), edited(Phase::Enforce)]);
    for spec in cluster.specs.values_mut() {
        spec.selectors[0].revision = Some("1".into());
    }
    cluster.version += 1;
    cluster.settle().await;
    assert_eq!(cluster.suites("a", "192.0.2.2"), [false]);
    assert_eq!(cluster.suites("a", "192.0.2.1"), [false]);
}
