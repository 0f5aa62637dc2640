//! Does the running kernel have ESP?

use std::process::Stdio;

use anyhow::{Context, Result};

/// One state each for what the lab relies on: ESP over both families with the default AEAD, and the oldest pair
/// that RFC 8221 requires.
const PROBE: &str = r#"
gcm="aead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128"
cbc="enc cbc(aes) 0x000102030405060708090a0b0c0d0e0f auth-trunc hmac(sha256) 0x000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f 128"
ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x100 mode transport $gcm &&
ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x101 mode transport $cbc &&
ip xfrm state add src 2001:db8::1 dst 2001:db8::2 proto esp spi 0x102 mode tunnel $gcm
"#;

/// Whether ESP states can be added in a fresh network namespace of the running kernel.
///
/// # Errors
/// The probe can't run: `unshare` or `ip` is missing, or namespaces aren't allowed. That isn't an answer.
pub fn running_kernel_has_esp() -> Result<bool> {
    for program in ["unshare", "ip"] {
        super::which(program).with_context(|| missing(program))?;
    }
    let namespace = super::unshare_net().arg("true").output().context("starting unshare")?;
    anyhow::ensure!(
        namespace.status.success(),
        "can't make a network namespace: run as root, or allow unprivileged user namespaces \
         (sysctl kernel.unprivileged_userns_clone=1): {}",
        String::from_utf8_lossy(&namespace.stderr).trim()
    );
    let status = super::unshare_net()
        .args(["sh", "-c", PROBE])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("starting unshare")?;
    Ok(status.success())
}

fn missing(program: &str) -> String {
    let package = crate::packages::package_of(program).unwrap_or("(unknown)");
    format!("{program} isn't in PATH: install Debian's package {package}")
}
