//! Programs of this workspace, as cargo built them.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// The program beside the one that runs (a test is one folder further down).
///
/// # Errors
/// It isn't built; the message says how.
pub fn find(name: &str, package: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program's path")?;
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    match found {
        Some(path) => Ok(path),
        None => bail!("{name} isn't built: cargo build --package {package} --bins"),
    }
}
