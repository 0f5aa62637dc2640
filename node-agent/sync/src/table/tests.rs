use esplanade_model::Glance;

use super::{Seen, Table};

fn glance(print: u64) -> Glance {
    Glance { print, counters: 0 }
}

/// Reads records (name, print) and returns the names that weren't recognised, and those that are gone.
fn read(table: &mut Table<u32, u64>, records: &[(u32, u64)]) -> (Vec<u32>, Vec<u32>) {
    let mut decoded = Vec::new();
    table.begin();
    for (name, print) in records {
        if let Seen::Unknown = table.glance(glance(*print)) {
            decoded.push(*name);
            table.put(Some(*name), glance(*print), *print);
        }
    }
    let gone = table.end().into_iter().filter_map(|(name, _)| name).collect();
    assert_eq!(table.len(), records.len());
    for (name, print) in records {
        assert_eq!(table.get(name), Some(print));
    }
    (decoded, gone)
}

fn numbered(count: u32) -> Vec<(u32, u64)> {
    (0..count).map(|number| (number, u64::from(number) + 1000)).collect()
}

#[test]
fn what_was_read_is_recognised() {
    let mut table = Table::default();
    let records = numbered(100);
    assert_eq!(read(&mut table, &records).0.len(), 100);
    for _ in 0..2 {
        assert_eq!(read(&mut table, &records), (vec![], vec![]));
    }
}

/// The kernel shows the newest first. What is behind a new one is recognised.
#[test]
fn little_is_decoded_where_little_changed() {
    let mut table = Table::default();
    let mut records = numbered(100);
    read(&mut table, &records);
    records.insert(0, (500, 1));
    assert_eq!(read(&mut table, &records), (vec![500], vec![]));
    records.remove(50);
    assert_eq!(read(&mut table, &records), (vec![], vec![49]));
    let moved = records.remove(70);
    records.insert(0, moved);
    // And the next one, until it is clear that only one has moved.
    assert_eq!(read(&mut table, &records), (vec![moved.0, 500], vec![]));
    records[30].1 = 7;
    assert_eq!(read(&mut table, &records), (vec![records[30].0], vec![]));
    // Many gone at once: the next one is decoded, and then it goes on.
    let gone: Vec<_> = records.drain(10..40).map(|(name, _)| name).collect();
    let (decoded, mut went) = read(&mut table, &records);
    went.sort_unstable();
    let mut expected = gone;
    expected.sort_unstable();
    assert_eq!((decoded, went), (vec![records[10].0], expected));
    // The other way round all is decoded, once.
    records.reverse();
    assert!(read(&mut table, &records).0.len() > 50);
    assert_eq!(read(&mut table, &records), (vec![], vec![]));
    assert_eq!(read(&mut table, &[]).1.len(), records.len());
}

#[test]
fn what_is_in_doubt_is_not_recognised() {
    let mut table = Table::default();
    let records = numbered(10);
    read(&mut table, &records);
    table.doubt(&3);
    table.doubt(&77);
    assert_eq!(read(&mut table, &records), (vec![3], vec![]));
}

#[test]
fn counters_are_told_apart() {
    let mut table = Table::default();
    table.begin();
    table.put(Some(1), glance(9), 0);
    table.end();
    let counted = Glance { print: 9, counters: 5 };
    for expected in [true, false] {
        table.begin();
        let seen = table.glance(counted);
        assert_eq!(matches!(seen, Seen::Counted(Some(1), _)), expected);
        assert_eq!(matches!(seen, Seen::Same(0)), !expected);
        assert!(table.end().is_empty());
    }
}

#[test]
fn a_reading_that_began_again_counts_from_there() {
    let mut table = Table::default();
    let records = numbered(3);
    read(&mut table, &records);
    table.begin();
    table.glance(glance(1000));
    assert_eq!(read(&mut table, &records), (vec![], vec![]));
    table.begin();
    table.put(Some(9), glance(9), 9);
    // It was there a moment ago, and is gone.
    assert_eq!(read(&mut table, &records), (vec![], vec![9]));
}

#[test]
fn the_nameless_are_kept_until_they_are_gone() {
    let mut table: Table<u32, ()> = Table::default();
    for (records, unknown) in [(&[5, 6][..], 2), (&[5, 6], 0), (&[6, 7], 1), (&[], 0)] {
        table.begin();
        let mut decoded = 0;
        for print in records {
            if let Seen::Unknown = table.glance(glance(*print)) {
                decoded += 1;
                table.put(None, glance(*print), ());
            }
        }
        table.end();
        assert_eq!((decoded, table.len()), (unknown, records.len()));
    }
}

#[test]
fn single_ones_come_and_go_between_readings() {
    let mut table = Table::default();
    read(&mut table, &numbered(5));
    assert_eq!(table.put(Some(2), glance(1), 1), Some(1002));
    assert_eq!(table.remove(&3), Some(1003));
    assert_eq!(table.remove(&3), None);
    assert_eq!(table.put(Some(8), glance(8), 8), None);
    assert_eq!(table.len(), 5);
    let now = [(8, 8), (0, 1000), (1, 1001), (2, 1), (4, 1004)];
    // The new one has no place yet.
    assert_eq!(read(&mut table, &now), (vec![8], vec![]));
}
