//! `ip xfrm`, in this thread's network namespace.

use std::process::Command;

/// Algorithms as in [`crate::suite::objects::sa`], with other keys.
pub(crate) const ALGORITHMS: &str = "mode tunnel \
    auth-trunc hmac(sha256) 0x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff 128 \
    enc cbc(aes) 0x00112233445566778899aabbccddeeff";

/// Runs it; returns what it prints.
#[track_caller]
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").arg("xfrm").args(arguments.split_whitespace()).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip xfrm {arguments}: {words}");
    String::from_utf8(output.stdout).unwrap()
}
