//! The plain manifests: what the chart renders to with its defaults, for those who install without Helm.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::generated::{File, Set};

const CHART: &str = "charts/esplanade";
const MANIFEST: &str = "deploy/esplanade.yaml";
const NAMESPACE: &str = "esplanade-system";

const HEADER: &str = "# Generated from charts/esplanade by `cargo xtask manifests`: change that, not this.\n";

/// Write the manifests, or, with `check`, fail when they are out of date.
pub(crate) fn run(root: &Path, check: bool) -> anyhow::Result<()> {
    let rendered = render(root, &helm(root)?)?;
    let files = vec![File { path: MANIFEST.into(), text: assemble(&rendered) }];
    let set = Set { command: "cargo xtask manifests", files, folders: &["deploy"] };
    if check { set.check(root) } else { set.write(root) }
}

/// `$HELM`, else the one that the lab built last.
fn helm(root: &Path) -> anyhow::Result<PathBuf> {
    if let Some(helm) = std::env::var_os("HELM") {
        return Ok(helm.into());
    }
    let built = std::fs::read_dir(root.join(".lab/bin")).into_iter().flatten().filter_map(Result::ok);
    let helms = built.map(|entry| entry.path().join("helm")).filter(|helm| helm.is_file());
    let last = helms.max_by_key(|helm| helm.metadata().and_then(|m| m.modified()).ok());
    last.context(
        "no helm: `cargo run -p esplanade-e2e --bin lab-build` builds it, or set HELM to one you have",
    )
}

/// What helm makes of the chart with its default values, CRDs included.
fn render(root: &Path, helm: &Path) -> anyhow::Result<String> {
    // Neither plugins nor settings of whoever runs this.
    let home = tempfile::tempdir().context("a folder for helm")?;
    let output = Command::new(helm)
        .args(["template", "esplanade", CHART, "--namespace", NAMESPACE, "--include-crds"])
        .current_dir(root)
        .env("HELM_CONFIG_HOME", home.path())
        .env("HELM_CACHE_HOME", home.path())
        .env("HELM_DATA_HOME", home.path())
        .output()
        .with_context(|| format!("running {}", helm.display()))?;
    if !output.status.success() {
        bail!("helm template {CHART}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context("helm's output is not UTF-8")
}

/// The namespace, which helm leaves to its user, then what helm rendered, without saying that Helm manages it.
fn assemble(rendered: &str) -> String {
    let mut text = format!("{HEADER}{}", namespace());
    let managed = |line: &&str| line.trim() != "app.kubernetes.io/managed-by: Helm";
    for line in rendered.lines().filter(managed) {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The agent's pods need the host's network and CAP_NET_ADMIN: Pod Security's level `privileged`.
fn namespace() -> String {
    format!(
        "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  labels:\n    \
         pod-security.kubernetes.io/enforce: privileged\n"
    )
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::{HEADER, assemble};

    #[test]
    fn the_namespace_comes_first_and_nothing_is_said_to_be_helms() {
        let rendered = "---\n# Source: a\nkind: A\nmetadata:\n  labels:\n    \
                        app.kubernetes.io/managed-by: Helm\n    app.kubernetes.io/name: a\n---\nkind: B\n";
        let text = assemble(rendered);
        assert!(text.starts_with(HEADER));
        assert!(!text.contains("managed-by"), "{text}");
        let documents = serde_yaml::Deserializer::from_str(&text);
        let kinds: Vec<String> = documents
            .map(|d| serde_yaml::Value::deserialize(d).unwrap()["kind"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(kinds, ["Namespace", "A", "B"]);
    }
}
