//! Ranges of ports as the kernel can compare them: values under masks.

use std::ops::RangeInclusive;

use esplanade_model::Port;

/// The fewest aligned blocks (a value under a mask of leading ones) that cover exactly the ports of a range. At most
/// 30 of them, for 1 to 65534. None for an empty range.
pub(crate) fn blocks(range: RangeInclusive<u16>) -> Vec<Port> {
    let (mut next, end) = (u32::from(*range.start()), u32::from(*range.end()));
    let mut blocks = Vec::new();
    while next <= end {
        // The largest block that starts here: aligned, and not beyond the end.
        let mut size = if next == 0 { 1 << 16 } else { 1 << next.trailing_zeros() };
        while next + size - 1 > end {
            size /= 2;
        }
        let value = u16::try_from(next).unwrap_or(u16::MAX);
        let mask = !u16::try_from(size - 1).unwrap_or(u16::MAX);
        blocks.push(Port::masked(value, mask));
        next += size;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use esplanade_model::Port;
    use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

    use super::blocks;

    fn holds(port: Port, packet: u16) -> bool {
        (packet ^ port.value()) & port.mask() == 0
    }

    /// How many aligned blocks the ports `from..=to` of `low..low + size` need, by halving.
    fn fewest(low: u32, size: u32, from: u32, to: u32) -> usize {
        if to < low || from >= low + size {
            0
        } else if from <= low && low + size - 1 <= to {
            1
        } else {
            fewest(low, size / 2, from, to) + fewest(low + size / 2, size / 2, from, to)
        }
    }

    #[test]
    fn known_ranges() {
        assert_eq!(blocks(8472..=8472), [Port::exactly(8472)]);
        assert_eq!(blocks(0..=u16::MAX), [Port::ANY]);
        assert_eq!(blocks(80..=81), [Port::masked(80, 0xfffe)]);
        assert_eq!(
            blocks(133..=137),
            [Port::exactly(133), Port::masked(134, 0xfffe), Port::masked(136, 0xfffe)]
        );
        assert_eq!(blocks(1..=65534).len(), 30);
        assert_eq!(blocks(30000..=32767).len(), 5);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))] // each looks at every port
        #[test]
        fn covers_exactly_the_range_without_overlap(a in any::<u16>(), b in any::<u16>()) {
            let (from, to) = (a.min(b), a.max(b));
            let blocks = blocks(from..=to);
            for packet in 0..=u16::MAX {
                let covering = blocks.iter().filter(|block| holds(**block, packet)).count();
                prop_assert_eq!(covering, usize::from((from..=to).contains(&packet)), "port {}", packet);
            }
        }

        #[test]
        fn is_minimal(a in any::<u16>(), b in any::<u16>()) {
            let (from, to) = (a.min(b), a.max(b));
            prop_assert_eq!(blocks(from..=to).len(), fewest(0, 1 << 16, from.into(), to.into()));
        }
    }
}
