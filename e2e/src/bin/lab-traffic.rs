//! `lab-traffic`: numbered datagrams and one long TCP stream to each peer, and an account of what came. The lab starts it;
//! it is of no use alone.
//!
//! It prints a line for each peer that it is connected to, a [`Sent`] for each after SIGINT, which ends what it sends,
//! `over: …` for each stream that has ended, and an [`Account`] for each peer after SIGTERM, which ends it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use esplanade_e2e::lab::traffic::{Account, Sent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Numbered datagrams and one long TCP stream to each peer. The lab starts it; it is of no use alone.
#[derive(Parser)]
struct Args {
    /// Where it listens and where peers do, over UDP and TCP.
    #[arg(long)]
    port: u16,
    /// Milliseconds between two datagrams to a peer, and between two pieces of a stream.
    #[arg(long)]
    every: u64,
    /// Where datagrams and a stream go.
    peers: Vec<IpAddr>,
}

/// A number in a datagram, and as often as it fits in a piece of a stream.
const NUMBER: usize = size_of::<u64>();
/// Numbers in a piece.
const PIECE: usize = 16;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let local = tokio::task::LocalSet::new();
    match local.run_until(run(Args::parse())).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => esplanade_e2e::report_failure(&error),
    }
}

/// What came from each peer.
#[derive(Default)]
struct Received {
    numbers: BTreeMap<IpAddr, BTreeSet<u64>>,
    twice: BTreeMap<IpAddr, u64>,
    streams: BTreeMap<IpAddr, (u64, bool)>,
}

type Shared = Rc<RefCell<Received>>;

#[allow(clippy::print_stdout)]
async fn run(args: Args) -> Result<()> {
    let mut stop = signal(SignalKind::interrupt()).context("SIGINT")?;
    let mut end = signal(SignalKind::terminate()).context("SIGTERM")?;
    let own = SocketAddr::from((Ipv6Addr::UNSPECIFIED, args.port));
    let datagrams = Rc::new(UdpSocket::bind(own).await.context("binding UDP")?);
    let streams = TcpListener::bind(own).await.context("listening")?;
    let received = Shared::default();
    tokio::task::spawn_local(take_datagrams(datagrams.clone(), received.clone()));
    tokio::task::spawn_local(take_streams(streams, received.clone()));
    let (tell, stopped) = watch::channel(false);
    let pace = Duration::from_millis(args.every);
    let senders = args.peers.iter().map(|peer| {
        let to = SocketAddr::new(*peer, args.port);
        tokio::task::spawn_local(send(datagrams.clone(), to, pace, stopped.clone()))
    });
    let senders: Vec<_> = senders.collect();
    tokio::select! {
        _ = stop.recv() => {
            tell.send_replace(true);
            for (peer, sender) in args.peers.iter().zip(senders) {
                let (datagrams, numbers) = sender.await.context("a sender")?;
                println!("{}", Sent { to: *peer, datagrams, numbers });
            }
            end.recv().await;
        }
        _ = end.recv() => {}
    }
    let received = received.borrow();
    let from: BTreeSet<&IpAddr> = received.numbers.keys().chain(received.streams.keys()).collect();
    let none = BTreeSet::new();
    for from in from {
        let numbers = received.numbers.get(from).unwrap_or(&none);
        let until = numbers.last().map_or(0, |last| last + 1);
        let missing: Vec<u64> = (0..until).filter(|number| !numbers.contains(number)).collect();
        let (in_order, whole) = received.streams.get(from).copied().unwrap_or_default();
        let account = Account {
            from: *from,
            datagrams: numbers.len() as u64,
            lost: missing.len() as u64,
            first_lost: missing.first().copied(),
            twice: received.twice.get(from).copied().unwrap_or_default(),
            numbers: in_order,
            whole,
        };
        println!("{account}");
    }
    Ok(())
}

/// Sends until told to stop: so many datagrams, and so many numbers in the stream.
#[allow(clippy::print_stdout)]
async fn send(
    datagrams: Rc<UdpSocket>,
    to: SocketAddr,
    pace: Duration,
    mut stopped: watch::Receiver<bool>,
) -> (u64, u64) {
    // Once it answers, it takes datagrams as well.
    let mut stream = loop {
        match TcpStream::connect(to).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(pace).await,
        }
        if *stopped.borrow() {
            return (0, 0);
        }
    };
    let _ = stream.set_nodelay(true);
    println!("connected to {}", to.ip());
    let (mut sent, mut numbers) = (0_u64, 0_u64);
    while !*stopped.borrow() {
        // A datagram that the own kernel drops is lost like any other.
        let _ = datagrams.send_to(&sent.to_be_bytes(), to).await;
        sent += 1;
        let mut piece = Vec::with_capacity(PIECE * NUMBER);
        for _ in 0..PIECE {
            piece.extend(numbers.to_be_bytes());
            numbers += 1;
        }
        // Waits while nothing gets through; datagrams don't.
        let write = stream.write_all(&piece);
        tokio::pin!(write);
        let mut due = tokio::time::interval(pace);
        due.tick().await;
        let mut written = false;
        loop {
            tokio::select! {
                result = &mut write, if !written => {
                    if let Err(error) = result {
                        println!("the stream to {} broke: {error}", to.ip());
                        return (sent, numbers);
                    }
                    written = true;
                }
                _ = due.tick() => {
                    if written {
                        break;
                    }
                    let _ = datagrams.send_to(&sent.to_be_bytes(), to).await;
                    sent += 1;
                }
                _ = stopped.changed(), if written => break,
            }
        }
    }
    let _ = stream.shutdown().await;
    (sent, numbers)
}

async fn take_datagrams(socket: Rc<UdpSocket>, received: Shared) {
    let mut bytes = [0; 64];
    // An error is an ICMP answer to what was sent.
    loop {
        let Ok((length, from)) = socket.recv_from(&mut bytes).await else { continue };
        let Some(number) = bytes[..length].first_chunk::<NUMBER>() else { continue };
        let mut received = received.borrow_mut();
        let from = from.ip().to_canonical();
        if !received.numbers.entry(from).or_default().insert(u64::from_be_bytes(*number)) {
            *received.twice.entry(from).or_default() += 1;
        }
    }
}

#[allow(clippy::print_stdout)]
async fn take_streams(listener: TcpListener, received: Shared) {
    loop {
        let Ok((stream, from)) = listener.accept().await else { continue };
        let (received, from) = (received.clone(), from.ip().to_canonical());
        tokio::task::spawn_local(async move {
            match take_stream(stream, from, &received).await {
                Ok(()) => println!("over: the stream from {from}"),
                Err(error) => println!("over: the stream from {from}: {error:#}"),
            }
        });
    }
}

/// Numbers from 0 on, in order, to the end.
async fn take_stream(mut stream: TcpStream, from: IpAddr, received: &Shared) -> Result<()> {
    let (mut next, mut buffer, mut bytes) = (0_u64, Vec::new(), [0; 4096]);
    received.borrow_mut().streams.insert(from, (0, false));
    loop {
        let length = stream.read(&mut bytes).await.context("it broke")?;
        if length == 0 {
            ensure!(buffer.is_empty(), "it ends in the middle of a number");
            received.borrow_mut().streams.insert(from, (next, true));
            return Ok(());
        }
        buffer.extend_from_slice(&bytes[..length]);
        let (numbers, rest) = buffer.as_chunks::<NUMBER>();
        for number in numbers {
            ensure!(u64::from_be_bytes(*number) == next, "it isn't in order after {next} numbers");
            next += 1;
        }
        buffer = rest.to_vec();
        received.borrow_mut().streams.insert(from, (next, false));
    }
}
