//! Every field of an SA and of a policy, changed alone: the diff asks for just the operations that change it, and the
//! kernel shows that they did.

use std::collections::BTreeMap;

use esplanade_diff::diff;
use esplanade_model::{
    Action, Aead, Authentication, Cipher, Crypto, Direction, InboundSa, Lifetime, Mark, Mode, Op, OutboundSa,
    Policy, PolicyFlags, Port, Protocol, Sa, Template, UdpEncapsulation, Wanted, WantedSa,
};

use super::lifetimes::far;
use super::objects::{
    encrypt_then_authenticate, extended, key, only, policy, replay, reqid, sa, selector, spi, transport,
    tunnel, v4,
};
use super::{Subject, apply};

fn kind(op: &Op) -> &'static str {
    match op {
        Op::AddInbound { .. } | Op::AddOutbound { .. } => "NEWSA",
        Op::UpdateSa(_) | Op::FillSa { .. } => "UPDSA",
        Op::DeleteSa(..) => "DELSA",
        Op::AddPolicy { .. } => "NEWPOLICY",
        Op::UpdatePolicy { .. } => "UPDPOLICY",
        Op::DeletePolicy { .. } => "DELPOLICY",
        Op::Migrate { .. } => "MIGRATE",
        Op::SetReplayState { .. } => "NEWAE",
    }
}

/// Makes the kernel hold what is wanted, as the agent does it; what that took.
pub(crate) fn sync(kernel: &mut dyn Subject, wanted: &Wanted, what: &str) -> String {
    let steps = diff(wanted, &kernel.dump().unwrap());
    assert!(steps.conflicts.is_empty(), "{what}: {:?}", steps.conflicts);
    let ops: Vec<Op> = steps.steps.into_iter().map(|step| step.op).collect();
    for (op, result) in ops.iter().zip(apply(kernel, &ops)) {
        assert_eq!(result, Ok(()), "{what}: {op:?}");
    }
    ops.iter().map(kind).collect::<Vec<_>>().join(" ")
}

pub(crate) fn of_sa(sa: WantedSa) -> Wanted {
    Wanted { sas: vec![("an-sa".into(), sa)], ..Wanted::default() }
}

pub(crate) const SAME_NAME: &str = "DELSA NEWSA";
const OTHER_NAME: &str = "NEWSA DELSA";

type SaChange = (&'static str, fn(&mut Sa), &'static str);

/// Each field, each kind of change, and what it takes.
const SA: &[SaChange] = &[
    ("source", |sa| sa.source = v4(9), SAME_NAME),
    ("destination", |sa| sa.destination = v4(9), OTHER_NAME),
    ("spi", |sa| sa.spi = spi(0x9999), OTHER_NAME),
    ("mode", |sa| sa.mode = Mode::Transport, SAME_NAME),
    ("reqid", |sa| sa.reqid = reqid(9), SAME_NAME),
    (
        "cipher",
        |sa| sa.crypto = encrypt_then_authenticate(Cipher::AesCbc256, Authentication::HmacSha256),
        SAME_NAME,
    ),
    (
        "integrity",
        |sa| sa.crypto = encrypt_then_authenticate(Cipher::AesCbc128, Authentication::HmacSha512),
        SAME_NAME,
    ),
    ("aead", |sa| sa.crypto = Crypto::aead(Aead::AesGcm256, key(36)).unwrap(), SAME_NAME),
    ("keys", |sa| sa.crypto = other_keys(), SAME_NAME),
    (
        "protocol",
        |sa| sa.crypto = Crypto::authenticate(Authentication::HmacSha256, key(32)).unwrap(),
        OTHER_NAME,
    ),
    ("extended sequence numbers", |sa| sa.replay = extended(32), SAME_NAME),
    ("selector", |sa| sa.selector = Some(selector(1)), SAME_NAME),
    ("interface", |sa| sa.interface_id = 7, SAME_NAME),
    ("UDP", |sa| sa.encapsulation = udp(), SAME_NAME),
    ("mark", |sa| sa.mark = Mark::masked(7, 0xff), SAME_NAME),
    ("output mark", |sa| sa.output_mark = Mark::masked(7, 0xff), SAME_NAME),
    ("ICMP errors", |sa| sa.icmp_errors = true, SAME_NAME),
    ("soft lifetime", |sa| sa.lifetime.soft = far().soft, "UPDSA"),
    ("hard lifetime", |sa| sa.lifetime.hard = far().hard, "UPDSA"),
];

/// Its ports are `an_update_changes_udp_ports`'s.
fn udp() -> Option<UdpEncapsulation> {
    Some(UdpEncapsulation { source_port: 4500, destination_port: 40_000 })
}

fn other_keys() -> Crypto {
    let key = |length: usize| esplanade_model::Key::from(vec![0xcc; length].as_slice());
    Crypto::encrypt_then_authenticate(Cipher::AesCbc128, key(16), Authentication::HmacSha256, key(32))
        .unwrap()
}

/// Fails to compile where a field is added: then it needs a line in [`SA`]. Directions are `directions_read_back`'s,
/// CPUs `an_sa_of_a_cpu_reads_back`'s, IPTFS's `iptfs_reads_back`'s, keepalives `keepalives_read_back`'s, devices
/// `a_device_takes_work`'s.
fn every_field_of_an_sa(sa: &Sa) {
    let Sa {
        source: _,
        destination: _,
        spi: _,
        mode: _,
        reqid: _,
        crypto: _,
        replay: _,
        selector: _,
        interface_id: _,
        lifetime: Lifetime { soft: _, hard: _ },
        direction: _,
        mark: _,
        output_mark: _,
        icmp_errors: _,
        cpu: _,
        iptfs: _,
        encapsulation: _,
        keepalive: _,
        offload: _,
    } = sa;
}

pub(crate) fn every_change_of_an_sa_is_made(kernel: &mut dyn Subject) {
    every_field_of_an_sa(&sa(1));
    let window: SaChange = ("window", |sa| sa.replay = replay(64), SAME_NAME);
    for outbound in [false, true] {
        let wanted = |sa: &Sa| match outbound {
            true => WantedSa::Outbound(OutboundSa(sa.clone())),
            false => WantedSa::Inbound(InboundSa(sa.clone())),
        };
        // A sender has no window.
        for (what, change, takes) in SA.iter().chain((!outbound).then_some(&window)) {
            let mut changed = sa(1);
            change(&mut changed);
            sync(kernel, &of_sa(wanted(&sa(1))), what);
            // There and back.
            for to in [&changed, &sa(1)] {
                let what = format!("{what}, outbound {outbound}");
                assert_eq!(sync(kernel, &of_sa(wanted(to)), &what), *takes, "{what}");
                assert_eq!(sync(kernel, &of_sa(wanted(to)), &what), "", "{what}");
                let there = kernel.dump().unwrap().sas;
                assert_eq!(there.len(), 1, "{what}");
                let mut read = there[0].sa.clone().unwrap();
                if outbound {
                    read.replay = to.replay;
                }
                assert_eq!(read, *to, "{what}");
            }
        }
        sync(kernel, &Wanted::default(), "nothing");
    }
}

const REPLACED: &str = "NEWPOLICY DELPOLICY";

type PolicyChange = (&'static str, fn(&mut Policy), &'static str);

const POLICY: &[PolicyChange] = &[
    ("direction", |policy| policy.direction = Direction::Forward, REPLACED),
    ("selector", |policy| policy.selector = selector(2), REPLACED),
    ("protocol", |policy| policy.selector = only(selector(1), 17, Port::ANY, Port::ANY), REPLACED),
    ("interface", |policy| policy.interface_id = 7, REPLACED),
    ("mark", |policy| policy.mark = Mark::masked(7, 0xff), REPLACED),
    ("ICMP errors", |policy| policy.flags.icmp_errors = true, "UPDPOLICY"),
    ("local override", |policy| policy.flags.local_override = true, "UPDPOLICY"),
    ("priority", |policy| policy.priority += 1, "UPDPOLICY"),
    ("action", |policy| (policy.action, policy.templates) = (Action::Block, vec![]), "UPDPOLICY"),
    ("no template", |policy| policy.templates.clear(), "UPDPOLICY"),
    ("two templates", |policy| policy.templates.push(transport(2)), "UPDPOLICY"),
    ("template's protocol", |policy| template(policy).protocol = Protocol::Ah, "UPDPOLICY"),
    ("template's mode", |policy| *template(policy) = transport(1), "UPDPOLICY"),
    ("template's reqid", |policy| template(policy).reqid = Some(reqid(9)), "UPDPOLICY"),
    ("template's addresses", |policy| template(policy).tunnel = Some((v4(1), v4(9))), "UPDPOLICY"),
    ("template is optional", |policy| template(policy).optional = true, "UPDPOLICY"),
];

fn template(policy: &mut Policy) -> &mut Template {
    policy.templates.first_mut().unwrap()
}

/// As for SAs.
fn every_field_of_a_policy(policy: &Policy) {
    let Policy {
        direction: _,
        selector: _,
        interface_id: _,
        mark: _,
        priority: _,
        action: _,
        templates: _,
        flags: PolicyFlags { icmp_errors: _, local_override: _ },
    } = policy;
    let Template { protocol: _, mode: _, reqid: _, tunnel: _, optional: _ } = tunnel(1);
}

pub(crate) fn every_change_of_a_policy_is_made(kernel: &mut dyn Subject) {
    every_field_of_a_policy(&policy(Direction::In, 1));
    let wanted =
        |policy: &Policy| Wanted { policies: vec![("a".into(), policy.clone())], ..Wanted::default() };
    for (what, change, takes) in POLICY {
        let before = policy(Direction::In, 1);
        let mut changed = before.clone();
        change(&mut changed);
        sync(kernel, &wanted(&before), what);
        for to in [&changed, &before] {
            assert_eq!(sync(kernel, &wanted(to), what), *takes, "{what}");
            assert_eq!(sync(kernel, &wanted(to), what), "", "{what}");
            let there: BTreeMap<_, _> =
                kernel.dump().unwrap().policies.into_iter().map(|one| (one.key, one.policy)).collect();
            assert_eq!(there, [(to.key(), Some(to.clone()))].into(), "{what}");
        }
    }
}
