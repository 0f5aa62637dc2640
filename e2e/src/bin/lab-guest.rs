//! `lab-guest`: the lab's helper on the nodes' kernel. The lab starts it; it is of no use alone.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use esplanade_e2e::guest::{Bridge, Serve, serve};

/// The lab's helper on the nodes' kernel. The lab starts it; it is of no use alone.
#[derive(Parser)]
struct Args {
    /// Where to listen for the lab.
    #[arg(long)]
    listen: SocketAddr,
    /// A bridge to make.
    #[arg(long, requires = "uplink")]
    bridge: Option<String>,
    /// An address of the bridge, with its prefix length.
    #[arg(long, requires = "bridge")]
    address: Vec<String>,
    /// The interface to the lab, which the bridge gets.
    #[arg(long, requires = "bridge")]
    uplink: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let bridge = args.bridge.zip(args.uplink);
    let bridge = bridge.map(|(name, uplink)| Bridge { name, addresses: args.address, uplink });
    let how = Serve { listen: args.listen, bridge };
    match serve(&how).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => esplanade_e2e::report_failure(&error),
    }
}
