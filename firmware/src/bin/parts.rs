//! What no peer can do without, and no rule. Built for its size, so that one sees how much of a peer is rules and state.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use skex_core::Suite;
use skex_firmware::parts::use_parts_of_peer;
use skex_firmware::{fail, print, succeed};

#[entry]
fn main() -> ! {
    let Some(suite) = Suite::all().next() else { fail() };
    let used = use_parts_of_peer(suite);
    print("parts_of_peer", usize::from(used));
    if !used {
        fail();
    }
    succeed()
}
