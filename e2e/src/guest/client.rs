//! The test's side.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{Answer, Program, Request};
use crate::outcome::Outcome;

/// The helper, as the test sees it. Clones are the same helper; it ends with the last of them.
#[derive(Debug, Clone)]
pub struct Guest {
    address: SocketAddr,
    _session: Rc<TcpStream>,
}

impl Guest {
    /// Connects to a helper that listens.
    ///
    /// # Errors
    /// It doesn't listen (yet).
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let (stream, answer) = ask(address, &Request::Session).await?;
        match answer {
            Answer::Done => Ok(Self { address, _session: Rc::new(stream) }),
            other => bail!("unexpected answer: {other:?}"),
        }
    }

    /// Runs a program to its end, its output passed on to this process's as it comes; returns its exit code. Needs
    /// no session: any process in the lab's network namespace may ask for it.
    pub async fn stream(address: SocketAddr, program: Program) -> Result<i32> {
        let mut stream = send(address, &Request::Stream(program)).await?;
        let mut lines = BufReader::new(&mut stream).lines();
        while let Some(line) = lines.next_line().await.context("reading from the lab's helper")? {
            let bytes = match serde_json::from_str(&line).context("the lab's helper said nonsense")? {
                Answer::Output { stderr: false, bytes } => std::io::stdout().write_all(&bytes),
                Answer::Output { stderr: true, bytes } => std::io::stderr().write_all(&bytes),
                Answer::Ended(Some(code)) => return Ok(code),
                Answer::Failed(words) => bail!("{words}"),
                other => bail!("unexpected answer: {other:?}"),
            };
            bytes.and_then(|()| std::io::stdout().flush()).context("passing the output on")?;
        }
        bail!("the lab's helper went away")
    }

    async fn ask(&self, request: &Request) -> Result<Answer> {
        match ask(self.address, request).await?.1 {
            Answer::Failed(words) => bail!("{words}"),
            answer => Ok(answer),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a network and mount namespace of that name.
    pub async fn make_namespace(&self, name: &str) -> Result<()> {
        self.ask(&Request::MakeNamespace(name.to_owned())).await.map(drop)
    }

    /// Ends everything in a namespace, and the namespace.
    pub async fn remove_namespace(&self, name: &str) -> Result<()> {
        self.ask(&Request::RemoveNamespace(name.to_owned())).await.map(drop)
    }

    /// Runs a program to its end; dropping the future ends it.
    pub async fn run(&self, program: Program, stdin: &str) -> Result<Outcome> {
        match self.ask(&Request::Run { program, stdin: stdin.to_owned() }).await? {
            Answer::Ran(outcome) => Ok(outcome),
            other => bail!("unexpected answer: {other:?}"),
        }
    }

    /// Starts a program; its output is appended to `log`, which must be below the lab's folder.
    pub async fn spawn(&self, program: Program, log: &Path) -> Result<Process> {
        let name = program.argv.first().cloned().unwrap_or_default();
        match self.ask(&Request::Spawn { program, log: log.to_owned() }).await? {
            Answer::Started(id) => Ok(Process { guest: self.clone(), id, name, log: log.to_owned() }),
            other => bail!("unexpected answer: {other:?}"),
        }
    }
}

/// A program that runs where the nodes are. It goes on when this is dropped, and ends with the lab.
#[derive(Debug, Clone)]
pub struct Process {
    guest: Guest,
    id: u32,
    name: String,
    log: PathBuf,
}

impl Process {
    /// The program's process id, on the nodes' kernel.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The file with its output.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Its output so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Sends a signal to its process group; nothing happens when it has ended.
    pub async fn signal(&self, signal: Signal) -> Result<()> {
        let request = Request::Signal { id: self.id, signal: signal as i32 };
        self.guest.ask(&request).await.with_context(|| self.name.clone()).map(drop)
    }

    /// Waits for its end; the exit code (128 + n after signal n).
    pub async fn wait(&self) -> Result<i32> {
        match self.guest.ask(&Request::Wait { id: self.id }).await? {
            Answer::Ended(Some(code)) => Ok(code),
            other => bail!("unexpected answer: {other:?}"),
        }
    }

    /// The exit code if it has ended.
    pub async fn status(&self) -> Result<Option<i32>> {
        match self.guest.ask(&Request::Status { id: self.id }).await? {
            Answer::Ended(code) => Ok(code),
            other => bail!("unexpected answer: {other:?}"),
        }
    }

    /// SIGTERM, then waits for the end; the exit code.
    pub async fn stop(&self) -> Result<i32> {
        self.signal(Signal::SIGTERM).await?;
        self.wait().await
    }
}

async fn send(address: SocketAddr, request: &Request) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await.context("connecting to the lab's helper")?;
    stream.set_nodelay(true).context("TCP_NODELAY")?;
    let mut text = serde_json::to_string(request).context("writing a request")?;
    text.push('\n');
    stream.write_all(text.as_bytes()).await.context("asking the lab's helper")?;
    Ok(stream)
}

async fn ask(address: SocketAddr, request: &Request) -> Result<(TcpStream, Answer)> {
    let mut stream = send(address, request).await?;
    let mut line = String::new();
    BufReader::new(&mut stream).read_line(&mut line).await.context("asking the lab's helper")?;
    let answer = serde_json::from_str(&line).context("the lab's helper gave no answer")?;
    Ok((stream, answer))
}
