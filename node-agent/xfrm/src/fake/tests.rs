#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use esplanade_model::{
    Action, Authentication, Capability, Cipher, Crypto, Direction, Event, InboundSa, Key, Mark, Op, Policy,
    PolicyIndex, Refusal, ReplayProtection, Reqid, Sa, Selector, Spi,
};

use super::FakeKernel;
use crate::{Databases as _, KernelError, Noticed, Watch};

fn sa(spi: u32) -> Sa {
    let (cipher, authentication) = (Cipher::AesCbc128, Authentication::HmacSha256);
    let key = |length: usize| Key::from(vec![1; length].as_slice());
    Sa {
        replay: ReplayProtection { window: 64, extended_sequence_numbers: true },
        ..Sa::tunnel(
            [192, 0, 2, 1].into(),
            [192, 0, 2, 2].into(),
            Spi::new(spi).unwrap(),
            Reqid::from_hash(spi),
            Crypto::encrypt_then_authenticate(cipher, key(16), authentication, key(32)).unwrap(),
        )
    }
}

fn add(spi: u32) -> Op {
    Op::AddInbound { sa: InboundSa(sa(spi)), state: None, used: None }
}

fn policy() -> (Policy, PolicyIndex) {
    let any = "0.0.0.0/0".parse().unwrap();
    let policy = Policy::new(Direction::In, Selector::new(any, any).unwrap(), 1, Action::Block);
    (policy, PolicyIndex::new(1, Direction::In))
}

fn refusal(errno: i32, words: &str) -> Refusal {
    Refusal { errno, message: Some(words.to_owned()) }
}

#[test]
fn handles_share_one_kernel() {
    let kernel = FakeKernel::new();
    assert_eq!(kernel.clone().apply(&[add(256)]).unwrap(), [Ok(())]);
    assert_eq!(kernel.observed(), kernel.clone().dump().unwrap());
    assert_eq!(kernel.log(), [add(256)]);
}

#[test]
fn missing_algorithms_are_named() {
    let mut kernel = FakeKernel::new();
    kernel.without(Capability::Cipher(Cipher::AesCbc128));
    let refused = refusal(libc::ENOSYS, "Requested CRYPT algorithm not found");
    assert_eq!(kernel.apply(&[add(256)]).unwrap(), [Err(refused)]);
    // The kernel looks for this one first.
    kernel.without(Capability::Authentication(Authentication::HmacSha256));
    let refused = refusal(libc::ENOSYS, "Requested AUTH_TRUNC algorithm not found");
    assert_eq!(kernel.apply(&[add(256)]).unwrap(), [Err(refused)]);
    assert_eq!(kernel.log(), []);
}

#[test]
fn refusals_are_for_one_object() {
    let mut kernel = FakeKernel::new();
    let (policy, index) = policy();
    kernel.apply(&[Op::AddPolicy { policy: policy.clone(), index }]).unwrap();
    kernel.refuse_sa(sa(256).id(), refusal(1, "not this SA"));
    kernel.refuse_policy(policy.key(), refusal(1, "not this policy"));
    let delete = Op::DeletePolicy { direction: Direction::In, index, interface_id: 0, mark: Mark::NONE };
    let results = kernel.apply(&[add(256), add(257), delete.clone()]).unwrap();
    assert_eq!(results, [Err(refusal(1, "not this SA")), Ok(()), Err(refusal(1, "not this policy"))]);
    kernel.refuse_nothing();
    assert_eq!(kernel.apply(&[add(256), delete]).unwrap(), [Ok(()), Ok(())]);
}

#[test]
fn a_failure_happens_once_and_changes_nothing() {
    let mut kernel = FakeKernel::new();
    kernel.fail_next(KernelError::Overrun);
    assert!(matches!(kernel.apply(&[add(256)]), Err(KernelError::Overrun)));
    assert_eq!(kernel.apply(&[add(256)]).unwrap(), [Ok(())]);
    kernel.fail_next(KernelError::Unstable(5));
    assert!(matches!(kernel.dump(), Err(KernelError::Unstable(5))));
    assert_eq!(kernel.dump().unwrap().sas.len(), 1);
}

#[test]
fn disturbances_are_noticed() {
    let mut kernel = FakeKernel::new();
    let mut watch = kernel.watch().unwrap();
    drop(kernel.watch().unwrap());
    kernel.apply(&[add(256), add(257)]).unwrap();
    assert_eq!(watch.look().unwrap(), Noticed::default());
    for disturb in [
        |kernel: &FakeKernel| kernel.replace_sa(sa(256).id(), None),
        |kernel: &FakeKernel| kernel.remove_sa(sa(257).id()),
    ] {
        assert!(disturb(&kernel));
        assert!(watch.look().unwrap().is_news());
        assert!(!watch.look().unwrap().is_news());
    }
    assert_eq!(kernel.observed().sas.iter().map(|sa| sa.sa.clone()).collect::<Vec<_>>(), [None]);
    kernel.overrun();
    assert_eq!(watch.look().unwrap(), Noticed { overrun: true, ..Noticed::default() });
    kernel.flush();
    let events = vec![Event::Flushed];
    assert_eq!(watch.look().unwrap(), Noticed { changed: true, overrun: false, events });
    assert_eq!(kernel.observed().sas, []);
}

#[test]
fn traffic_counts_and_is_no_change() {
    let mut kernel = FakeKernel::new();
    let mut watch = kernel.watch().unwrap();
    kernel.apply(&[add(256)]).unwrap();
    assert!(kernel.count_traffic(sa(256).id(), 0, 1000));
    assert!(!kernel.count_traffic(sa(257).id(), 0, 1000));
    assert_eq!(watch.look().unwrap(), Noticed::default());
    let state = &kernel.observed().sas[0].state;
    assert_eq!((state.received, state.bitmap.as_slice()), (1000, [u32::MAX; 2].as_slice()));
}
