//! What the model has no room for: ages, bounds, bad peers. The rest is in model-check.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Change, Input, MAX_KEYS, Node, Own, PeerRecord, PolicyTold, Seen, Settings, Step};
use crate::{KeyId, NodeUid, PolicyRevision, Sa, Stage, Time, Version};

const ME: NodeUid = NodeUid(1);
const PEER: NodeUid = NodeUid(2);
const OTHER: NodeUid = NodeUid(3);
const POLICY: PolicyRevision = PolicyRevision(9);
const SETTINGS: Settings = Settings { drain: 10, rotate: 1000, vanished: 3, hard: 7000 };

/// A node with an obedient kernel and API.
struct Bench {
    node: Node,
    now: Time,
    next: u64,
    version: u64,
    /// Peers' keys that nothing can be derived with.
    refused: BTreeSet<KeyId>,
    /// SAs are made on demand.
    on_demand: bool,
}

fn record(keys: &[u64]) -> PeerRecord {
    PeerRecord { keys: keys.iter().map(|id| KeyId(*id)).collect(), policies: [POLICY].into() }
}

impl Bench {
    /// With one peer that has published key 100, and a key of its own that it has acknowledged.
    fn new() -> Self {
        Self::with(false)
    }

    fn with(on_demand: bool) -> Self {
        let node = Node::new(ME, SETTINGS, Vec::new(), Time(0));
        let mut bench =
            Self { node, now: Time(0), next: 0, version: 10, refused: BTreeSet::new(), on_demand };
        let peers = vec![(ME, Version(10), record(&[])), (PEER, Version(9), record(&[100]))];
        bench.step(Input::Listed { version: Version(10), peers });
        bench.acknowledge(None, &[]);
        bench.pass();
        bench.acknowledge(Some(0), &[]);
        bench.pass();
        bench
    }

    fn step(&mut self, input: Input) -> Step {
        let refused = self.refused.clone();
        let mut spi = |sa: &Sa| {
            let [peer, own, theirs] = [sa.peer.0, u128::from(sa.own.0), u128::from(sa.theirs.0)]
                .map(|part| u32::try_from(part).unwrap_or(u32::MAX));
            (!refused.contains(&sa.theirs)).then_some((peer << 20) + (own << 10) + theirs)
        };
        let step = self.node.step(input, self.now, &mut spi);
        if step.make_key {
            let id = KeyId(self.next);
            self.next += 1;
            self.node.step(
                Input::KeyMade { id, rotate: self.now.after(SETTINGS.rotate) },
                self.now,
                &mut spi,
            );
        }
        step
    }

    fn acknowledge(&mut self, key: Option<u64>, pending: &[NodeUid]) {
        let own = Own {
            generation: 1,
            policies: vec![PolicyTold {
                revision: POLICY,
                name: Arc::from("p"),
                sends: true,
                on_demand: self.on_demand,
            }],
            acknowledged: key.map(KeyId),
            pending: pending.iter().copied().collect(),
        };
        self.step(Input::Own(own));
    }

    fn peer(&mut self, node: NodeUid, keys: &[u64]) {
        self.version += 1;
        self.step(Input::Peer { version: Version(self.version), node, change: Change::Is(record(keys)) });
    }

    /// Makes the kernel as it should be and publishes, until nothing is left to do.
    fn pass(&mut self) {
        for _ in 0..10 {
            let (wanted, there) = (self.node.inbound.keys().copied().collect(), self.node.installed.clone());
            let mut seen: Vec<Seen> = there.difference(&wanted).map(|sa| Seen::Inbound(*sa, false)).collect();
            seen.extend(wanted.difference(&there).map(|sa: &Sa| Seen::Inbound(*sa, true)));
            let outbound: Vec<Sa> = self.node.outbound().map(|wanted| wanted.sa).collect();
            seen.extend(outbound.iter().map(|sa| Seen::Outbound(*sa, Some(0))));
            let old = self
                .node
                .lanes
                .values()
                .flat_map(|lane| lane.kernel.iter().filter(|sa| !outbound.contains(sa)));
            seen.extend(old.map(|sa| Seen::Outbound(*sa, None)));
            self.step(Input::Kernel(seen));
            if let Some(publish) = self.node.publish() {
                let keys: Vec<u64> = publish.keys.iter().map(|id| id.0).collect();
                self.peer(ME, &keys);
            }
        }
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now = self.now.after(milliseconds);
        self.step(Input::Wake);
        self.pass();
    }

    fn keys(&self) -> Vec<u64> {
        self.node.records().iter().map(|record| record.id.0).collect()
    }

    fn sends_on(&self, peer: NodeUid) -> Option<(u64, u64)> {
        self.node
            .outbound()
            .map(|wanted| wanted.sa)
            .find(|sa| sa.peer == peer)
            .map(|sa| (sa.own.0, sa.theirs.0))
    }
}

#[test]
fn nothing_is_to_be_done_before_both_objects_were_seen() {
    let mut node = Node::new(ME, SETTINGS, Vec::new(), Time(0));
    let mut spi = |_: &Sa| Some(1000);
    let peers = vec![(ME, Version(1), record(&[]))];
    let step = node.step(Input::Listed { version: Version(1), peers }, Time(0), &mut spi);
    assert_eq!(step, Step::default());
    assert!(!node.ready());
    assert!(node.step(Input::Own(Own::default()), Time(0), &mut spi).make_key);
    assert!(node.ready());
}

#[test]
fn a_key_is_rotated_when_it_is_old_and_the_older_one_goes() {
    let mut bench = Bench::new();
    assert_eq!((bench.keys(), bench.sends_on(PEER)), (vec![0], Some((0, 100))));
    assert_eq!(bench.node.wake_at(bench.now), Some(Time(SETTINGS.rotate)));
    bench.wait(SETTINGS.rotate);
    assert_eq!((bench.keys(), bench.sends_on(PEER)), (vec![0, 1], Some((0, 100))));
    bench.acknowledge(Some(1), &[]);
    bench.pass();
    assert_eq!((bench.keys(), bench.sends_on(PEER)), (vec![0, 1], Some((1, 100))));
    bench.wait(SETTINGS.drain);
    assert_eq!(bench.keys(), [1]);
    assert!(bench.node.inbound().keys().all(|sa| sa.own == KeyId(1)));
}

#[test]
fn a_soft_limit_rotates_and_that_of_an_older_key_does_not() {
    let mut bench = Bench::new();
    bench.step(Input::Expired(KeyId(0)));
    bench.pass();
    assert_eq!(bench.keys(), [0, 1]);
    bench.step(Input::Expired(KeyId(0)));
    bench.acknowledge(Some(1), &[]);
    bench.pass();
    bench.wait(SETTINGS.drain);
    assert_eq!(bench.keys(), [1]);
}

#[test]
fn a_hard_age_ends_even_the_last_key() {
    let mut bench = Bench::new();
    bench.wait(SETTINGS.hard);
    // The one that was never acknowledged takes over: there is nothing to lose.
    assert_eq!((bench.keys(), bench.sends_on(PEER)), (vec![1], Some((1, 100))));
}

#[test]
fn who_does_not_answer_keeps_its_key_until_there_are_too_many() {
    let mut bench = Bench::new();
    bench.peer(OTHER, &[200]);
    bench.pass();
    for key in 1..MAX_KEYS as u64 {
        bench.step(Input::Rotate);
        bench.pass();
        assert_eq!(bench.keys(), (0..=key).collect::<Vec<_>>());
        bench.acknowledge(Some(key), &[OTHER]);
        bench.pass();
        bench.wait(SETTINGS.drain);
    }
    assert_eq!(bench.sends_on(OTHER), Some((0, 200)));
    bench.step(Input::Rotate);
    bench.wait(SETTINGS.drain);
    assert_eq!(bench.keys(), (1..=MAX_KEYS as u64).collect::<Vec<_>>());
    assert_eq!(bench.sends_on(OTHER), Some((1, 200)));
}

#[test]
fn a_key_that_nothing_can_be_derived_with_holds_up_nothing() {
    let mut bench = Bench::new();
    bench.refused.insert(KeyId(101));
    bench.peer(PEER, &[100, 101]);
    bench.pass();
    assert_eq!(bench.sends_on(PEER), Some((0, 100)));
    assert_eq!(bench.node.watermark(), Version(bench.version));
    bench.peer(PEER, &[101]);
    bench.pass();
    assert_eq!(bench.sends_on(PEER), None);
    assert_eq!(bench.node.watermark(), Version(bench.version));
}

#[test]
fn an_spi_of_somebody_else_rotates_and_holds_the_watermark() {
    let mut bench = Bench::new();
    bench.peer(PEER, &[100, 101]);
    let taken = Sa { peer: PEER, policy: POLICY, own: KeyId(0), theirs: KeyId(101) };
    bench.step(Input::Taken(taken));
    bench.pass();
    assert_eq!((bench.keys(), bench.sends_on(PEER)), (vec![0, 1], Some((0, 100))));
    assert_eq!(bench.node.watermark(), Version(11));
    assert_eq!(bench.node.collisions().collect::<Vec<_>>(), [&taken]);
    bench.acknowledge(Some(1), &[]);
    bench.pass();
    bench.wait(SETTINGS.drain);
    assert_eq!((bench.keys(), bench.sends_on(PEER)), (vec![1], Some((1, 101))));
    assert_eq!(bench.node.watermark(), Version(bench.version));
}

#[test]
fn a_new_key_with_a_taken_spi_is_thrown_away() {
    let mut bench = Bench::new();
    bench.step(Input::Rotate);
    assert_eq!(bench.node.records()[1].stage, Stage::Created);
    bench.step(Input::Taken(Sa { peer: PEER, policy: POLICY, own: KeyId(1), theirs: KeyId(100) }));
    bench.pass();
    assert_eq!(bench.keys(), [0, 2]);
}

#[test]
fn an_sa_that_vanished_is_made_again_past_what_was_seen_and_its_key_rotated() {
    let mut bench = Bench::new();
    let sa = Sa { peer: PEER, policy: POLICY, own: KeyId(0), theirs: KeyId(100) };
    bench.step(Input::Kernel(vec![Seen::Outbound(sa, Some(77))]));
    bench.step(Input::Kernel(vec![Seen::Outbound(sa, None)]));
    let wanted: Vec<_> = bench.node.outbound().collect();
    assert_eq!((wanted[0].sa, wanted[0].past), (sa, Some(77)));
    bench.pass();
    assert_eq!(bench.keys(), [0, 1]);
}

#[test]
fn a_key_whose_sa_was_put_back_is_rotated_a_moment_later() {
    let mut bench = Bench::new();
    let sa = Sa { peer: PEER, policy: POLICY, own: KeyId(0), theirs: KeyId(100) };
    let put_back = |sent| Input::Kernel(vec![Seen::Outbound(sa, None), Seen::Outbound(sa, Some(sent))]);
    bench.step(put_back(77));
    assert_eq!(bench.node.wake_at(bench.now), Some(bench.now.after(SETTINGS.vanished)));
    bench.wait(SETTINGS.vanished - 1);
    // One more doesn't put it off.
    bench.step(put_back(99));
    bench.pass();
    assert_eq!(bench.keys(), [0]);
    bench.wait(1);
    assert_eq!(bench.keys(), [0, 1]);
    // Once.
    bench.acknowledge(Some(1), &[]);
    bench.wait(SETTINGS.drain);
    bench.wait(SETTINGS.drain);
    assert_eq!(bench.keys(), [1]);
}

/// Found by a walk: its agent dies between choosing an SA under the peer's new key and making it, before anybody has told that
/// its own key is acknowledged.
#[test]
fn what_is_sent_on_stays_until_a_newer_key_is_acknowledged() {
    let mut bench = Bench::new();
    bench.peer(PEER, &[100, 101]);
    assert_eq!(bench.sends_on(PEER), Some((0, 101)));
    let sa = Sa { peer: PEER, policy: POLICY, own: KeyId(0), theirs: KeyId(100) };
    let records = bench.node.records().to_vec();
    let mut restarted = Bench { node: Node::new(ME, SETTINGS, records, bench.now), ..bench };
    restarted.step(Input::Kernel(vec![Seen::Outbound(sa, Some(5))]));
    let peers = vec![(ME, Version(50), record(&[0])), (PEER, Version(51), record(&[100, 101]))];
    restarted.step(Input::Listed { version: Version(51), peers });
    restarted.version = 51;
    restarted.acknowledge(None, &[]);
    restarted.pass();
    assert_eq!((restarted.keys(), restarted.sends_on(PEER)), (vec![0, 1], Some((0, 100))));
    restarted.acknowledge(Some(1), &[]);
    restarted.wait(SETTINGS.drain);
    restarted.wait(SETTINGS.drain);
    assert_eq!((restarted.keys(), restarted.sends_on(PEER)), (vec![1], Some((1, 101))));
}

#[test]
fn a_peers_key_that_comes_back_does_not_start_its_sa_again() {
    // Who can write to the API could else have a sequence number used twice.
    let mut bench = Bench::new();
    bench.peer(PEER, &[101]);
    bench.pass();
    bench.peer(PEER, &[100]);
    let wanted: Vec<_> = bench.node.outbound().collect();
    assert_eq!(wanted[0].past, Some(0));
    // Nor after a restart, when nobody knows how far it had come.
    let records = bench.node.records().to_vec();
    let mut restarted = Bench { node: Node::new(ME, SETTINGS, records, bench.now), ..bench };
    let peers = vec![(ME, Version(50), record(&[0])), (PEER, Version(51), record(&[100]))];
    restarted.step(Input::Listed { version: Version(51), peers });
    restarted.acknowledge(Some(0), &[]);
    assert_eq!(restarted.sends_on(PEER), None);
}

/// Somebody has deleted its IpsecPeer, and the operator makes another one, without keys at first.
#[test]
fn what_is_sent_to_a_peer_whose_object_was_made_anew_goes_on() {
    let mut bench = Bench::new();
    bench.step(Input::Peer { version: Version(90), node: PEER, change: Change::Gone });
    bench.step(Input::Peer { version: Version(91), node: PEER, change: Change::Is(record(&[])) });
    bench.pass();
    assert_eq!(bench.sends_on(PEER), None);
    bench.step(Input::Peer { version: Version(92), node: PEER, change: Change::Is(record(&[100])) });
    let wanted: Vec<_> = bench.node.outbound().collect();
    let sa = Sa { peer: PEER, policy: POLICY, own: KeyId(0), theirs: KeyId(100) };
    assert_eq!((wanted[0].sa, wanted[0].past), (sa, Some(0)));
}

#[test]
fn an_older_list_is_read_again_and_an_older_event_passed_over() {
    let mut bench = Bench::new();
    let before = bench.node.clone();
    assert!(bench.step(Input::Listed { version: Version(5), peers: Vec::new() }).list_again);
    bench.step(Input::Peer { version: Version(5), node: PEER, change: Change::Gone });
    assert_eq!(bench.node, before);
}

#[test]
fn a_peer_that_is_gone_takes_its_sas_along() {
    let mut bench = Bench::new();
    bench.step(Input::Peer { version: Version(90), node: PEER, change: Change::Gone });
    bench.pass();
    assert_eq!((bench.node.inbound().len(), bench.sends_on(PEER), bench.node.lanes.len()), (0, None, 0));
}

#[test]
fn an_sa_on_demand_is_made_when_a_packet_asks_for_it_and_stays() {
    let mut bench = Bench::with(true);
    let ask = |bench: &mut Bench, peer| bench.step(Input::Asked { peer, policy: POLICY });
    // All that it receives on is there, and it says so; clear text can be given up.
    assert_eq!(bench.sends_on(PEER), None);
    assert!(bench.node.inbound().keys().any(|sa| sa.peer == PEER));
    assert_eq!(bench.node.watermark(), Version(bench.version));
    assert!(bench.node.sends_surely(POLICY));
    ask(&mut bench, OTHER);
    ask(&mut bench, PEER);
    assert_eq!(bench.sends_on(PEER), Some((0, 100)));
    assert!(!bench.node.sends_surely(POLICY));
    bench.pass();
    assert!(bench.node.sends_surely(POLICY));
    // It is renewed as any other.
    bench.step(Input::Rotate);
    bench.pass();
    bench.acknowledge(Some(1), &[]);
    bench.pass();
    assert_eq!(bench.sends_on(PEER), Some((1, 100)));
    // One that an agent before this one left was asked for.
    let sa = bench.node.outbound().next().unwrap().sa;
    let records = bench.node.records().to_vec();
    let mut restarted = Bench { node: Node::new(ME, SETTINGS, records, bench.now), ..bench };
    restarted.step(Input::Kernel(vec![Seen::Outbound(sa, Some(5))]));
    let peers = vec![(ME, Version(50), record(&[0, 1])), (PEER, Version(9), record(&[100]))];
    restarted.step(Input::Listed { version: Version(51), peers });
    restarted.acknowledge(Some(1), &[]);
    assert_eq!(restarted.sends_on(PEER), Some((1, 100)));
}

#[test]
fn clear_text_is_not_given_up_for_what_would_be_sent_under_a_key_that_nobody_is_known_to_have() {
    let mut bench = Bench::with(true);
    bench.acknowledge(Some(0), &[]);
    bench.peer(OTHER, &[200]);
    bench.acknowledge(Some(0), &[OTHER]);
    bench.pass();
    // Who doesn't answer isn't waited for.
    assert!(bench.node.sends_surely(POLICY));
    let mut fresh = Bench::with(true);
    fresh.node.acknowledged = None;
    assert!(!fresh.node.sends_surely(POLICY));
}

#[test]
fn an_sa_that_was_there_before_stays_when_it_is_to_be_made_on_demand() {
    let mut bench = Bench::new();
    bench.on_demand = true;
    bench.acknowledge(Some(0), &[]);
    bench.pass();
    assert_eq!(bench.sends_on(PEER), Some((0, 100)));
    bench.peer(OTHER, &[200]);
    bench.pass();
    assert_eq!(bench.sends_on(OTHER), None);
    bench.on_demand = false;
    bench.acknowledge(Some(0), &[]);
    assert_eq!(bench.sends_on(OTHER), Some((0, 200)));
}
