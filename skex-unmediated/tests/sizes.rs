//! What a peer costs in memory, in storage and on the heap.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use skex_core::MAX_HASH_LEN;
use skex_core::record::RECORD_OVERHEAD;
use skex_unmediated::{Datagram, MAX_RECORD, Peer, WINDOW};

/// In every other build the crate itself asserts it.
#[test]
fn a_peer_fits_in_1_kib_with_hashes_of_32_octets_and_in_1_5_kib_with_64() {
    let limit = if MAX_HASH_LEN == 32 { 1024 } else { 1536 };
    let size = size_of::<Peer>();
    println!("a Peer has {size} octets with hashes of up to {MAX_HASH_LEN}");
    assert!(size <= limit, "{size} octets, the limit is {limit}");
}

#[test]
fn the_longest_record_has_at_most_384_octets_beside_the_window_of_the_exporter() {
    let longest = MAX_RECORD - WINDOW * MAX_HASH_LEN;
    println!("the longest record has {longest} octets beside the window, {MAX_RECORD} with it");
    // Two secrets of the record are as long as the hash: the chain key and the link of the exporter.
    assert!(longest - 2 * (MAX_HASH_LEN - 32) <= 384);
    assert!(longest > RECORD_OVERHEAD);
    assert!(size_of::<Datagram>() <= 256 + size_of::<usize>());
}
