//! The same objects by other programs: iproute2 and a Go library.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use esplanade_model::{Crypto, Direction, Op, Policy, PolicyIndex, Sa};

/// Lines for one `ip -batch`. It frees nothing before its end, and User-Mode Linux kills a process of more pages than its host
/// maps for one (`vm.max_map_count`).
pub const IP_LINES: usize = 20_000;

/// Programs everything with `ip -batch`, one after the other; the time is that of the processes.
///
/// # Errors
/// ip is missing, or failed.
pub fn ip_batch(files: &[PathBuf]) -> Result<Duration> {
    let start = Instant::now();
    files.iter().try_for_each(|file| run(Command::new("ip").arg("-batch").arg(file)).map(drop))?;
    Ok(start.elapsed())
}

/// Programs everything with the Go program; the time is the one it says.
///
/// # Errors
/// It failed.
pub fn go(program: &Path, file: &Path) -> Result<Duration> {
    let nanoseconds = run(Command::new(program).arg(file))?;
    Ok(Duration::from_nanos(nanoseconds.trim().parse().context("the Go program's answer")?))
}

/// Empties both databases of this network namespace, which is the benchmark's own.
///
/// # Errors
/// ip is missing, or failed.
pub fn flush() -> Result<()> {
    run(Command::new("ip").args(["xfrm", "policy", "flush"]))?;
    run(Command::new("ip").args(["xfrm", "state", "flush"]))?;
    Ok(())
}

/// Policies between networks of this length are hashed, else they are in a tree that old kernels search slowly.
///
/// # Errors
/// ip is missing, or failed.
pub fn set_hash_thresholds(prefix: u8) -> Result<()> {
    let prefix = prefix.to_string();
    run(Command::new("ip").args(["xfrm", "policy", "set", "hthresh4", &prefix, &prefix]))?;
    Ok(())
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.lines().take(3).collect::<Vec<_>>().join("; ");
    ensure!(output.status.success(), "{command:?}: {}: {words}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The operations for [`ip_batch`].
///
/// # Errors
/// Some are no additions.
pub fn ip_lines(ops: &[Op]) -> Result<String> {
    let sa = |sa: &Sa, window: u32| {
        let (source, destination, spi, reqid) = (sa.source, sa.destination, sa.spi.get(), sa.reqid.get());
        Ok(format!(
            "xfrm state add src {source} dst {destination} proto esp spi {spi} reqid {reqid} mode tunnel \
             replay-window {window} flag af-unspec aead rfc4106(gcm(aes)) 0x{} 128",
            hex(sa)?
        ))
    };
    let policy = |policy: &Policy, index: PolicyIndex| {
        let (from, to, direction) =
            (policy.selector.source(), policy.selector.destination(), word(policy.direction));
        let (source, destination, reqid) = template(policy)?;
        let (priority, index) = (policy.priority, index.get());
        Ok(format!(
            "xfrm policy add src {from} dst {to} dir {direction} index {index} priority {priority} \
             tmpl src {source} dst {destination} proto esp reqid {reqid} mode tunnel"
        ))
    };
    lines(ops, sa, policy)
}

/// The operations for [`go`].
///
/// # Errors
/// Some are no additions.
pub fn go_lines(ops: &[Op]) -> Result<String> {
    let sa = |sa: &Sa, window: u32| {
        let (source, destination, spi, reqid) = (sa.source, sa.destination, sa.spi.get(), sa.reqid.get());
        Ok(format!("sa {source} {destination} {spi} {reqid} {} {window}", hex(sa)?))
    };
    let policy = |policy: &Policy, index: PolicyIndex| {
        let (from, to, direction) =
            (policy.selector.source(), policy.selector.destination(), word(policy.direction));
        let (source, destination, reqid) = template(policy)?;
        let (priority, index) = (policy.priority, index.get());
        Ok(format!("policy {direction} {from} {to} {priority} {index} {source} {destination} {reqid}"))
    };
    lines(ops, sa, policy)
}

fn lines(
    ops: &[Op],
    sa: impl Fn(&Sa, u32) -> Result<String>,
    policy: impl Fn(&Policy, PolicyIndex) -> Result<String>,
) -> Result<String> {
    let mut text = String::new();
    for op in ops {
        let line = match op {
            Op::AddInbound { sa: inbound, .. } => sa(&inbound.0, inbound.0.replay.window)?,
            Op::AddOutbound { sa: outbound, .. } => sa(&outbound.0, 0)?,
            Op::AddPolicy { policy: one, index } => policy(one, *index)?,
            other => anyhow::bail!("not an addition: {other:?}"),
        };
        writeln!(text, "{line}")?;
    }
    Ok(text)
}

fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "in",
        Direction::Out => "out",
        Direction::Forward => "fwd",
    }
}

fn template(policy: &Policy) -> Result<(std::net::IpAddr, std::net::IpAddr, u32)> {
    let template = policy.templates.first().context("a policy without a template")?;
    let (source, destination) = template.tunnel.context("a template without a tunnel")?;
    Ok((source, destination, template.reqid.context("a template without a reqid")?.get()))
}

/// The key: one that the benchmark made up.
fn hex(sa: &Sa) -> Result<String> {
    let Crypto::Aead(_, key) = &sa.crypto else { anyhow::bail!("not an AEAD") };
    Ok(key.expose().iter().map(|byte| format!("{byte:02x}")).collect())
}
