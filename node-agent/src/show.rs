//! What the kernel has and tells, for people and programs to read: everything but keys.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use esplanade_xfrm::wire::shown::Shown;
use esplanade_xfrm::{Besides, Inspection, KernelError, Listener};
use jiff::Timestamp;
use serde::Serialize;

mod text;

#[cfg(test)]
mod tests;

/// What `show` can be told.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// How it looks.
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
}

/// What `monitor` can be told.
#[derive(Debug, Args)]
pub struct MonitorArgs {
    /// How it looks; json is one object a line.
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
    /// Also hear what packets lack an SA. This CHANGES what becomes of such packets: while somebody listens, the kernel
    /// makes a larval SA for them and drops them until it expires (net.core.xfrm_acq_expires, 30 s).
    #[arg(long)]
    acquire: bool,
    /// Also hear how far sequence numbers are. This COSTS: while somebody listens, the kernel tells every few packets of
    /// each SA (net.core.xfrm_aevent_rseqth, 2).
    #[arg(long)]
    counters: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Why nothing more is shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The kernel could not be asked.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// It could not be written.
    #[error("writing to standard output: {0}")]
    Write(#[source] io::Error),
}

/// Prints all SAs and policies of the kernel, ours and others'.
///
/// # Errors
/// The kernel could not be asked, or nobody reads any more.
pub fn show(args: &ShowArgs, to: &mut impl Write) -> Result<(), ShowError> {
    let found = Inspection::make()?;
    written(match args.output {
        Output::Text => {
            let everything = found.sas.iter().chain(&found.policies).chain(&found.totals);
            everything.into_iter().try_for_each(|shown| to.write_all(text::of(shown).as_bytes()))
        }
        Output::Json => json(&InspectionJson::of(&found), to),
    })
}

/// Prints what the kernel tells, until nobody reads any more.
///
/// # Errors
/// The kernel could not be listened to.
pub fn monitor(args: &MonitorArgs, to: &mut impl Write) -> Result<(), ShowError> {
    let mut listener = Listener::open(Besides { acquires: args.acquire, counters: args.counters })?;
    loop {
        let heard = listener.hear();
        let time = Timestamp::now();
        let told = match heard {
            Ok(heard) => heard.iter().try_for_each(|shown| match args.output {
                Output::Text => write!(to, "{time:.6} {}", text::of(shown)),
                Output::Json => json(&Event { time, shown }, to),
            }),
            Err(KernelError::Overrun) => match args.output {
                Output::Text => {
                    writeln!(to, "{time:.6} events were lost: the socket's receive buffer was full")
                }
                Output::Json => json(&Lost { time, lost: true }, to),
            },
            Err(error) => return Err(error.into()),
        };
        match told.and_then(|()| to.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            told => written(told)?,
        }
    }
}

fn written(result: io::Result<()>) -> Result<(), ShowError> {
    result.map_err(ShowError::Write)
}

fn json(value: &impl Serialize, to: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *to, value)?;
    writeln!(to)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InspectionJson<'a> {
    security_associations: &'a [Shown],
    policies: &'a [Shown],
    totals: &'a [Shown],
}

impl<'a> InspectionJson<'a> {
    fn of(found: &'a Inspection) -> Self {
        Self { security_associations: &found.sas, policies: &found.policies, totals: &found.totals }
    }
}

#[derive(Serialize)]
struct Event<'a> {
    #[serde(serialize_with = "in_words")]
    time: Timestamp,
    #[serde(flatten)]
    shown: &'a Shown,
}

#[derive(Serialize)]
struct Lost {
    #[serde(serialize_with = "in_words")]
    time: Timestamp,
    lost: bool,
}

fn in_words<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}
