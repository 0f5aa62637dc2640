//! SAs and policies that somebody made with `ip xfrm`.

use anyhow::Result;
use esplanade_e2e::lab::Node;

/// As varied as the kernel takes them: some look like ours but for one thing. `ip` swaps the bytes of `seq`.
const COMMANDS: &[&str] = &[
    // Our reqids, not our cookie; our cookie, not our reqids; next to both, with a mark; a name next to one of ours.
    "ip xfrm state add src 192.0.2.11 dst 198.51.100.1 proto esp spi 0x1101 reqid 0x50000001 mode tunnel \
     replay-window 32 aead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f01020304 128",
    "ip xfrm state add src 192.0.2.11 dst 198.51.100.1 proto esp spi 0x1102 reqid 7 seq 0x01005345 mode transport \
     enc cbc(aes) 0x000102030405060708090a0b0c0d0e0f auth hmac(sha256) 0x0001 sel dst 198.51.100.1/32",
    "ip xfrm state add src 192.0.2.11 dst 198.51.100.1 proto ah spi 0x1103 reqid 0x50000002 seq 0x02005445 \
     mode transport mark 7 mask 0xff auth-trunc hmac(sha256) 0x0203 128",
    "ip xfrm state add src 192.0.2.11 dst 192.0.2.12 proto ah spi 4097 reqid 7 mode tunnel \
     auth-trunc hmac(sha256) 0x0405 128",
    "ip xfrm state add src 2001:db8::11 dst 2001:db8::12 proto comp spi 0x1105 reqid 7 mode transport comp deflate",
    // Our indexes, not our reqids; our reqids, not our indexes; all of ours' packets, for a mark only.
    "ip xfrm policy add src 10.99.0.0/16 dst 10.98.0.0/16 dir out index 0x40000009 priority 3 \
     tmpl src 192.0.2.11 dst 198.51.100.1 proto esp reqid 7 mode tunnel",
    "ip xfrm policy add src 10.99.1.0/24 dst 10.98.0.0/16 dir fwd priority 3 \
     tmpl src 192.0.2.11 dst 198.51.100.1 proto esp reqid 0x50000001 mode tunnel",
    "ip xfrm policy add src 10.244.1.0/24 dst 10.244.2.0/24 dir out mark 7 mask 0xff action block",
    "ip xfrm policy add src 10.99.2.0/24 dst 10.98.0.0/16 proto tcp dport 443 dir in action block priority 9",
    "ip xfrm policy add src fd00:99::/64 dst fd00:98::/64 dir in priority 4 \
     tmpl src 2001:db8::12 dst 2001:db8::11 proto comp reqid 7 mode tunnel level use \
     tmpl proto esp reqid 8 mode transport",
];

/// Makes all of them.
pub(crate) async fn make(node: &Node) -> Result<()> {
    for command in COMMANDS {
        node.run(command.split_whitespace()).await?.ok()?;
    }
    Ok(())
}
