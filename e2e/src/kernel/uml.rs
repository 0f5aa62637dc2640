//! One User-Mode Linux.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

use crate::process::Supervised;

const INIT: &str = include_str!("init.sh");

/// How to boot.
#[derive(Debug)]
pub struct Boot<'a> {
    /// The kernel's executable.
    pub kernel: &'a Path,
    /// The only folder of the host that is writable inside, at the same path.
    pub dir: &'a Path,
    /// A shell script that the first process ends in; `halt -f` ends the kernel.
    pub run: &'a str,
    /// Memory in MiB, taken from the host as it is used.
    pub memory: u32,
    /// A tap of the host that becomes vec0 inside.
    pub tap: Option<&'a str>,
}

/// A running User-Mode Linux. Dropping it ends it.
#[derive(Debug)]
pub struct Uml {
    process: Supervised,
    dir: PathBuf,
}

impl Boot<'_> {
    /// Boots; returns at once. See [`Supervised::spawn`] for the thread to call it from.
    pub fn start(&self) -> Result<Uml> {
        let init = self.dir.join("init");
        std::fs::write(&init, INIT).context("writing init")?;
        std::fs::set_permissions(&init, std::fs::Permissions::from_mode(0o755)).context("writing init")?;
        std::fs::write(self.dir.join("run"), self.run).context("writing the guest's script")?;
        let console = std::fs::File::create(self.dir.join("console")).context("making the console's file")?;

        let mut command = Command::new(self.kernel);
        command
            .arg(format!("mem={}M", self.memory))
            .args([
                "rootfstype=hostfs",
                "rootflags=/",
                "ro",
                "quiet",
                "con=null",
                "con0=null,fd:1",
                "umid=kernel",
            ])
            .arg(concat("uml_dir=", self.dir))
            .arg(concat("init=", &init))
            .arg(concat("LAB_DIR=", self.dir));
        if let Some(tap) = self.tap {
            command.arg(format!("vec0:transport=tap,ifname={tap},depth=64"));
        }
        command.current_dir(self.dir).stdin(Stdio::null()).stderr(console.try_clone()?).stdout(console);
        Ok(Uml { process: Supervised::spawn("User-Mode Linux", command)?, dir: self.dir.to_owned() })
    }
}

fn concat(key: &str, path: &Path) -> OsString {
    let mut joined = OsString::from(key);
    joined.push(path);
    joined
}

impl Uml {
    /// The status with which the kernel ended, if it has.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// What the kernel and its first process said: the ends of the console and of init's log.
    pub fn messages(&self) -> String {
        let tail = |name: &str| {
            let text = std::fs::read(self.dir.join(name)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(20)..].join("\n")
        };
        format!("console:\n{}\ninit:\n{}", tail("console"), tail("init.log"))
    }
}
