//! Typed model of SAs and policies, in the terms of RFC 4301.
