//! The table.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::measure::Size;
use crate::samples::{Pairs, Samples};

/// Everything that one run measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The kernel's release.
    pub kernel: String,
    /// By numbers of SAs, ascending.
    pub sizes: Vec<Size>,
    /// The parts without a kernel.
    pub pure: Vec<Instructions>,
}

/// One part without a kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instructions {
    /// Which one.
    pub part: String,
    /// SAs, with their policies.
    pub sas: u32,
    /// Instructions (callgrind) of doing it once.
    pub instructions: u64,
    /// How long it took on this machine, in seconds.
    pub seconds: Samples,
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was measured.
    pub measure: &'static str,
    /// SAs.
    pub sas: u32,
    /// What came out for the agent's layer.
    pub ours: String,
    /// What it is compared with, and what came out for that.
    pub compared: String,
    /// One divided by the other.
    pub ratio: Option<f64>,
    /// What it should be.
    pub target: &'static str,
    /// Whether it is; none where there is no target.
    pub met: Option<bool>,
}

impl Report {
    /// The lines of the table.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<_> = self.sizes.iter().flat_map(of_size).collect();
        if let [first, .., last] = self.sizes.as_slice() {
            rows.extend(growth(first, last));
        }
        rows.extend(self.pure.iter().map(pure));
        rows
    }

    /// The table in Markdown.
    pub fn table(&self) -> String {
        let mut text = "| measure | SAs | ours | compared with | ratio | target | met |\n".to_owned();
        text.push_str("|---|---:|---:|---:|---:|---|---|\n");
        for row in self.rows() {
            let ratio = row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            let met = row.met.map_or("", |met| if met { "yes" } else { "**no**" });
            let Row { measure, sas, ours, compared, target, .. } = row;
            let _ =
                writeln!(text, "| {measure} | {sas} | {ours} | {compared} | {ratio} | {target} | {met} |");
        }
        text
    }
}

fn of_size(size: &Size) -> Vec<Row> {
    let replayed = format!("replay ({} a datagram)", size.batch);
    let program = size.program.one();
    let mut rows = vec![
        in_turn(size, "program from nothing", &size.program, &replayed).at_most(1.25, "≤ 1.25"),
        versus(size, "program from nothing", &program, ("ip -batch", &size.program_ip)).at_most(0.5, "≤ 0.5"),
        versus(size, "program from nothing", &program, ("Go netlink", &size.program_go))
            .at_most(0.5, "≤ 0.5"),
        in_turn(size, "program and read back", &size.program_and_verify, &replayed),
        in_turn(size, "pass with nothing to do", &size.idle, "bare dump")
            .judged("≤ 1.3, 0 writes", |ratio| ratio <= 1.3 && size.idle_writes == 0),
        versus(size, "one SA changed", &size.change, ("one message's round trip", &size.change_floor)),
        versus(
            size,
            "one SA changed, told with all others",
            &size.change_among_all,
            ("one message's round trip", &size.change_floor),
        ),
        in_turn(size, "delete everything", &size.delete, &replayed).at_most(1.25, "≤ 1.25"),
    ];
    let p99 = size.heal.quantile(0.99);
    rows.push(Row {
        measure: "foreign delete to back in the kernel",
        sas: size.sas,
        ours: format!("p50 {}, p99 {}", time(size.heal.median()), time(p99)),
        compared: format!("{} deletes", size.heal.count()),
        ratio: None,
        target: "p99 ≤ 50 ms",
        met: p99.map(|p99| p99 <= 0.05),
    });
    rows.extend(size.memory.map(|held| {
        let of_each = |bytes: usize| bytes / size.sas.max(1) as usize;
        Row {
            measure: "memory of an SA with its policies",
            sas: size.sas,
            ours: format!("{} B kept", of_each(held.kept)),
            compared: format!("{} B at the peak of a pass", of_each(held.peak)),
            ratio: None,
            target: "≤ 1024 B kept",
            met: Some(of_each(held.kept) <= 1024),
        }
    }));
    rows
}

/// A line without a target, of two things that weren't measured in turn.
fn versus(size: &Size, measure: &'static str, ours: &Samples, (name, other): (&str, &Samples)) -> Row {
    let compared = format!("{name}: {}", spread(other));
    let (ours, ratio) = (spread(ours), ours.to(other));
    Row { measure, sas: size.sas, ours, compared, ratio, target: "", met: None }
}

/// A line without a target, of two things that were.
fn in_turn(size: &Size, measure: &'static str, pairs: &Pairs, name: &str) -> Row {
    Row { ratio: pairs.ratio(), ..versus(size, measure, &pairs.one(), (name, &pairs.other())) }
}

impl Row {
    fn judged(self, target: &'static str, met: impl Fn(f64) -> bool) -> Self {
        Self { target, met: self.ratio.map(met), ..self }
    }

    fn at_most(self, most: f64, target: &'static str) -> Self {
        self.judged(target, |ratio| ratio <= most)
    }
}

/// One SA changed among many, and among few.
fn growth(few: &Size, many: &Size) -> Option<Row> {
    let ratio = many.change.median()? / few.change.median()?;
    Some(Row {
        measure: "one SA changed: growth",
        sas: many.sas,
        ours: time(many.change.median()),
        compared: format!("among {}: {}", few.sas, time(few.change.median())),
        ratio: Some(ratio),
        target: "≤ 1.5",
        met: Some(ratio <= 1.5),
    })
}

fn pure(part: &Instructions) -> Row {
    // To be read, in millions.
    #[allow(clippy::cast_precision_loss)]
    let millions = part.instructions as f64 / 1e6;
    let (measure, target) = match part.part.as_str() {
        "recognise" => ("take in a dump that shows nothing new (no kernel)", ""),
        "diff" => ("whole diff in sync (no kernel)", "≤ 10 ms at 10000"),
        "want" => ("copy and compare all that is wanted (no kernel)", ""),
        "plan" => ("plan one change (no kernel)", ""),
        "program" => ("from nothing to all messages (no kernel)", ""),
        "remove" => ("remove everything (no kernel; instructions: and take it in again)", ""),
        "encode" => ("encode everything (no kernel)", ""),
        _ => ("decode everything (no kernel)", ""),
    };
    let judged = !target.is_empty() && part.sas == 10_000;
    Row {
        measure,
        sas: part.sas,
        ours: spread(&part.seconds),
        compared: format!("{millions:.1} M instructions"),
        ratio: None,
        target: if judged { target } else { "" },
        met: part.seconds.median().filter(|_| judged).map(|seconds| seconds <= 0.01),
    }
}

fn spread(samples: &Samples) -> String {
    format!("{} ({}–{})", time(samples.median()), time(samples.min()), time(samples.max()))
}

fn time(seconds: Option<f64>) -> String {
    match seconds {
        None => "?".to_owned(),
        Some(seconds) if seconds < 0.001 => format!("{:.1} µs", seconds * 1e6),
        Some(seconds) if seconds < 0.1 => format!("{:.2} ms", seconds * 1e3),
        Some(seconds) => format!("{:.0} ms", seconds * 1e3),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Report;
    use crate::measure::{Held, Size};
    use crate::samples::{Pairs, Samples};

    fn pairs(milliseconds: &[(u64, u64)]) -> Pairs {
        let mut pairs = Pairs::default();
        milliseconds.iter().for_each(|(one, other)| {
            pairs.push(Duration::from_millis(*one), Duration::from_millis(*other));
        });
        pairs
    }

    fn samples(milliseconds: &[u64]) -> Samples {
        let mut samples = Samples::default();
        milliseconds.iter().for_each(|count| samples.push(Duration::from_millis(*count)));
        samples
    }

    #[test]
    fn a_target_that_is_not_met_says_so() {
        let size = |sas, milliseconds: u64| Size {
            sas,
            batch: 64,
            program: pairs(&[(20, 15), (10, 15), (30, 15)]),
            program_ip: samples(&[41]),
            idle: pairs(&[(13, 10)]),
            change: samples(&[milliseconds]),
            heal: samples(&[49, 51]),
            memory: Some(Held { kept: 1024 * sas as usize, peak: 0 }),
            ..Size::default()
        };
        let report = Report { sizes: vec![size(10, 2), size(20, 4)], ..Report::default() };
        let table = report.table();
        for line in [
            "| program from nothing | 10 | 20.00 ms (10.00 ms–30.00 ms) | replay (64 a datagram): 15.00 ms \
             (15.00 ms–15.00 ms) | 1.33 | ≤ 1.25 | **no** |",
            "| ip -batch: 41.00 ms (41.00 ms–41.00 ms) | 0.49 | ≤ 0.5 | yes |",
            "| 1.30 | ≤ 1.3, 0 writes | yes |",
            "| foreign delete to back in the kernel | 10 | p50 49.00 ms, p99 51.00 ms | 2 deletes |  | p99 ≤ 50 ms | **no** |",
            "| 1024 B kept |",
            "| one SA changed: growth | 20 | 4.00 ms | among 10: 2.00 ms | 2.00 | ≤ 1.5 | **no** |",
        ] {
            assert!(table.contains(line), "no {line} in:\n{table}");
        }
        // What was not measured is neither.
        assert!(table.contains("| Go netlink: ? (?–?) |  | ≤ 0.5 |  |"), "{table}");
    }
}
