//! What the running kernel can do: a line with the name of each capability, or `--all` that there are. For
//! docs/kernels.md.
#![allow(clippy::print_stdout)] // what it prints is its result

use std::error::Error;

use esplanade_model::{Capabilities, Capability};
use esplanade_xfrm::{Kernel, Netlink};

fn main() -> Result<(), Box<dyn Error>> {
    let all = std::env::args().nth(1).is_some_and(|argument| argument == "--all");
    let present = if all { Capability::all().collect() } else { Netlink::open()?.probe()? };
    for name in Capabilities::new("", present).names() {
        println!("{name}");
    }
    Ok(())
}
