//! What the helper has started.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::{Answer, Program};
use crate::outcome::{Outcome, code};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What holds the namespace `$0` open. Each has its own /run/esplanade, as each machine would, and at /mnt a disk: what is
/// there is there again when a namespace of that name is.
const HOLD: &str = "mkdir -p /run/esplanade && mount -t tmpfs -o mode=0755 tmpfs /run/esplanade && \
                    mkdir -p \"/run/disks/$0\" && mount --bind \"/run/disks/$0\" /mnt && \
                    ip link set lo up && echo ready && exec sleep infinity";

#[derive(Debug, Default)]
pub(super) struct Processes {
    holders: RefCell<HashMap<String, Group>>,
    running: RefCell<HashMap<u32, Running>>,
}

#[derive(Debug)]
struct Running {
    namespace: Option<String>,
    ended: watch::Receiver<Option<i32>>,
}

/// A child that leads a process group; dropping it kills the group.
#[derive(Debug)]
struct Group {
    child: Child,
    id: u32,
}

impl Drop for Group {
    fn drop(&mut self) {
        // Not after the child was waited for: its id may be somebody else's by then.
        if self.child.id().is_some() {
            let _ = signal_group(self.id, Signal::SIGKILL);
        }
    }
}

fn signal_group(id: u32, signal: Signal) -> Result<()> {
    let id = i32::try_from(id).context("process id")?;
    killpg(Pid::from_raw(id), signal).with_context(|| format!("sending {signal} to {id}"))
}

impl Group {
    fn spawn(mut command: Command) -> Result<Self> {
        crate::sys::die_with_parent(command.as_std_mut(), Signal::SIGKILL);
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("can't start {program}"))?;
        let id = child.id().context("the child's id")?;
        Ok(Self { child, id })
    }
}

impl Processes {
    pub(super) async fn make_namespace(&self, name: &str) -> Result<()> {
        ensure!(!self.holders.borrow().contains_key(name), "the namespace {name} is there already");
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--propagation", "private", "--", "sh", "-c", HOLD, name]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut holder = Group::spawn(command)?;
        let stdout = holder.child.stdout.take().context("the holder's stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await.context("waiting for the namespace")?;
        ensure!(line.trim() == "ready", "making the namespace {name} failed (see the helper's log)");
        let attach = ["ip", "netns", "attach", name, &holder.id.to_string()].map(str::to_owned);
        self.run(&Program { argv: attach.to_vec(), ..Program::default() }, "").await?.ok()?;
        self.holders.borrow_mut().insert(name.to_owned(), holder);
        Ok(())
    }

    pub(super) async fn remove_namespace(&self, name: &str) -> Result<()> {
        let holder = self.holders.borrow_mut().remove(name);
        let mut holder = holder.with_context(|| format!("there is no namespace {name}"))?;
        for (id, running) in self.running.borrow().iter() {
            if running.namespace.as_deref() == Some(name) && running.ended.borrow().is_none() {
                let _ = signal_group(*id, Signal::SIGKILL);
            }
        }
        signal_group(holder.id, Signal::SIGKILL)?;
        holder.child.wait().await.context("waiting for the namespace's end")?;
        let delete = ["ip", "netns", "del", name].map(str::to_owned);
        self.run(&Program { argv: delete.to_vec(), ..Program::default() }, "").await?.ok()?;
        Ok(())
    }

    fn command(&self, program: &Program) -> Result<Command> {
        let (name, args) = program.argv.split_first().context("no program given")?;
        let mut command = match &program.namespace {
            None => {
                let mut command = Command::new(name);
                command.args(args);
                command
            }
            Some(namespace) => {
                let holders = self.holders.borrow();
                let holder = holders.get(namespace).with_context(|| format!("no namespace {namespace}"))?;
                let mut command = Command::new("nsenter");
                command.args(["--target", &holder.id.to_string(), "--net", "--mount", "--"]);
                command.args(&program.argv);
                command
            }
        };
        command.env_clear().env("PATH", PATH).envs(&program.env).current_dir("/");
        Ok(command)
    }

    /// Runs to the end. Dropping the future kills it.
    pub(super) async fn run(&self, program: &Program, stdin: &str) -> Result<Outcome> {
        let mut command = self.command(program)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut group = Group::spawn(command)?;
        let pipe = group.child.stdin.take();
        let (out, err) = (group.child.stdout.take(), group.child.stderr.take());
        let write = async {
            if let Some(mut pipe) = pipe {
                // A program that doesn't read all of its stdin closes it: not an error of ours.
                let _ = pipe.write_all(stdin.as_bytes()).await;
            }
        };
        let ((), stdout, stderr, status) =
            tokio::join!(write, read_all(out), read_all(err), group.child.wait());
        let status = status.context("waiting for the program")?;
        let output = std::process::Output { status, stdout: stdout?, stderr: stderr? };
        Ok(Outcome::new(&program.argv, &output))
    }

    /// Runs to the end and passes the output on. Dropping the future kills it.
    pub(super) async fn stream(
        &self,
        program: &Program,
        pass: &mut impl AsyncFnMut(Answer) -> Result<()>,
    ) -> Result<i32> {
        let mut command = self.command(program)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut group = Group::spawn(command)?;
        let mut out = group.child.stdout.take().context("the program's stdout")?;
        let mut err = group.child.stderr.take().context("the program's stderr")?;
        let (mut out_open, mut err_open) = (true, true);
        let (mut out_bytes, mut err_bytes) = ([0; 8192], [0; 8192]);
        while out_open || err_open {
            let (stderr, bytes) = tokio::select! {
                n = out.read(&mut out_bytes), if out_open => (false, &out_bytes[..n.context("reading")?]),
                n = err.read(&mut err_bytes), if err_open => (true, &err_bytes[..n.context("reading")?]),
            };
            match (bytes.is_empty(), stderr) {
                (true, false) => out_open = false,
                (true, true) => err_open = false,
                (false, stderr) => pass(Answer::Output { stderr, bytes: bytes.to_vec() }).await?,
            }
        }
        Ok(code(group.child.wait().await.context("waiting for the program")?))
    }

    pub(super) fn spawn(self: &Rc<Self>, program: Program, log: &Path) -> Result<u32> {
        let file = std::fs::File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("opening {}", log.display()))?;
        let second = file.try_clone().context("opening the log")?;
        let mut command = self.command(&program)?;
        command.stdin(Stdio::null()).stdout(file).stderr(second);
        let mut group = Group::spawn(command)?;
        let id = group.id;
        let (tell, ended) = watch::channel(None);
        self.running.borrow_mut().insert(id, Running { namespace: program.namespace, ended });
        tokio::task::spawn_local(async move {
            let status = group.child.wait().await;
            // What it left in its group goes with it.
            let _ = signal_group(id, Signal::SIGKILL);
            let _ = tell.send(Some(status.map_or(255, code)));
        });
        Ok(id)
    }

    pub(super) fn signal(&self, id: u32, signal: i32) -> Result<()> {
        if self.status(id)?.is_none() {
            signal_group(id, Signal::try_from(signal).context("signal")?)?;
        }
        Ok(())
    }

    pub(super) fn status(&self, id: u32) -> Result<Option<i32>> {
        let running = self.running.borrow();
        Ok(*running.get(&id).context("no such program")?.ended.borrow())
    }

    pub(super) async fn wait(&self, id: u32) -> Result<i32> {
        let mut ended = self.running.borrow().get(&id).context("no such program")?.ended.clone();
        let code = ended.wait_for(Option::is_some).await.context("waiting for the program")?;
        code.context("the program's exit code")
    }

    /// Kills all of it.
    pub(super) fn end(&self) {
        for (id, running) in self.running.borrow().iter() {
            if running.ended.borrow().is_none() {
                let _ = signal_group(*id, Signal::SIGKILL);
            }
        }
        self.holders.borrow_mut().clear();
    }
}

async fn read_all(stream: Option<impl tokio::io::AsyncRead + Unpin>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).await.context("reading the program's output")?;
    }
    Ok(bytes)
}
