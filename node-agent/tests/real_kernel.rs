//! Passes over a real kernel: whatever `expand` makes of its cases, one pass puts it there, a second one finds nothing to
//! do, and a last one leaves the kernel as it was before.
//!
//! Where the running kernel has no ESP, `in-kernel` of the lab runs this in User-Mode Linux.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use esplanade_model::{Capabilities, Op, Reqid, Wanted, WantedSa};
use esplanade_node_agent::pass::{Outcome, pass};
use esplanade_sync::Engine;
use esplanade_xfrm::{Databases as _, Events, Kernel as _, Netlink, Watch};
use nix::sched::{CloneFlags, unshare};

#[path = "../expand/tests/fixture/mod.rs"]
mod fixture;

/// Set where the kernel has ESP.
const INSIDE: &str = "ESPLANADE_KERNEL_WITH_ESP";

#[test]
fn every_case() {
    if std::env::var_os(INSIDE).is_none() {
        return inside("every_case");
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("expand/tests/fixtures");
    let can = Netlink::open().unwrap().probe().unwrap();
    for folder in fixture::folders(&fixtures) {
        let mut fixture = fixture::case(&folder);
        // What an agent makes of it here: what the kernel lacks is left out.
        let present = can.iter().copied().filter(|one| fixture.kernel.has(*one)).collect();
        fixture.kernel = Capabilities::new("this one", present);
        let (expansion, node) = (fixture.expansion(), fixture.node);
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        println!("case {name}");
        in_a_namespace(move || case(&node, &expansion.wanted));
    }
}

/// Runs a test of this binary on a kernel with ESP.
fn inside(test: &str) {
    let this = std::env::current_exe().unwrap();
    // Binaries lie beside the folder of the tests.
    let in_kernel = this.parent().and_then(Path::parent).unwrap().join("in-kernel");
    let arguments = ["--".into(), this.into_os_string(), "--exact".into(), test.into(), "--nocapture".into()];
    let output = Command::new(&in_kernel).args::<_, OsString>(arguments).env(INSIDE, "1").output();
    let output = output.unwrap_or_else(|error| {
        let path = in_kernel.display();
        panic!("{path}: {error}: build it first: cargo build -p esplanade-e2e --bin in-kernel")
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "on the kernel with ESP:\n{out}{err}");
}

/// A thread of its own takes the namespace with it when it ends.
fn in_a_namespace(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of its own");
        work();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn case(node: &str, wanted: &Wanted) {
    let mut agent = Agent::new(node);
    let entries = wanted.sas.len() + wanted.policies.len();
    assert_eq!(agent.pass(wanted).operations, entries, "all of it is new");
    assert_eq!(agent.pass(wanted).operations, 0, "nothing is left to do");
    assert_eq!(Agent::new(node).pass(wanted).operations, 0, "another agent adopts it");

    let changed = changed(wanted);
    let operations = 2 * wanted.sas.len() + wanted.policies.len();
    assert_eq!(agent.pass(&changed).operations, operations, "SAs are replaced, policies changed");
    assert_eq!(agent.pass(&changed).operations, 0, "and that is all");

    delete_everything();
    assert_eq!(agent.pass(&changed).operations, entries, "all of it is back");
    assert_eq!(agent.pass(&changed).operations, 0);
    assert_eq!(agent.pass(&Wanted::default()).operations, entries);
    let left = agent.kernel.dump().unwrap();
    assert_eq!((left.sas.len(), left.policies.len(), left.foreign_policy_count), (0, 0, 0));
}

struct Agent<'a> {
    kernel: Netlink,
    watch: Events,
    node: &'a str,
    engine: Engine,
}

impl<'a> Agent<'a> {
    fn new(node: &'a str) -> Self {
        let kernel = Netlink::open().unwrap();
        let watch = kernel.watch().unwrap();
        Self { kernel, watch, node, engine: Engine::default() }
    }

    /// A pass that must leave no difference; nor does an audit find one after it.
    #[track_caller]
    fn pass(&mut self, wanted: &Wanted) -> Outcome {
        self.engine.want(wanted.clone());
        let noticed = self.watch.look().unwrap();
        assert!(!noticed.overrun);
        noticed.events.into_iter().for_each(|event| self.engine.notice(event, Duration::ZERO));
        let outcome = pass(&mut self.kernel, self.node, &mut self.engine, false).unwrap();
        assert!(outcome.in_sync && outcome.problems.is_empty(), "{outcome:?}");
        let audit = pass(&mut self.kernel, self.node, &mut self.engine, true).unwrap();
        assert_eq!((audit.operations, &audit.counts), (0, &outcome.counts));
        assert_eq!(self.engine.surprises(), 0);
        outcome
    }
}

/// The same with other reqids and priorities: what no SA can be changed in, and every policy can.
fn changed(wanted: &Wanted) -> Wanted {
    let mut changed = wanted.clone();
    let other = |reqid: Reqid| Reqid::from_hash(reqid.get() + 1);
    for (_, sa) in &mut changed.sas {
        let (WantedSa::Inbound(esplanade_model::InboundSa(sa))
        | WantedSa::Outbound(esplanade_model::OutboundSa(sa))) = sa;
        sa.reqid = other(sa.reqid);
    }
    for (_, policy) in &mut changed.policies {
        policy.priority += 1;
        policy.templates.iter_mut().for_each(|template| template.reqid = template.reqid.map(other));
    }
    changed
}

/// Somebody else deletes everything, one by one.
fn delete_everything() {
    let mut kernel = Netlink::open().unwrap();
    let observed = kernel.dump().unwrap();
    let sas = observed.sas.iter().map(|sa| Op::DeleteSa(sa.id, sa.mark));
    let policies = observed.policies.iter();
    let policies = policies.map(|one| Op::DeletePolicy {
        direction: one.key.direction,
        index: one.index,
        interface_id: one.key.interface_id,
        mark: one.key.mark,
    });
    let results = kernel.apply(&sas.chain(policies).collect::<Vec<_>>()).unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}
