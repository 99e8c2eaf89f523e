//! The skex program.
fn main() {}
