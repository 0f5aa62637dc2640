//! Capturing a wire.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::guest::{Guest, Process, Program};

pub mod packet;

pub use packet::{Frame, Ip, Packet, Payload};

/// How long tcpdump may take to start, or to write what it has seen.
const DEADLINE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);
/// The next marker's number.
static MARKS: AtomicU8 = AtomicU8::new(1);

/// A running capture of one interface of the nodes' kernel. It ends with the lab when it isn't stopped.
#[derive(Debug)]
pub struct Capture {
    guest: Guest,
    tcpdump: Process,
    interface: String,
    file: PathBuf,
}

impl Capture {
    /// Starts it; returns when it listens.
    pub(crate) async fn start(guest: &Guest, interface: &str, file: PathBuf) -> Result<Self> {
        let path = file.to_str().context("the lab's folder isn't UTF-8")?;
        let argv = ["tcpdump", "-Z", "root", "--immediate-mode", "-U", "-n", "-i", interface, "-w", path];
        let program = Program { argv: argv.map(str::to_owned).to_vec(), ..Program::default() };
        let tcpdump = guest.spawn(program, &file.with_extension("log")).await?;
        let (interface, guest) = (interface.to_owned(), guest.clone());
        let this = Self { guest, tcpdump, interface, file };
        this.until("listens", || Ok(this.tcpdump.log().contains("listening on").then_some(()))).await?;
        Ok(this)
    }

    /// Every packet up to now.
    ///
    /// A marker, an ARP request for an address nobody has, is sent after them: when it is in the file, so is all
    /// that came before. Markers are left out.
    pub async fn packets(&self) -> Result<Vec<Packet>> {
        let mark = self.mark().await?;
        let is_mark = |packet: &Packet| matches!(packet.frame, Frame::Arp { target } if target == mark);
        let packets = self
            .until("writes what it saw", || {
                let file = std::fs::read(&self.file).context("reading the capture")?;
                let packets = packet::parse(&file)?;
                Ok(packets.iter().any(is_mark).then_some(packets))
            })
            .await?;
        let wanted = packets.into_iter().take_while(|packet| !is_mark(packet));
        Ok(wanted
            .filter(|packet| !matches!(packet.frame, Frame::Arp { target } if is_marker(target)))
            .collect())
    }

    /// Every packet up to now; ends the capture.
    pub async fn stop(self) -> Result<Vec<Packet>> {
        let packets = self.packets().await?;
        self.tcpdump.signal(Signal::SIGINT).await?;
        let code = self.tcpdump.wait().await?;
        ensure!(code == 0, "tcpdump failed with {code}: {}", self.tcpdump.log());
        Ok(packets)
    }

    async fn mark(&self) -> Result<Ipv4Addr> {
        // Never the one before, of this capture or another: the kernel repeats its question for some seconds.
        let number = MARKS.fetch_add(1, Ordering::Relaxed);
        let address = Ipv4Addr::new(203, 0, 113, number);
        // The kernel asks a neighbour in state PROBE at once. XFRM doesn't look at ARP.
        let words =
            format!("ip neigh replace {address} lladdr 02:00:00:00:00:01 dev {} nud probe", self.interface);
        let argv = words.split_whitespace().map(str::to_owned).collect();
        self.guest.run(Program { argv, ..Program::default() }, "").await?.ok()?;
        Ok(address)
    }

    async fn until<T>(&self, what: &str, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(value) = attempt()? {
                return Ok(value);
            }
            if let Some(code) = self.tcpdump.status().await? {
                bail!("tcpdump ended with {code}: {}", self.tcpdump.log());
            }
            ensure!(Instant::now() < deadline, "after {DEADLINE:?}, no sign that tcpdump {what}");
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The markers' network, TEST-NET-3.
fn is_marker(target: Ipv4Addr) -> bool {
    target.octets()[..3] == [203, 0, 113]
}
