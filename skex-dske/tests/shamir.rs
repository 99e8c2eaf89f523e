//! Sharing and combining.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use chacha20::ChaCha20Rng;
use proptest::prelude::*;
use rand_core::{Rng, SeedableRng};
use skex_dske::{Coordinate, ShareError, Splitter, combine, interpolate_at, split};

fn coordinate(x: u8) -> Coordinate {
    Coordinate::new(x).unwrap()
}

fn first_coordinates(n: u8) -> Vec<Coordinate> {
    (1..=n).map(coordinate).collect()
}

fn random(rng: &mut ChaCha20Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn split_to_vecs(
    rng: &mut ChaCha20Rng,
    k: u8,
    coordinates: &[Coordinate],
    secret: &[u8],
) -> Result<Vec<Vec<u8>>, ShareError> {
    let mut shares = vec![vec![0; secret.len()]; coordinates.len()];
    let mut out: Vec<&mut [u8]> = shares.iter_mut().map(Vec::as_mut_slice).collect();
    split(rng, k, coordinates, secret, &mut out)?;
    Ok(shares)
}

/// The product in GF(2^8) from first principles.
fn multiply(a: u8, b: u8) -> u8 {
    let mut product = 0u16;
    for bit in 0..8 {
        if b >> bit & 1 == 1 {
            product ^= u16::from(a) << bit;
        }
    }
    for bit in (8..16).rev() {
        if product >> bit & 1 == 1 {
            product ^= 0x11b << (bit - 8);
        }
    }
    product as u8
}

/// The polynomial with these coefficients, the constant one first, at `x`.
fn polynomial(coefficients: &[u8], x: u8) -> u8 {
    coefficients.iter().rev().fold(0, |value, coefficient| multiply(value, x) ^ coefficient)
}

#[test]
fn known_answer_by_hand() {
    // 0x42 + 0x53 x + 0xca x^2, as x = 2: 0x53 * 2 = 0xa6, 0xca * 4 = 0x05, so 0x42 + 0xa6 + 0x05 = 0xe1.
    let shares: Vec<u8> = (1..=5).map(|x| polynomial(&[0x42, 0x53, 0xca], x)).collect();
    assert_eq!(shares, [0xdb, 0xe1, 0x78, 0x01, 0x98]);
    for (i, j, l) in [(0, 1, 2), (0, 2, 4), (4, 3, 1)] {
        let given = [i, j, l].map(|i: usize| (coordinate(i as u8 + 1), &shares[i..=i]));
        let mut secret = [0];
        combine(3, &given, &mut secret).unwrap();
        assert_eq!(secret, [0x42]);
    }
}

/// Scenario 7.
#[test]
fn scenario_7_every_threshold_of_every_size_of_the_protocol() {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    for n in 2..=31 {
        for k in 2..=n {
            let secret = random(&mut rng, 48 + usize::from(n));
            let coordinates = first_coordinates(n);
            let shares = split_to_vecs(&mut rng, k, &coordinates, &secret).unwrap();
            let mut given: Vec<_> =
                coordinates.iter().zip(&shares).map(|(x, s)| (*x, s.as_slice())).collect();
            for _ in 0..3 {
                let turn = rng.next_u32() as usize % given.len();
                given.rotate_left(turn);
                let mut combined = vec![0; secret.len()];
                combine(k, &given, &mut combined).unwrap();
                assert_eq!(combined, secret, "{k} of {n}");
                // One share less than the threshold gives another polynomial.
                let fewer: Vec<_> =
                    given.iter().take(usize::from(k) - 1).map(|(x, s)| (x.get(), *s)).collect();
                interpolate_at(&fewer, 0, &mut combined).unwrap();
                assert_ne!(combined, secret, "{k} of {n}");
            }
        }
    }
}

#[test]
fn all_255_coordinates_and_the_full_threshold() {
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    let coordinates = first_coordinates(255);
    for k in [2, 128, 254, 255] {
        let secret = random(&mut rng, 33);
        let shares = split_to_vecs(&mut rng, k, &coordinates, &secret).unwrap();
        let given: Vec<_> = coordinates.iter().zip(&shares).rev().map(|(x, s)| (*x, s.as_slice())).collect();
        let mut combined = vec![0; secret.len()];
        combine(k, &given, &mut combined).unwrap();
        assert_eq!(combined, secret);
    }
}

/// The protocol's way: the shares of the direct hubs are the pad bytes themselves.
#[test]
fn scenario_6_direct_shares_are_taken_as_they_are_and_fix_the_others() {
    let mut rng = ChaCha20Rng::seed_from_u64(6);
    for (n, k) in [(2, 2), (3, 2), (5, 3), (5, 5), (31, 16)] {
        let coordinates: Vec<_> = (0..n).map(|i| coordinate(255 - 7 * i)).collect();
        let splitter = Splitter::new(k, &coordinates).unwrap();
        assert_eq!(splitter.direct(), usize::from(k) - 1);
        let secret = random(&mut rng, 112);
        let pads: Vec<_> = (0..splitter.direct()).map(|_| random(&mut rng, 112)).collect();
        let pads: Vec<&[u8]> = pads.iter().map(Vec::as_slice).collect();
        let mut following = vec![vec![0; 112]; splitter.following()];
        let mut out: Vec<&mut [u8]> = following.iter_mut().map(Vec::as_mut_slice).collect();
        splitter.split(&secret, &pads, &mut out).unwrap();

        let all = pads.iter().copied().chain(following.iter().map(Vec::as_slice));
        let mut given: Vec<_> = coordinates.iter().copied().zip(all).collect();
        given.reverse();
        let mut combined = vec![0; 112];
        combine(k, &given, &mut combined).unwrap();
        assert_eq!(combined, secret, "{k} of {n}");
    }
}

/// For one byte and k = 2 or 3: over all drawn bytes, the polynomials are all polynomials, once each. So the
/// leading coefficient may be zero too, and any k - 1 shares are uniform whatever the secret is.
#[test]
fn drawing_shares_is_drawing_coefficients_from_the_whole_field() {
    let coordinates = first_coordinates(4);
    for secret in [0u8, 0x42, 0xff] {
        let splitter = Splitter::new(2, &coordinates).unwrap();
        for place in 1..4 {
            let mut seen = [false; 256];
            let mut degrees = [0; 2];
            for drawn in 0..=255u8 {
                let mut shares = [[0]; 3];
                let mut out = shares.each_mut().map(<[u8; 1]>::as_mut_slice);
                splitter.split(&[secret], &[&[drawn]], &mut out).unwrap();
                assert!(!core::mem::replace(&mut seen[usize::from(shares[place - 1][0])], true));
                degrees[usize::from(drawn != secret)] += 1;
                // f(1) = s + a, so a = f(1) - s, and f(x) = s + a x.
                let expected = polynomial(&[secret, drawn ^ secret], coordinates[place].get());
                assert_eq!(shares[place - 1], [expected]);
            }
            assert_eq!(degrees, [1, 255]);
        }
    }
    let splitter = Splitter::new(3, &coordinates).unwrap();
    let mut seen = vec![false; 1 << 16];
    for drawn in 0..=0xffffu16 {
        let [a, b] = drawn.to_be_bytes();
        let (mut c, mut d) = ([0], [0]);
        splitter.split(&[0x42], &[&[a], &[b]], &mut [&mut c, &mut d]).unwrap();
        // Two shares that were not drawn take every pair of values once.
        assert!(!core::mem::replace(&mut seen[usize::from(u16::from_be_bytes([c[0], d[0]]))], true));
    }
}

/// Scenario 8.
#[test]
fn scenario_8_what_makes_no_sense_is_refused() {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let coordinates = first_coordinates(5);
    let twice = [1, 2, 3, 4, 2].map(coordinate);
    let mut try_split = |k: u8, at: &[Coordinate]| split_to_vecs(&mut rng, k, at, &[1; 16]).map(|_| ());
    assert_eq!(try_split(0, &coordinates), Err(ShareError::ThresholdTooSmall));
    assert_eq!(try_split(1, &coordinates), Err(ShareError::ThresholdTooSmall));
    assert_eq!(try_split(6, &coordinates), Err(ShareError::ThresholdTooLarge));
    for k in 2..=5 {
        assert_eq!(try_split(k, &twice), Err(ShareError::DuplicateCoordinate), "k = {k}");
    }
    assert_eq!(Coordinate::new(0), None);
    assert_eq!(Coordinate::try_from(0), Err(ShareError::ZeroCoordinate));

    assert_eq!(split_to_vecs(&mut rng, 3, &coordinates, &[]), Err(ShareError::EmptyBlock));
    let (mut a, mut b) = ([0; 16], [0; 16]);
    let outputs: &mut [&mut [u8]] = &mut [&mut a, &mut b];
    assert_eq!(split(&mut rng, 3, &coordinates, &[1; 16], outputs), Err(ShareError::WrongCount));
    let uneven: &mut [&mut [u8]] = &mut [&mut [0; 16], &mut [0; 15]];
    assert_eq!(split(&mut rng, 2, &coordinates[..2], &[1; 16], uneven), Err(ShareError::UnequalLengths));
    let splitter = Splitter::new(2, &coordinates[..2]).unwrap();
    let (short, long): (&[u8], &[u8]) = (&[0; 15], &[0; 16]);
    let mut out = [0; 16];
    let mut try_direct = |direct: &[&[u8]]| splitter.split(&[1; 16], direct, &mut [&mut out]);
    assert_eq!(try_direct(&[short]), Err(ShareError::UnequalLengths));
    assert_eq!(try_direct(&[]), Err(ShareError::WrongCount));
    assert_eq!(try_direct(&[long, long]), Err(ShareError::WrongCount));
    assert_eq!(try_direct(&[long]), Ok(()));

    let block = [1; 16];
    let given = |places: &[u8]| -> Vec<(Coordinate, &[u8])> {
        places.iter().map(|&x| (coordinate(x), block.as_slice())).collect()
    };
    let mut out = [0; 16];
    assert_eq!(combine(1, &given(&[1, 2]), &mut out), Err(ShareError::ThresholdTooSmall));
    assert_eq!(combine(3, &given(&[1, 2]), &mut out), Err(ShareError::TooFewShares));
    assert_eq!(combine(2, &given(&[2, 2]), &mut out), Err(ShareError::DuplicateCoordinate));
    assert_eq!(combine(2, &given(&[1, 2]), &mut out[..15]), Err(ShareError::UnequalLengths));
    assert_eq!(combine(2, &given(&[1, 2]), &mut []), Err(ShareError::EmptyBlock));
    assert_eq!(interpolate_at(&[], 0, &mut out), Err(ShareError::TooFewShares));
    let all: Vec<(u8, &[u8])> = (0..=255).map(|x| (x, block.as_slice())).collect();
    assert_eq!(interpolate_at(&all, 0, &mut out), Err(ShareError::WrongCount));
}

proptest! {
    #[test]
    fn interpolation_equals_the_polynomial_everywhere(
        columns in prop::collection::vec(prop::collection::vec(any::<u8>(), 6), 1..150),
        mut places in prop::collection::hash_set(any::<u8>(), 6),
        x: u8,
    ) {
        let places: Vec<u8> = places.drain().collect();
        let blocks: Vec<Vec<u8>> = places
            .iter()
            .map(|&place| columns.iter().map(|column| polynomial(column, place)).collect())
            .collect();
        let points: Vec<(u8, &[u8])> =
            places.iter().copied().zip(blocks.iter().map(Vec::as_slice)).collect();
        let mut out = vec![0; columns.len()];
        interpolate_at(&points, x, &mut out).unwrap();
        let expected: Vec<u8> = columns.iter().map(|column| polynomial(column, x)).collect();
        prop_assert_eq!(out, expected);
    }

    #[test]
    fn any_k_shares_of_n_give_the_secret_back(
        secret in prop::collection::vec(any::<u8>(), 1..200),
        places in prop::collection::hash_set(1..=255u8, 2..20),
        k in 2..20u8,
        seed: u64,
    ) {
        let coordinates: Vec<Coordinate> = places.into_iter().map(coordinate).collect();
        let k = k.min(coordinates.len() as u8);
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let shares = split_to_vecs(&mut rng, k, &coordinates, &secret).unwrap();
        let mut given: Vec<_> = coordinates.iter().zip(&shares).map(|(x, s)| (*x, s.as_slice())).collect();
        for i in (1..given.len()).rev() {
            given.swap(i, rng.next_u32() as usize % (i + 1));
        }
        let mut combined = vec![0; secret.len()];
        combine(k, &given, &mut combined).unwrap();
        prop_assert_eq!(combined, secret);
    }
}
