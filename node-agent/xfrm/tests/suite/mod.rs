//! What a kernel does, as far as the agent relies on it. The same tests run on the real kernel and on the fake one.

pub(crate) mod objects;
pub(crate) mod strategies;

mod allocation;
mod compression;
mod cpu;
mod encapsulation;
mod foreign;
mod iptfs;
mod keepalive;
mod lifetimes;
mod look_ups;
mod moves;
mod policies;
mod probe;
mod refusals;
mod sas;
mod settings;
mod state;
mod table;
mod watch;

use std::collections::BTreeMap;
use std::net::IpAddr;

use esplanade_model::{ObservedPolicy, Op, PolicyKey, Refusal, Sa, SaId};
use esplanade_xfrm::{Kernel, Watch};

pub(crate) use allocation::*;
pub(crate) use compression::*;
pub(crate) use cpu::*;
pub(crate) use encapsulation::*;
pub(crate) use foreign::*;
pub(crate) use iptfs::*;
pub(crate) use keepalive::*;
pub(crate) use lifetimes::*;
pub(crate) use look_ups::*;
pub(crate) use moves::*;
pub(crate) use policies::*;
pub(crate) use probe::*;
pub(crate) use refusals::*;
pub(crate) use sas::*;
pub(crate) use settings::*;
pub(crate) use state::*;
pub(crate) use table::*;
pub(crate) use watch::*;

/// A kernel under test, and what somebody else may do to it.
pub(crate) trait Subject: Kernel {
    /// Somebody else adds an SA.
    fn add_foreign_sa(&mut self, source: IpAddr, id: SaId, reqid: u32);
    /// Somebody else adds a policy, and gets this index or the kernel's choice.
    fn add_foreign_policy(&mut self, key: PolicyKey, index: Option<u32>);
    /// Somebody else deletes SAs and policies of ours.
    fn remove_as_another(&mut self, sas: &[SaId], policies: &[PolicyKey]);
    /// Both databases, one record after the other, to the last bit.
    fn raw(&mut self) -> Vec<Vec<u8>>;
    /// Tells of changes from now on.
    fn start_watch(&mut self) -> Box<dyn Watch>;
}

/// Makes a `#[test]` of each test of the suite: `run(name, test)`.
#[macro_export]
macro_rules! tests_of_the_suite {
    ($run:path) => {
        $crate::tests_of! { suite, $run:
            empty_databases_show_nothing
            every_combination_of_algorithms_reads_back
            every_replay_window_reads_back
            directions_read_back
            directed_sas_go_on_where_they_were
            every_selector_of_an_sa_reads_back
            the_interface_of_an_sa_reads_back
            the_marks_of_an_sa_read_back
            a_marked_sa_is_deleted_by_its_mark
            udp_ports_read_back
            ipcomp_reads_back
            an_update_changes_udp_ports
            an_update_adds_no_encapsulation
            an_sa_of_a_cpu_reads_back
            an_sa_of_a_cpu_that_is_not_there_is_refused
            iptfs_reads_back
            iptfs_that_the_kernel_cannot_do_is_refused
            keepalives_read_back
            generated_sas_read_back
            deleted_sas_are_gone
            an_sa_without_state_starts_at_zero
            sequence_numbers_go_on_after_a_replacement
            windows_move_into_other_windows
            generated_states_read_back
            a_state_is_set_in_place
            the_state_of_one_sa_is_told
            a_state_that_does_not_fit_changes_nothing
            an_sa_takes_the_place_of_a_larval_one
            a_larval_sa_keeps_its_spi
            a_filled_sa_goes_on_where_it_is_told
            an_index_of_ipcomp_is_chosen
            every_limit_reads_back
            what_is_used_up_goes_on
            an_update_changes_next_to_nothing
            an_update_needs_an_sa
            every_change_of_an_sa_is_made
            every_change_of_a_policy_is_made
            every_selector_reads_back
            every_template_reads_back
            policies_of_interfaces_are_others
            policies_of_marks_and_interfaces_are_others
            flags_read_back
            generated_policies_read_back
            an_update_keeps_the_index
            an_update_adds_what_is_missing
            deleted_policies_are_gone
            deleting_what_is_gone_is_a_success
            a_taken_index_is_replaced
            others_are_left_alone
            names_of_others_collide
            indexes_of_others_are_taken
            one_refusal_stops_nothing_else
            refusals_in_a_large_batch_name_the_right_operation
            an_sa_is_added_once
            a_policy_is_added_once_whatever_its_priority
            unfit_windows_are_refused
            unfit_selectors_are_refused
            ah_in_udp_is_refused
            unfit_ipcomp_is_refused
            unfit_templates_are_refused
            an_index_must_fit_the_direction
            probing_changes_nothing
            what_a_probe_finds_can_be_had
            own_changes_are_no_news
            what_others_do_between_own_changes_is_told
            changes_of_others_are_noticed
            the_last_of_a_deleted_sa_is_told
            what_is_looked_up_reads_as_in_a_dump
            what_is_not_there_is_told
            many_are_looked_up_at_once
            what_was_seen_is_recognised
            sas_and_templates_move_as_they_are
            an_sa_in_transport_mode_moves_by_its_policy
            what_cannot_move_stays
            thresholds_read_back
            unfit_thresholds_are_refused
            policies_stay_when_thresholds_change
            default_actions_read_back
        }
    };
}

/// Makes a `#[test]` of each test of a module.
#[macro_export]
macro_rules! tests_of {
    ($module:ident, $run:path: $($name:ident)*) => {
        $(#[test] fn $name() { $run(stringify!($name), $module::$name); })*
    };
}

/// Carries out operations that must all succeed.
#[track_caller]
pub(crate) fn must(kernel: &mut dyn Subject, ops: &[Op]) {
    for (op, result) in ops.iter().zip(apply(kernel, ops)) {
        if let Err(refusal) = result {
            panic!("{op:?}: {refusal}");
        }
    }
}

#[track_caller]
pub(crate) fn apply(kernel: &mut dyn Subject, ops: &[Op]) -> Vec<Result<(), Refusal>> {
    let results = kernel.apply(ops).unwrap();
    assert_eq!(results.len(), ops.len());
    results
}

/// The one refusal among the results, of the operation at this place.
#[track_caller]
pub(crate) fn refused(results: Vec<Result<(), Refusal>>, at: usize) -> Refusal {
    let mut refusals = results.into_iter().enumerate().filter_map(|(at, result)| Some((at, result.err()?)));
    let (place, refusal) = refusals.next().expect("nothing was refused");
    assert_eq!(place, at, "{refusal}");
    assert_eq!(refusals.next(), None);
    refusal
}

/// Our SAs in the kernel; each must be one that we could have written.
#[track_caller]
pub(crate) fn sas(kernel: &mut dyn Subject) -> BTreeMap<SaId, Sa> {
    let observed = kernel.dump().unwrap();
    let count = observed.sas.len();
    let read = |sa: esplanade_model::ObservedSa| match sa.sa {
        Some(read) => (sa.id, read),
        None => panic!("{} does not read back", sa.id),
    };
    let sas: BTreeMap<_, _> = observed.sas.into_iter().map(read).collect();
    assert_eq!(sas.len(), count);
    sas
}

/// Our policies in the kernel.
#[track_caller]
pub(crate) fn policies(kernel: &mut dyn Subject) -> BTreeMap<PolicyKey, ObservedPolicy> {
    let observed = kernel.dump().unwrap();
    let count = observed.policies.len();
    let policies: BTreeMap<_, _> = observed.policies.into_iter().map(|one| (one.key, one)).collect();
    assert_eq!(policies.len(), count);
    policies
}
