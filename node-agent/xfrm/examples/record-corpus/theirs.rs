//! What others write: iproute2, in every shape that the kernel has.

use netlink_packet_xfrm::constants::{XFRM_MSG_GETPOLICY, XFRM_MSG_GETSA};

use crate::iproute::{ALGORITHMS, ip};
use crate::objects::reqid;
use crate::recorder::Recorder;

const ENDS: &str = "src 192.0.2.1 dst 192.0.2.2";
const AEAD: &str = "aead rfc4106(gcm(aes)) 0x00112233445566778899aabbccddeeff00112233 128";
const CIPHER: &str = "enc cbc(aes) 0x00112233445566778899aabbccddeeff";

pub(crate) fn record(recorder: &mut Recorder) {
    sas();
    recorder.dump("sa-foreign", XFRM_MSG_GETSA);
    ip("state flush");
    unlike();
    recorder.dump("sa-unlike", XFRM_MSG_GETSA);
    ip("state flush");
    policies();
    recorder.dump("policy-foreign", XFRM_MSG_GETPOLICY);
    ip("policy flush");
    ip(&format!("state allocspi {ENDS} proto esp mode tunnel min 0x1000 max 0x1fff"));
    recorder.dump("sa-larval", XFRM_MSG_GETSA);
    ip("state flush");
    recorder.events("event", 0);
}

fn sas() {
    let shapes = [
        format!("{ENDS} proto esp spi 0x100 reqid 1 {ALGORITHMS}"),
        format!("{ENDS} proto esp spi 0x101 reqid 1 mode tunnel {AEAD}"),
        format!("{ENDS} proto esp spi 0x102 mark 5 mask 255 {ALGORITHMS}"),
        format!("{ENDS} proto esp spi 0x103 if_id 7 output-mark 5 mask 15 {ALGORITHMS}"),
        format!("{ENDS} proto esp spi 0x104 encap espinudp 4500 4500 192.0.2.9 {ALGORITHMS}"),
        format!("{ENDS} proto esp spi 0x105 replay-window 32 replay-oseq 7 replay-seq 9 {ALGORITHMS}"),
        format!("{ENDS} proto esp spi 0x106 flag esn replay-window 256 {ALGORITHMS}"),
        format!(
            "{ENDS} proto esp spi 0x107 flag noecn flag decap-dscp extra-flag dont-encap-dscp {ALGORITHMS}"
        ),
        format!(
            "{ENDS} proto esp spi 0x108 {ALGORITHMS} sel src 10.0.0.0/8 dst 10.1.0.0/16 proto udp dport 53"
        ),
        format!("{ENDS} proto esp spi 0x109 {ALGORITHMS} limit byte-hard 100000 limit time-soft 50000"),
        format!("{ENDS} proto esp spi 0x10a mode beet {AEAD} sel src 10.0.0.1 dst 10.1.0.1"),
        format!("{ENDS} proto esp spi 0x10c mode transport auth hmac(sha1) 0x0011223344556677 {CIPHER}"),
        format!("{ENDS} proto ah spi 0x10d mode transport auth-trunc hmac(sha256) 0x00112233 96"),
        format!("{ENDS} proto comp spi 0x10e mode tunnel comp deflate"),
        format!("src 2001:db8::1 dst 2001:db8::2 proto esp spi 0x10f reqid 1 mode tunnel {AEAD}"),
        "src 2001:db8::1 dst 2001:db8::2 proto route2 mode ro coa 2001:db8::9".to_owned(),
        format!("{ENDS} proto esp spi 0x110 tfcpad 100 {ALGORITHMS}"),
        format!("{ENDS} proto esp spi 0x111 seq 0x10000 reqid 4294967295 {ALGORITHMS}"),
    ];
    add("state", &shapes);
}

/// With our tags, but in shapes that aren't ours.
fn unlike() {
    let tags = |spi| {
        let cookie = esplanade_model::Cookie::for_spi(crate::objects::spi(spi)).get().to_be();
        format!("{ENDS} proto esp spi {spi:#x} reqid {} seq {cookie:#x} flag af-unspec", reqid(spi).get())
    };
    let shapes = [
        "flag noecn",
        // Bits outside the mask.
        "output-mark 5 mask 1",
        "extra-flag dont-encap-dscp",
        "limit time-use-hard 100000",
        "tfcpad 100",
    ];
    let shapes: Vec<_> =
        (0x2000..).zip(shapes).map(|(spi, shape)| format!("{} {shape} {ALGORITHMS}", tags(spi))).collect();
    add("state", &shapes);
}

fn policies() {
    let template = "tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 1 mode tunnel";
    let from = "src 10.0.1.0/24 dst 10.1.1.0/24";
    let shapes = [
        format!("{from} dir in priority 5 {template}"),
        format!("{from} dir out priority 5 {template}"),
        format!("{from} dir fwd priority 5 {template}"),
        format!("{from} dir out mark 7 mask 255 {template}"),
        format!("{from} dir out if_id 7 {template}"),
        format!("{from} dir out ptype sub {template}"),
        format!("{from} proto udp sport 5 dport 53 dir out flag localok flag icmp action block"),
        format!("{from} proto icmp type 8 code 0 dir out {template}"),
        format!("{from} proto gre key 5 dir out {template}"),
        format!("{from} dev lo dir out {template}"),
        format!("{from} proto tcp dir out limit byte-hard 100000 limit time-soft 50000 {template}"),
        format!(
            "{from} proto esp dir in tmpl proto comp mode tunnel level use \
             tmpl src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x100 mode transport level required"
        ),
        "src fd00::/64 dst ::/0 dir out tmpl src 2001:db8::1 dst 2001:db8::2 proto ah mode beet".to_owned(),
        format!("{from} proto sctp dir out index 0x40000009 {template}"),
    ];
    add("policy", &shapes);
}

fn add(database: &str, shapes: &[String]) {
    for shape in shapes {
        ip(&format!("{database} add {shape}"));
    }
}
