//! Files that are checked in and made by a command: written, or compared with what the command would write.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// One generated file.
pub(crate) struct File {
    /// Where it belongs, relative to the workspace.
    pub(crate) path: PathBuf,
    /// All of it.
    pub(crate) text: String,
}

/// A set of files that one command makes.
pub(crate) struct Set<'a> {
    /// The command that writes them.
    pub(crate) command: &'a str,
    /// The files.
    pub(crate) files: Vec<File>,
    /// Folders, relative to the workspace, in which every YAML file is one of them.
    pub(crate) folders: &'a [&'a str],
}

impl Set<'_> {
    /// Write the files that differ, and remove those that are no longer made.
    pub(crate) fn write(&self, root: &Path) -> anyhow::Result<()> {
        let mut changed = 0;
        for file in &self.files {
            let path = root.join(&file.path);
            if std::fs::read_to_string(&path).ok().as_ref() == Some(&file.text) {
                continue;
            }
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
            }
            std::fs::write(&path, &file.text).with_context(|| format!("writing {}", path.display()))?;
            println!("wrote {}", file.path.display());
            changed += 1;
        }
        for path in self.strays(root)? {
            std::fs::remove_file(root.join(&path)).with_context(|| format!("removing {}", path.display()))?;
            println!("removed {}", path.display());
            changed += 1;
        }
        if changed == 0 {
            println!("{}: nothing changed ({} generated)", self.command, self.files.len());
        }
        Ok(())
    }

    /// Fail when a file is not what [`Set::write`] would leave; the error names each file and its first difference.
    pub(crate) fn check(&self, root: &Path) -> anyhow::Result<()> {
        let mut stale = Vec::new();
        for file in &self.files {
            let path = root.join(&file.path);
            let present = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    stale.push(format!("{} is missing", file.path.display()));
                    continue;
                }
                Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
            };
            if let Some(line) = first_difference(&present, &file.text) {
                stale.push(format!("{} differs from line {line} on", file.path.display()));
            }
        }
        stale.extend(self.strays(root)?.iter().map(|path| format!("{} is no longer made", path.display())));
        if !stale.is_empty() {
            bail!("generated files are out of date; run `{}`:\n  {}", self.command, stale.join("\n  "));
        }
        println!("{} --check: up to date ({} generated)", self.command, self.files.len());
        Ok(())
    }

    /// YAML files in the set's folders that the command doesn't make, relative to `root`, sorted.
    fn strays(&self, root: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
        let mut strays = BTreeSet::new();
        for folder in self.folders {
            let entries = match std::fs::read_dir(root.join(folder)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| format!("reading {folder}")),
            };
            for entry in entries {
                let path = Path::new(folder).join(entry?.file_name());
                let is_yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
                if is_yaml && !self.files.iter().any(|f| f.path == path) {
                    strays.insert(path);
                }
            }
        }
        Ok(strays)
    }
}

/// The first line, from 1, at which two texts differ.
fn first_difference(present: &str, wanted: &str) -> Option<usize> {
    if present == wanted {
        return None;
    }
    let common = present.split('\n').zip(wanted.split('\n')).take_while(|(a, b)| a == b).count();
    Some(common + 1)
}

#[cfg(test)]
mod tests {
    use super::{File, Set, first_difference};

    fn set(text: &str) -> Set<'static> {
        let files = vec![File { path: "out/a.yaml".into(), text: text.into() }];
        Set { command: "cargo xtask things", files, folders: &["out"] }
    }

    #[test]
    fn what_was_written_passes_the_check() {
        let root = tempfile::tempdir().unwrap();
        set("a: 1\n").write(root.path()).unwrap();
        set("a: 1\n").check(root.path()).unwrap();
    }

    #[test]
    fn a_difference_names_the_file_the_line_and_the_command() {
        let root = tempfile::tempdir().unwrap();
        set("a: 1\nb: 1\n").write(root.path()).unwrap();
        let error = set("a: 1\nb: 2\n").check(root.path()).unwrap_err().to_string();
        assert!(error.contains("run `cargo xtask things`"), "{error}");
        assert!(error.contains("out/a.yaml differs from line 2 on"), "{error}");
    }

    #[test]
    fn a_missing_file_is_a_difference() {
        let root = tempfile::tempdir().unwrap();
        let error = set("a: 1\n").check(root.path()).unwrap_err().to_string();
        assert!(error.contains("out/a.yaml is missing"), "{error}");
    }

    #[test]
    fn a_file_no_longer_made_is_found_and_removed() {
        let root = tempfile::tempdir().unwrap();
        set("a: 1\n").write(root.path()).unwrap();
        std::fs::write(root.path().join("out/old.yaml"), "").unwrap();
        let error = set("a: 1\n").check(root.path()).unwrap_err().to_string();
        assert!(error.contains("out/old.yaml is no longer made"), "{error}");
        set("a: 1\n").write(root.path()).unwrap();
        set("a: 1\n").check(root.path()).unwrap();
        assert!(!root.path().join("out/old.yaml").exists());
    }

    #[test]
    fn differences_are_found_where_they_are() {
        assert_eq!(first_difference("a\n", "a\n"), None);
        assert_eq!(first_difference("", "a\n"), Some(1));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some(2));
        assert_eq!(first_difference("a", "a\n"), Some(2));
    }
}
