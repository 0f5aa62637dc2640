//! Checks scenarios and walks, and writes what it took into docs/keying.md.
//!
//! ```text
//! model                 every scenario, the deep ones too; the table in docs/keying.md is written anew
//! model NAME…           these scenarios; a broken promise is shown step by step
//! model walks N         so many walks
//! model courses N       so many courses in virtual time
//! ```
#![allow(clippy::print_stdout)] // a program for people

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Context as _, bail};
use esplanade_model_check::Scenario;
use esplanade_model_check::check::{Outcome, check};
use esplanade_model_check::scenario::{DEEP, SHORT};
use esplanade_model_check::simulate::{WALKS, walk};
use esplanade_model_check::timed::{self, Course, DAY, HOUR};
use esplanade_model_check::world::World;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let all: Vec<&Scenario> = SHORT.iter().chain(DEEP).collect();
    match arguments.as_slice() {
        [] => write(&run(&all)?),
        [walks, count] if walks == "walks" => walk_all(count.parse().context("how many walks")?),
        [courses, count] if courses == "courses" => take_courses(count.parse().context("how many courses")?),
        names => {
            let known = |name: &String| all.iter().copied().find(|one| one.name == name);
            let chosen: Option<Vec<&Scenario>> = names.iter().map(known).collect();
            run(&chosen.context("no such scenario")?).map(|_| ())
        }
    }
}

/// Checks each of them, and makes the lines of the table.
fn run(scenarios: &[&Scenario]) -> anyhow::Result<String> {
    let mut table = String::new();
    for scenario in scenarios {
        let outcome = check(scenario, 1, None);
        let Outcome { states, depth, took, .. } = outcome;
        println!("{}: {states} states, depth {depth}, {took:.1?}", scenario.name);
        if let Some((promise, actions)) = outcome.counterexample {
            let mut world = World::settled(scenario);
            for action in actions {
                world.act(scenario, action);
                println!("── {action:?}");
                show(scenario, &world);
            }
            bail!("{}: {promise:?} is broken", scenario.name);
        }
        writeln!(table, "| {} | {} | {states} | {depth} |", scenario.name, scenario.nodes)?;
    }
    Ok(table)
}

fn walk_all(count: u64) -> anyhow::Result<()> {
    let mut bad = 0;
    for (seed, budget) in (0..count).zip(WALKS.into_iter().cycle()) {
        let walk = walk(3 + (seed % 4) as u16, 600, seed, budget);
        if walk.broken.is_some() || !walk.rests {
            let broken = walk.shrunk();
            println!("seed {seed}: after {} steps {broken:?}, rests: {}", walk.steps, walk.rests);
            show(&walk.scenario, &walk.world);
            bad += 1;
        }
    }
    if bad > 0 {
        bail!("{bad} of {count} walks broke a promise");
    }
    Ok(())
}

/// Twelve days each, in clusters of 3 to 30 nodes, and one of a hundred for a day.
fn take_courses(count: u64) -> anyhow::Result<()> {
    let course = |seed: u64| {
        let nodes = 3 + u16::try_from(seed % 28).unwrap_or(0);
        Course { trouble_every: HOUR, ..Course::quiet(nodes, 12 * DAY, seed) }
    };
    let large = Course { trouble_every: HOUR / 4, ..Course::quiet(100, DAY, count) };
    let mut bad = 0;
    for course in (0..count).map(course).chain([large]) {
        let start = Instant::now();
        let outcome = timed::run(course);
        let took = start.elapsed();
        println!("{} nodes, seed {}: {} steps, {took:.1?}", course.nodes, course.seed, outcome.steps);
        if outcome.broken.is_some() || !outcome.rests {
            println!("{course:?}: {outcome:?}");
            bad += 1;
        }
    }
    if bad > 0 {
        bail!("{bad} of {} courses broke a promise", count + 1);
    }
    Ok(())
}

fn show(scenario: &Scenario, world: &World) {
    println!("   now {:?}, policy {:?}, given up {:?}", world.now.0, world.api.current, world.api.skipped);
    println!("   lost: {:?}", world.black_holes(scenario));
    for (node, host) in world.hosts.iter().enumerate() {
        let state = u16::try_from(node).ok().and_then(|node| world.api.states.get(&node));
        let peer = u16::try_from(node).ok().and_then(|node| world.api.peers.get(&node));
        println!("   {node}: {state:?} {peer:?}");
        let kernel = &host.kernel;
        println!(
            "      asked {:?} cut {} disk {:?}",
            host.asked,
            host.cut,
            host.disk.iter().map(|record| (record.id, record.stage)).collect::<Vec<_>>()
        );
        println!(
            "      {:?} in {:?} out {:?} on the way {:?}",
            kernel.levels, kernel.inbound, kernel.outbound, kernel.on_the_way
        );
        if let Some(agent) = &host.agent {
            let wanted: Vec<_> = agent.node.outbound().collect();
            let collisions: Vec<_> = agent.node.collisions().collect();
            println!(
                "      told {:?} {:?} wants {wanted:?} collisions {collisions:?}",
                agent.told, agent.levels
            );
        }
    }
}

/// Puts the table between its marks.
fn write(table: &str) -> anyhow::Result<()> {
    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/keying.md");
    let page = std::fs::read_to_string(PAGE)?;
    let (before, rest) = page.split_once("<!-- model -->\n").context("docs/keying.md has no mark")?;
    let (_, after) = rest.split_once("<!-- /model -->").context("docs/keying.md has no second mark")?;
    let head = "| scenario | nodes | states | depth |\n|---|---|---|---|\n";
    std::fs::write(PAGE, format!("{before}<!-- model -->\n{head}{table}<!-- /model -->{after}"))?;
    Ok(())
}
