//! What kernels answered, and what that means.

use std::collections::BTreeSet;

use esplanade_model::{Capability, Refusal};

use super::{Answer, Question, makes_interfaces, questions};

fn no(errno: i32) -> Answer {
    Err(Refusal { errno, message: None })
}

fn says(errno: i32, words: &str) -> Answer {
    Err(Refusal { errno, message: Some(words.to_owned()) })
}

fn about(capability: Capability) -> Question {
    let question = questions().into_iter().find(|question| question.about == [capability]);
    question.unwrap_or_else(|| panic!("nobody asks about {capability:?}"))
}

#[test]
fn everything_but_interfaces_is_asked_about() {
    let asked: BTreeSet<_> = questions().into_iter().flat_map(|question| question.about).collect();
    let all: BTreeSet<_> = Capability::all().filter(|one| *one != Capability::Interfaces).collect();
    assert_eq!(asked, all);
}

#[test]
fn answers_of_kernels_mean_this() {
    use Capability::{
        CryptoOffload, Direction, Iptfs, Migrate, MigrateState, NatKeepalive, PacketOffload, PerCpu,
        UdpEncapsulation,
    };
    let gone = || no(libc::ESRCH);
    let invalid = || no(libc::EINVAL);
    let flags = || says(libc::EINVAL, "Unrecognized flags in offload request");
    let cases = [
        (CryptoOffload, vec![gone(), flags(), gone(), flags()], true),
        // No esp6_offload; neither; no CONFIG_XFRM_OFFLOAD.
        (CryptoOffload, vec![gone(), flags(), invalid(), invalid()], false),
        (CryptoOffload, vec![invalid(), invalid(), invalid(), invalid()], false),
        (CryptoOffload, vec![gone(), gone(), gone(), gone()], false),
        // A value that there isn't (6.10); an attribute that isn't known (6.1).
        (Direction, vec![no(libc::ERANGE)], true),
        (Direction, vec![gone()], false),
        (PerCpu, vec![says(libc::EINVAL, "SA_PCPU only supported with SA_DIR")], true),
        (PerCpu, vec![gone()], false),
        (NatKeepalive, vec![says(libc::EINVAL, "NAT keepalive is only supported for outbound SAs")], true),
        (NatKeepalive, vec![gone()], false),
        // Built; not built, and the mode taken; too old for the mode.
        (
            Iptfs,
            vec![gone(), says(libc::EINVAL, "Packet size must be 0 or greater than IPTFS/ESP header length")],
            true,
        ),
        (Iptfs, vec![gone(), gone()], false),
        (Iptfs, vec![invalid(), invalid()], false),
        // The device can't; the flag isn't known; no offload at all; built without.
        (PacketOffload, vec![invalid(), flags()], true),
        (PacketOffload, vec![flags(), flags()], false),
        (PacketOffload, vec![invalid(), invalid()], false),
        (PacketOffload, vec![gone(), gone()], false),
        (UdpEncapsulation, vec![gone(), gone()], true),
        (UdpEncapsulation, vec![gone(), says(libc::EPROTONOSUPPORT, "Requested type not found")], false),
        (Migrate, vec![no(libc::ENOENT)], true),
        (Migrate, vec![no(libc::ENODATA)], true),
        (Migrate, vec![no(libc::ENOPROTOOPT)], false),
        (MigrateState, vec![gone()], true),
        (MigrateState, vec![no(libc::ENOPROTOOPT)], false),
        (MigrateState, vec![invalid()], false),
    ];
    for (capability, answers, present) in cases {
        assert_eq!(about(capability).is_affirmed_by(&answers), present, "{capability:?}: {answers:?}");
    }
    // Whoever may not ask learns nothing.
    for question in questions() {
        let refused: Vec<_> = question.requests.iter().map(|_| no(libc::EPERM)).collect();
        assert!(!question.is_affirmed_by(&refused), "{:?}", question.about);
    }
}

#[test]
fn an_interface_without_id_is_refused_where_there_are_interfaces() {
    assert!(makes_interfaces(&says(libc::EINVAL, "if_id must be non zero")));
    assert!(!makes_interfaces(&says(libc::EOPNOTSUPP, "Unknown device type")));
    assert!(!makes_interfaces(&no(libc::EPERM)));
}
