//! The suite on the fake kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod suite;

use std::net::IpAddr;

use esplanade_model::{PolicyKey, SaId};
use esplanade_xfrm::Watch;
use esplanade_xfrm::fake::{FakeKernel, ForeignPolicy, ForeignSa};
use suite::Subject;

fn run(_name: &str, test: fn(&mut dyn Subject)) {
    test(&mut FakeKernel::new());
}

tests_of_the_suite!(run);

impl Subject for FakeKernel {
    fn add_foreign_sa(&mut self, _source: IpAddr, id: SaId, reqid: u32) {
        self.insert_foreign_sa(ForeignSa { id, reqid }).unwrap();
    }

    fn add_foreign_policy(&mut self, key: PolicyKey, index: Option<u32>) {
        self.insert_foreign_policy(ForeignPolicy { key, index }).unwrap();
    }

    fn remove_as_another(&mut self, sas: &[SaId], policies: &[PolicyKey]) {
        assert!(sas.iter().all(|id| self.remove_sa(*id)));
        assert!(policies.iter().all(|key| self.remove_policy(*key)));
    }

    fn raw(&mut self) -> Vec<Vec<u8>> {
        let (sas, policies) = self.foreign();
        let observed = self.observed();
        let text = |one: &dyn std::fmt::Debug| format!("{one:?}").into_bytes();
        let mut records: Vec<_> = sas.iter().map(|one| text(one)).collect();
        records.extend(policies.iter().map(|one| text(one)));
        records.extend(observed.sas.iter().map(|one| text(one)));
        records.extend(observed.policies.iter().map(|one| text(one)));
        records.extend(std::iter::repeat_n(b"larval".to_vec(), self.larval_sas()));
        records.sort();
        records
    }

    fn start_watch(&mut self) -> Box<dyn Watch> {
        Box::new(self.watch().unwrap())
    }
}
