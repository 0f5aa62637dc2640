//! The table: one file for each kind and topic in `cases/`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

/// A kind of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum Kind {
    IpsecPolicy,
    IpsecSA,
    IpsecNodeState,
    IpsecPeer,
}

impl Kind {
    /// Its name in paths.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::IpsecPolicy => "ipsecpolicies",
            Self::IpsecSA => "ipsecsas",
            Self::IpsecNodeState => "ipsecnodestates",
            Self::IpsecPeer => "ipsecpeers",
        }
    }
}

/// A file of the table.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) cases: Vec<Case>,
}

/// What is in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    kind: Kind,
    /// Only for YAML's anchors.
    #[serde(default, rename = "shared")]
    _shared: Vec<serde::de::IgnoredAny>,
    cases: Vec<Raw>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    before: Option<Value>,
    spec: Option<Value>,
    status: Option<Value>,
    #[serde(default)]
    valid: bool,
    defaults: Option<Value>,
    stored: Option<Value>,
    error: Option<Errors>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Errors {
    One(String),
    Several(Vec<String>),
}

/// An object and what should become of it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// The spec of the object that is there, when the case is a change.
    pub(crate) before: Option<Value>,
    pub(crate) spec: Option<Value>,
    /// When the case is a change of the status.
    pub(crate) status: Option<Value>,
    pub(crate) expected: Expected,
}

/// What should become of an object. What is compared is the status where the case has one, else the spec.
#[derive(Debug)]
pub(crate) enum Expected {
    /// Everything written is kept; defaults may be added.
    Kept,
    /// Everything written is kept, and exactly these defaults are added.
    Defaulted(Value),
    /// Exactly this is stored.
    Stored(Value),
    /// It is refused with these messages, in any order: the API server has none.
    Refused(Vec<String>),
}

/// Reads all files.
pub(crate) fn read() -> Result<Vec<File>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/cases");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.context("reading the table")?.path();
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push(parse(&name, &text).with_context(|| name.clone())?);
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let kinds: BTreeSet<Kind> = files.iter().map(|file| file.kind).collect();
    ensure!(kinds.len() == 4, "the table has only {kinds:?}");
    Ok(files)
}

/// Reads a file's text.
pub(crate) fn parse(name: &str, text: &str) -> Result<File> {
    let mut yaml: serde_yaml::Value = serde_yaml::from_str(text)?;
    yaml.apply_merge().context("merging")?;
    let contents: Contents = serde_yaml::from_value(yaml)?;
    let mut names = BTreeSet::new();
    let mut cases = Vec::new();
    for raw in contents.cases {
        ensure!(names.insert(raw.name.clone()), "there are two cases called {:?}", raw.name);
        let name = raw.name.clone();
        cases.push(raw.check().with_context(|| name)?);
    }
    Ok(File { name: name.to_owned(), kind: contents.kind, cases })
}

impl Raw {
    fn check(self) -> Result<Case> {
        let expected = match (self.valid, self.defaults, self.stored, self.error) {
            (true, None, None, None) => Expected::Kept,
            (true, Some(defaults), None, None) => Expected::Defaulted(defaults),
            (true, None, Some(stored), None) => Expected::Stored(stored),
            (false, None, None, Some(Errors::One(error))) => Expected::Refused(vec![error]),
            (false, None, None, Some(Errors::Several(errors))) => Expected::Refused(errors),
            _ => anyhow::bail!("write either valid: true, with at most one of defaults and stored, or error"),
        };
        ensure!(self.before.is_none() || self.status.is_none(), "write only one of before and status");
        Ok(Case { name: self.name, before: self.before, spec: self.spec, status: self.status, expected })
    }
}
