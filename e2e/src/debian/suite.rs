//! Packages of another suite than the machine's, from the mirror that it uses, with signatures checked.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use super::run;

/// The keys of Debian's archive.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// A suite's list is fetched again when it is older.
const FRESH: Duration = Duration::from_hours(24);

/// A Debian suite's packages.
#[derive(Debug)]
pub struct Suite {
    name: String,
    folder: PathBuf,
}

impl Suite {
    /// Has the list of the suite's packages in `folder`, at most a day old. One process at a time.
    ///
    /// # Errors
    /// The machine's apt knows no Debian mirror, or can't fetch the list: the message has its words.
    pub fn open(name: &str, folder: &Path) -> Result<Self> {
        for folder in ["lists/partial", "cache/archives/partial"].map(|name| folder.join(name)) {
            std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        }
        let suite = Self { name: name.to_owned(), folder: folder.to_owned() };
        let fetched = folder.join("fetched");
        let age = |time: SystemTime| SystemTime::now().duration_since(time).unwrap_or_default();
        if std::fs::metadata(&fetched).and_then(|file| file.modified()).is_ok_and(|time| age(time) < FRESH) {
            return Ok(suite);
        }
        let mut source = String::new();
        let _ = writeln!(source, "Types: deb\nURIs: {}\nSuites: {name}\nComponents: main", mirror()?);
        let _ = writeln!(source, "Architectures: amd64\nSigned-By: {KEYS}");
        std::fs::write(suite.sources(), source).context("writing a list of sources")?;
        // An error, not a warning, when something can't be fetched.
        run(suite.command("apt-get").args(["-qq", "--error-on=any", "update"]))
            .with_context(|| format!("fetching the list of packages of Debian's {name}"))?;
        std::fs::write(fetched, []).context("noting when the list was fetched")?;
        Ok(suite)
    }

    /// The newest version of a package in the suite.
    pub fn version(&self, package: &str) -> Result<String> {
        let policy = run(self.command("apt-cache").args(["policy", package]))?;
        let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        let version = candidate.with_context(|| format!("Debian's {} has no package {package}", self.name));
        Ok(version?.to_owned())
    }

    /// The packages that it needs, itself among them.
    pub fn needs(&self, package: &str) -> Result<Vec<String>> {
        let not = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"];
        let mut command = self.command("apt-cache");
        command.args(["depends", "--recurse"]).args(not.map(|relation| format!("--no-{relation}")));
        let all = run(command.arg(package))?;
        // A line that isn't indented names a package.
        Ok(all.lines().filter(|line| !line.starts_with([' ', '<'])).map(str::to_owned).collect())
    }

    /// Downloads packages into a folder.
    pub fn download(&self, packages: &[String], into: &Path) -> Result<()> {
        let mut command = self.command("apt-get");
        command.args(["-qq", "download"]).args(packages).current_dir(into);
        run(&mut command).map(drop)
    }

    fn sources(&self) -> PathBuf {
        self.folder.join("suite.sources")
    }

    /// apt with nothing but this suite.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (option, path) in [
            ("Dir::Etc::sourcelist", self.sources()),
            ("Dir::Etc::sourceparts", PathBuf::from("/dev/null")),
            ("Dir::State::lists", self.folder.join("lists")),
            ("Dir::Cache", self.folder.join("cache")),
        ] {
            command.arg("-o").arg(format!("{option}={}", path.display()));
        }
        // The lists of programs' metadata and translations are as long again, and the folder isn't another user's.
        command.args(["-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"]);
        command.args(["-o", "Acquire::Languages=none", "-o", "APT::Sandbox::User="]);
        command
    }
}

/// The Debian mirror in the machine's list of sources.
fn mirror() -> Result<String> {
    let format = "$(LABEL) $(REPO_URI)";
    let sources =
        run(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    let mirror = sources.lines().find_map(|line| line.strip_prefix("Debian "));
    ensure!(mirror.is_some(), "no Debian mirror is among this machine's apt sources");
    Ok(mirror.unwrap_or_default().to_owned())
}
