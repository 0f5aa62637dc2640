//! Maps in no order. What they hash is made of addresses and numbers, by people who may write to the kernel anyway: speed
//! counts, and so does that two runs are alike.

use std::collections::{HashMap, HashSet};

use foldhash::fast::FixedState;

pub(crate) type Map<K, V> = HashMap<K, V, FixedState>;
pub(crate) type Set<K> = HashSet<K, FixedState>;
