//! `bench`: measures the agent's kernel layer and prints a table.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use esplanade_bench::measure::{Settings, Size, measure};
use esplanade_bench::others;
use esplanade_bench::pure::Part;
use esplanade_bench::report::{Instructions, Report};
use esplanade_bench::samples::Samples;
use esplanade_bench::world::MOST;

/// Measures the agent's kernel layer beside the same messages replayed, `ip -batch` and a Go library, on a kernel with
/// ESP; prints a table in Markdown, and writes all samples as JSON.
#[derive(Parser)]
struct Args {
    /// Numbers of SAs, ascending; each pair of SAs has three policies.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 50_000],
          value_parser = clap::value_parser!(u32).range(2..=i64::from(MOST)))]
    sizes: Vec<u32>,
    /// Rounds for each of them.
    #[arg(long, default_value_t = 5)]
    repeats: u32,
    /// The most rounds with `ip` and the Go program. They take a hundred times as long, and differ by so much that a few say
    /// enough.
    #[arg(long, default_value_t = 2)]
    others: u32,
    /// No new round begins after so many seconds, for each of them.
    #[arg(long, default_value_t = 180)]
    budget: u64,
    /// SAs that somebody else deletes one by one, for each of them.
    #[arg(long, default_value_t = 100)]
    deletes: u32,
    /// Policies between networks with prefixes of this length are hashed; 32 is the kernel's own default.
    #[arg(long, default_value_t = 24)]
    hash_threshold: u8,
    /// The Go program of go/.
    #[arg(long, overrides_with = "go")]
    go: PathBuf,
    /// Where the JSON goes.
    #[arg(long)]
    json: Option<PathBuf>,
    /// `in-kernel` of the lab.
    #[arg(long)]
    in_kernel: PathBuf,
    /// Memory of a kernel that is booted for this, in MiB.
    #[arg(long, default_value_t = 3072)]
    memory: u32,
    /// This is a kernel with ESP, in a network namespace of our own: measure here, print JSON.
    #[arg(long, hide = true)]
    inside: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if args.inside { inside(&args) } else { outside(&args) }
}

/// One line of JSON for each size.
#[allow(clippy::print_stdout, clippy::print_stderr)]
fn inside(args: &Args) -> Result<()> {
    let settings = Settings {
        repeats: args.repeats,
        others: args.others,
        budget: Duration::from_secs(args.budget),
        deletes: args.deletes,
        go: args.go.clone(),
    };
    others::set_hash_thresholds(args.hash_threshold)?;
    println!("{}", serde_json::to_string(fs::read_to_string("/proc/sys/kernel/osrelease")?.trim())?);
    for n in &args.sizes {
        eprintln!("{n} SAs");
        println!("{}", serde_json::to_string(&measure(*n, &settings)?)?);
    }
    Ok(())
}

#[allow(clippy::print_stdout, clippy::print_stderr)]
fn outside(args: &Args) -> Result<()> {
    ensure!(args.sizes.is_sorted(), "--sizes: ascending, please");
    let go = args.go.canonicalize().with_context(|| format!("the Go program {}", args.go.display()))?;
    let this = std::env::current_exe().context("this program")?;
    let mut child = Command::new(&args.in_kernel)
        .args(["--memory", &args.memory.to_string(), "--"])
        .arg(&this)
        .args(std::env::args_os().skip(1))
        .arg("--inside")
        // The last one counts.
        .arg("--go")
        .arg(&go)
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", args.in_kernel.display()))?;
    let mut report = Report::default();
    let output = child.stdout.take().context("the output of in-kernel")?;
    for line in BufReader::new(output).lines() {
        let line = line.context("reading what was measured")?;
        if report.kernel.is_empty() {
            report.kernel = serde_json::from_str(&line).context("the kernel's release")?;
        } else {
            report.sizes.push(serde_json::from_str::<Size>(&line).context("what was measured")?);
        }
    }
    ensure!(child.wait().context("waiting for in-kernel")?.success(), "measuring failed");
    // Counting takes long, and what was measured is worth having without it.
    write_json(args, &report)?;
    for part in Part::value_variants() {
        for sas in &args.sizes {
            eprintln!("{}: {sas} SAs", part.name());
            report.pure.push(instructions(&this.with_file_name("bench-pure"), *part, *sas)?);
        }
    }
    println!("Linux {}\n\n{}", report.kernel, report.table());
    write_json(args, &report)
}

fn write_json(args: &Args, report: &Report) -> Result<()> {
    let Some(path) = &args.json else { return Ok(()) };
    let all = serde_json::json!({ "measured": report, "table": report.rows() });
    fs::write(path, serde_json::to_vec_pretty(&all)?).with_context(|| format!("writing {}", path.display()))
}

/// Two runs that differ by one time differ by its instructions.
fn instructions(program: &Path, part: Part, sas: u32) -> Result<Instructions> {
    let count = |times: u32| -> Result<u64> {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
        valgrind.args([part.name(), &sas.to_string(), &times.to_string()]);
        let output = valgrind.output().context("starting valgrind: install Debian's package valgrind")?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{valgrind:?}: {words}");
        let line = words.lines().find_map(|line| line.split_once("Collected : "));
        let Some((_, number)) = line else { bail!("callgrind counted nothing: {words}") };
        number.trim().parse().context("callgrind's count")
    };
    let instructions = count(2)?.saturating_sub(count(1)?);
    let output = Command::new(program).args([part.name(), &sas.to_string(), "11"]).output();
    let output = output.with_context(|| format!("starting {}", program.display()))?;
    ensure!(output.status.success(), "bench-pure: {}", String::from_utf8_lossy(&output.stderr));
    let mut seconds = Samples::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        seconds.push(Duration::from_nanos(line.parse().context("a time of bench-pure")?));
    }
    Ok(Instructions { part: part.name().to_owned(), sas, instructions, seconds })
}
