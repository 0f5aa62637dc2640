//! An IKE daemon on a node.

use std::path::Path;

use anyhow::{Context, Result};
use esplanade_e2e::guest::Process;
use esplanade_e2e::lab::{Lab, Node};
use esplanade_e2e::outcome::Outcome;
use nix::sys::signal::Signal;

/// Gives the daemon the unpacked packages over the machine's /usr and /etc, its configuration over that, and a /run and a
/// /var/lib of its own. Arguments: the packages' folder, the configuration's, a command.
const ENTER: &str = r#"
packages=$1 configuration=$2
shift 2
mount -t overlay overlay -o "lowerdir=$packages/usr:/usr" /usr
mount -t overlay overlay -o "lowerdir=$configuration:$packages/etc:/etc" /etc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
eval "$1"
"#;

/// A daemon that runs in a node's network namespace.
#[derive(Debug)]
pub(crate) struct Daemon {
    process: Process,
}

impl Daemon {
    /// Starts it with these files, by their path below /etc. `command` is a shell script that ends in an `exec` of it.
    pub(crate) async fn start(
        lab: &Lab,
        node: &Node,
        name: &str,
        packages: &Path,
        files: &[(&str, String)],
        command: &str,
    ) -> Result<Self> {
        let name = format!("{name}-{}", node.name);
        let folder = lab.dir().join(&name);
        for (path, text) in files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().context("a file's folder")?).context("making a folder")?;
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        let (packages, folder) =
            (packages.to_str().context("UTF-8")?, folder.to_str().context("the lab's folder isn't UTF-8")?);
        let unshare = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-euc", ENTER, "sh"];
        let argv = unshare.into_iter().chain([packages, folder, command]);
        Ok(Self { process: node.spawn(&name, argv).await? })
    }

    /// Runs one of its tools on its node.
    pub(crate) async fn run(&self, node: &Node, argv: &[&str]) -> Result<Outcome> {
        let pid = self.process.id().to_string();
        node.run(["nsenter", "--target", &pid, "--mount", "--"].iter().chain(argv)).await
    }

    /// SIGTERM, and waits for its end.
    pub(crate) async fn stop(self) -> Result<()> {
        self.process.signal(Signal::SIGTERM).await?;
        self.ended().await
    }

    /// Waits for its end.
    pub(crate) async fn ended(self) -> Result<()> {
        let code = self.process.wait().await?;
        anyhow::ensure!(code == 0, "it ended with {code}:\n{}", self.said());
        Ok(())
    }

    /// The end of what it logged.
    pub(crate) fn said(&self) -> String {
        let log = self.process.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}
