//! A thread with a network namespace of its own.

use std::panic::resume_unwind;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, unshare};

/// Runs `body` on a new thread in a fresh network namespace (loopback up), on a tokio runtime of its own; returns
/// what it returns and panics when it panics. Sockets and processes that the body makes are inside. Processes
/// started with [`crate::process::Supervised`] end with the thread at the latest.
///
/// # Errors
/// This process may not make a network namespace; the message says what to do.
pub fn run<T, F>(body: F) -> Result<T>
where
    F: AsyncFnOnce() -> Result<T> + Send,
    T: Send,
{
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("lab".to_owned()).spawn_scoped(scope, || {
            enter()?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.context("making the lab's runtime")?.block_on(body())
        });
        thread.context("starting the lab's thread")?.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn enter() -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the lab makes network namespaces, which needs root: run the command as root, or below \
         `unshare --user --map-root-user --`"
    );
    unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace")?;
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    let status = status.context("can't start ip: is Debian's package iproute2 installed?")?;
    ensure!(status.success(), "ip link set lo up: {status}");
    Ok(())
}
