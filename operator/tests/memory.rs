//! Keys in the program's memory stay out of core dumps.
#![allow(clippy::unwrap_used)]

use std::process::Command;

#[path = "../../private-memory/tests/program/mod.rs"]
mod program;

#[test]
fn memory_is_kept_from_core_dumps() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_esplanade-operator"));
    command.args(["--namespace", "here", "--pod-name", "me"]);
    program::stays_out_of_core_dumps(command, folder.path());
}
