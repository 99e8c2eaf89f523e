//! Reads the memory that secrets were in after they are dropped.
//!
//! This shows what one build leaves behind, for the value itself; it is no proof about copies elsewhere.
#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use core::mem::MaybeUninit;

use skex_core::{HashSecret, KeyBytes, SecretBytes, Suite, secret_type};

const KNOWN: [u8; 32] = [0xd7; 32];

secret_type! {
    /// A role.
    struct Role(SecretBytes<32>);
}

/// The octets of `value`'s slot before and after it is dropped in place.
fn around_drop<T>(value: T) -> (Vec<u8>, Vec<u8>) {
    let mut slot = MaybeUninit::new(value);
    // SAFETY: the reads stay inside the slot, which lives on; padding is read volatile as whatever it holds.
    let read = |slot: &MaybeUninit<T>| -> Vec<u8> {
        let start = slot.as_ptr().cast::<u8>();
        (0..size_of::<T>()).map(|i| unsafe { start.add(i).read_volatile() }).collect()
    };
    let before = read(&slot);
    // SAFETY: the slot holds a value, which is not used again.
    unsafe { slot.assume_init_drop() };
    let after = read(&slot);
    (before, after)
}

/// That `secret` is in the slot before the drop, and no two octets of it in a row are after.
fn assert_wiped<T>(value: T, secret: &[u8]) {
    let (before, after) = around_drop(value);
    assert!(before.windows(secret.len()).any(|window| window == secret), "the test looks in the wrong place");
    assert!(!after.windows(2).any(|window| window == &secret[..2]), "{after:02x?}");
}

/// That no eight octets in a row of a keyed state, made by `make` from a key, are still where they were. (What
/// its octets mean is the primitive's business; which ones come from the key is seen by making it from two.)
fn assert_state_wiped<T>(make: impl Fn(&[u8; 32]) -> T) {
    let what = core::any::type_name::<T>();
    let (before, after) = around_drop(make(&core::array::from_fn(|i| i as u8 + 1)));
    let (other, _) = around_drop(make(&core::array::from_fn(|i| i as u8 + 0x81)));
    let mut compared = 0;
    for at in 0..size_of::<T>() - 7 {
        let window = at..at + 8;
        if before[window.clone()].iter().zip(&other[window.clone()]).all(|(one, two)| one != two) {
            compared += 1;
            assert!(before[window.clone()] != after[window], "{what}: octets from {at} on survive");
        }
    }
    assert!(compared >= 16, "{what}: the test looks in the wrong place");
}

#[test]
fn the_reading_itself_sees_what_a_plain_array_leaves() {
    let (before, after) = around_drop(KNOWN);
    assert_eq!(before, after);
}

#[test]
fn fixed_size_secrets_leave_nothing() {
    assert_wiped(SecretBytes::copied_from(&KNOWN), &KNOWN);
    assert_wiped(Role::new(SecretBytes::copied_from(&KNOWN)), &KNOWN);
    assert_wiped(KeyBytes::copied_from(&KNOWN).unwrap(), &KNOWN);
    for suite in Suite::all() {
        let bytes = vec![0xd7; suite.hash_len()];
        assert_wiped(HashSecret::try_copied_from(suite, &bytes).unwrap(), &bytes);
    }
}

/// The states inside `MacKey`, `Mac`, `Hasher` and `Expander`, and the keys that `Aead` expands: their `zeroize` features are on. (The
/// enums around them add nothing to drop, but padding, in which a test reads noise.)
#[test]
fn the_primitives_behind_the_suites_leave_nothing() {
    use hmac::{Hmac, KeyInit, Mac, block_api::HmacCore};
    use sha2::{Digest, Sha256, Sha512};

    assert_state_wiped(|key| HmacCore::<Sha256>::new_from_slice(key).unwrap());
    assert_state_wiped(|key| <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap().chain_update(key));
    assert_state_wiped(|key| Sha256::new().chain_update(key));
    assert_state_wiped(|key| HmacCore::<Sha512>::new_from_slice(key).unwrap());
    assert_state_wiped(|key| Sha512::new().chain_update(key));
    #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
    {
        assert_state_wiped(|key| HmacCore::<sha3::Sha3_256>::new_from_slice(key).unwrap());
        assert_state_wiped(|key| sha3::Sha3_256::new().chain_update(key));
    }
    #[cfg(any(feature = "sha256-aes256gcm", feature = "sha3-256-aes256gcm", feature = "sha512-aes256gcm"))]
    {
        use aes_gcm::{AesGcm, aes::Aes256Enc};

        assert_state_wiped(|key| AesGcm::<Aes256Enc, aead::consts::U12>::new(key.into()));
    }
    #[cfg(any(feature = "sha256-chacha20poly1305", feature = "sha3-256-chacha20poly1305"))]
    assert_state_wiped(|key| chacha20poly1305::ChaCha20Poly1305::new(key.into()));
}

#[cfg(feature = "alloc")]
mod heap {
    use core::alloc::{GlobalAlloc, Layout};
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::alloc::System;

    use skex_core::{KeyBytes, SecretVec};

    /// A size that nothing else in this process allocates.
    const LEN: usize = 7919;

    static WIPED: AtomicUsize = AtomicUsize::new(0);
    static LEFT: AtomicUsize = AtomicUsize::new(0);

    /// Looks at each block of `LEN` octets when it is given back.
    struct Inspector;

    // SAFETY: everything is passed on to the system's allocator; a block is read before it is given back.
    unsafe impl GlobalAlloc for Inspector {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            unsafe { System.alloc(layout) }
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            unsafe { System.alloc_zeroed(layout) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            if layout.size() == LEN {
                let clean = (0..LEN).all(|i| unsafe { block.add(i).read_volatile() } == 0);
                if clean { &WIPED } else { &LEFT }.fetch_add(1, Ordering::SeqCst);
            }
            unsafe { System.dealloc(block, layout) }
        }
    }

    #[global_allocator]
    static INSPECTOR: Inspector = Inspector;

    // One test, so that nothing else counts at the same time.
    #[test]
    fn scenario_9_secrets_on_the_heap_are_wiped_before_they_are_given_back() {
        let left = || (WIPED.load(Ordering::SeqCst), LEFT.load(Ordering::SeqCst));
        drop(vec![0xd7_u8; LEN]);
        assert_eq!(left(), (0, 1), "the inspection sees a plain vector");
        drop(SecretVec::copied_from(&[0xd7; LEN]));
        assert_eq!(left(), (1, 1));
        drop(KeyBytes::copied_from(&[0xd7; LEN]));
        assert_eq!(left(), (2, 1));
        // Without a copy where the capacity fits, and with the old vector wiped where it does not.
        drop(SecretVec::from_vec(vec![0xd7; LEN]));
        assert_eq!(left(), (3, 1));
        let mut roomy = Vec::with_capacity(LEN);
        roomy.extend_from_slice(&[0xd7; LEN - 1]);
        drop(SecretVec::from_vec(roomy));
        assert_eq!(left(), (4, 1));
    }
}
