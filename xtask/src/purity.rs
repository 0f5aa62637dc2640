//! What decides is pure. Three checks hold the pure crates to that: the crates they name as dependencies, the
//! crates cargo resolves for them, and their syntax trees (not their text: a comment may say `async`).

use std::path::Path;

use anyhow::bail;

mod dependencies;
mod modules;
mod rules;
mod source;

/// The crates that decide, with their folders.
const PURE: &[(&str, &str)] = &[
    ("esplanade-crds", "crds"),
    ("esplanade-seal", "seal"),
    ("esplanade-plan", "operator/plan"),
    ("esplanade-rollout", "operator/rollout"),
    ("esplanade-model", "node-agent/model"),
    ("esplanade-expand", "node-agent/expand"),
    ("esplanade-diff", "node-agent/diff"),
    ("esplanade-keying", "node-agent/keying"),
    ("esplanade-sync", "node-agent/sync"),
];

/// The crates that do I/O. Every crate of the workspace is in one of the two lists, so that a new one is never
/// left out by oversight.
const THIN: &[&str] = &[
    "esplanade-logging",
    "esplanade-metrics",
    "esplanade-private-memory",
    "esplanade-operator",
    "esplanade-node-agent",
    "esplanade-xfrm",
    "esplanade-model-check",
    "esplanade-cli",
    "esplanade-e2e",
    "esplanade-bench",
    "xtask",
];

/// Check every pure crate; the error lists everything found.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let metadata = dependencies::Metadata::load(root)?;
    let mut found = unlisted(&metadata.members());
    let mut files = 0;
    for (package, folder) in PURE {
        found.extend(metadata.unlisted_dependencies(package)?);
        found.extend(dependencies::forbidden_in_tree(root, package)?);
        if root.join(folder).join("build.rs").exists() {
            found.push(format!(
                "{folder}/build.rs: a pure crate has no build script; generate with cargo xtask"
            ));
        }
        for file in modules::files(&root.join(folder).join("src/lib.rs"))? {
            let shown = file.path.strip_prefix(root).unwrap_or(&file.path).display();
            found.extend(file.violations.iter().map(|v| format!("{shown}:{}: {}", v.line, v.what)));
            files += 1;
        }
    }
    if !found.is_empty() {
        bail!("pure crates must stay pure (docs/architecture.md):\n  {}", found.join("\n  "));
    }
    println!("purity: {} crates, {files} files, nothing impure", PURE.len());
    Ok(())
}

/// Crates of the workspace that are in neither list.
fn unlisted(members: &[&str]) -> Vec<String> {
    members
        .iter()
        .filter(|m| !THIN.contains(m) && !PURE.iter().any(|(package, _)| package == *m))
        .map(|m| format!("{m} is in neither list of xtask/src/purity.rs: say whether it is pure or does I/O"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::unlisted;

    #[test]
    fn a_crate_in_neither_list_is_named() {
        let found = unlisted(&["esplanade-plan", "esplanade-operator", "esplanade-new"]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("esplanade-new is in neither list"), "{found:?}");
    }
}
