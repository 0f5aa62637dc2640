//! The thread's own: what it knows, and how one pass follows on another.

use std::sync::Arc;
use std::sync::mpsc::{self as std_mpsc, RecvTimeoutError};
use std::time::Duration;

use esplanade_crds::IpsecNodeStateSpec;
use esplanade_diff::Memory;
use esplanade_expand::OpenedKeys;
use esplanade_model::{Capabilities, PolicyKey};
use esplanade_seal::KeyPair;
use esplanade_sync::Engine;
use esplanade_xfrm::Kernel;
use tokio::sync::mpsc;

use super::{Job, News, Open, Recorded};
use crate::boot;
use crate::disturbance::{Disturbances, Moment};
use crate::hidden;
use crate::host;
use crate::keying::Keying;
use crate::mapping::Senders;
use crate::numbers;
use crate::offload::Offloading;
use crate::pass::uptime;
use crate::ports::Ports;
use crate::settings::Settings;
use crate::spis::Spis;
use crate::wear::Record;

mod exempt;
mod keyed;
mod pass;
mod plain;
mod record;
mod steps;

use keyed::Base;
use pass::{PassError, Turn};
use steps::Expanded;

/// The thread's own.
pub(super) struct State {
    node: String,
    release: String,
    keys: KeyPair,
    open: Open,
    ports: Box<dyn Ports>,
    kernel: Option<Box<dyn Kernel>>,
    /// Packets that lack an SA are told of.
    acquires: bool,
    /// What the kernel can do, asked once.
    capabilities: Option<Arc<Capabilities>>,
    engine: Engine,
    opened: OpenedKeys,
    spis: Spis,
    /// The spec of the input of this version, with the SPIs that the kernel chose.
    numbered: Option<(u64, Arc<IpsecNodeStateSpec>)>,
    record: Record,
    numbers: numbers::Record,
    hidden: hidden::Record,
    settings: Settings,
    senders: Senders,
    boot: boot::Record,
    offloading: Offloading,
    /// Policies without which nothing may be dropped that no policy covers.
    exempt: Vec<PolicyKey>,
    /// Of the input of this version, which the engine knows.
    expanded: Option<(u64, Arc<Expanded>)>,
    keying: Keying,
    /// With automatic keys: what is wanted but their SAs.
    base: Option<Base>,
    disturbances: Disturbances,
}

/// How often the kernel is asked what it has dropped, if nothing happens: so much too much is told at most when something does.
const LOOK: Duration = Duration::from_secs(10);

impl State {
    pub(super) fn new(
        (node, release): (&str, &str),
        keys: KeyPair,
        recorded: Recorded,
        keying: Keying,
        open: Open,
        ports: Box<dyn Ports>,
    ) -> Self {
        let Recorded { worn, numbers, hidden, settings, senders, boot } = recorded;
        Self {
            node: node.to_owned(),
            release: release.to_owned(),
            keys,
            open,
            ports,
            kernel: None,
            acquires: false,
            capabilities: None,
            engine: Engine::new(Memory::new(worn.0, numbers.0)).with_hidden(hidden.0),
            record: worn.1,
            numbers: numbers.1,
            hidden: hidden.1,
            settings,
            senders,
            boot,
            offloading: Offloading::default(),
            exempt: Vec::new(),
            opened: OpenedKeys::default(),
            spis: Spis::default(),
            numbered: None,
            expanded: None,
            keying,
            base: None,
            disturbances: Disturbances::default(),
        }
    }

    pub(super) fn work(mut self, todo: &std_mpsc::Receiver<Job>, tell: &mpsc::UnboundedSender<News>) {
        self.look();
        loop {
            let job = match todo.recv_timeout(LOOK) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => {
                    self.look();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            match job {
                Job::Reopen => self.kernel = None,
                Job::Leave => {
                    self.leave();
                    let _ = tell.send(News::Left);
                    return;
                }
                Job::Pass(order) => {
                    let done = self.pass(*order, tell);
                    if tell.send(News::Done(Box::new(done))).is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// At what the kernel has dropped.
    fn look(&mut self) {
        self.disturbances.looked(moment(), || host::dropped().ok());
    }
}

fn moment() -> Moment {
    (uptime(), jiff::Timestamp::now())
}
