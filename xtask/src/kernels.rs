//! docs/kernels.md: what each kernel of the suites can do, as the agent's own probes find it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::generated::{File, Set};

const PATH: &str = "docs/kernels.md";

/// The heading of each column, and how in-kernel is told of that kernel.
const COLUMNS: [(&str, &str); 5] = [
    ("User-Mode Linux", "uml"),
    ("bookworm", "bookworm"),
    ("trixie", "trixie"),
    ("sid", "sid"),
    ("sid with modules", "sid+modules"),
];

const HEAD: &str = "\
# What kernels can do

`make test-kernels` boots each of these kernels, runs the kernel suite there and asks it what it can do, with the
agent's own probes. The names are those of `IpsecNodeState.status.kernel.capabilities`. bookworm, trixie and sid are
the newest cloud kernels of these Debian suites. What a kernel lacks isn't asked of it: the object that wants it says
so in its condition Programmed, `reason: UnsupportedByKernel`.

Debian builds none of them with `CONFIG_XFRM_IPTFS`: the last column is its newest kernel with that module from its own
source ([decision 13](decisions/0013-modules-that-debian-lacks.md)).

";

/// Writes the table, or compares it. Boots the kernels that in-kernel needs.
pub(crate) fn run(root: &Path, check: bool) -> anyhow::Result<()> {
    let file = File { path: PATH.into(), text: table(root)? };
    let set = Set { command: "cargo xtask kernels", files: vec![file], folders: &[] };
    if check { set.check(root) } else { set.write(root) }
}

fn table(root: &Path) -> anyhow::Result<String> {
    let all = asked(root, None, &["--all"])?;
    let columns = COLUMNS.iter().map(|(name, choice)| {
        let asked = asked(root, Some(choice), &[]).with_context(|| format!("asking {name}"))?;
        let (release, present) = asked.split_once('\n').unwrap_or_default();
        let version: Vec<&str> = release.split('.').take(2).collect();
        let present: BTreeSet<String> = present.lines().map(str::to_owned).collect();
        Ok((format!("{name}, {}", version.join(".")), present))
    });
    Ok(format!("{HEAD}{}", rows(&all, &columns.collect::<anyhow::Result<Vec<_>>>()?)))
}

/// The table: a row for each of `all`'s lines, and what each kernel has.
fn rows(all: &str, columns: &[(String, BTreeSet<String>)]) -> String {
    let mut text = String::new();
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let _ = writeln!(text, "| capability | {} |\n|---{}|", names.join(" | "), "|:-:".repeat(names.len()));
    for capability in all.lines() {
        let cells: Vec<_> = columns
            .iter()
            .map(|(_, present)| if present.contains(capability) { "yes" } else { "–" })
            .collect();
        let _ = writeln!(text, "| {capability} | {} |", cells.join(" | "));
    }
    text
}

/// What the example `capabilities` prints; on a kernel below the line with its release.
fn asked(root: &Path, on: Option<&str>, arguments: &[&str]) -> anyhow::Result<String> {
    let programs = std::env::current_exe().context("this program's path")?;
    let programs = programs.parent().context("this program's folder")?;
    let capabilities = programs.join("examples/capabilities");
    let mut command = match on {
        None => Command::new(&capabilities),
        Some(choice) => {
            let mut command = Command::new(programs.join("in-kernel"));
            command.args(["--", "sh", "-c", "uname -r && exec \"$0\" \"$@\""]).arg(&capabilities);
            command.env("LAB_KERNEL", choice);
            command
        }
    };
    let output =
        command.args(arguments).current_dir(root).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("{}: build it first: make build", programs.display()))?;
    ensure!(output.status.success(), "{} failed", capabilities.display());
    String::from_utf8(output.stdout).context("its output")
}

#[cfg(test)]
mod tests {
    use super::rows;

    #[test]
    fn each_kernel_has_a_column_and_each_capability_a_row() {
        let old = ("old, 6.1".to_owned(), ["ESP".to_owned()].into());
        let new = ("new, 7.2".to_owned(), ["ESP".to_owned(), "PerCPU".to_owned()].into());
        let table = "| capability | old, 6.1 | new, 7.2 |\n|---|:-:|:-:|\n| ESP | yes | yes |\n| PerCPU | – | yes |\n";
        assert_eq!(rows("ESP\nPerCPU\n", &[old, new]), table);
    }
}
