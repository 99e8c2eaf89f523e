//! What a device links that speaks the unmediated protocol: one peer. Built for its size; the image `pair` runs two of them.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use skex_firmware::posing::pose_as_peer;
use skex_firmware::random::Repeatable;
use skex_firmware::{fail, print, succeed};

#[entry]
fn main() -> ! {
    let restored = pose_as_peer(&mut Repeatable::new(2));
    print("peer_restored", usize::from(restored));
    if !restored {
        fail();
    }
    succeed()
}
