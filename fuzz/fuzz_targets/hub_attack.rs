//! Hubs, and the clients beside it, under a client that is enrolled and means ill: its messages are correctly sealed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skex_fuzz::dske::{Hostile, play};

fuzz_target!(|octets: &[u8]| play(octets, Hostile::Client));
