//! Datagrams and streams between pods, all of them numbered, and the account of what came: see `lab-traffic`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::{Lab, Place};
use crate::guest::Process;

/// Where the first of them goes; each has a port of its own.
static NEXT_PORT: AtomicU16 = AtomicU16::new(7000);
/// Milliseconds between two datagrams, and two pieces of a stream.
const EVERY: &str = "20";

/// What one was told to send to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// To whom.
    pub to: IpAddr,
    /// So many datagrams.
    pub datagrams: u64,
    /// So many numbers in the stream.
    pub numbers: u64,
}

/// What came from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// From whom.
    pub from: IpAddr,
    /// So many datagrams, each counted once.
    pub datagrams: u64,
    /// So many of them before the last one that came didn't.
    pub lost: u64,
    /// The first of those.
    pub first_lost: Option<u64>,
    /// So many came a second time.
    pub twice: u64,
    /// So many numbers of the stream, in order.
    pub numbers: u64,
    /// The stream came to its end.
    pub whole: bool,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sent {} {} to {}", self.datagrams, self.numbers, self.to)
    }
}

impl FromStr for Sent {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let ["sent", datagrams, numbers, "to", to] = words[..] else {
            anyhow::bail!("not what was sent: {line}")
        };
        Ok(Self { to: to.parse()?, datagrams: datagrams.parse()?, numbers: numbers.parse()? })
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, datagrams, lost, twice, numbers, whole, .. } = self;
        let first = self.first_lost.map_or("-".to_owned(), |first| first.to_string());
        write!(f, "from {from} {datagrams} {lost} {first} {twice} {numbers} {whole}")
    }
}

impl FromStr for Account {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let ["from", from, datagrams, lost, first, twice, numbers, whole] = words[..] else {
            anyhow::bail!("not an account: {line}")
        };
        Ok(Self {
            from: from.parse()?,
            datagrams: datagrams.parse()?,
            lost: lost.parse()?,
            first_lost: (first != "-").then(|| first.parse()).transpose()?,
            twice: twice.parse()?,
            numbers: numbers.parse()?,
            whole: whole.parse()?,
        })
    }
}

/// Datagrams and a stream in both directions between each two of some pods.
#[derive(Debug)]
pub struct Traffic {
    ends: Vec<(IpAddr, Process)>,
}

/// What went from one to another.
#[derive(Debug, Clone, Copy)]
pub struct Direction {
    /// From whom.
    pub from: IpAddr,
    /// What it sent.
    pub sent: Sent,
    /// What came of it; none if nothing did.
    pub came: Option<Account>,
}

impl Direction {
    /// Datagrams that didn't come.
    pub fn lost(&self) -> u64 {
        self.sent.datagrams - self.came.map_or(0, |came| came.datagrams)
    }

    /// # Errors
    /// A datagram is missing or came twice, or the stream isn't whole.
    pub fn is_whole(&self) -> Result<()> {
        let came = self.came.with_context(|| format!("nothing came: {self:?}"))?;
        ensure!(self.sent.datagrams > 0, "nothing was sent: {self:?}");
        ensure!(self.lost() == 0 && came.twice == 0, "{} lost, {} twice: {self:?}", self.lost(), came.twice);
        self.stream_is_whole()
    }

    /// # Errors
    /// The stream isn't whole. Datagrams may be lost.
    pub fn stream_is_whole(&self) -> Result<()> {
        let came = self.came.with_context(|| format!("nothing came: {self:?}"))?;
        ensure!(came.whole && came.numbers == self.sent.numbers, "the stream isn't whole: {self:?}");
        Ok(())
    }
}

impl Traffic {
    /// Starts it between these pods, over the family of the addresses; all streams are there when it returns.
    ///
    /// # Errors
    /// Two of them don't reach each other within a minute.
    pub async fn start(lab: &Lab, pods: &[(&Place, IpAddr)]) -> Result<Self> {
        let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed).to_string();
        let program = crate::programs::find("lab-traffic", "esplanade-e2e")?;
        let program = program.to_str().context("the workspace's path isn't UTF-8")?;
        let mut ends = Vec::new();
        for (place, own) in pods {
            let mut argv: Vec<&str> = vec![program, "--port", &port, "--every", EVERY];
            let peers: Vec<String> =
                pods.iter().filter(|(_, peer)| peer != own).map(|(_, peer)| peer.to_string()).collect();
            argv.extend(peers.iter().map(String::as_str));
            ends.push((*own, place.spawn(&format!("traffic-{port}-{own}"), argv).await?));
        }
        let this = Self { ends };
        lab.wait("all streams", Duration::from_secs(60), async || {
            for (own, end) in &this.ends {
                let log = end.log();
                let connected = log.lines().filter(|line| line.starts_with("connected to ")).count();
                ensure!(connected + 1 == this.ends.len(), "{own}: {log}");
            }
            Ok(())
        })
        .await?;
        Ok(this)
    }

    /// Ends it, and says what went in each direction.
    ///
    /// # Errors
    /// A program has ended before; a stream doesn't come to its end within a minute.
    pub async fn stop(self, lab: &Lab) -> Result<Vec<Direction>> {
        for (_, end) in &self.ends {
            end.signal(Signal::SIGINT).await?;
        }
        let mut sent = Vec::new();
        for (own, end) in &self.ends {
            let said = lab
                .wait("the sender's end", Duration::from_secs(60), async || {
                    let said: Vec<Sent> = parsed(&end.log());
                    ensure!(said.len() + 1 == self.ends.len(), "{own}: {}", end.log());
                    Ok(said)
                })
                .await?;
            sent.extend(said.into_iter().map(|sent| (*own, sent)));
        }
        // With a stream's end, all has come that was sent before.
        lab.wait("the streams' ends", Duration::from_secs(60), async || {
            for (own, end) in &self.ends {
                let log = end.log();
                let over = log.lines().filter(|line| line.starts_with("over: ")).count();
                ensure!(over + 1 == self.ends.len(), "{own}: {log}");
            }
            Ok(())
        })
        .await?;
        let mut came = Vec::new();
        for (own, end) in &self.ends {
            let code = end.stop().await?;
            ensure!(code == 0, "lab-traffic failed with {code}: {}", end.log());
            came.extend(parsed::<Account>(&end.log()).into_iter().map(|account| (*own, account)));
        }
        let direction = |(from, sent): (IpAddr, Sent)| {
            let found = came.iter().find(|(own, account)| *own == sent.to && account.from == from);
            Direction { from, sent, came: found.map(|(_, account)| *account) }
        };
        Ok(sent.into_iter().map(direction).collect())
    }
}

fn parsed<T: FromStr>(log: &str) -> Vec<T> {
    log.lines().filter_map(|line| line.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Account, Sent};

    #[test]
    fn what_is_written_is_read() {
        let from = "10.0.0.1".parse().unwrap();
        for first_lost in [None, Some(7)] {
            let account =
                Account { from, datagrams: 3, lost: 1, first_lost, twice: 2, numbers: 5, whole: true };
            assert_eq!(account.to_string().parse::<Account>().unwrap(), account);
        }
        let sent = Sent { to: from, datagrams: 3, numbers: 48 };
        assert_eq!(sent.to_string().parse::<Sent>().unwrap(), sent);
        assert!("connected to 10.0.0.1".parse::<Sent>().is_err());
        assert!(sent.to_string().parse::<Account>().is_err());
    }
}
