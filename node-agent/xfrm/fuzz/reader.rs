//! Everything that reads what the kernel sends, and what must hold whatever the bytes are.

use esplanade_model::{InboundSa, ObservedPolicy, ObservedSa, Op, Used};
use esplanade_xfrm::KernelError;
use esplanade_xfrm::wire::batch::Answers;
use esplanade_xfrm::wire::reply::{Message, Messages};
use esplanade_xfrm::wire::shown::{Content, Shown};
use esplanade_xfrm::wire::{
    Decode, Dumped, Glancer, Observer, PolicyRecord, SaRecord, decode_event, decode_state, encode, replay,
};

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Lengths of the fixed headers (`struct xfrm_usersa_info`, `struct xfrm_userpolicy_info`).
const SA_HEADER: usize = 224;
const POLICY_HEADER: usize = 168;

/// Reads the bytes as a datagram. Panics where the decoder breaks a promise.
pub(crate) fn read(datagram: &[u8]) {
    let mut observer = Observer::default();
    let (mut read, mut cut) = (0, false);
    for message in Messages::of(datagram) {
        assert!(!cut, "a message behind one cut short");
        let message = match message {
            Ok(message) => message,
            // It says that others were lost, not that it is.
            Err(KernelError::Overrun) => continue,
            Err(_) => {
                cut = true;
                continue;
            }
        };
        read += HEADER + message.body.len();
        let _ = message.error();
        let _ = message.done();
        if read == HEADER + message.body.len() {
            answer(datagram, message.sequence);
        }
        let _ = decode_event(&message);
        // Whatever it says it is.
        glances(message.body);
        shown(message);
        sa(message.body);
        policy(message.body);
        for of in [Dumped::Sas, Dumped::Policies] {
            let _ = observer.record(of, message.body);
        }
    }
    assert!(read <= datagram.len());
    let observed = observer.finish();
    assert!(observed.foreign_sas.len() <= observed.foreign_sa_count);
    assert!(observed.foreign_policies.len() <= observed.foreign_policy_count);
}

/// As each kind of message, known or not: nothing of it is passed over in silence.
fn shown(message: Message<'_>) {
    for message_type in std::iter::once(message.message_type).chain(0x10..0x2b) {
        let mut message = message;
        message.message_type = message_type;
        let shown = Shown::of(&message);
        if let Content::Unreadable { withheld_bytes } = shown.content {
            assert_eq!(withheld_bytes, message.body.len());
        }
        assert!(shown.attributes.len() * 4 + shown.unread_bytes <= message.body.len());
    }
}

/// The datagram as the answer to three requests, the second of which has its first message's number.
fn answer(datagram: &[u8], sequence: u32) {
    let mut answers = Answers::to([Some(3); 3], sequence.wrapping_sub(1));
    let _ = answers.take(datagram);
    assert_eq!(answers.into_results().len(), 3);
}

/// Records that look the same at a glance are the same; what is taken for counters can be read.
fn glances(body: &[u8]) {
    let glancer = Glancer::default();
    assert_eq!(glancer.sa(body), glancer.clone().sa(body));
    assert_eq!(glancer.policy(body), glancer.clone().policy(body));
    assert_eq!(decode_state(body).is_err(), body.len() < SA_HEADER);
}

/// An SA that reads as one of ours is one: written, it reads the same.
fn sa(body: &[u8]) {
    let Ok(record) = SaRecord::decode(body) else {
        return assert!(body.len() < SA_HEADER);
    };
    let SaRecord::Ours(ObservedSa { id, mark, sa: Some(sa), state, .. }) = record else { return };
    assert_eq!(sa.id(), id);
    let state = replay::fitted(&state, sa.replay);
    let written =
        encode(&Op::AddInbound { sa: InboundSa(sa.clone()), state: Some(state.clone()), used: None });
    let read = SaRecord::decode(&written.body).ok();
    let used = Used::default();
    assert_eq!(read, Some(SaRecord::Ours(ObservedSa { id, mark, sa: Some(sa), state, used })));
}

/// As for SAs.
fn policy(body: &[u8]) {
    let Ok(record) = PolicyRecord::decode(body) else {
        return assert!(body.len() < POLICY_HEADER);
    };
    let PolicyRecord::Ours(ObservedPolicy { index, key, policy: Some(policy) }) = record else { return };
    assert_eq!(policy.key(), key);
    let written = encode(&Op::AddPolicy { policy: policy.clone(), index });
    let read = PolicyRecord::decode(&written.body).ok();
    assert_eq!(read, Some(PolicyRecord::Ours(ObservedPolicy { index, key, policy: Some(policy) })));
}
