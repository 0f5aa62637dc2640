use esplanade_model::{Action, Direction, Policy, Selector, Threshold, Thresholds};

use super::{Lengths, MANY, Setting, setting};

const OWN: Threshold = Threshold { local: 32, remote: 32 };

fn pair(local: u8, remote: u8) -> Threshold {
    Threshold { local, remote }
}

fn v4(threshold: Threshold) -> Thresholds {
    Thresholds { v4: threshold, ..Thresholds::default() }
}

/// So many policies, of all directions in turn, whose local and remote networks have these lengths.
fn policies(count: usize, local: u8, remote: u8) -> Vec<Policy> {
    let one = |number: usize| {
        let direction = [Direction::In, Direction::Out, Direction::Forward][number % 3];
        let local = format!("10.0.0.0/{local}").parse().unwrap();
        let remote = format!("10.{}.{}.0/{remote}", 64 + number / 256 % 64, number % 256).parse().unwrap();
        let selector = match direction {
            Direction::Out => Selector::new(local, remote),
            _ => Selector::new(remote, local),
        };
        Policy::new(direction, selector.unwrap(), 1, Action::Allow)
    };
    (0..count).map(one).collect()
}

fn lengths(groups: &[(usize, u8, u8)]) -> Lengths {
    let all: Vec<_> =
        groups.iter().flat_map(|(count, local, remote)| policies(*count, *local, *remote)).collect();
    Lengths::of(&all)
}

/// What a kernel of which nobody has asked anything is told.
fn fresh(groups: &[(usize, u8, u8)]) -> Setting {
    setting(&lengths(groups), Thresholds::default(), None)
}

#[test]
fn the_commonest_pair_is_chosen_whatever_the_direction() {
    assert_eq!(fresh(&[(1000, 24, 26)]), Setting::Change(v4(pair(24, 26))));
    // Not the least: hosts would become a list.
    assert_eq!(fresh(&[(300, 16, 16), (1000, 24, 24), (200, 32, 32)]), Setting::Change(v4(pair(24, 24))));
    assert_eq!(fresh(&[(1000, 24, 24), (600, 32, 32)]), Setting::Right, "hosts are half as many");
}

#[test]
fn few_policies_are_no_reason() {
    assert_eq!(fresh(&[(MANY - 1, 24, 24)]), Setting::Right);
    assert_eq!(fresh(&[(MANY, 24, 24)]), Setting::Change(v4(pair(24, 24))));
}

#[test]
fn of_pairs_as_common_the_longest_is_chosen() {
    let there = v4(pair(20, 20));
    let both = lengths(&[(500, 24, 24), (500, 28, 28)]);
    assert_eq!(setting(&both, there, Some(there)), Setting::Change(v4(pair(28, 28))));
}

#[test]
fn everything_is_never_hashed_as_one() {
    assert_eq!(fresh(&[(1000, 0, 0)]), Setting::Right);
    assert_eq!(fresh(&[(1000, 0, 0), (10, 24, 24)]), Setting::Change(v4(pair(24, 24))));
}

#[test]
fn what_is_there_stays_while_it_fits_half_as_many() {
    let there = v4(pair(24, 24));
    let set = |groups| setting(&lengths(groups), there, Some(there));
    assert_eq!(set(&[(500, 24, 24), (1000, 26, 26)]), Setting::Right);
    assert_eq!(set(&[(499, 24, 24), (1000, 26, 26)]), Setting::Change(v4(pair(26, 26))));
    assert_eq!(set(&[(3, 24, 24)]), Setting::Right);
    assert_eq!(set(&[]), Setting::Change(v4(OWN)), "what is of no use any more goes");
}

#[test]
fn what_somebody_else_set_is_left_alone() {
    let theirs = v4(pair(16, 16));
    assert_eq!(setting(&lengths(&[(1000, 24, 24)]), theirs, None), Setting::Foreign);
    assert_eq!(setting(&lengths(&[(1000, 24, 24)]), theirs, Some(v4(pair(24, 24)))), Setting::Foreign);
    assert_eq!(setting(&lengths(&[(1000, 16, 16)]), theirs, None), Setting::Right, "it is what we would set");
    // The other family isn't theirs.
    let six = |number: usize| {
        let net = |text: String| text.parse().unwrap();
        let selector =
            Selector::new(net("fd00::/64".into()), net(format!("fd00:0:{number:x}::/64"))).unwrap();
        Policy::new(Direction::Out, selector, 1, Action::Allow)
    };
    let mut both = policies(1000, 24, 24);
    both.extend((1..=MANY).map(six));
    let next = Thresholds { v4: theirs.v4, v6: pair(64, 48) };
    assert_ne!(setting(&Lengths::of(&both), theirs, None), Setting::Change(next));
    let next = Thresholds { v4: theirs.v4, v6: pair(64, 64) };
    assert_eq!(setting(&Lengths::of(&both), theirs, None), Setting::Change(next));
}
