//! `lab-forward`: passes TCP connections on, as a load balancer does. The lab starts it; it is of no use alone.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::net::{TcpListener, TcpStream};

/// Passes TCP connections on. The lab starts it; it is of no use alone.
#[derive(Parser)]
struct Args {
    /// Where to listen.
    from: SocketAddr,
    /// Where connections go.
    to: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match forward(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => esplanade_e2e::report_failure(&error),
    }
}

#[allow(clippy::print_stdout)]
async fn forward(Args { from, to }: Args) -> Result<()> {
    let listener = TcpListener::bind(from).await.with_context(|| format!("listening at {from}"))?;
    println!("listening at {from}");
    loop {
        let (mut client, _) = listener.accept().await.context("a connection")?;
        tokio::spawn(async move {
            // Whoever asks sees that it ends, and asks again.
            if let Ok(mut server) = TcpStream::connect(to).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}
