//! Honest clients and hubs over a network that is the adversary's, with crashes and slow disks, under a script.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skex_fuzz::dske::{Hostile, play};

fuzz_target!(|octets: &[u8]| play(octets, Hostile::Nobody));
