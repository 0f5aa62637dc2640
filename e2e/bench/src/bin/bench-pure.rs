//! `bench-pure PART SAS TIMES`: does one of the parts without a kernel so many times; prints each time in nanoseconds.

use anyhow::Result;
use clap::Parser;
use esplanade_bench::pure::{Part, Pure};

/// Does one of the parts of a pass that need no kernel, over and over. Under callgrind, two runs that differ by one
/// time differ by its instructions.
#[derive(Parser)]
struct Args {
    /// The part.
    part: Part,
    /// SAs, with their policies.
    sas: u32,
    /// How often.
    times: u32,
}

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let args = Args::parse();
    let mut pure = Pure::new(args.sas)?;
    for _ in 0..args.times {
        println!("{}", pure.run(args.part)?.as_nanos());
    }
    Ok(())
}
