//! What objects name, looked up in the cluster.

mod ends;
mod keys;
mod ppk;
mod sas;

pub(crate) use ends::{Ends, ends};
pub(crate) use keys::{KeyState, Keys, keys};
pub(crate) use ppk::{Ppk, ppk};
pub(crate) use sas::{Accepted, Sa, Sas};
