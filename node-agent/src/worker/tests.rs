use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use esplanade_crds::{
    Action, IpsecNodeStateSpec, IpsecPeerSpec, Mode, NodePolicy, PeerSelectors, Phase, ProblemKind, Protocol,
};
use esplanade_model::{
    Action as KernelAction, Capability, DefaultActions, Direction, Policy, Port, Selector, Threshold,
};
use esplanade_seal::KeyPair;
use esplanade_xfrm::fake::{FakeKernel, ForeignPolicy};
use esplanade_xfrm::{KernelError, Noticed, PolicySettings as _};

use super::{Done, News, Reasons, Worker};
use crate::desired::Input;
use crate::keying::Keying;
use crate::notices::Notices;
use crate::ports::InMemory;
use crate::status::PassResult;

/// A discard of everything from the node's pods to b's.
fn input(version: u64) -> Input {
    let policy = NodePolicy {
        name: "drop".into(),
        uid: String::new(),
        revision: String::new(),
        phase: Phase::Enforce,
        target: Default::default(),
        priority: 500,
        action: Action::Discard,
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
        automatic: None,
    };
    let peer = |address: &str, network: &str| IpsecPeerSpec {
        addresses: vec![address.to_owned()],
        selectors: vec![PeerSelectors {
            policy: "drop".into(),
            revision: None,
            from: vec![network.to_owned()],
            to: vec![network.to_owned()],
        }],
    };
    let peers = [
        ("a".to_owned(), peer("192.0.2.1", "10.1.0.0/24")),
        ("b".to_owned(), peer("192.0.2.2", "10.2.0.0/24")),
    ];
    Input {
        version,
        uid: Some("uid".into()),
        generation: Some(1),
        spec: Arc::new(IpsecNodeStateSpec { policies: vec![policy], ..IpsecNodeStateSpec::default() }),
        peers: Arc::new(peers.into()),
        keyed: Arc::default(),
        rotate_before: None,
        given_up: Default::default(),
        peers_through: Some(9),
        allocated: vec![],
        problems: vec![],
        api_server: Arc::new(["192.0.2.9:6443".parse().unwrap()].into()),
        block: false,
    }
}

/// Of a node without any automatic keys.
fn keying() -> Keying {
    Keying::new("a", Path::new("/nonexistent"), "boot")
}

/// A worker on the kernel, and how often it opened it.
fn start(kernel: &FakeKernel) -> (Worker, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let (kernel, count) = (kernel.clone(), Arc::clone(&opened));
    let open = Box::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok((Box::new(kernel.clone()) as _, Box::new(kernel.watch()?) as _))
    });
    let (keys, ports) = (KeyPair::from_bytes(&[7; 32]), Box::new(InMemory));
    (Worker::start("a", "6.1.0", keys, Default::default(), keying(), open, ports).unwrap(), opened)
}

async fn done(worker: &mut Worker) -> Done {
    loop {
        if let News::Done(done) = worker.news().await.unwrap() {
            return *done;
        }
    }
}

#[tokio::test]
async fn many_policies_are_hashed_before_they_are_written() {
    let mut kernel = FakeKernel::new();
    let (mut worker, _) = start(&kernel);
    let few = input(1);
    let mut many = Input { version: 2, ..few.clone() };
    let peers = (0..50).map(|number| {
        let mut peer = few.peers["b"].clone();
        peer.selectors[0].from = vec![format!("10.2.{number}.0/24")];
        (format!("b{number}"), peer)
    });
    many.peers =
        Arc::new(few.peers.iter().map(|(name, peer)| (name.clone(), peer.clone())).chain(peers).collect());
    for (input, length) in [(few, 32), (many, 24)] {
        worker.pass(input, Reasons::default()).unwrap();
        assert!(done(&mut worker).await.in_sync());
        let pair = Threshold { local: length, remote: length };
        assert_eq!(kernel.thresholds().unwrap().v4, pair);
    }
}

/// The same input, where what no policy covers is to be dropped.
fn blocking(version: u64) -> Input {
    Input { block: true, ..input(version) }
}

fn default_actions(kernel: &FakeKernel) -> Option<DefaultActions> {
    kernel.clone().default_actions().unwrap()
}

#[tokio::test]
async fn what_no_policy_covers_is_dropped_and_passes_again() {
    let kernel = FakeKernel::new();
    let (mut worker, _) = start(&kernel);
    worker.pass(blocking(1), Reasons::default()).unwrap();
    let closed = done(&mut worker).await;
    assert!(closed.in_sync());
    assert_eq!(default_actions(&kernel), Some(DefaultActions::all(KernelAction::Block)));
    let exempt = kernel.observed().policies.len();
    // Somebody opens it.
    kernel.clone().set_default_actions(DefaultActions::all(KernelAction::Allow)).unwrap().unwrap();
    worker.pass(blocking(1), Reasons::default()).unwrap();
    assert!(done(&mut worker).await.in_sync());
    assert_eq!(default_actions(&kernel), Some(DefaultActions::all(KernelAction::Block)));
    worker.pass(input(2), Reasons::default()).unwrap();
    assert!(done(&mut worker).await.in_sync());
    assert_eq!(default_actions(&kernel), Some(DefaultActions::all(KernelAction::Allow)));
    assert_eq!(kernel.observed().policies.len(), 3);
    assert!(exempt > 3);
}

#[tokio::test]
async fn nothing_is_dropped_before_all_that_must_pass_is_let_pass() {
    let kernel = FakeKernel::new();
    let (mut worker, _) = start(&kernel);
    // Somebody else has a policy of the same name, whatever it does.
    let address = |text: &str| text.parse().unwrap();
    let mut selector = Selector::new(address("0.0.0.0/0"), address("192.0.2.9/32")).unwrap();
    (selector.protocol, selector.destination_port) = (6, Port::exactly(6443));
    let key = Policy::new(Direction::Out, selector, 1, KernelAction::Block).key();
    kernel.insert_foreign_policy(ForeignPolicy { key, index: None }).unwrap();
    worker.pass(blocking(1), Reasons::default()).unwrap();
    let open = done(&mut worker).await;
    assert!(!open.in_sync());
    assert_eq!(default_actions(&kernel), Some(DefaultActions::all(KernelAction::Allow)));
    let PassResult::Done { problems, .. } = open.report.result else { panic!("it ends") };
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(problem.message.contains("0.0.0.0/0 → 192.0.2.9/32 pass (Out)"), "{problem:?}");
    assert!(kernel.remove_policy(key));
    worker.pass(blocking(1), Reasons { audit: true, ..Reasons::default() }).unwrap();
    assert!(done(&mut worker).await.in_sync());
    assert_eq!(default_actions(&kernel), Some(DefaultActions::all(KernelAction::Block)));
}

#[tokio::test]
async fn a_kernel_that_can_not_drop_what_no_policy_covers_is_told_of() {
    let kernel = FakeKernel::new();
    kernel.without_default_actions();
    let (mut worker, _) = start(&kernel);
    worker.pass(blocking(1), Reasons::default()).unwrap();
    let PassResult::Done { problems, in_sync, .. } = done(&mut worker).await.report.result else {
        panic!("it ends")
    };
    assert!(!in_sync);
    let told: Vec<_> = problems.iter().map(|problem| (problem.kind, problem.category.as_str())).collect();
    assert_eq!(told, [(ProblemKind::Node, "UnsupportedByKernel")]);
    // And one that isn't to isn't asked.
    worker.pass(input(2), Reasons::default()).unwrap();
    assert!(done(&mut worker).await.in_sync());
}

#[tokio::test]
async fn a_pass_reports_what_it_was_made_for() {
    let kernel = FakeKernel::new();
    let (mut worker, _) = start(&kernel);
    worker.pass(input(1), Reasons::default()).unwrap();
    let first = done(&mut worker).await;
    assert_eq!((first.report.generation, first.report.peers_through), (Some(1), Some(9)));
    assert_eq!((first.operations, first.in_sync()), (3, true));
    worker.pass(input(1), Reasons::default()).unwrap();
    assert_eq!(done(&mut worker).await.operations, 0);
}

#[tokio::test]
async fn a_kernel_that_failed_is_opened_afresh() {
    let kernel = FakeKernel::new();
    let (mut worker, opened) = start(&kernel);
    worker.pass(input(1), Reasons::default()).unwrap();
    done(&mut worker).await;
    kernel.fail_next(KernelError::Overrun);
    worker.pass(input(1), Reasons { audit: true, ..Reasons::default() }).unwrap();
    let failed = done(&mut worker).await;
    assert!(!failed.in_sync());
    assert!(matches!(failed.report.result, PassResult::Failed { category: "AnswersLost", .. }));
    worker.pass(input(1), Reasons::default()).unwrap();
    assert!(done(&mut worker).await.in_sync());
    assert_eq!(opened.load(Ordering::SeqCst), 2);
    worker.reopen().unwrap();
    worker.pass(input(1), Reasons::default()).unwrap();
    done(&mut worker).await;
    assert_eq!(opened.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_kernel_that_can_not_be_opened_is_reported() {
    let open = Box::new(|_| {
        let source = std::io::Error::from_raw_os_error(1);
        Err(KernelError::Open { step: "socket", source })
    });
    let (keys, ports) = (KeyPair::from_bytes(&[7; 32]), Box::new(InMemory));
    let mut worker = Worker::start("a", "6.1.0", keys, Default::default(), keying(), open, ports).unwrap();
    worker.pass(input(1), Reasons::default()).unwrap();
    let PassResult::Failed { category, message } = done(&mut worker).await.report.result else {
        panic!("it fails")
    };
    assert_eq!(category, "SocketUnavailable");
    assert!(message.contains("CAP_NET_ADMIN is needed"), "{message}");
}

#[tokio::test]
async fn changes_of_others_are_noticed_and_own_ones_are_not() {
    let kernel = FakeKernel::new();
    let (mut worker, _) = start(&kernel);
    worker.pass(input(1), Reasons::default()).unwrap();
    let News::Opened(watch) = worker.news().await.unwrap() else { panic!("opened first") };
    let mut notices = Notices::new(watch).unwrap();
    assert!(done(&mut worker).await.in_sync());
    // Only the flush is news.
    kernel.flush();
    let noticed = notices.changed().await.unwrap();
    assert!(noticed.changed && !noticed.overrun);
    kernel.overrun();
    assert!(notices.changed().await.unwrap().overrun);
    assert_eq!(notices.now().unwrap(), Noticed::default());
    worker.pass(input(1), Reasons { noticed, audit: false }).unwrap();
    assert_eq!(done(&mut worker).await.operations, 3);
}

#[tokio::test]
async fn the_kernel_is_asked_once_what_it_can_do() {
    let kernel = FakeKernel::new();
    kernel.without(Capability::Interfaces);
    let (mut worker, opened) = start(&kernel);
    let through_an_interface = |version| {
        let mut input = input(version);
        let mut spec = (*input.spec).clone();
        spec.policies[0].interface_id = 7;
        input.spec = Arc::new(spec);
        input
    };
    worker.pass(through_an_interface(1), Reasons::default()).unwrap();
    let first = done(&mut worker).await;
    let capabilities = first.report.capabilities.unwrap();
    assert!(capabilities.contains(&"SADirection".to_owned()), "{capabilities:?}");
    assert!(!capabilities.contains(&"XFRMInterfaces".to_owned()), "{capabilities:?}");
    let PassResult::Done { problems, in_sync: true, .. } = first.report.result else { panic!("failed") };
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert_eq!(
        (problem.category.as_str(), problem.name.as_str(), problem.message.as_str()),
        (
            "UnsupportedByKernel",
            "drop",
            "kernel 6.1.0 has no XFRM interfaces (module xfrm_interface, CONFIG_XFRM_INTERFACE): remove interfaceId, \
             or give the node a kernel (or a kernel module) that has, and restart its agent. Until then the node \
             drops what must be protected"
        )
    );
    // A kernel that can't be asked any more is opened again, and is the same one.
    kernel.fail_next(KernelError::Overrun);
    worker.pass(input(2), Reasons::default()).unwrap();
    assert!(!done(&mut worker).await.in_sync());
    kernel.without(Capability::Direction);
    worker.pass(input(2), Reasons::default()).unwrap();
    assert_eq!(done(&mut worker).await.report.capabilities, Some(capabilities));
    assert_eq!(opened.load(Ordering::SeqCst), 2);
}
