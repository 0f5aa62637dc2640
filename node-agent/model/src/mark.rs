//! Marks of packets (`xfrm_mark`).

/// Some bits of a packet's mark (`skb->mark`): `value` where `mask` has ones. Normal form: no value outside the mask, which
/// no packet could have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mark {
    value: u32,
    mask: u32,
}

impl Mark {
    /// No bits: every packet has it.
    pub const NONE: Self = Self { value: 0, mask: 0 };

    /// These bits of the value.
    pub fn masked(value: u32, mask: u32) -> Self {
        Self { value: value & mask, mask }
    }

    /// The value; zero where the mask is.
    pub fn value(self) -> u32 {
        self.value
    }

    /// The bits that count.
    pub fn mask(self) -> u32 {
        self.mask
    }

    /// There are packets that have both.
    pub fn overlaps(self, other: Self) -> bool {
        (self.value ^ other.value) & self.mask & other.mask == 0
    }

    /// Every packet that has the other has this one.
    pub fn covers(self, other: Self) -> bool {
        self.overlaps(other) && self.mask & !other.mask == 0
    }

    /// What is marked like this, and not otherwise, has the other mark too: an SA with the other one can carry it
    /// (`xfrm_state_find`), and is found by it (`__xfrm_state_lookup`).
    pub fn implies(self, other: Self) -> bool {
        self.value & other.mask == other.value
    }
}

#[cfg(test)]
mod tests {
    use super::Mark;

    #[test]
    fn one_mark_has_another_or_not() {
        let seven = Mark::masked(7, 0xff);
        for (mark, other, expected) in [
            (seven, seven, true),
            (seven, Mark::NONE, true),
            (Mark::NONE, seven, false),
            (Mark::NONE, Mark::masked(0, 0xff), true),
            (seven, Mark::masked(0x17, 0xff), false),
            (Mark::masked(0x17, 0xff), Mark::masked(7, 0xf), true),
            // Bits that the one doesn't say are taken for zero.
            (Mark::masked(7, 0xf), Mark::masked(0x17, 0xff), false),
        ] {
            assert_eq!(mark.implies(other), expected, "{mark:?} {other:?}");
        }
        assert_eq!(Mark::masked(0x107, 0xff), seven);
    }
}
