//! `bench-memory SAS`: what the agent's layer holds on the heap beside the wanted state, as JSON. On the kernel of its
//! network namespace, which it leaves full.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use clap::Parser;
use esplanade_bench::agent::Layer;
use esplanade_bench::measure::Held;
use esplanade_bench::world::wanted;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with a count of the bytes asked for.
struct Counting;

// SAFETY: every call goes to the system's allocator as it came; counting has no part in what is returned.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s promises, which are the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer is from `alloc` above with the same layout, and so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Counts what the agent's layer holds on the heap beside the wanted state.
#[derive(Parser)]
struct Args {
    /// SAs, with their policies.
    sas: u32,
}

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let mut wanted = wanted(Args::parse().sas)?;
    // Room that nothing is in would count for what is wanted.
    wanted.sas.shrink_to_fit();
    wanted.policies.shrink_to_fit();
    let before = NOW.load(Ordering::Relaxed);
    let mut layer = Layer::open()?;
    // What is wanted moves into the layer: it was counted before.
    layer.pass(false, |engine| engine.want(wanted))?;
    let kept = NOW.load(Ordering::Relaxed).saturating_sub(before);
    PEAK.store(NOW.load(Ordering::Relaxed), Ordering::Relaxed);
    let took = layer.pass(true, |_| {})?;
    ensure!(took.operations == 0, "{} operations where there is nothing to do", took.operations);
    let peak = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    println!("{}", serde_json::to_string(&Held { kept, peak })?);
    drop(layer);
    Ok(())
}
