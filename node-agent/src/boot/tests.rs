use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use esplanade_model::{
    Action, Direction, Mark, Mode, Op, Policy, PolicyFlags, PolicyIndex, PolicyKey, Port, Protocol, Reader,
    Refusal, Reqid, SaId, Selector, Template,
};
use esplanade_xfrm::fake::{FakeKernel, ForeignPolicy};
use esplanade_xfrm::{Databases, KernelError};

use super::{CloseError, FILE, Record, close};

fn policy(direction: Direction, optional: bool) -> Policy {
    let selector = Selector::new("10.1.0.0/24".parse().unwrap(), "10.2.0.0/24".parse().unwrap()).unwrap();
    let tunnel = Some(("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()));
    let template = Template {
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        reqid: Some(Reqid::from_hash(1)),
        tunnel,
        optional,
    };
    Policy { templates: vec![template], ..Policy::new(direction, selector, 74_032, Action::Allow) }
}

/// With everything that a policy without templates can have.
fn bypass() -> Policy {
    let mut selector = Selector::new("fd00::/64".parse().unwrap(), "fd01::/64".parse().unwrap()).unwrap();
    selector.protocol = 6;
    (selector.source_port, selector.destination_port) = (Port::masked(0x1230, 0xfff0), Port::exactly(6443));
    Policy {
        interface_id: 7,
        mark: Mark::masked(3, 0xff),
        flags: PolicyFlags { icmp_errors: true, local_override: true },
        ..Policy::new(Direction::Forward, selector, 8000, Action::Allow)
    }
}

fn noted(directory: &Path, policies: &[Policy]) {
    let policies: Vec<_> = policies.iter().map(|policy| ("pods".to_owned(), policy.clone())).collect();
    Record::in_directory(directory).unwrap().note(&policies);
}

fn in_kernel(kernel: &mut FakeKernel) -> Vec<Policy> {
    kernel.dump().unwrap().policies.into_iter().filter_map(|found| found.policy).collect()
}

fn nowhere() -> BTreeSet<std::net::SocketAddr> {
    BTreeSet::new()
}

#[test]
fn what_protects_blocks_and_what_passes_passes_still() {
    let directory = tempfile::tempdir().unwrap();
    let inbound = policy(Direction::In, false);
    noted(directory.path(), &[policy(Direction::Out, false), inbound.clone(), bypass()]);
    let mut kernel = FakeKernel::new();
    assert_eq!(close(&mut kernel, directory.path(), &nowhere()).unwrap(), 3);
    let block = |policy: Policy| Policy { action: Action::Block, templates: vec![], ..policy };
    let mut found = in_kernel(&mut kernel);
    found.sort_by_key(Policy::key);
    let mut wanted = vec![block(policy(Direction::Out, false)), block(inbound), bypass()];
    wanted.sort_by_key(Policy::key);
    assert_eq!(found, wanted);
}

#[test]
fn what_arrives_in_the_clear_anyway_does_so_after_a_boot() {
    let directory = tempfile::tempdir().unwrap();
    noted(directory.path(), &[policy(Direction::In, true), policy(Direction::Forward, true)]);
    assert_eq!(close(&mut FakeKernel::new(), directory.path(), &nowhere()).unwrap(), 0);
}

#[test]
fn a_kernel_that_has_policies_of_ours_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    noted(directory.path(), &[policy(Direction::Out, false)]);
    let mut kernel = FakeKernel::new();
    let there = policy(Direction::In, false);
    let index = PolicyIndex::new(0, Direction::In);
    kernel.apply(&[Op::AddPolicy { policy: there.clone(), index }]).unwrap();
    assert_eq!(close(&mut kernel, directory.path(), &nowhere()).unwrap(), 0);
    assert_eq!(in_kernel(&mut kernel), [there]);
}

/// A kernel that isn't to be read as a whole.
struct LookedUp(FakeKernel);

impl Databases for LookedUp {
    fn read(&mut self, _: &mut dyn Reader) -> Result<(), KernelError> {
        panic!("read as a whole")
    }

    fn look_up(
        &mut self,
        sas: &[SaId],
        policies: &[PolicyKey],
        reader: &mut dyn Reader,
    ) -> Result<(), KernelError> {
        self.0.look_up(sas, policies, reader)
    }

    fn carry_out(&mut self, ops: &mut dyn Iterator<Item = Op>) -> Result<Vec<(usize, Refusal)>, KernelError> {
        self.0.carry_out(ops)
    }
}

#[test]
fn a_kernel_that_has_what_was_recorded_is_not_read_for_that() {
    let directory = tempfile::tempdir().unwrap();
    let there = policy(Direction::Out, false);
    noted(directory.path(), &[there.clone(), bypass()]);
    let mut kernel = FakeKernel::new();
    let index = PolicyIndex::new(0, Direction::Out);
    kernel.apply(&[Op::AddPolicy { policy: there.clone(), index }]).unwrap();
    assert_eq!(close(&mut LookedUp(kernel.clone()), directory.path(), &nowhere()).unwrap(), 0);
    assert_eq!(in_kernel(&mut kernel), [there]);
}

#[test]
fn what_is_somebody_elses_does_not_count_as_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let theirs = policy(Direction::Out, false);
    noted(directory.path(), &[theirs.clone(), bypass()]);
    let mut kernel = FakeKernel::new();
    kernel.insert_foreign_policy(ForeignPolicy { key: theirs.key(), index: None }).unwrap();
    close(&mut kernel, directory.path(), &nowhere()).unwrap();
    assert_eq!(in_kernel(&mut kernel), [bypass()]);
}

#[test]
fn nobody_is_locked_out_whose_api_server_has_moved() {
    let directory = tempfile::tempdir().unwrap();
    noted(directory.path(), &[policy(Direction::Out, false)]);
    let mut kernel = FakeKernel::new();
    let moved = ["10.2.0.9:6443".parse().unwrap()].into();
    close(&mut kernel, directory.path(), &moved).unwrap();
    let passes = |policy: &Policy| {
        policy.action == Action::Allow && policy.selector.destination() == "10.2.0.9/32".parse().unwrap()
    };
    assert!(in_kernel(&mut kernel).iter().any(passes));
}

#[test]
fn where_nothing_was_recorded_nothing_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(close(&mut FakeKernel::new(), directory.path(), &nowhere()).unwrap(), 0);
}

#[test]
fn what_is_no_record_is_told_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    noted(directory.path(), &[bypass()]);
    let path = directory.path().join(FILE);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}{}", text.replace("Allow", "Pass"))).unwrap();
    let error = close(&mut FakeKernel::new(), directory.path(), &nowhere()).unwrap_err();
    assert!(matches!(error, CloseError::Malformed { line: 2, .. }), "{error}");
}

#[test]
fn what_hasnt_changed_isnt_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut record = Record::in_directory(directory.path()).unwrap();
    let policies = [("pods".to_owned(), bypass())];
    record.note(&policies);
    fs::remove_file(directory.path().join(FILE)).unwrap();
    record.note(&policies);
    assert!(!directory.path().join(FILE).exists());
    record.note(&[]);
    assert_eq!(fs::read_to_string(directory.path().join(FILE)).unwrap(), "");
}
