//! Two tables of peers under a script, with cookies after the fifth first message: every lane lives once the adversary stops.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| skex_fuzz::unmediated::play_table(octets));
