//! The one thread that writes to the kernel.

use std::sync::mpsc as std_mpsc;
use std::thread;

use esplanade_diff::Memory;
use esplanade_expand::{Expansion, expand};
use esplanade_seal::KeyPair;
use esplanade_xfrm::{Kernel, KernelError, Watch};
use tokio::sync::mpsc;

use crate::desired::Input;
use crate::pass::pass;
use crate::status::{PassResult, Report};

/// A kernel, and what tells of others' changes to it. Whoever opens it afresh gets both.
pub type Opened = (Box<dyn Kernel>, Box<dyn Watch>);

/// Opens the kernel; again after anything failed.
pub type Open = Box<dyn FnMut() -> Result<Opened, KernelError> + Send>;

/// What the thread has to tell.
pub enum News {
    /// The kernel was opened (again): this tells of others' changes from now on.
    Opened(Box<dyn Watch>),
    /// A pass ended.
    Done(Done),
}

/// A pass that ended.
#[derive(Debug)]
pub struct Done {
    /// What it came to, with everything that is wrong with the objects it was made for.
    pub report: Report,
    /// How many operations it took.
    pub operations: usize,
}

impl Done {
    /// Nothing is left to do.
    pub fn in_sync(&self) -> bool {
        matches!(self.report.result, PassResult::Done { in_sync: true, .. })
    }
}

/// What the thread is to do next.
enum Job {
    Pass(Box<Input>),
    Reopen,
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
    /// Starts the thread, which opens the kernel for its first pass.
    ///
    /// # Errors
    /// No more threads.
    pub fn start(node: &str, keys: KeyPair, open: Open) -> std::io::Result<Self> {
        let (jobs, todo) = std_mpsc::channel();
        let (tell, news) = mpsc::unbounded_channel();
        let state = State {
            node: node.to_owned(),
            keys,
            open,
            kernel: None,
            memory: Memory::default(),
            expanded: None,
        };
        thread::Builder::new().name("kernel".to_owned()).spawn(move || state.work(&todo, &tell))?;
        Ok(Self { jobs, news })
    }

    /// Orders a pass.
    ///
    /// # Errors
    /// The thread is gone.
    pub fn pass(&self, input: Input) -> Result<(), WorkerGone> {
        self.jobs.send(Job::Pass(Box::new(input))).map_err(|_| WorkerGone)
    }

    /// The kernel is to be opened afresh for the next pass.
    ///
    /// # Errors
    /// The thread is gone.
    pub fn reopen(&self) -> Result<(), WorkerGone> {
        self.jobs.send(Job::Reopen).map_err(|_| WorkerGone)
    }

    /// Waits for news.
    ///
    /// # Errors
    /// The thread is gone.
    pub async fn news(&mut self) -> Result<News, WorkerGone> {
        self.news.recv().await.ok_or(WorkerGone)
    }
}

/// The thread's own.
struct State {
    node: String,
    keys: KeyPair,
    open: Open,
    kernel: Option<Box<dyn Kernel>>,
    memory: Memory,
    /// Of the input of this version: opening sealed keys is most of the work of a pass that changes nothing.
    expanded: Option<(u64, Expansion)>,
}

impl State {
    fn work(mut self, todo: &std_mpsc::Receiver<Job>, tell: &mpsc::UnboundedSender<News>) {
        while let Ok(job) = todo.recv() {
            match job {
                Job::Reopen => self.kernel = None,
                Job::Pass(input) => {
                    let done = self.pass(&input, tell);
                    if tell.send(News::Done(done)).is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn pass(&mut self, input: &Input, tell: &mpsc::UnboundedSender<News>) -> Done {
        let (result, operations) = match self.try_pass(input, tell) {
            Ok(done) => done,
            Err(error) => {
                // A socket that failed isn't used again.
                self.kernel = None;
                (PassResult::Failed { category: error.category(), message: error.to_string() }, 0)
            }
        };
        let report = Report { generation: input.generation, peers_through: input.peers_through, result };
        Done { report, operations }
    }

    fn try_pass(
        &mut self,
        input: &Input,
        tell: &mpsc::UnboundedSender<News>,
    ) -> Result<(PassResult, usize), KernelError> {
        let kernel = match &mut self.kernel {
            Some(kernel) => kernel,
            None => {
                // What happens from here on is told, and what happened before is in the dump.
                let (kernel, watch) = (self.open)()?;
                // Nobody listens any more only when the agent ends.
                let _ = tell.send(News::Opened(watch));
                self.kernel.insert(kernel)
            }
        };
        let expansion = match &mut self.expanded {
            Some((version, expansion)) if *version == input.version => expansion,
            stale => {
                let fresh = expand(&self.node, &input.spec, &input.peers, Some(&self.keys));
                &mut stale.insert((input.version, fresh)).1
            }
        };
        let outcome = pass(kernel.as_mut(), &self.node, &expansion.wanted, &mut self.memory)?;
        let mut problems = input.problems.clone();
        problems.extend(expansion.problems.iter().cloned());
        problems.extend(outcome.problems);
        let result = PassResult::Done { counts: outcome.counts, problems, in_sync: outcome.in_sync };
        Ok((result, outcome.operations))
    }
}

#[cfg(test)]
mod tests;
