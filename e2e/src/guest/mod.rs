//! The helper where the nodes are: `lab-guest` serves it inside User-Mode Linux or beside it, [`Guest`] asks it.
//!
//! One TCP connection for each request: a line of JSON there, a line of JSON back. Closing the connection before
//! the answer ends what the request started. One more connection is held as long as the lab lives; its end ends
//! the helper and everything it started.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

mod client;
mod processes;
mod server;

pub use client::{Guest, Process};
pub use server::{Bridge, Serve, serve};

/// What to start, and where.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Program {
    /// The namespace made before; none: where the bridge is.
    pub namespace: Option<String>,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The environment; `PATH` is there anyway.
    pub env: BTreeMap<String, String>,
}

/// A request to the helper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The helper lives as long as this connection.
    Session,
    /// Makes a network and mount namespace.
    MakeNamespace(String),
    /// Ends everything in a namespace, and the namespace.
    RemoveNamespace(String),
    /// Runs a program to its end.
    Run { program: Program, stdin: String },
    /// Runs a program to its end and passes its output on as it comes: many answers, the last is `Ended`.
    Stream(Program),
    /// Starts a program whose output goes to a log file.
    Spawn { program: Program, log: PathBuf },
    /// Sends a signal, by number, to the process group of a program.
    Signal { id: u32, signal: i32 },
    /// Waits for a program's end.
    Wait { id: u32 },
    /// Whether it has ended, at once.
    Status { id: u32 },
}

/// The helper's answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Done.
    Done,
    /// A program ran to its end.
    Ran(Outcome),
    /// A program was started; its process id.
    Started(u32),
    /// A piece of a program's output.
    Output { stderr: bool, bytes: Vec<u8> },
    /// A program's exit code, none while it runs.
    Ended(Option<i32>),
    /// It went wrong, in words.
    Failed(String),
}
