//! The one place with `unsafe`: what a child process must do between fork and exec.
#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, setpgid};

/// Makes the command a process group of its own that gets `signal` when the **thread** that starts it ends
/// (`PR_SET_PDEATHSIG`), however it ends.
pub(crate) fn die_with_parent(command: &mut Command, signal: Signal) {
    let parent = nix::unistd::getpid();
    let prepare = move || {
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        prctl::set_pdeathsig(signal)?;
        // The parent may have ended before prctl: nobody would send the signal then.
        if nix::unistd::getppid() != parent {
            return Err(std::io::Error::from(nix::errno::Errno::ESRCH));
        }
        Ok(())
    };
    // SAFETY: the closure makes only async-signal-safe system calls (setpgid, prctl, getppid), allocates nothing
    // and takes no lock.
    unsafe {
        command.pre_exec(prepare);
    }
}
