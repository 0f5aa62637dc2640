//! The measurements on the kernel of this thread's network namespace, for one number of SAs.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use esplanade_diff::diff;
use esplanade_model::{Op, Wanted, WantedSa};
use esplanade_node_agent::schedule::Schedule;
use esplanade_xfrm::{Databases as _, Netlink};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use crate::agent::{Layer, Took};
use crate::floor::{Encoded, Floor};
use crate::others;
use crate::samples::{Pairs, Samples};
use crate::world::{from_nothing, one_changed, wanted};

/// Messages in a datagram that are tried for the floor.
const BATCHES: [usize; 5] = [16, 64, 128, 512, 2048];
/// The most SAs that batches are tried with.
const BATCH_TRIAL: u32 = 5_000;
/// Passes with nothing to do in a round. The first after changes finds little of it in the CPU's caches.
const AUDITS: u32 = 10;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Rounds.
    pub repeats: u32,
    /// The most rounds with other programs.
    pub others: u32,
    /// No new round begins after this.
    pub budget: Duration,
    /// Foreign deletes in all.
    pub deletes: u32,
    /// The Go program.
    pub go: PathBuf,
}

/// What came out for one number of SAs. Times in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// SAs.
    pub sas: u32,
    /// Policies.
    pub policies: usize,
    /// Messages in a datagram of the floor, the fastest of those tried.
    pub batch: usize,
    /// From nothing until the kernel had answered the last message; the same messages replayed.
    pub program: Pairs,
    /// The same, read back and compared; the same messages replayed.
    pub program_and_verify: Pairs,
    /// `ip -batch`.
    pub program_ip: Samples,
    /// The Go program.
    pub program_go: Samples,
    /// A pass with nothing to do; a dump that nobody looks at.
    pub idle: Pairs,
    /// Operations of such passes, in all.
    pub idle_writes: usize,
    /// One SA with other keys: read, replaced, read back.
    pub change: Samples,
    /// The same where all that is wanted is told anew.
    pub change_among_all: Samples,
    /// One message and its answer.
    pub change_floor: Samples,
    /// From somebody else's delete until the SA is back, with the agent's pauses.
    pub heal: Samples,
    /// From a pass that wants nothing to the answer to the last message; the same deletes replayed.
    pub delete: Pairs,
    /// What the layer holds.
    pub memory: Option<Held>,
}

/// Heap of the agent's layer beside the wanted state, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// Between passes.
    pub kept: usize,
    /// The most during a pass with nothing to do.
    pub peak: usize,
}

struct Bench {
    settings: Settings,
    floor: Floor,
    wanted: Wanted,
    adds: Vec<Op>,
    size: Size,
}

/// Measures.
///
/// # Errors
/// Anything failed: no number is made up for it.
pub fn measure(n: u32, settings: &Settings) -> Result<Size> {
    let wanted = wanted(n)?;
    let adds = from_nothing(&wanted);
    let size = Size { sas: n, policies: wanted.policies.len(), ..Size::default() };
    let mut bench = Bench { settings: settings.clone(), floor: Floor::open()?, wanted, adds, size };
    others::flush()?;
    bench.find_batch()?;
    let lines = others::ip_lines(&bench.adds)?;
    let lines: Vec<&str> = lines.split_inclusive('\n').collect();
    let parts = lines.chunks(others::IP_LINES).enumerate();
    let ip = parts.map(|(at, part)| file(&format!("ip-{at}"), &part.concat())).collect::<Result<Vec<_>>>()?;
    let go = file("go", &others::go_lines(&bench.adds)?)?;
    // What the kernel is the first to touch, and how far its hash tables have grown, is nobody's: a whole turn that
    // doesn't count goes before all others.
    bench.floor()?;
    let start = Instant::now();
    for round in 0..settings.repeats.max(1) {
        if round > 0 && start.elapsed() > settings.budget {
            break;
        }
        if round < settings.others {
            bench.others(&ip, &go)?;
        }
        let (program, delete) = bench.layer()?;
        let (program_floor, delete_floor) = bench.floor()?;
        bench.size.program.push(program.written, program_floor);
        bench.size.program_and_verify.push(program.whole, program_floor);
        bench.size.delete.push(delete.written, delete_floor);
    }
    for file in ip.into_iter().chain([go]) {
        std::fs::remove_file(file).context("removing a list of objects")?;
    }
    bench.memory()?;
    Ok(bench.size)
}

fn file(name: &str, text: &str) -> Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("esplanade-bench-{}-{name}", std::process::id()));
    // There are keys in it, made up ones.
    let mut file = std::fs::File::create(&path).with_context(|| format!("making {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

impl Bench {
    fn find_batch(&mut self) -> Result<()> {
        let adds = from_nothing(&wanted(self.size.sas.min(BATCH_TRIAL))?);
        let mut tried = Vec::new();
        for at_most in BATCHES {
            let encoded = Encoded::new(&adds, at_most);
            for _ in 0..2 {
                settle()?;
                tried.push((self.floor.replay(&encoded)?, at_most));
                others::flush()?;
            }
        }
        self.size.batch = tried.into_iter().min().context("no batch was tried")?.1;
        Ok(())
    }

    /// Everything that the layer does, from nothing to nothing; what the first and the last pass took.
    fn layer(&mut self) -> Result<(Took, Took)> {
        let mut layer = Layer::open()?;
        settle()?;
        let wanted = self.wanted.clone();
        let program = layer.pass(false, |engine| engine.want(wanted))?;
        ensure!(program.operations == self.adds.len(), "{} operations", program.operations);
        settle()?;
        // Whoever comes first finds none of it in the CPU's caches.
        self.floor.dump()?;
        for _ in 0..AUDITS {
            let took = layer.pass(true, |_| {})?;
            self.size.idle_writes += took.operations;
            self.size.idle.push(took.whole, self.floor.dump()?.0);
        }
        // The agent takes in its own echoes at any time; here it is done between measurements.
        layer.notice()?;
        settle()?;
        self.changes(&mut layer)?;
        settle()?;
        self.heal(&mut layer)?;
        settle()?;
        let delete = layer.pass(false, |engine| engine.want(Wanted::default()))?;
        ensure!(delete.operations == self.adds.len(), "{} deletes", delete.operations);
        Ok((program, delete))
    }

    fn changes(&mut self, layer: &mut Layer) -> Result<()> {
        for number in 1..=10 {
            let (name, sa) = one_changed(&self.wanted, number)?;
            let took = layer.pass(false, |engine| engine.want_sa(name, sa))?;
            ensure!(took.operations == 2, "{} operations for one SA", took.operations);
            self.size.change.push(took.whole);
        }
        let wanted = self.wanted.clone();
        let took = layer.pass(false, |engine| engine.want(wanted))?;
        ensure!(took.operations == 2, "{} operations for one SA", took.operations);
        self.size.change_among_all.push(took.whole);
        // An SA more, and away again.
        let first = self.wanted.sas.iter().find_map(|(_, sa)| match sa {
            WantedSa::Inbound(sa) => Some(sa.clone()),
            WantedSa::Outbound(_) => None,
        });
        let mut spare = first.context("no inbound SAs")?;
        spare.0.spi = esplanade_model::Spi::new(0x2000_0000).context("an SPI")?;
        let away = Op::DeleteSa(spare.0.id(), spare.0.mark);
        let there_and_away = [Op::AddInbound { sa: spare, state: None, used: None }, away];
        let messages = there_and_away.map(|op| Encoded::new(&[op], 1));
        for _ in 0..10 {
            for message in &messages {
                self.size.change_floor.push(self.floor.replay(message)?);
            }
        }
        // What the floor did there is others' doing.
        layer.notice()?;
        layer.pass(false, |_| {})?;
        Ok(())
    }

    /// Somebody else (the floor's socket) deletes one SA after the other.
    fn heal(&mut self, layer: &mut Layer) -> Result<()> {
        let ids: Vec<_> = self.wanted.sas.iter().map(|(_, sa)| (sa.sa().id(), sa.sa().mark)).collect();
        let count = (self.settings.deletes / self.settings.repeats.max(1)).max(1) as usize;
        let mut schedule = Schedule::new(Duration::from_secs(3600), Instant::now());
        schedule.begin(Instant::now(), 0.0);
        schedule.succeeded(Instant::now());
        for turn in 0..count {
            let (id, mark) = ids[(turn * 7919 + ids.len() / 3) % ids.len()];
            let delete = Encoded::new(&[Op::DeleteSa(id, mark)], 1);
            let start = Instant::now();
            self.floor.replay(&delete)?;
            wait(layer)?;
            schedule.others_changed_something(Instant::now());
            let due = schedule.due().context("a pass runs")?;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            schedule.begin(Instant::now(), 0.0);
            layer.notice()?;
            let until = start.elapsed();
            let took = layer.pass(false, |_| {})?;
            schedule.succeeded(Instant::now());
            ensure!(took.operations == 1, "{} operations for one SA", took.operations);
            self.size.heal.push(until + took.written);
        }
        Ok(())
    }

    /// The same messages from nothing, and to nothing.
    fn floor(&mut self) -> Result<(Duration, Duration)> {
        let adds = Encoded::new(&self.adds, self.size.batch);
        settle()?;
        let program = self.floor.replay(&adds)?;
        let observed = Netlink::open()?.dump()?;
        let steps = diff(&Wanted::default(), &observed).steps;
        let deletes =
            Encoded::new(&steps.into_iter().map(|step| step.op).collect::<Vec<_>>(), self.size.batch);
        drop(observed);
        settle()?;
        Ok((program, self.floor.replay(&deletes)?))
    }

    fn others(&mut self, ip: &[PathBuf], go: &Path) -> Result<()> {
        settle()?;
        self.size.program_ip.push(others::ip_batch(ip)?);
        self.all_there("ip -batch")?;
        settle()?;
        self.size.program_go.push(others::go(&self.settings.go, go)?);
        self.all_there("the Go program")
    }

    /// What another program wrote is as many objects as ours; then away with it.
    fn all_there(&self, program: &str) -> Result<()> {
        let observed = Netlink::open()?.dump()?;
        let sas = observed.sas.len() + observed.foreign_sa_count;
        let policies = observed.policies.len() + observed.foreign_policy_count;
        ensure!(
            (sas, policies) == (self.wanted.sas.len(), self.wanted.policies.len()),
            "{program} left {sas} SAs and {policies} policies"
        );
        others::flush()
    }

    /// In a process of its own, which counts.
    fn memory(&mut self) -> Result<()> {
        let program = std::env::current_exe().context("this program")?.with_file_name("bench-memory");
        let output = Command::new(&program).arg(self.size.sas.to_string()).output();
        let output = output.with_context(|| format!("starting {}", program.display()))?;
        ensure!(output.status.success(), "bench-memory: {}", String::from_utf8_lossy(&output.stderr));
        self.size.memory = Some(serde_json::from_slice(&output.stdout).context("bench-memory's answer")?);
        others::flush()
    }
}

/// Waits for an event.
fn wait(layer: &mut Layer) -> Result<()> {
    let mut files = [PollFd::new(layer.watch.as_fd(), PollFlags::POLLIN)];
    let ready = poll(&mut files, PollTimeout::from(10_000u16))?;
    ensure!(ready > 0, "the kernel told nothing of a delete for 10 s");
    Ok(())
}

/// Waits until the kernel has done what it left for later (deleted SAs are freed by a worker), 20 s at most: on a
/// machine that does other things as well it is never quiet.
///
/// # Errors
/// No /proc/stat.
pub fn settle() -> Result<()> {
    let window = Duration::from_millis(100);
    let mut quiet = 0;
    for _ in 0..200 {
        let before = busy()?;
        std::thread::sleep(window);
        // Of 10 ticks, and more for each further CPU.
        quiet = if busy()?.saturating_sub(before) <= 1 { quiet + 1 } else { 0 };
        if quiet == 2 {
            break;
        }
    }
    Ok(())
}

/// Ticks in which some CPU did something.
fn busy() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    let first = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = first.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq
    Ok([0, 1, 2, 5, 6].into_iter().filter_map(|at| ticks.get(at)).sum())
}
