//! The files of a crate, found as the compiler finds them: from `lib.rs` along its `mod` items. Modules for tests
//! only are left out, with the files they are in.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::source::{self, Violation};

/// One file of a crate and what is impure in it.
#[derive(Debug)]
pub(super) struct File {
    /// Where it is.
    pub(super) path: PathBuf,
    /// What was found in it.
    pub(super) violations: Vec<Violation>,
}

/// Read `lib` and every file it reaches.
pub(super) fn files(lib: &Path) -> anyhow::Result<Vec<File>> {
    let mut pending = vec![lib.to_path_buf()];
    let mut files = Vec::new();
    while let Some(path) = pending.pop() {
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let seen = source::read(&text).with_context(|| format!("parsing {}", path.display()))?;
        for module in &seen.modules {
            pending.push(file_of(&path, module)?);
        }
        files.push(File { path, violations: seen.violations });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The file of `module`, a path of names relative to the module that `parent` holds.
fn file_of(parent: &Path, module: &[String]) -> anyhow::Result<PathBuf> {
    let is_root = parent.file_name().is_some_and(|name| name == "lib.rs" || name == "mod.rs");
    let folder = if is_root { parent.with_file_name("") } else { parent.with_extension("") };
    let below: PathBuf = module.iter().collect();
    let candidates = [folder.join(&below).with_extension("rs"), folder.join(&below).join("mod.rs")];
    let found = candidates.iter().find(|c| c.is_file()).cloned();
    let Some(found) = found else {
        bail!(
            "{}: no file for `mod {}`: a pure crate's modules have plain files",
            parent.display(),
            module.join("::")
        );
    };
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::files;

    fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn impure(root: &Path) -> Vec<String> {
        files(&root.join("lib.rs"))
            .unwrap()
            .iter()
            .filter(|f| !f.violations.is_empty())
            .map(|f| f.path.strip_prefix(root).unwrap().display().to_string())
            .collect()
    }

    #[test]
    fn modules_are_followed_and_those_of_tests_are_not() {
        let folder = written(&[
            ("lib.rs", "mod a; mod b { mod c; } #[cfg(test)] mod tests;"),
            ("a.rs", "mod deep; #[cfg(test)] mod tests;"),
            ("a/deep.rs", "use std::fs;"),
            ("a/tests.rs", "use std::fs;"),
            ("b/c/mod.rs", "mod d;"),
            ("b/c/d.rs", "use std::fs;"),
            ("tests.rs", "use std::fs;"),
        ]);
        assert_eq!(impure(folder.path()), ["a/deep.rs", "b/c/d.rs"]);
    }

    #[test]
    fn a_module_without_its_file_is_an_error() {
        let folder = written(&[("lib.rs", "#[path = \"elsewhere.rs\"] mod a;"), ("elsewhere.rs", "")]);
        let error = files(&folder.path().join("lib.rs")).unwrap_err();
        assert!(error.to_string().contains("no file for `mod a`"), "{error}");
    }
}
