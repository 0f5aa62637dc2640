//! Debian's packages without installing them.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

pub mod packages;
pub mod suite;

/// Unpacks every package in `folder`, with /lib and /bin in /usr as on an installed system.
pub fn unpack(folder: &Path, root: &Path) -> Result<()> {
    for name in ["lib", "bin", "sbin"] {
        std::fs::create_dir_all(root.join("usr").join(name)).context("making a folder")?;
        std::os::unix::fs::symlink(Path::new("usr").join(name), root.join(name)).context("making a link")?;
    }
    std::fs::create_dir(root.join("etc")).context("making a folder")?;
    for entry in std::fs::read_dir(folder).context("reading the downloads")? {
        let file = entry.context("reading the downloads")?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            let script = r#"dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2""#;
            run(Command::new("sh").args(["-euc", script, "sh"]).arg(&file).arg(root))?;
        }
    }
    Ok(())
}

/// Runs a command to its end; returns what it wrote to stdout.
///
/// # Errors
/// It can't be started or it fails: with what it wrote to stderr.
pub fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("can't start {name}"))?;
    checked(&name, output)
}

/// What a command wrote to stdout, if it succeeded.
pub fn checked(name: &str, output: Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed with {}: {}", output.status, said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
