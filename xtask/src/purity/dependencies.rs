//! A pure crate can't use what it doesn't depend on.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;

/// What a pure crate may name among its normal dependencies: data, their encodings, mathematics.
const ALLOWED: &[&str] = &[
    "base64",
    "esplanade-crds",
    "esplanade-diff",
    "esplanade-expand",
    "esplanade-keying",
    "esplanade-model",
    "esplanade-plan",
    "esplanade-rollout",
    "esplanade-seal",
    "esplanade-sync",
    "foldhash",
    "hashbrown",
    "hkdf",
    "hpke",
    "indexmap",
    "ipnet",
    "jiff",
    "k8s-openapi",
    "kube",
    "rand_core",
    "schemars",
    "serde",
    "serde_json",
    "sha2",
    "subtle",
    "thiserror",
    "x25519-dalek",
    "zeroize",
];

/// What none may have anywhere in its tree, whoever names it: these do I/O, run futures or make randomness.
/// `kube` without its client and `rand_core` without the system's generator pass; with them they don't.
const FORBIDDEN: &[&str] = &[
    "async-std",
    "axum",
    "futures-executor",
    "getrandom",
    "hyper",
    "kube-client",
    "kube-runtime",
    "mio",
    "netlink-packet-xfrm",
    "netlink-sys",
    "nix",
    "reqwest",
    "rustix",
    "smol",
    "socket2",
    "tokio",
];

/// What `cargo metadata` says of the workspace's own crates.
#[derive(Deserialize)]
pub(super) struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `None`: a normal one.
    kind: Option<String>,
}

impl Metadata {
    /// Ask cargo.
    pub(super) fn load(root: &Path) -> anyhow::Result<Self> {
        let json = cargo(root, &["metadata", "--no-deps", "--format-version", "1"])?;
        serde_json::from_str(&json).context("reading what cargo metadata printed")
    }

    /// The names of the workspace's crates.
    pub(super) fn members(&self) -> Vec<&str> {
        self.packages.iter().map(|p| p.name.as_str()).collect()
    }

    /// What `package` depends on, tests aside, without being allowed to.
    pub(super) fn unlisted_dependencies(&self, package: &str) -> anyhow::Result<Vec<String>> {
        let found = self.packages.iter().find(|p| p.name == package);
        let found = found
            .with_context(|| format!("{package} of xtask/src/purity.rs is no crate of the workspace"))?;
        Ok(unlisted(found))
    }
}

fn unlisted(package: &Package) -> Vec<String> {
    package
        .dependencies
        .iter()
        .filter(|d| d.kind.is_none() && !ALLOWED.contains(&d.name.as_str()))
        .map(|d| {
            format!(
                "{} depends on {}: leave what needs it to the caller, or, when it does no I/O, keeps no time and makes \
                 no randomness, add it to the list in xtask/src/purity/dependencies.rs",
                package.name, d.name
            )
        })
        .collect()
}

/// Forbidden crates in the normal dependency tree of `package`.
pub(super) fn forbidden_in_tree(root: &Path, package: &str) -> anyhow::Result<Vec<String>> {
    let edges = "normal,no-proc-macro";
    let tree = cargo(root, &["tree", "-e", edges, "--prefix", "none", "--format", "{p}", "-p", package])?;
    let sentence = |name: &str| {
        format!(
            "{package} has {name} in its tree, which does I/O or makes randomness: turn off the feature that brings it \
             (cargo tree -p {package} -e {edges} -i {name})"
        )
    };
    Ok(forbidden_in(&tree).into_iter().map(sentence).collect())
}

/// The forbidden crates named in the output of `cargo tree --prefix none`.
fn forbidden_in(tree: &str) -> Vec<&str> {
    let names = tree.lines().filter_map(|l| l.split_whitespace().next());
    let mut names: Vec<&str> = names.filter(|n| FORBIDDEN.contains(n)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn cargo(root: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).current_dir(root).output().context("running cargo")?;
    if !output.status.success() {
        bail!("cargo {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("cargo's output is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::{Metadata, forbidden_in};

    #[test]
    fn finds_a_forbidden_crate_once() {
        let tree = "esplanade-plan v0.1.0 (/p)\nserde v1.0.0\ntokio v1.54.1\ntokio v1.54.1 (*)\n";
        assert_eq!(forbidden_in(tree), ["tokio"]);
    }

    #[test]
    fn a_name_that_only_begins_alike_is_fine() {
        assert!(forbidden_in("tokio-util-like v1.0.0\nserde v1.0.0\n").is_empty());
    }

    #[test]
    fn a_dependency_off_the_list_is_found_and_one_of_tests_is_not() {
        let json = r#"{"packages": [{"name": "esplanade-plan", "dependencies": [
            {"name": "serde", "kind": null},
            {"name": "left-pad", "kind": null},
            {"name": "tempfile", "kind": "dev"}
        ]}]}"#;
        let metadata: Metadata = serde_json::from_str(json).unwrap();
        let found = metadata.unlisted_dependencies("esplanade-plan").unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("esplanade-plan depends on left-pad: "), "{found:?}");
        assert!(metadata.unlisted_dependencies("esplanade-gone").is_err());
    }
}
