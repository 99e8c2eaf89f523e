//! Writes the files of skex-testvectors.
fn main() {}
