//! Pure expansion: node state, peers and keys to the SAs and policies wanted.
