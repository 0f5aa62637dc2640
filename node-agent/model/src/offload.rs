//! Work for network devices.

use crate::SaDirection;

/// A network device encrypts and decrypts an SA's packets (`XFRMA_OFFLOAD_DEV`, `XFRM_DEV_OFFLOAD_CRYPTO`). A kernel whose
/// device doesn't take an SA does the work itself, and shows no device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offload {
    /// Its index.
    pub device: u32,
    /// Which way the SA goes.
    pub way: SaDirection,
}
