//! Keys that were opened before aren't opened again, and nothing else comes of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

#[allow(dead_code)] // The cases use the rest.
mod fixture;

use esplanade_expand::{OpenedKeys, expand, expand_again};

#[test]
fn what_is_known_is_not_opened_again() {
    let (pair, mut keys) = (fixture::pair(), 0);
    for folder in fixture::folders(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")) {
        let fixture::Case { node, mut spec, peers, kernel, mappings: _ } = fixture::case(&folder);
        let whole = expand(&node, &spec, &peers, Some(&pair), &kernel);
        let mut opened = OpenedKeys::default();
        let mut again = |spec: &_| {
            let expansion = expand_again(&node, spec, &peers, Some(&pair), &kernel, &mut opened);
            (expansion, opened.fresh(), opened.len())
        };
        let (first, fresh, known) = again(&spec);
        assert_eq!((&first, fresh), (&whole, known), "{}", folder.display());
        keys += known;
        assert_eq!(again(&spec), (whole.clone(), 0, known), "{}", folder.display());

        // A key under another name, for another use or sealed anew is another one: opened, or refused, as if for the
        // first time.
        let swap = |spec: &mut esplanade_crds::IpsecNodeStateSpec| {
            for sa in &mut spec.security_associations {
                sa.name.push_str("-of-another-name");
            }
        };
        swap(&mut spec);
        let changed = expand(&node, &spec, &peers, Some(&pair), &kernel);
        let (expansion, _, known) = again(&spec);
        assert_eq!(expansion, changed, "{}", folder.display());
        assert_eq!(known, 0, "keys of before are gone: {}", folder.display());
    }
    assert!(keys > 10, "{keys}");
}
