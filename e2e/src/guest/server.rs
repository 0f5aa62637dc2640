//! The helper's side.

use std::net::SocketAddr;
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::processes::Processes;
use super::{Answer, Request};

/// How the helper serves.
#[derive(Debug)]
pub struct Serve {
    /// Where it listens; on the bridge if it isn't loopback.
    pub listen: SocketAddr,
    /// The bridge to make.
    pub bridge: Option<Bridge>,
}

/// The nodes' bridge, when they aren't on the lab's own kernel.
#[derive(Debug)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Its addresses, with prefix lengths.
    pub addresses: Vec<String>,
    /// The interface to the lab.
    pub uplink: String,
}

/// Serves until the session's connection ends; then everything it started is ended.
///
/// # Errors
/// The bridge or the listening socket can't be made.
pub async fn serve(how: &Serve) -> Result<()> {
    private_run()?;
    how.bridge.iter().try_for_each(make_bridge)?;
    let listener = TcpListener::bind(how.listen).await.with_context(|| format!("binding {}", how.listen))?;
    let processes = Rc::new(Processes::default());
    let (over, mut ended) = mpsc::channel(1);
    let local = tokio::task::LocalSet::new();
    let accept = async {
        loop {
            let (stream, _) = listener.accept().await.context("accepting")?;
            let (processes, over) = (Rc::clone(&processes), over.clone());
            tokio::task::spawn_local(async move {
                // The other side went away in the middle: it no longer wants an answer.
                let _ = connection(stream, &processes, &over).await;
            });
        }
    };
    let result = local
        .run_until(async {
            tokio::select! { r = accept => r, _ = ended.recv() => Ok(()) }
        })
        .await;
    processes.end();
    result
}

/// A /run of the helper's own, for the names of its network namespaces.
fn private_run() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("making a mount namespace")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("making / private")?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none).context("mounting /run")?;
    std::fs::create_dir_all("/run/lab").context("making /run/lab")
}

fn make_bridge(bridge: &Bridge) -> Result<()> {
    let Bridge { name, addresses, uplink } = bridge;
    let mut lines = vec![
        format!("link add {name} type bridge forward_delay 0 mcast_snooping 0"),
        format!("link set {uplink} master {name}"),
        format!("link set {uplink} up"),
    ];
    lines.extend(addresses.iter().map(|address| format!("addr add {address} dev {name} {}", nodad(address))));
    lines.push(format!("link set {name} up"));
    for line in lines {
        let output = Command::new("ip").args(line.split_whitespace()).output().context("can't start ip")?;
        ensure!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn nodad(address: &str) -> &'static str {
    if address.contains(':') { "nodad" } else { "" }
}

async fn connection(stream: TcpStream, processes: &Rc<Processes>, over: &mpsc::Sender<()>) -> Result<()> {
    stream.set_nodelay(true).context("TCP_NODELAY")?;
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let Some(line) = lines.next_line().await.context("reading")? else { return Ok(()) };
    let request: Request = serde_json::from_str(&line).context("not a request")?;
    let session = matches!(request, Request::Session);
    let answer = async {
        match request {
            Request::Stream(program) => {
                let mut pass = async |answer| send(&mut write, &answer).await;
                processes.stream(&program, &mut pass).await.map(|code| Answer::Ended(Some(code)))
            }
            request => answer(request, processes).await,
        }
    };
    let answer = tokio::select! {
        answer = answer => answer,
        _ = lines.next_line() => return Ok(()),
    };
    send(&mut write, &answer.unwrap_or_else(|error| Answer::Failed(format!("{error:#}")))).await?;
    if session {
        let _ = lines.next_line().await;
        let _ = over.send(()).await;
    }
    Ok(())
}

async fn send(write: &mut OwnedWriteHalf, answer: &Answer) -> Result<()> {
    let mut text = serde_json::to_string(answer).context("writing the answer")?;
    text.push('\n');
    write.write_all(text.as_bytes()).await.context("writing")
}

async fn answer(request: Request, processes: &Rc<Processes>) -> Result<Answer> {
    Ok(match request {
        Request::Session => Answer::Done,
        Request::Stream(_) => bail!("a stream has more than one answer"),
        Request::MakeNamespace(name) => processes.make_namespace(&name).await.map(|()| Answer::Done)?,
        Request::RemoveNamespace(name) => processes.remove_namespace(&name).await.map(|()| Answer::Done)?,
        Request::Run { program, stdin } => Answer::Ran(processes.run(&program, &stdin).await?),
        Request::Spawn { program, log } => Answer::Started(processes.spawn(program, &log)?),
        Request::Signal { id, signal } => processes.signal(id, signal).map(|()| Answer::Done)?,
        Request::Wait { id } => Answer::Ended(Some(processes.wait(id).await?)),
        Request::Status { id } => Answer::Ended(processes.status(id)?),
    })
}
