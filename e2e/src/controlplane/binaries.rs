//! The control plane's programs: from `$KUBEBUILDER_ASSETS`, else built with Go from the checked-in go.mod files.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// etcd.
    pub etcd: PathBuf,
    /// etcdctl, of etcd's version.
    pub etcdctl: PathBuf,
    /// etcdutl, of etcd's version.
    pub etcdutl: PathBuf,
    /// kube-apiserver.
    pub kube_apiserver: PathBuf,
    /// kube-controller-manager.
    pub kube_controller_manager: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
    /// helm.
    pub helm: PathBuf,
}

impl Binaries {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> [&Path; 7] {
        let Self { etcd, etcdctl, etcdutl, kube_apiserver, kube_controller_manager, kubectl, helm } = self;
        [etcd, etcdctl, etcdutl, kube_apiserver, kube_controller_manager, kubectl, helm]
    }
}

/// One go.mod and the programs it pins: (program, package).
struct Module {
    /// Its name in the cache.
    name: &'static str,
    /// Below e2e/.
    folder: &'static str,
    programs: &'static [(&'static str, &'static str)],
}

const MODULES: [Module; 3] = [
    Module {
        name: "kubernetes",
        folder: "controlplane/kubernetes",
        programs: &[
            ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
            ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        ],
    },
    Module {
        name: "etcd",
        folder: "controlplane/etcd",
        programs: &[
            ("etcd", "go.etcd.io/etcd/server/v3"),
            ("etcdctl", "go.etcd.io/etcd/etcdctl/v3"),
            ("etcdutl", "go.etcd.io/etcd/etcdutl/v3"),
        ],
    },
    Module { name: "helm", folder: "controlplane/helm", programs: &[("helm", "helm.sh/helm/v4/cmd/helm")] },
];

/// What the benchmark compares with: a program of our own.
const BENCH: Module = Module { name: "bench", folder: "bench/go", programs: &[("bench-go", ".")] };

/// The workspace's folder.
#[must_use]
pub fn workspace() -> &'static Path {
    let e2e = Path::new(env!("CARGO_MANIFEST_DIR"));
    e2e.parent().unwrap_or(e2e)
}

/// Finds the programs and builds what is missing (minutes the first time); `say` hears about each build.
/// Several processes may call it at once: one builds, the others wait.
///
/// # Errors
/// Go is missing, or a build fails: the message has Go's words.
pub fn locate(say: &dyn Fn(&str)) -> Result<Binaries> {
    Ok(Binaries {
        etcd: program("etcd", say)?,
        etcdctl: program("etcdctl", say)?,
        etcdutl: program("etcdutl", say)?,
        kube_apiserver: program("kube-apiserver", say)?,
        kube_controller_manager: program("kube-controller-manager", say)?,
        kubectl: program("kubectl", say)?,
        helm: program("helm", say)?,
    })
}

/// The Go program of the benchmark, built if need be.
///
/// # Errors
/// As for [`locate`].
pub fn bench(say: &dyn Fn(&str)) -> Result<PathBuf> {
    Ok(BENCH.built(say)?.join("bench-go"))
}

fn program(name: &str, say: &dyn Fn(&str)) -> Result<PathBuf> {
    if let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS") {
        let path = Path::new(&assets).join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    let module = MODULES.iter().find(|m| m.programs.iter().any(|(p, _)| *p == name));
    Ok(module.context("no go.mod for this program")?.built(say)?.join(name))
}

impl Module {
    /// The folder with the module's programs, built if need be.
    fn built(&self, say: &dyn Fn(&str)) -> Result<PathBuf> {
        let cache = workspace().join(".lab/bin");
        let ldflags = self.ldflags()?;
        let folder = cache.join(self.key(&ldflags)?);
        if folder.is_dir() {
            return Ok(folder);
        }
        std::fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
        let lock = cache.join(format!("{}.lock", self.name));
        let lock = File::create(&lock).with_context(|| format!("making {}", lock.display()))?;
        lock.lock().context("waiting for another build of the same programs")?;
        if folder.is_dir() {
            return Ok(folder);
        }
        let temporary =
            tempfile::Builder::new().prefix("building-").tempdir_in(&cache).context("a folder")?;
        for (program, package) in self.programs {
            say(&format!("building {program} (once; minutes when Go's cache is empty)"));
            self.build(package, &temporary.path().join(program), &ldflags)?;
        }
        let temporary = temporary.keep();
        std::fs::rename(&temporary, &folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(folder)
    }

    fn build(&self, package: &str, to: &Path, ldflags: &str) -> Result<()> {
        let mut go = self.go();
        go.args(["build", "-trimpath", "-ldflags", ldflags, "-o"]).arg(to).arg(package);
        let output = go.output().with_context(no_go)?;
        ensure!(output.status.success(), "go build {package}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn go(&self) -> Command {
        let mut go = Command::new("go");
        go.current_dir(self.path()).env("CGO_ENABLED", "0").env("GOFLAGS", "-buildvcs=false");
        go
    }

    fn path(&self) -> PathBuf {
        workspace().join("e2e").join(self.folder)
    }

    /// Kubernetes' programs don't know their version unless the linker tells them.
    fn ldflags(&self) -> Result<String> {
        let mut flags = "-s -w".to_owned();
        let go_mod = std::fs::read_to_string(self.path().join("go.mod")).context("reading go.mod")?;
        if let Some(version) = required(&go_mod, "k8s.io/kubernetes") {
            let (major, minor) = major_minor(version)?;
            for (name, value) in [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor)] {
                let _ = write!(flags, " -X k8s.io/component-base/version.{name}={value}");
            }
        }
        Ok(flags)
    }

    /// The cache key: everything that decides what comes out of the build.
    fn key(&self, ldflags: &str) -> Result<String> {
        let version = self.go().arg("version").output().with_context(no_go)?;
        let mut hash = Sha256::new();
        for file in self.files()? {
            let bytes = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            hash.update(Sha256::digest(bytes));
        }
        hash.update(&version.stdout);
        hash.update(ldflags);
        for (program, package) in self.programs {
            hash.update(format!("\n{program} {package}"));
        }
        let digest: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{}-{digest}", self.name))
    }

    /// go.mod, go.sum, and the sources beside them where the programs are our own.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = vec![self.path().join("go.mod"), self.path().join("go.sum")];
        for entry in std::fs::read_dir(self.path()).context("reading the folder of a go.mod")? {
            let path = entry.context("reading the folder of a go.mod")?.path();
            if path.extension().is_some_and(|extension| extension == "go") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }
}

fn no_go() -> &'static str {
    "can't start go: install Go (the version is in e2e/controlplane/kubernetes/go.mod), https://go.dev/dl"
}

/// The version that a go.mod requires of a module.
fn required<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(module)).then(|| words.next()).flatten()
    })
}

fn major_minor(version: &str) -> Result<(&str, &str)> {
    let mut parts = version.trim_start_matches('v').split('.');
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => Ok((major, minor)),
        _ => bail!("{version} isn't a version of the form v1.2.3"),
    }
}

#[cfg(test)]
mod tests {
    use super::{MODULES, major_minor, required};

    #[test]
    fn version_comes_from_go_mod() {
        let text = "module x\nrequire (\n\tk8s.io/kubernetes v1.36.3 // indirect\n)\n";
        assert_eq!(required(text, "k8s.io/kubernetes"), Some("v1.36.3"));
        assert_eq!(required(text, "k8s.io"), None);
        assert_eq!(major_minor("v1.36.3").unwrap(), ("1", "36"));
        assert!(major_minor("devel").is_err());
    }

    #[test]
    fn every_program_is_a_tool_of_its_go_mod() {
        for module in &MODULES {
            let go_mod = std::fs::read_to_string(module.path().join("go.mod")).unwrap();
            for (_, package) in module.programs {
                assert!(go_mod.contains(package), "{} lacks {package}", module.folder);
            }
        }
    }
}
