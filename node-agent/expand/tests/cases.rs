//! Every case below `fixtures` becomes what its `wanted.txt` says. `BLESS=1` writes that anew.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

mod fixture;
mod print;

#[test]
fn cases() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let wrong: Vec<_> = fixture::folders(&fixtures).iter().filter_map(|folder| differs(folder)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with a case.
fn differs(folder: &Path) -> Option<String> {
    let got = print::expansion(&fixture::case(folder).expansion());
    let path = folder.join("wanted.txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &got).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    (got != wanted).then(|| format!("── {}\nwanted:\n{wanted}\ngot:\n{got}", path.display()))
}
