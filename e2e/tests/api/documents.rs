//! The objects that documents and examples show.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const API: &str = "apiVersion: esplanade.dev/";
/// Says nothing of its kind where its neighbour says it.
const HEAD: &str = "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {name: shown-in-part}\n";

/// What a file shows: manifests in YAML, each with a line to find it by.
pub(crate) struct Shown {
    pub(crate) place: String,
    pub(crate) manifest: String,
}

/// All that the project's documents and examples show.
///
/// # Errors
/// A file can't be read, or one of those that users begin with shows none.
pub(crate) fn read() -> Result<Vec<Shown>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut shown = Vec::new();
    for file in ["README.md", "charts/esplanade/README.md", "charts/esplanade/templates/NOTES.txt"] {
        let of_file = of(&root, &root.join(file))?;
        ensure!(!of_file.is_empty(), "{file} shows no object");
        shown.extend(of_file);
    }
    for folder in ["docs", "examples"] {
        for file in with_extension("md", &root.join(folder))? {
            shown.extend(of(&root, &file)?);
        }
    }
    for file in with_extension("yaml", &root.join("examples"))? {
        let manifest = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        shown.push(Shown { place: file.display().to_string(), manifest });
    }
    Ok(shown)
}

fn with_extension(extension: &str, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(with_extension(extension, &path)?);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    Ok(found)
}

fn of(root: &Path, file: &Path) -> Result<Vec<Shown>> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let name = file.strip_prefix(root).unwrap_or(file).display();
    let all = blocks(&text).into_iter().filter_map(|(line, block)| {
        let manifest = if block.contains(API) {
            block
        } else if block.starts_with("spec:") {
            format!("{HEAD}{block}")
        } else {
            return None;
        };
        Some(Shown { place: format!("{name}:{line}"), manifest })
    });
    Ok(all.collect())
}

/// Blocks of YAML behind fences, indented ones that begin with an object, and what goes to kubectl's standard input; with the
/// line before.
fn blocks(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut inside: Option<&str> = None;
    for (at, line) in text.lines().enumerate() {
        match inside {
            Some("") if line.starts_with("    ") => push(&mut found, line),
            Some(end) if line.trim() == end => inside = None,
            Some(_) => push(&mut found, line),
            None => {
                inside = match line {
                    "```yaml" => Some("```"),
                    line if line.ends_with("<<'MANIFEST'") => Some("MANIFEST"),
                    line if line.starts_with("    {apiVersion:") => Some(""),
                    _ => None,
                };
                if inside.is_some() {
                    found.push((at + 1, String::new()));
                }
                if inside == Some("") {
                    push(&mut found, line);
                }
            }
        }
    }
    found
}

fn push(found: &mut [(usize, String)], line: &str) {
    if let Some((_, block)) = found.last_mut() {
        block.push_str(line);
        block.push('\n');
    }
}
