//! Two peers under a script: the same keys at both ends, each once, one session an epoch, and alive once the adversary stops.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| skex_fuzz::unmediated::play_pair(octets));
