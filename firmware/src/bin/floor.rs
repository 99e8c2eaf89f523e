//! What any protocol on such a device has, and this image's own frame: the hash, and the AEAD where the image `client` has one.
//! Those images are measured against it.
#![no_std]
#![no_main]

#[cfg(feature = "dske")]
extern crate alloc;

use core::hint::black_box;

use cortex_m_rt::entry;
use skex_core::Suite;
use skex_firmware::{fail, print, succeed};

#[entry]
fn main() -> ! {
    let Some(suite) = Suite::all().next() else { fail() };
    let message = black_box([7; 64]);
    print("hash_octets", black_box(suite.hash().chain(&message).finish()).len());
    #[cfg(feature = "dske")]
    if !opens_what_it_sealed(suite) {
        fail();
    }
    succeed()
}

#[cfg(feature = "dske")]
fn opens_what_it_sealed(suite: Suite) -> bool {
    use alloc::boxed::Box;

    use skex_core::{NONCE_LEN, SecretBytes};

    // The client's allocator is the device's, not the protocol's.
    skex_firmware::heap::start();
    drop(black_box(Box::new(7)));
    let key = SecretBytes::from_fn(|key| key.fill(black_box(7)));
    let mut message = black_box([7; 64]);
    let sealed = suite.seal(&key, &[0; NONCE_LEN], b"", &mut message);
    let opened = sealed.and_then(|tag| suite.open(&key, &[0; NONCE_LEN], b"", &mut message, &tag));
    opened.is_ok() && message == [7; 64]
}
