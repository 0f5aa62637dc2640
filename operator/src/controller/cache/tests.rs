use super::*;

fn seen(name: &str, version: u64, object: u32) -> Seen<u32> {
    Seen { name: name.to_owned(), version: Some(version), object: Ok(object) }
}

fn listed(objects: &[(&str, u64, u32)]) -> Cache<u32> {
    let mut cache = Cache::default();
    list(&mut cache, objects);
    cache
}

fn list(cache: &mut Cache<u32>, objects: &[(&str, u64, u32)]) -> bool {
    assert!(!cache.apply(Event::ListStart));
    for (name, version, object) in objects {
        assert!(!cache.apply(Event::Listed(seen(name, *version, *object))));
    }
    cache.apply(Event::ListEnd)
}

fn all(cache: &Cache<u32>) -> Vec<(&str, u32)> {
    cache.iter().map(|(name, object)| (name, *object)).collect()
}

#[test]
fn nothing_counts_before_the_list_is_complete() {
    let mut cache = Cache::default();
    cache.apply(Event::ListStart);
    cache.apply(Event::Listed(seen("a", 1, 1)));
    assert!(!cache.is_complete());
    assert_eq!(all(&cache), []);
    assert!(cache.apply(Event::ListEnd));
    assert!(cache.is_complete());
    assert_eq!(all(&cache), [("a", 1)]);
}

#[test]
fn an_empty_first_list_is_news_and_the_same_again_is_not() {
    let mut cache = listed(&[]);
    assert!(cache.is_complete());
    assert!(!list(&mut cache, &[]));
    assert!(list(&mut cache, &[("a", 1, 1)]));
    assert!(!list(&mut cache, &[("a", 1, 1)]));
    assert!(list(&mut cache, &[("b", 2, 1)]), "as many, but others");
    assert!(list(&mut cache, &[]));
    assert_eq!(all(&cache), []);
}

#[test]
fn what_the_watch_delivers_late_doesnt_undo_an_answer() {
    let mut cache = listed(&[("a", 1, 1)]);
    assert!(cache.put(seen("a", 5, 5)));
    assert!(!cache.apply(Event::Changed(seen("a", 3, 3))));
    assert_eq!(all(&cache), [("a", 5)]);
    assert!(!list(&mut cache, &[("a", 4, 4)]));
    assert_eq!(all(&cache), [("a", 5)]);
    assert!(!cache.apply(Event::Changed(seen("a", 5, 5))), "the watch caught up");
    assert!(cache.apply(Event::Changed(seen("a", 6, 6))));
}

#[test]
fn a_removal_that_is_older_than_a_new_object_of_the_name_is_passed_over() {
    let mut cache = listed(&[("a", 1, 1)]);
    cache.put(seen("a", 7, 7));
    assert!(!cache.apply(Event::Gone { name: "a".to_owned(), version: Some(6) }));
    assert_eq!(all(&cache), [("a", 7)]);
    assert!(cache.apply(Event::Gone { name: "a".to_owned(), version: Some(8) }));
    assert!(!cache.apply(Event::Gone { name: "a".to_owned(), version: Some(8) }));
    assert_eq!(all(&cache), []);
}

#[test]
fn begun_anew_it_is_what_the_next_list_says_also_where_that_is_older() {
    let mut cache = listed(&[("a", 5, 5), ("b", 5, 5)]);
    cache.begin_anew();
    assert_eq!((cache.is_complete(), cache.newest()), (false, None));
    // What the one before was told stays to compare with.
    assert_eq!(cache.get("a"), Some(&5));
    assert!(list(&mut cache, &[("a", 4, 4)]));
    assert_eq!((all(&cache), cache.is_complete()), (vec![("a", 4)], true));
}

#[test]
fn a_change_that_changes_nothing_is_no_news() {
    let mut cache = listed(&[("a", 1, 1)]);
    assert!(!cache.apply(Event::Changed(seen("a", 2, 1))));
    assert!(cache.apply(Event::Changed(seen("a", 3, 2))));
}

#[test]
fn an_object_that_cant_be_read_hides_no_other() {
    let mut cache = listed(&[("a", 1, 1), ("b", 1, 1)]);
    let error = Unreadable { uid: "u".to_owned(), generation: Some(2), error: "unknown variant".to_owned() };
    let bad = Seen { name: "a".to_owned(), version: Some(2), object: Err(error.clone()) };
    assert!(cache.apply(Event::Changed(bad)));
    assert_eq!(all(&cache), [("b", 1)]);
    assert_eq!(cache.unreadable().collect::<Vec<_>>(), [("a", &error)]);
    assert!(cache.contains("a"));
    assert!(cache.apply(Event::Changed(seen("a", 3, 3))), "mended");
    assert_eq!(all(&cache), [("a", 3), ("b", 1)]);
}

#[test]
fn the_newest_version_is_that_of_any_object_also_an_unreadable_one() {
    let mut cache = listed(&[("a", 5, 1), ("b", 3, 1)]);
    assert_eq!(cache.newest(), Some(5));
    let error = Unreadable { uid: "u".to_owned(), generation: None, error: "?".to_owned() };
    cache.apply(Event::Changed(Seen { name: "b".to_owned(), version: Some(9), object: Err(error) }));
    assert_eq!((cache.newest(), Cache::<u32>::default().newest()), (Some(9), None));
}
