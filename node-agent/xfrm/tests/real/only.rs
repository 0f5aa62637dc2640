//! What the fake kernel doesn't have: other authors' SAs and policies in every shape.

use esplanade_model::{Capability, Cookie, Direction, Event, Mark, Op, Policy, PolicyIndex, Sa, SaId};
use esplanade_xfrm::{Databases as _, Netlink, Noticed, Watch};
use nix::sched::{CloneFlags, setns};

use crate::iproute::{ALGORITHMS, ip};
use crate::suite::objects::{
    add, add_all, delete, extended, id, inbound, outbound, policy, replay, reqid, sa, spi, transport, v4,
};
use crate::suite::{Subject, must, policies, sas};

pub(crate) fn iproute2_sees_what_we_wrote(kernel: &mut dyn Subject) {
    let wide = Sa { replay: extended(64), ..sa(2) };
    must(kernel, &[inbound(sa(1)), inbound(wide), add(policy(Direction::Out, 1), 1)]);
    let has = |text: &str, words: &[&str]| {
        for words in words {
            assert!(text.contains(words), "no {words:?} in:\n{text}");
        }
    };
    let reqid = reqid(1).get();
    has(
        &ip("state get src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001"),
        &[
            "src 192.0.2.1 dst 192.0.2.2",
            &format!("proto esp spi 0x00001001 reqid {reqid} mode tunnel"),
            "replay-window 32 flag af-unspec",
            "auth-trunc hmac(sha256) 0x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20 128",
            "enc cbc(aes) 0x0102030405060708090a0b0c0d0e0f10",
        ],
    );
    has(
        &ip("state get src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1002"),
        &["flag af-unspec esn", "replay_window 64, bitmap-length 2"],
    );
    has(
        &ip("policy list dir out"),
        &[
            "src 10.0.1.0/24 dst 10.1.1.0/24",
            "dir out priority 1001",
            "tmpl src 192.0.2.1 dst 192.0.2.2",
            &format!("proto esp reqid {reqid} mode tunnel"),
        ],
    );
}

/// iproute2 writes an SA with our tags.
fn tagged_sa(value: u32, rest: &str) -> SaId {
    // iproute2 takes this number to be in network byte order.
    let (cookie, reqid) = (Cookie::for_spi(spi(value)).get().to_be(), reqid(value).get());
    ip(&format!(
        "state add src 192.0.2.1 dst 192.0.2.2 proto esp spi {value:#x} reqid {reqid} seq {cookie:#x} {rest}"
    ));
    id(v4(2), value)
}

pub(crate) fn sas_unlike_ours_keep_their_name(kernel: &mut dyn Subject) {
    let md5 = "mode tunnel flag af-unspec auth-trunc hmac(md5) 0x00112233445566778899aabbccddeeff 96 \
               enc cbc(aes) 0x00112233445566778899aabbccddeeff";
    let cut = ALGORITHMS.replace(" 128", " 96");
    let shapes = [
        format!("flag af-unspec noecn {ALGORITHMS}"),
        format!("flag af-unspec {ALGORITHMS} sel src 10.0.0.0/8"),
        format!("flag af-unspec {ALGORITHMS} limit time-use-hard 100000"),
        format!("flag af-unspec {ALGORITHMS} limit packet-soft 0"),
        // Bits outside the mask.
        format!("flag af-unspec {ALGORITHMS} output-mark 5 mask 1"),
        format!("flag af-unspec {ALGORITHMS} extra-flag dont-encap-dscp"),
        format!("flag af-unspec {}", cut),
        md5.to_owned(),
    ];
    let ids: Vec<_> = shapes.iter().zip(0x2000..).map(|(rest, value)| tagged_sa(value, rest)).collect();
    let like = tagged_sa(0x3000, &format!("flag af-unspec {ALGORITHMS}"));

    let observed = kernel.dump().unwrap();
    assert_eq!((observed.sas.len(), observed.foreign_sa_count), (ids.len() + 1, 0));
    for sa in observed.sas {
        if sa.id == like {
            assert_eq!(sa.sa.unwrap().replay, replay(0));
        } else {
            let place = ids.iter().position(|id| *id == sa.id).unwrap();
            assert_eq!(sa.sa, None, "{}", shapes[place]);
        }
    }
    must(kernel, &ids.into_iter().chain([like]).map(|id| Op::DeleteSa(id, Mark::NONE)).collect::<Vec<_>>());
    assert_eq!(kernel.raw(), Vec::<Vec<u8>>::new());
}

pub(crate) fn a_flag_of_the_kernels_own_changes_nothing(kernel: &mut dyn Subject) {
    std::fs::write("/proc/sys/net/ipv4/ip_no_pmtu_disc", "1").unwrap();
    must(kernel, &[inbound(sa(1))]);
    assert!(ip("state list").contains("flag nopmtudisc af-unspec"));
    assert_eq!(sas(kernel)[&sa(1).id()], sa(1));
}

pub(crate) fn addresses_in_transport_mode_change_nothing(kernel: &mut dyn Subject) {
    let (index, reqid) = (PolicyIndex::new(1, Direction::Out).get(), reqid(1).get());
    ip(&format!(
        "policy add src 10.0.1.0/24 dst 10.1.1.0/24 dir out index {index} priority 1001 \
         tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid {reqid} mode transport"
    ));
    let wanted = Policy { templates: vec![transport(1)], ..policy(Direction::Out, 1) };
    assert_eq!(policies(kernel)[&wanted.key()].policy, Some(wanted));
}

/// The kernel masks what is outside.
pub(crate) fn marks_of_sas_are_in_normal_form(kernel: &mut dyn Subject) {
    let id = tagged_sa(0x2000, &format!("mark 5 mask 1 flag af-unspec {ALGORITHMS}"));
    let read: Vec<_> =
        kernel.dump().unwrap().sas.into_iter().map(|sa| (sa.id, sa.mark, sa.sa.is_some())).collect();
    assert_eq!(read, [(id, Mark::masked(1, 1), true)]);
    must(kernel, &[Op::DeleteSa(id, Mark::masked(1, 1))]);
    assert_eq!(kernel.raw(), Vec::<Vec<u8>>::new());
}

/// Why a second SA of one name is never made, nor anything done about one that is there: the kernel finds the wrong one.
pub(crate) fn marks_hide_one_sa_behind_another(kernel: &mut dyn Subject) {
    let marked = Sa { mark: Mark::masked(7, 0xff), ..sa(1) };
    must(kernel, &[inbound(marked.clone())]);
    ip(&format!("state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 reqid 1 {ALGORITHMS}"));
    let observed = kernel.dump().unwrap();
    assert_eq!((observed.sas.len(), observed.foreign_sas), (1, vec![marked.id()]));
    must(kernel, &[Op::DeleteSa(marked.id(), marked.mark)]);
    let observed = kernel.dump().unwrap();
    assert_eq!((observed.sas.len(), observed.foreign_sa_count), (1, 0), "the foreign one is gone");
}

/// iproute2 writes a policy with our tags. `template`: what follows its protocol.
fn tagged_policy(number: u8, selector: &str, rest: &str, template: &str) {
    let index = PolicyIndex::new(number.into(), Direction::Out).get();
    let reqid = reqid(number.into()).get();
    ip(&format!(
        "policy add src 10.0.{number}.0/24 dst 10.1.{number}.0/24 {selector} dir out index {index} priority 5 {rest} \
         tmpl src 192.0.2.1 dst 192.0.2.2 proto esp {template} reqid {reqid} mode tunnel"
    ));
}

pub(crate) fn policies_unlike_ours_keep_their_name(kernel: &mut dyn Subject) {
    let shapes = [
        ("flag 0x04", ""),
        ("limit byte-hard 100000", ""),
        ("limit time-soft 100000", ""),
        ("", "spi 0x1000"),
    ];
    for ((rest, template), number) in shapes.into_iter().zip(1..) {
        tagged_policy(number, "", rest, template);
    }
    tagged_policy(100, "", "", "");
    let read = policies(kernel);
    assert_eq!(read.len(), shapes.len() + 1);
    for (number, shape) in (1..).zip(shapes) {
        let key = policy(Direction::Out, number).key();
        assert_eq!(read[&key].policy, None, "{shape:?}");
    }
    assert!(read[&policy(Direction::Out, 100).key()].policy.is_some());
}

pub(crate) fn a_policy_with_a_longer_name_is_not_ours(kernel: &mut dyn Subject) {
    // That of an interface is one of ours.
    tagged_policy(1, "", "if_id 7", "");
    tagged_policy(2, "", "ptype sub", "");
    // Host bits make another name of the same networks.
    let index = PolicyIndex::new(4, Direction::Out).get();
    ip(&format!("policy add src 10.0.4.1/24 dst 10.1.4.0/24 dir out index {index} action block"));
    // Neither is one with somebody else's template.
    let index = PolicyIndex::new(5, Direction::Out).get();
    ip(&format!(
        "policy add src 10.0.5.0/24 dst 10.1.5.0/24 dir out index {index} \
         tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 1 mode tunnel"
    ));
    let observed = kernel.dump().unwrap();
    let of_interface = Policy { interface_id: 7, ..policy(Direction::Out, 1) }.key();
    assert_eq!(observed.policies.iter().map(|one| one.key).collect::<Vec<_>>(), [of_interface]);
    assert_eq!(observed.foreign_policy_count, 3);
    // Only the last one has a name that one of ours could have.
    assert_eq!(observed.foreign_policies, [policy(Direction::Out, 5).key()]);
    assert_eq!(observed.taken_indexes.len(), 4);
    // So ours fit beside the others.
    must(kernel, &[1, 2, 4].map(|number| add(policy(Direction::Out, number), 50 + u32::from(number))));
    assert_eq!(policies(kernel).len(), 4);
}

pub(crate) fn larval_sas_are_passed_over(kernel: &mut dyn Subject) {
    ip("state allocspi src 192.0.2.1 dst 192.0.2.2 proto esp mode tunnel min 0x1000 max 0x1fff");
    assert_eq!(kernel.raw().len(), 1);
    assert_eq!(kernel.dump().unwrap(), esplanade_model::Observed::default());
}

pub(crate) fn a_flush_is_noticed(kernel: &mut dyn Subject) {
    must(kernel, &[outbound(sa(1)), add(policy(Direction::In, 1), 1)]);
    let mut watch = kernel.start_watch();
    for database in ["state", "policy"] {
        ip(&format!("{database} flush"));
        let events = vec![if database == "state" { Event::Flushed } else { Event::Anything }];
        assert_eq!(watch.look().unwrap(), Noticed { changed: true, overrun: false, events }, "{database}");
    }
    assert_eq!(kernel.raw(), Vec::<Vec<u8>>::new());
}

/// Somebody gave one of ours a limit.
pub(crate) fn a_policy_that_expires_is_noticed(kernel: &mut dyn Subject) {
    let mut watch = kernel.start_watch();
    tagged_policy(1, "", "limit time-hard 1", "");
    let told = Event::Policy(policy(Direction::Out, 1).key());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let mut events = vec![];
    // When it comes and when it goes, which may be at once on a slow machine.
    while events.len() < 2 {
        events.extend(watch.look().unwrap().events);
        assert!(std::time::Instant::now() < deadline, "the kernel told only {events:?}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(events, [told.clone(), told]);
    assert_eq!(kernel.raw(), Vec::<Vec<u8>>::new());
}

/// However much is written by ourselves, it takes no room from the events that are news.
pub(crate) fn own_changes_are_not_even_queued(kernel: &mut dyn Subject) {
    let mut watch = kernel.start_watch();
    flood(kernel);
    assert_eq!(watch.look().unwrap(), Noticed::default());
}

/// The kernel has no room for a filter.
pub(crate) fn own_changes_that_are_queued_are_no_news(_: &mut dyn Subject) {
    let before = room_for_filters(None);
    room_for_filters(Some("0".to_owned()));
    let mut kernel = Netlink::open().unwrap();
    let watch = kernel.watch();
    room_for_filters(Some(before));
    let mut watch = watch.unwrap();
    let refused = watch.unfiltered().map(|error| error.raw_os_error());
    assert_eq!(refused, Some(Some(libc::ENOMEM)));
    must(&mut kernel, &[inbound(sa(1)), inbound(sa(2)), add(policy(Direction::In, 1), 1)]);
    let last = kernel.dump().unwrap().sas.into_iter().find(|one| one.id == sa(1).id()).unwrap();
    kernel.remove_as_another(&[sa(1).id()], &[]);
    must(&mut kernel, &[inbound(sa(1))]);
    let told = Noticed { changed: true, overrun: false, events: vec![Event::SaEnded(last)] };
    assert_eq!(watch.look().unwrap(), told);
    assert_eq!(watch.look().unwrap(), Noticed::default());
    assert!(kernel.watch().unwrap().unfiltered().is_none());
}

/// Reads, or sets, what options of a socket may take, filters among them. Old kernels have it in the first namespace only.
fn room_for_filters(bytes: Option<String>) -> String {
    let thread = std::thread::spawn(move || {
        let path = "/proc/sys/net/core/optmem_max";
        if !std::fs::exists(path).unwrap() {
            let first = std::fs::File::open("/proc/1/ns/net").unwrap();
            setns(first, CloneFlags::CLONE_NEWNET).unwrap();
        }
        if let Some(bytes) = bytes {
            std::fs::write(path, bytes).unwrap();
        }
        std::fs::read_to_string(path).unwrap()
    });
    thread.join().unwrap()
}

pub(crate) fn lost_events_are_noticed(kernel: &mut dyn Subject) {
    let mut watch = kernel.start_watch();
    // Somebody else's.
    flood(&mut Netlink::open().unwrap());
    let mut noticed = watch.look().unwrap();
    assert!(noticed.overrun);
    while noticed != Noticed::default() {
        noticed = watch.look().unwrap();
    }
}

/// More than fits a watch's buffer.
fn flood(kernel: &mut dyn Subject) {
    let some = || (0..250).map(|number| policy(Direction::Out, number));
    for _ in 0..60 {
        must(kernel, &add_all(some()));
        let delete = |slot| delete(Direction::Out, slot);
        must(kernel, &(0..250).map(delete).collect::<Vec<_>>());
    }
}

pub(crate) fn this_kernel_can_do_what_its_release_can(kernel: &mut dyn Subject) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap(), numbers.next().unwrap());
    let present = kernel.probe().unwrap();
    // No kernel with ESP is without these.
    for capability in [Capability::EspOverIpv4, Capability::UdpEncapsulation] {
        assert!(present.contains(&capability), "{capability:?} in {release}");
    }
    assert_eq!(present.contains(&Capability::Direction), version >= (6, 10), "{release}");
    assert_eq!(present.contains(&Capability::NatKeepalive), version >= (6, 11), "{release}");
    // Some distributions have brought these to older kernels, or leave them out of newer ones.
    let older =
        [(Capability::PerCpu, (6, 10)), (Capability::Iptfs, (6, 14)), (Capability::PacketOffload, (6, 2))];
    for (capability, since) in older {
        assert!(version >= since || !present.contains(&capability), "{capability:?} in {release}");
    }
}
