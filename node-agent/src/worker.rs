//! The one thread that writes to the kernel.

use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::Duration;

use esplanade_diff::{Hidden, Numbers, Wear};
use esplanade_seal::KeyPair;
use esplanade_sync::Losses;
use esplanade_xfrm::{Kernel, KernelError, Noticed, Watch};
use tokio::sync::mpsc;

use crate::boot;
use crate::desired::Input;
use crate::hidden;
use crate::keying::{Keying, PublishKeys};
use crate::mapping::Senders;
use crate::numbers;
use crate::ports::Ports;
use crate::settings::Settings;
use crate::status::{PassResult, Report};
use crate::wear::Record;

mod state;

use state::State;

/// A kernel, and what tells of others' changes to it. Whoever opens it afresh gets both.
pub type Opened = (Box<dyn Kernel>, Box<dyn Watch>);

/// Opens the kernel; again after anything failed. With `true` packets that lack an SA are told of as well.
pub type Open = Box<dyn FnMut(bool) -> Result<Opened, KernelError> + Send>;

/// What earlier processes recorded, and where that goes on.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Which keys are worn out.
    pub worn: (Wear, Record),
    /// How far senders have come.
    pub numbers: (Numbers, numbers::Record),
    /// Which keys SAs have, where the kernel doesn't show them.
    pub hidden: (Hidden, hidden::Record),
    /// What was set for all policies.
    pub settings: Settings,
    /// Where senders behind address translations are.
    pub senders: Senders,
    /// What a reboot is to drop.
    pub boot: boot::Record,
}

/// What the thread has to tell.
pub enum News {
    /// The kernel was opened (again): this tells of others' changes from now on.
    Opened(Box<dyn Watch>),
    /// A pass ended.
    Done(Box<Done>),
    /// The thread has recorded what the next agent needs, and ends.
    Left,
}

/// A pass that ended.
#[derive(Debug)]
pub struct Done {
    /// What it came to, with everything that is wrong with the objects it was made for.
    pub report: Report,
    /// How many operations it took.
    pub operations: usize,
    /// See [`Outcome::surprises`](crate::pass::Outcome::surprises).
    pub surprises: usize,
    /// What the pass found away that somebody else must have deleted.
    pub losses: Losses,
    /// Keys to publish.
    pub publish: Option<PublishKeys>,
    /// Something follows from what others did, and is the next pass's: they may have gone on meanwhile.
    pub again: bool,
    /// The next pass is due after so long, if nothing happens before.
    pub wake: Option<Duration>,
}

impl Done {
    /// Nothing is left to do.
    pub fn in_sync(&self) -> bool {
        matches!(self.report.result, PassResult::Done { in_sync: true, .. })
    }
}

/// What the thread is to do next.
enum Job {
    Pass(Box<Order>),
    Reopen,
    Leave,
}

/// What a pass is made for.
#[derive(Debug, Default)]
pub struct Reasons {
    /// What others did since the pass before.
    pub noticed: Noticed,
    /// Everything is to be read, whatever is known.
    pub audit: bool,
}

struct Order {
    input: Input,
    reasons: Reasons,
}

/// The handle on the thread. It ends when this is dropped, after the pass it is at.
pub struct Worker {
    jobs: std_mpsc::Sender<Job>,
    news: mpsc::UnboundedReceiver<News>,
}

/// The thread is gone.
#[derive(Debug, thiserror::Error)]
#[error("the thread that writes to the kernel has ended")]
pub struct WorkerGone;

impl Worker {
    /// Starts the thread, which opens the kernel for its first pass. `release` is the kernel's, `recorded` what
    /// earlier processes left.
    ///
    /// # Errors
    /// No more threads.
    pub fn start(
        node: &str,
        release: &str,
        keys: KeyPair,
        recorded: Recorded,
        keying: Keying,
        open: Open,
        ports: Box<dyn Ports>,
    ) -> std::io::Result<Self> {
        let (jobs, todo) = std_mpsc::channel();
        let (tell, news) = mpsc::unbounded_channel();
        let state = State::new((node, release), keys, recorded, keying, open, ports);
        thread::Builder::new().name("kernel".to_owned()).spawn(move || state.work(&todo, &tell))?;
        Ok(Self { jobs, news })
    }

    /// Orders a pass.
    ///
    /// # Errors
    /// The thread is gone.
    pub fn pass(&self, input: Input, reasons: Reasons) -> Result<(), WorkerGone> {
        self.jobs.send(Job::Pass(Box::new(Order { input, reasons }))).map_err(|_| WorkerGone)
    }

    /// The kernel is to be opened afresh for the next pass.
    ///
    /// # Errors
    /// The thread is gone.
    pub fn reopen(&self) -> Result<(), WorkerGone> {
        self.jobs.send(Job::Reopen).map_err(|_| WorkerGone)
    }

    /// Lets the thread end, after what it is at.
    ///
    /// # Errors
    /// The thread is gone.
    pub fn leave(&self) -> Result<(), WorkerGone> {
        self.jobs.send(Job::Leave).map_err(|_| WorkerGone)
    }

    /// Waits for news.
    ///
    /// # Errors
    /// The thread is gone.
    pub async fn news(&mut self) -> Result<News, WorkerGone> {
        self.news.recv().await.ok_or(WorkerGone)
    }
}

#[cfg(test)]
mod tests;
