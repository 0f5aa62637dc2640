//! The suite on a real kernel with ESP, each test in a network namespace of its own; and what only a real kernel has.
//!
//! `in-kernel` of the lab runs all of it at once on the kernel it chooses, and each test reports what happened to it
//! there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "real/cpu.rs"]
mod cpu;
#[path = "real/inside.rs"]
mod inside;
#[path = "real/interface.rs"]
mod interface;
#[path = "real/iproute.rs"]
mod iproute;
#[path = "real/iptfs.rs"]
mod iptfs;
#[path = "real/offload.rs"]
mod offload;
#[path = "real/only.rs"]
mod only;
#[path = "real/peer.rs"]
mod peer;
#[path = "real/subject.rs"]
mod subject;
mod suite;
#[path = "real/traffic.rs"]
mod traffic;

tests_of_the_suite!(inside::run);
tests_of! { only, inside::run:
    iproute2_sees_what_we_wrote
    sas_unlike_ours_keep_their_name
    marks_of_sas_are_in_normal_form
    marks_hide_one_sa_behind_another
    a_flag_of_the_kernels_own_changes_nothing
    addresses_in_transport_mode_change_nothing
    policies_unlike_ours_keep_their_name
    a_policy_with_a_longer_name_is_not_ours
    larval_sas_are_passed_over
    a_flush_is_noticed
    own_changes_are_not_even_queued
    own_changes_that_are_queued_are_no_news
    a_policy_that_expires_is_noticed
    lost_events_are_noticed
    this_kernel_can_do_what_its_release_can
}
tests_of! { traffic, inside::run:
    packets_are_counted_on_after_a_replacement
    a_tunnel_carries_both_families
    an_sa_carries_only_its_packets
    limits_are_reached_and_told
    a_packet_without_an_sa_is_told
    no_packet_passes_twice_after_a_replacement
    an_interface_in_a_selector_is_passed_by
}
tests_of! { interface, inside::run:
    an_interface_protects_what_goes_through_it
}
tests_of! { cpu, inside::run:
    each_cpu_has_its_sa_and_the_others_share_one
}
tests_of! { iptfs, inside::run:
    small_packets_go_together_and_long_ones_in_pieces
}
tests_of! { offload, inside::run:
    a_device_takes_work
}
