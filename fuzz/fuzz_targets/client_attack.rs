//! Clients, and the keys that they make through honest hubs, under a hub that means ill: its messages are correctly sealed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skex_fuzz::dske::{Hostile, play};

fuzz_target!(|octets: &[u8]| play(octets, Hostile::Hub));
