//! kubectl plugin of Esplanade.
fn main() {}
