//! The indexes of policies that are in our range, whoever has them.

use std::collections::HashMap;

use esplanade_model::PolicyIndex;
use foldhash::fast::FixedState;

/// For a moment two may have the same: one that is gone, which wasn't read yet, and one that came.
#[derive(Debug, Default)]
pub(crate) struct Indexes(HashMap<u32, u32, FixedState>);

impl Indexes {
    pub(crate) fn add(&mut self, index: u32) {
        if PolicyIndex::owned(index).is_some() {
            *self.0.entry(index).or_default() += 1;
        }
    }

    pub(crate) fn remove(&mut self, index: u32) {
        if let Some(count) = self.0.get_mut(&index) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&index);
            }
        }
    }

    pub(crate) fn has(&self, index: u32) -> bool {
        self.0.contains_key(&index)
    }
}
