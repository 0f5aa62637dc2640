//! Child processes that never outlive the lab.

use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How long a process may take to end after SIGTERM before it gets SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// A child in a process group of its own. Dropping it ends the whole group: SIGTERM, then SIGKILL.
#[derive(Debug)]
pub struct Supervised {
    child: Child,
    name: String,
    ended: Option<ExitStatus>,
}

impl Supervised {
    /// Starts the command. It gets SIGTERM when the calling thread ends, so call it from a thread that lives as
    /// long as the process should. The error names the Debian package when the program isn't there.
    pub fn spawn(name: &str, command: Command) -> Result<Self> {
        Self::spawn_with(name, command, Signal::SIGTERM)
    }

    /// Like [`Supervised::spawn`] for a process that has nothing to put in order: it gets SIGKILL when the thread
    /// ends.
    pub fn spawn_expendable(name: &str, command: Command) -> Result<Self> {
        Self::spawn_with(name, command, Signal::SIGKILL)
    }

    fn spawn_with(name: &str, mut command: Command, at_the_end: Signal) -> Result<Self> {
        crate::sys::die_with_parent(&mut command, at_the_end);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| match crate::packages::package_of(&program) {
            Some(package) => format!("can't start {program}: is Debian's package {package} installed?"),
            None => format!("can't start {program}"),
        })?;
        Ok(Self { child, name: name.to_owned(), ended: None })
    }

    /// The process id, also the id of its process group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status if the process has ended.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().with_context(|| format!("waiting for {}", self.name))?;
        }
        Ok(self.ended)
    }

    /// Ends the process and what it left in its group: SIGTERM, after a grace of 5 s SIGKILL.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + GRACE;
        while matches!(self.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }

    /// SIGKILL for the whole group, at once.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        if self.ended.is_none() {
            self.ended = self.child.wait().ok();
        }
    }

    fn signal(&self, signal: Signal) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            // ESRCH: the group is gone already.
            let _ = killpg(Pid::from_raw(id), signal);
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.stop();
    }
}
