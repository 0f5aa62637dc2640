//! A second network namespace at the other end of a wire.

use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};

use esplanade_xfrm::Netlink;
use nix::sched::{CloneFlags, unshare};

use crate::suite::Subject;

type Task = Box<dyn FnOnce(&mut dyn Subject) + Send>;

/// A thread in a network namespace of its own. Dropping it ends both.
pub(crate) struct Peer {
    tasks: Sender<Task>,
}

impl Peer {
    /// Joined to this thread's namespace: 192.0.2.1 here, 192.0.2.2 there.
    pub(crate) fn make() -> Self {
        let (tasks, queue): (Sender<Task>, Receiver<Task>) = channel();
        let (ready, is_ready) = channel();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of its own");
            ready.send(nix::unistd::gettid()).unwrap();
            let mut kernel = Netlink::open().unwrap();
            for task in queue {
                task(&mut kernel);
            }
        });
        let thread = is_ready.recv().unwrap();
        ip(&format!("link add here type veth peer name there netns {thread}"));
        ip("link set here up");
        ip("address add 192.0.2.1/24 dev here");
        let peer = Self { tasks };
        peer.there(|_| {
            ip("link set there up");
            ip("address add 192.0.2.2/24 dev there");
        });
        peer
    }

    /// Runs it there, and waits for it.
    pub(crate) fn there<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut dyn Subject) -> T + Send + 'static,
    ) -> T {
        let (done, result) = channel();
        self.tasks.send(Box::new(move |kernel| done.send(task(kernel)).unwrap())).unwrap();
        result.recv().expect("the other end panicked")
    }
}

/// Runs `ip` in this thread's namespace.
pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}
