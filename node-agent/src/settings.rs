//! What the agent sets for all policies of the node, and the file that remembers that it was the agent.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use esplanade_model::{Threshold, Thresholds};
use esplanade_sync::{Engine, Setting, setting};
use esplanade_xfrm::{Kernel, KernelError};

use crate::state_file::{self, FileError};

/// The file's name in the state directory. Its first line is the boot that it was written in.
pub const FILE: &str = "kernel-settings";

/// Keeps them right; remembers nothing beyond this process where it has no file, in tests.
#[derive(Debug, Default)]
pub struct Settings {
    file: Option<(PathBuf, String)>,
    /// What we set.
    thresholds: Option<Thresholds>,
    /// What was logged of them last.
    told: Option<String>,
}

impl Settings {
    /// What was recorded in `directory` in this boot, and where to go on. A file that says something else counts as none:
    /// what the kernel has is somebody else's then, and stays.
    ///
    /// # Errors
    /// There is a file, and it can't be read.
    pub fn load(directory: &Path, boot_id: &str) -> Result<Self, FileError> {
        let path = directory.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(FileError::at("reading", &path)(error)),
        };
        let (boot, lines) = text.split_once('\n').unwrap_or_default();
        let thresholds = if boot == boot_id { read(lines) } else { None };
        Ok(Self { file: Some((path, boot_id.to_owned())), thresholds, told: None })
    }

    /// Has the kernel hash the policies that are wanted, unless somebody else said which to hash. To be done before they are
    /// written: it arranges all of them anew.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn keep_thresholds(&mut self, kernel: &mut dyn Kernel, engine: &Engine) -> Result<(), KernelError> {
        let there = kernel.thresholds()?;
        match setting(&engine.lengths(), there, self.thresholds) {
            Setting::Right => self.told = None,
            Setting::Foreign => {
                let there = in_words(there);
                self.tell(format!(
                    "somebody else had the kernel hash policies by {there}: leaving that as it is"
                ));
            }
            Setting::Change(next) => {
                // First: who ends in between has set a kernel's own, which is ours as well.
                self.thresholds = Some(next);
                self.record();
                match kernel.set_thresholds(next)? {
                    Ok(()) => tracing::info!("the kernel hashes policies by {}", in_words(next)),
                    Err(refusal) => self.tell(format!("hashing policies by {}: {refusal}", in_words(next))),
                }
            }
        }
        Ok(())
    }

    fn record(&self) {
        let Some((path, boot_id)) = &self.file else { return };
        let lines = self.thresholds.map(write).unwrap_or_default();
        if let Err(error) = state_file::replace(path, format!("{boot_id}\n{lines}").as_bytes()) {
            tracing::error!(%error, "what was set in the kernel can't be recorded");
        }
    }

    /// Once.
    fn tell(&mut self, words: String) {
        if self.told.as_ref() != Some(&words) {
            tracing::warn!("{words}");
            self.told = Some(words);
        }
    }
}

fn write(Thresholds { v4, v6 }: Thresholds) -> String {
    let line = |name: &str, one: Threshold| format!("{name} {} {}\n", one.local, one.remote);
    line("hthresh4", v4) + &line("hthresh6", v6)
}

fn read(lines: &str) -> Option<Thresholds> {
    let of = |name: &str| {
        let mut words = lines.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace();
        Some(Threshold { local: words.next()?.parse().ok()?, remote: words.next()?.parse().ok()? })
    };
    Some(Thresholds { v4: of("hthresh4 ")?, v6: of("hthresh6 ")? })
}

/// As `ip xfrm policy set` has them.
fn in_words(Thresholds { v4, v6 }: Thresholds) -> String {
    format!("hthresh4 {}/{} hthresh6 {}/{}", v4.local, v4.remote, v6.local, v6.remote)
}

#[cfg(test)]
mod tests;
