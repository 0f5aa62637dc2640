//! What the kernel refuses, and in which words.

use esplanade_model::{Direction, Mode, Op, Policy, PolicyIndex, Refusal, Sa, Template};

use super::objects::{add, extended, inbound, outbound, policy, replay, sa, selector_v6, tunnel};
use super::{Subject, apply, must, policies, refused, sas};

fn invalid(words: &str) -> Refusal {
    Refusal { errno: libc::EINVAL, message: Some(words.to_owned()) }
}

fn too_wide(number: u32) -> Sa {
    Sa { replay: replay(4097), ..sa(number) }
}

pub(crate) fn one_refusal_stops_nothing_else(kernel: &mut dyn Subject) {
    let ops = [
        inbound(sa(1)),
        add(policy(Direction::In, 1), 1),
        inbound(too_wide(2)),
        outbound(sa(3)),
        add(policy(Direction::Out, 1), 2),
    ];
    let refusal = refused(apply(kernel, &ops), 2);
    assert_eq!(refusal.errno, libc::EINVAL);
    assert!(refusal.message.is_some());
    assert_eq!(sas(kernel).into_keys().collect::<Vec<_>>(), [sa(1).id(), sa(3).id()]);
    assert_eq!(policies(kernel).len(), 2);
}

pub(crate) fn refusals_in_a_large_batch_name_the_right_operation(kernel: &mut dyn Subject) {
    let bad = |number: u32| number % 97 == 5;
    let sa = |number| if bad(number) { too_wide(number) } else { sa(number) };
    let ops: Vec<_> = (0..1000).map(|number| inbound(sa(number))).collect();
    for (result, number) in apply(kernel, &ops).into_iter().zip(0..) {
        assert_eq!(result.is_err(), bad(number), "{number}");
    }
    let good = (0..1000).filter(|number| !bad(*number)).map(|number| (sa(number).id(), sa(number)));
    assert_eq!(sas(kernel), good.collect());
}

pub(crate) fn an_sa_is_added_once(kernel: &mut dyn Subject) {
    must(kernel, &[inbound(sa(1))]);
    let before = kernel.raw();
    // The source isn't part of the name, nor is the rest.
    let other = Sa { source: super::objects::v4(77), reqid: super::objects::reqid(5), ..sa(1) };
    for again in [inbound(sa(1)), outbound(sa(1)), inbound(other)] {
        assert_eq!(refused(apply(kernel, &[again]), 0).errno, libc::EEXIST);
    }
    assert_eq!(kernel.raw(), before);
}

pub(crate) fn a_policy_is_added_once_whatever_its_priority(kernel: &mut dyn Subject) {
    must(kernel, &[add(policy(Direction::In, 1), 1)]);
    let before = kernel.raw();
    let again = Policy { priority: 1, ..policy(Direction::In, 1) };
    assert_eq!(refused(apply(kernel, &[add(again, 2)]), 0).errno, libc::EEXIST);
    assert_eq!(kernel.raw(), before);
}

pub(crate) fn unfit_windows_are_refused(kernel: &mut dyn Subject) {
    let words =
        |kernel: &mut dyn Subject, replay| refused(apply(kernel, &[inbound(Sa { replay, ..sa(1) })]), 0);
    assert_eq!(words(kernel, replay(4097)), invalid("ESN bitmap length must be <= 128"));
    assert_eq!(words(kernel, extended(4097)), invalid("ESN bitmap length must be <= 128"));
    assert_eq!(words(kernel, replay(u32::MAX)), invalid("ESN bitmap length must be <= 128"));
    assert_eq!(words(kernel, extended(0)), invalid("ESN replay window must be > 0"));
    assert!(sas(kernel).is_empty());
}

pub(crate) fn unfit_selectors_are_refused(kernel: &mut dyn Subject) {
    let sa = Sa { mode: Mode::Transport, selector: Some(selector_v6(1)), ..sa(1) };
    let words = "Only tunnel modes can accommodate a change of family";
    let refusal = Refusal { errno: libc::EPROTONOSUPPORT, message: Some(words.to_owned()) };
    assert_eq!(refused(apply(kernel, &[inbound(sa)]), 0), refusal);
    assert!(sas(kernel).is_empty());
}

pub(crate) fn unfit_templates_are_refused(kernel: &mut dyn Subject) {
    let mut with = |direction, templates| {
        let policy = Policy { templates, ..policy(direction, 1) };
        refused(apply(kernel, &[add(policy, 1)]), 0)
    };
    let optional = Template { optional: true, ..tunnel(1) };
    assert_eq!(
        with(Direction::Out, vec![optional]),
        invalid("Mode in optional template not allowed in outbound policy")
    );
    assert_eq!(
        with(Direction::In, vec![tunnel(1); 7]),
        invalid("Template count must be <= XFRM_MAX_DEPTH (6)")
    );
    assert!(policies(kernel).is_empty());
}

pub(crate) fn an_index_must_fit_the_direction(kernel: &mut dyn Subject) {
    let index = PolicyIndex::new(1, Direction::Out);
    let op = Op::AddPolicy { policy: policy(Direction::In, 1), index };
    assert_eq!(refused(apply(kernel, &[op]), 0), invalid("Policy index doesn't match direction"));
}
