//! Sealing of manual keys to one node (HPKE, RFC 9180).
