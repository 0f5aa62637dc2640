//! What the agent sets for all policies of the node, and the file that remembers that it was the agent.

use std::path::Path;

use esplanade_model::{Action, DefaultActions, PolicyKey, Threshold, Thresholds};
use esplanade_sync::{Engine, Setting, setting};
use esplanade_xfrm::{KernelError, PolicySettings};

use crate::state_file::{BootFile, FileError};

/// The file's name in the state directory. Its first line is the boot that it was written in.
pub const FILE: &str = "kernel-settings";

/// Keeps them right; remembers nothing beyond this process where it has no file, in tests.
#[derive(Debug, Default)]
pub struct Settings {
    file: BootFile,
    /// What we set.
    thresholds: Option<Thresholds>,
    /// What we had dropped that no policy covers, where the kernel let it pass before.
    blocked: Option<Blocked>,
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
        let (lines, file) = BootFile::load(&directory.join(FILE), boot_id)?;
        let (thresholds, blocked) = (read(lines.of_this_boot()), Blocked::read(lines.of_this_boot()));
        Ok(Self { file, thresholds, blocked, ..Self::default() })
    }

    /// Has the kernel hash the policies that are wanted, unless somebody else said which to hash. To be done before they are
    /// written: it arranges all of them anew.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn keep_thresholds(
        &mut self,
        kernel: &mut dyn PolicySettings,
        engine: &Engine,
    ) -> Result<(), KernelError> {
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

    /// Has the kernel let pass again what we had it drop. To be done before the policies go that let pass what must.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn let_pass(&mut self, kernel: &mut dyn PolicySettings) -> Result<(), KernelError> {
        let Some(blocked) = self.blocked else { return Ok(()) };
        let Some(there) = kernel.default_actions()? else { return Ok(()) };
        let next = blocked.taken_back(there);
        if next != there
            && let Err(refusal) = kernel.set_default_actions(next)?
        {
            tracing::error!("letting packets pass that no policy covers: {refusal}");
            return Ok(());
        }
        tracing::info!("packets that no policy covers pass again");
        self.blocked = None;
        self.record();
        Ok(())
    }

    /// Has the kernel drop what no policy covers, once it holds all that lets pass what must; else why it doesn't.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn block(
        &mut self,
        kernel: &mut dyn PolicySettings,
        engine: &Engine,
        exempt: &[PolicyKey],
    ) -> Result<Result<(), NotBlocked>, KernelError> {
        let Some(there) = kernel.default_actions()? else { return Ok(Err(NotBlocked::Unknown)) };
        if there == DefaultActions::all(Action::Block) {
            return Ok(Ok(()));
        }
        if let Some(missing) = exempt.iter().find(|key| !engine.holds_policy(key)) {
            return Ok(Err(NotBlocked::Missing(*missing)));
        }
        // First: who ends in between has changed nothing, and takes nothing back.
        self.blocked = Some(self.blocked.unwrap_or_default().with(there));
        self.record();
        match kernel.set_default_actions(DefaultActions::all(Action::Block))? {
            Ok(()) => tracing::info!("packets that no policy covers are dropped from now on"),
            Err(refusal) => return Ok(Err(NotBlocked::Refused(refusal.to_string()))),
        }
        Ok(Ok(()))
    }

    fn record(&self) {
        let lines = self.thresholds.map(write).unwrap_or_default();
        let lines = lines + &self.blocked.map(Blocked::write).unwrap_or_default();
        if let Err(error) = self.file.write(&lines) {
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

/// Why packets that no policy covers still pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotBlocked {
    /// The kernel can't.
    #[error(
        "the kernel can't drop what no policy covers (Linux 5.15 can): it still passes. Give the node a newer kernel, or \
         set nodeAgent.defaultAction to Allow"
    )]
    Unknown,
    /// Something that must pass would be dropped as well.
    #[error(
        "what no policy covers still passes: first the kernel must have a policy that lets {} → {} pass ({:?}), which it \
         hasn't; somebody else's may be in its place",
        .0.selector.source(), .0.selector.destination(), .0.direction
    )]
    Missing(PolicyKey),
    /// The kernel's words.
    #[error("what no policy covers still passes: {0}")]
    Refused(String),
}

/// Directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Blocked {
    inbound: bool,
    forward: bool,
    outbound: bool,
}

impl Blocked {
    /// With those where packets pass.
    fn with(self, there: DefaultActions) -> Self {
        let passes = |action| action == Action::Allow;
        Self {
            inbound: self.inbound || passes(there.inbound),
            forward: self.forward || passes(there.forward),
            outbound: self.outbound || passes(there.outbound),
        }
    }

    /// What is there, but that packets pass in these directions.
    fn taken_back(self, there: DefaultActions) -> DefaultActions {
        let of = |ours, action| if ours { Action::Allow } else { action };
        DefaultActions {
            inbound: of(self.inbound, there.inbound),
            forward: of(self.forward, there.forward),
            outbound: of(self.outbound, there.outbound),
        }
    }

    fn write(self) -> String {
        let words = [(self.inbound, " in"), (self.forward, " fwd"), (self.outbound, " out")];
        let words: String = words.iter().filter(|(ours, _)| *ours).map(|(_, word)| *word).collect();
        format!("blocked{words}\n")
    }

    fn read(lines: &str) -> Option<Self> {
        let words = lines.lines().find_map(|line| line.strip_prefix("blocked"))?;
        let has = |word| words.split_whitespace().any(|one| one == word);
        Some(Self { inbound: has("in"), forward: has("fwd"), outbound: has("out") })
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
