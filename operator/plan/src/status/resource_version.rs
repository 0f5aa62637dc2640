//! Resource versions of one kind of object.

use std::cmp::Ordering;

/// Everything up to `version` is covered by `through`. Versions are decimal numbers of any length
/// (Kubernetes' `resourceversion.CompareResourceVersion`); whatever else is written isn't covered and covers
/// nothing.
pub(crate) fn covers(through: &str, version: &str) -> bool {
    well_formed(through) && well_formed(version) && compare(through, version) != Ordering::Less
}

/// The newest of them; none if there are none, or if one of them is no version.
pub(super) fn newest<'a>(versions: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    versions.into_iter().try_fold(None, |newest, version| {
        let newer = newest.is_none_or(|newest| compare(version, newest) == Ordering::Greater);
        well_formed(version).then_some(if newer { Some(version) } else { newest })
    })?
}

fn well_formed(version: &str) -> bool {
    !version.is_empty() && !version.starts_with('0') && version.bytes().all(|byte| byte.is_ascii_digit())
}

fn compare(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::{covers, newest};

    #[test]
    fn numbers_are_compared_as_numbers() {
        assert!(covers("10", "9"));
        assert!(covers("10", "10"));
        assert!(!covers("9", "10"));
        assert!(covers("100000000000000000000000", "99999999999999999999999"));
    }

    #[test]
    fn what_is_no_version_covers_nothing_and_is_not_covered() {
        for bad in ["", "0", "01", "1a", "-1", "+1", " 1", "1.0"] {
            assert!(!covers(bad, "1"), "{bad:?}");
            assert!(!covers("9", bad), "{bad:?}");
        }
    }

    #[test]
    fn one_that_is_no_version_has_no_newest() {
        assert_eq!(newest(["9", "10", "2"]), Some("10"));
        assert_eq!(newest([]), None);
        assert_eq!(newest(["9", "x", "2"]), None);
        assert_eq!(newest(["x"]), None);
    }
}
