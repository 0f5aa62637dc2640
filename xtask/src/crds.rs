//! The CRD manifests, from the API types: one copy for readers and `kubectl`, one for the chart.

use std::path::Path;

use anyhow::Context;

use crate::generated::{File, Set};

/// The folders that get the manifests, relative to the workspace.
const FOLDERS: &[&str] = &["crds/manifests", "charts/esplanade/crds"];

const HEADER: &str =
    "# Generated from the types in crds/src by `cargo xtask crds`: change those, not this.\n";

/// Write the manifests, or, with `check`, fail when they are out of date.
pub(crate) fn run(root: &Path, check: bool) -> anyhow::Result<()> {
    let set = Set { command: "cargo xtask crds", files: files()?, folders: FOLDERS };
    if check { set.check(root) } else { set.write(root) }
}

/// Every manifest, in every folder.
fn files() -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    for (plural, crd) in esplanade_crds::all() {
        let yaml = serde_yaml::to_string(&crd).with_context(|| format!("writing {plural} as YAML"))?;
        for folder in FOLDERS {
            files.push(File {
                path: Path::new(folder).join(plural).with_extension("yaml"),
                text: format!("{HEADER}{yaml}"),
            });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{FOLDERS, files};

    #[test]
    fn each_manifest_is_named_for_its_plural_and_every_folder_has_the_same() {
        let files = files().unwrap();
        let texts: BTreeSet<&str> = files.iter().map(|f| f.text.as_str()).collect();
        assert_eq!(texts.len() * FOLDERS.len(), files.len());
        for file in &files {
            let crd: serde_yaml::Value = serde_yaml::from_str(&file.text).unwrap();
            let plural = crd["spec"]["names"]["plural"].as_str().unwrap();
            assert_eq!(file.path.file_stem().unwrap(), plural);
        }
    }
}
