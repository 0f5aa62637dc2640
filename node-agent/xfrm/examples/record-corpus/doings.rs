//! The kernel's own doings.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::Duration;

use netlink_packet_core::Emitable;
use netlink_packet_xfrm::constants::{
    AF_INET, XFRM_MSG_GETDEFAULT, XFRM_MSG_GETSADINFO, XFRM_MSG_GETSPDINFO, XFRM_MSG_MIGRATE,
};
use netlink_packet_xfrm::{Address, Selector, UserMigrate, UserPolicyId, XfrmAttrs};

use crate::iproute::{ALGORITHMS, ip};
use crate::objects::{reqid, v4};
use crate::recorder::Recorder;

const ENDS: &str = "src 192.0.2.1 dst 192.0.2.2";
const KEYS: &str = "aead rfc4106(gcm(aes)) 0x00112233445566778899aabbccddeeff00112233 128";

pub(crate) fn record(recorder: &mut Recorder) {
    run("link add here type veth peer name there");
    run("link set here up");
    run("link set there up");
    run("address add 192.0.2.1/24 dev here");
    ip(
        "policy add src 0.0.0.0/0 dst 192.0.2.2/32 dir out tmpl src 192.0.2.1 dst 192.0.2.2 proto esp mode tunnel",
    );
    recorder.events("event", 0);
    let socket = UdpSocket::bind("192.0.2.1:0").unwrap();
    let _ = socket.send_to(b"acquire", "192.0.2.2:9");
    recorder.events("event-acquire", 1);

    ip(&format!("state add {ENDS} proto esp spi 0x100 {ALGORITHMS} limit time-soft 1 limit time-hard 2"));
    ip("policy add src 10.9.0.0/16 dst 10.8.0.0/16 dir out action block limit time-hard 1");
    recorder.events("event", 0);
    std::thread::sleep(Duration::from_secs(4));
    recorder.events("event-expire", 6);
    let state = format!("{ENDS} proto esp spi 0x101");
    ip(&format!("state add {state} {ALGORITHMS}"));
    recorder.events("event", 0);
    ip(&format!("state update {state} {ALGORITHMS} limit time-hard 1000"));
    recorder.events("event-updsa", 1);
    ip(&format!("state delete {state}"));
    recorder.events("event-delsa-foreign", 1);
    ip("policy setdefault out block");
    recorder.events("event-default", 1);
    ip("policy set hthresh4 24 24");
    recorder.events("event-hthresh", 1);
    ip("policy setdefault out accept");
    recorder.events("event", 0);
    recorder.answer("totals-sas", XFRM_MSG_GETSADINFO, &[0; 4]);
    recorder.answer("totals-policies", XFRM_MSG_GETSPDINFO, &[0; 4]);
    recorder.answer("totals-default", XFRM_MSG_GETDEFAULT, &[0; 3]);
    counters(recorder);
    migrate(recorder);
    mapping(recorder);
}

/// Sequence numbers are told of every few packets.
fn counters(recorder: &mut Recorder) {
    ip("state flush");
    ip("policy flush");
    let reqid = reqid(1).get();
    ip(&format!("state add {ENDS} proto esp spi 0x102 reqid {reqid} {ALGORITHMS}"));
    ip(&format!(
        "policy add src 0.0.0.0/0 dst 192.0.2.2/32 dir out tmpl {ENDS} proto esp reqid {reqid} mode tunnel"
    ));
    recorder.events("event", 0);
    let socket = UdpSocket::bind("192.0.2.1:0").unwrap();
    for _ in 0..4 {
        let _ = socket.send_to(b"counted", "192.0.2.2:9");
    }
    recorder.events("event-newae", 1);
}

/// The policy and the SA above move to another address.
fn migrate(recorder: &mut Recorder) {
    let mut policy = UserPolicyId { direction: 1, ..UserPolicyId::default() };
    policy.selector =
        Selector { daddr: Address::from_ip(&v4(2)), prefixlen_d: 32, family: AF_INET, ..Selector::default() };
    let end = |number| Address::from_ip(&v4(number));
    let moved = XfrmAttrs::Migrate(UserMigrate {
        old_saddr: end(1),
        old_daddr: end(2),
        new_saddr: end(1),
        new_daddr: end(3),
        proto: 50,
        mode: 1,
        reserved: 0,
        reqid: reqid(1).get(),
        old_family: AF_INET,
        new_family: AF_INET,
    });
    let mut body = vec![0; policy.buffer_len() + moved.buffer_len()];
    policy.emit(&mut body[..policy.buffer_len()]);
    moved.emit(&mut body[policy.buffer_len()..]);
    recorder.send(XFRM_MSG_MIGRATE, &body);
    recorder.events("event-migrate", 1);
}

/// ESP in UDP that comes from another port than it used to.
fn mapping(recorder: &mut Recorder) {
    let mut peer = Command::new("unshare").args(["--net", "sleep", "60"]).spawn().unwrap();
    let id = peer.id().to_string();
    // Until it is in a namespace of its own.
    let namespace = |id: &str| std::fs::read_link(format!("/proc/{id}/ns/net")).unwrap();
    while namespace(&id) == namespace("self") {
        std::thread::sleep(Duration::from_millis(10));
    }
    let there = |arguments: &str| {
        let command =
            Command::new("nsenter").args(["-t", &id, "-n"]).args(arguments.split_whitespace()).output();
        command.unwrap()
    };
    run(&format!("link add near type veth peer name far netns {id}"));
    run("link set near up");
    run("address add 198.51.100.1/24 dev near");
    there("ip link set far up");
    there("ip address add 198.51.100.2/24 dev far");

    // perl is essential on Debian; std has no UDP_ENCAP.
    let mut socket = Command::new("perl")
        .args(["-MSocket", "-e"])
        .arg(
            "socket(S, PF_INET, SOCK_DGRAM, 0); bind(S, pack_sockaddr_in(4500, INADDR_ANY)) or die; \
             setsockopt(S, 17, 100, pack('i', 2)) or die; $| = 1; print qq(ready\\n); sleep 60",
        )
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(socket.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ends = "src 198.51.100.2 dst 198.51.100.1";
    let state = format!("state add {ends} proto esp spi 0x200 mode transport {KEYS} encap espinudp");
    ip(&format!("{state} 4500 4500 0.0.0.0"));
    there(&format!("ip xfrm {state} 4501 4500 0.0.0.0"));
    there(&format!("ip xfrm policy add {ends} dir out tmpl proto esp mode transport"));
    recorder.events("event", 0);
    there("ping -c 2 -i 0.2 -W 1 198.51.100.1");
    recorder.events("event-mapping", 1);
    for child in [&mut socket, &mut peer] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn run(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}
