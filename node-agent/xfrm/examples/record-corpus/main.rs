//! Records what the fuzzer starts from: messages of a real kernel about SAs and policies of ours and of others. Each
//! becomes a file in `fuzz/corpus/decode`, named after what it is. All keys are made up for the tests.
//!
//! `in-kernel` must have been built: it brings a kernel with ESP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod doings;
#[allow(dead_code)]
#[path = "../../tests/real/iproute.rs"]
mod iproute;
#[allow(dead_code)]
#[path = "../../tests/suite/objects.rs"]
mod objects;
mod ours;
mod recorder;
mod theirs;

use std::path::Path;
use std::process::Command;

use recorder::Recorder;

/// Set where the kernel has ESP.
const INSIDE: &str = "ESPLANADE_KERNEL_WITH_ESP";

fn main() {
    if std::env::var_os(INSIDE).is_some() {
        let mut recorder = Recorder::new();
        ours::record(&mut recorder);
        theirs::record(&mut recorder);
        doings::record(&mut recorder);
        return;
    }
    let this = std::env::current_exe().unwrap();
    // Beside the folder of the examples.
    let in_kernel = this.parent().and_then(Path::parent).unwrap().join("in-kernel");
    let output = Command::new(&in_kernel).arg("--").arg(&this).env(INSIDE, "1").output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", in_kernel.display()));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decode");
    std::fs::create_dir_all(&folder).unwrap();
    for file in std::fs::read_dir(&folder).unwrap() {
        let file = file.unwrap();
        // What the fuzzer found stays.
        if !file.file_name().to_string_lossy().starts_with("found-") {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    let (mut files, mut bytes) = (0, 0);
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (name, hex) = line.split_once(' ').expect("a name and bytes");
        let content: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        std::fs::write(folder.join(name), &content).unwrap();
        (files, bytes) = (files + 1, bytes + content.len());
    }
    println!("{files} files, {bytes} bytes");
}
