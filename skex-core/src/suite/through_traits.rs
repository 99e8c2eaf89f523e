//! Hashes and HMACs of the other hashes, through the traits of RustCrypto, written in place.

use hmac::digest::{FixedOutput, KeyInit, Output, OutputSizeUser, Update, array::Array, array::ArraySize};

use crate::MAX_HASH_LEN;

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
pub(super) fn keyed<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// The output of a hash or HMAC that goes on with these parts, at the front of `bytes`. Gives its length.
pub(super) fn finish_parts<'a, M: Update + FixedOutput + OutputSizeUser>(
    mut state: M,
    parts: impl Iterator<Item = &'a [u8]>,
    bytes: &mut [u8; MAX_HASH_LEN],
) -> u8 {
    parts.for_each(|part| state.update(part));
    finish(state, bytes)
}

/// The output of a hash or HMAC, at the front of `bytes`. Gives its length.
pub(super) fn finish<M: FixedOutput + OutputSizeUser>(state: M, bytes: &mut [u8; MAX_HASH_LEN]) -> u8 {
    output_into(bytes, |out: &mut Output<M>| state.finalize_into(out))
}

#[expect(clippy::expect_used, reason = "the lengths are compared when this is compiled")]
fn output_into<N: ArraySize>(bytes: &mut [u8; MAX_HASH_LEN], write: impl FnOnce(&mut Array<u8, N>)) -> u8 {
    const { assert!(N::USIZE <= MAX_HASH_LEN) };
    let (place, back) = bytes.split_at_mut_checked(N::USIZE).expect("no hash is longer than MAX_HASH_LEN");
    back.fill(0);
    write(place.try_into().expect("cut to this length"));
    N::U8
}
