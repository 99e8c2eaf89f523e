//! Robust decoding against hubs that lie and hubs that are silent (scenarios 11, 12, 25 and 51).
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
use skex_dske::{
    Coordinate, DecodeError, SecretTagKey, ShareError, Tag, decode, interpolate_at, split, work_limit_covers,
};

const WORK_LIMIT: u64 = 200_000;
const CONTEXT: &[u8] = b"key id, initiator, responder, k, n, hubs";

/// A secret block (tag key and payload), its shares and its tag.
struct Sharing {
    k: u8,
    block: Vec<u8>,
    tag: Tag,
    coordinates: Vec<Coordinate>,
    shares: Vec<Vec<u8>>,
}

impl Sharing {
    fn new(rng: &mut ChaCha20Rng, n: u8, k: u8, payload: usize) -> Self {
        let mut block = vec![0; SecretTagKey::LEN + payload];
        rng.fill_bytes(&mut block);
        let (key, secret) = block.split_first_chunk().unwrap();
        let tag = SecretTagKey::from_secret(key).tag(secret, CONTEXT);
        let coordinates: Vec<_> = (1..=n).map(|x| Coordinate::new(x).unwrap()).collect();
        let mut shares = vec![vec![0; block.len()]; coordinates.len()];
        let mut out: Vec<&mut [u8]> = shares.iter_mut().map(Vec::as_mut_slice).collect();
        split(rng, k, &coordinates, &block, &mut out).unwrap();
        Self { k, block, tag, coordinates, shares }
    }

    fn verify(&self, candidate: &[u8]) -> bool {
        let (key, secret) = candidate.split_first_chunk().unwrap();
        SecretTagKey::from_secret(key).verify(secret, CONTEXT, &self.tag)
    }

    /// What decoding gives: the culprits, after a check that the secret is right.
    fn decode(&self, shares: &[Vec<u8>], work_limit: u64) -> Result<Vec<u8>, DecodeError> {
        self.decode_and_judge(shares, work_limit).map(|(culprits, _)| culprits)
    }

    /// The culprits, and whether the blame is proven.
    fn decode_and_judge(&self, shares: &[Vec<u8>], work_limit: u64) -> Result<(Vec<u8>, bool), DecodeError> {
        let given: Vec<_> =
            self.coordinates.iter().zip(shares).map(|(x, share)| (*x, share.as_slice())).collect();
        let decoded = decode(self.k, &given, work_limit, |candidate| self.verify(candidate))?;
        assert_eq!(decoded.secret().expose(), self.block, "a wrong key");
        let culprits = decoded.culprits().iter().map(|x| x.get()).collect();
        Ok((culprits, decoded.blame_is_certain()))
    }
}

/// Spoils one byte or more of a share, anywhere.
fn spoil(rng: &mut ChaCha20Rng, share: &mut [u8]) {
    let bytes = match rng.next_u32() % 3 {
        0 => 1,
        1 => 1 + rng.next_u32() as usize % share.len(),
        _ => share.len(),
    };
    for _ in 0..bytes {
        let place = rng.next_u32() as usize % share.len();
        share[place] ^= rng.next_u32() as u8;
    }
    // At least this byte is wrong, whatever the draws above did.
    let place = rng.next_u32() as usize % share.len();
    share[place] = share[place].wrapping_add(1);
}

fn members(set: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |i| set >> i & 1 == 1)
}

/// Every size up to 9, every number of silent hubs, every set of liars among the others.
#[test]
fn the_key_is_right_and_the_liars_are_named_as_far_as_promised_and_never_wrong_beyond() {
    let mut rng = ChaCha20Rng::seed_from_u64(51);
    for n in 2..=9u8 {
        for k in 2..=n {
            let sharing = Sharing::new(&mut rng, n, k, 16);
            for silent in 0..=n - k {
                let arrived = n - silent;
                for liars in 0..1u32 << arrived {
                    let lying = liars.count_ones() as u8;
                    let mut shares = sharing.shares[..usize::from(arrived)].to_vec();
                    for liar in members(liars) {
                        let right = shares[liar].clone();
                        while shares[liar] == right {
                            spoil(&mut rng, &mut shares[liar]);
                        }
                    }
                    let promised = lying < k
                        && (lying <= (arrived - k) / 2
                            || lying <= arrived - k && work_limit_covers(arrived, k, WORK_LIMIT));
                    let expected: Vec<u8> = members(liars).map(|i| i as u8 + 1).collect();
                    match sharing.decode_and_judge(&shares, WORK_LIMIT) {
                        Ok((culprits, certain)) => {
                            assert!(lying <= arrived - k, "{k} of {n}, {liars:b}: too few right shares");
                            // Errors of one byte may cancel by chance.
                            let disputed = lying > (arrived - k).div_ceil(2) && (lying >= k || !certain);
                            assert!(
                                culprits == expected || disputed,
                                "{k} of {n}, {arrived} arrived, {liars:b}: {culprits:?}"
                            );
                        }
                        Err(error) => {
                            assert!(!promised, "{k} of {n}, {arrived} arrived, {liars:b}");
                            assert_eq!(error, DecodeError::Undecodable);
                        }
                    }
                }
            }
        }
    }
}

/// Unique decoding needs no search: it works with a work limit of zero, at sizes far beyond any search.
#[test]
fn liars_up_to_half_of_the_surplus_are_located_without_search() {
    let mut rng = ChaCha20Rng::seed_from_u64(16);
    for (n, k) in [(3, 2), (4, 2), (5, 3), (31, 16), (31, 2), (31, 29), (31, 30), (200, 60), (255, 127)] {
        let sharing = Sharing::new(&mut rng, n, k, 64);
        let radius = (n - k) / 2;
        for lying in [radius, radius / 2, radius.min(1)] {
            if lying >= k {
                continue;
            }
            for round in 0..4 {
                let mut shares = sharing.shares.clone();
                // The liars are the first ones, or stand anywhere.
                let mut order: Vec<usize> = (0..usize::from(n)).collect();
                if round > 0 {
                    for i in (1..order.len()).rev() {
                        order.swap(i, rng.next_u32() as usize % (i + 1));
                    }
                }
                let mut liars = order[..usize::from(lying)].to_vec();
                liars.sort_unstable();
                for (number, &liar) in liars.iter().enumerate() {
                    match round {
                        // Each liar spoils another byte: the culprits are a union over columns.
                        0 | 1 => shares[liar][number % 112] ^= 0x80,
                        2 => shares[liar].iter_mut().for_each(|byte| *byte ^= 0x5a),
                        _ => spoil(&mut rng, &mut shares[liar]),
                    }
                }
                let differ = |i: &usize| shares[*i] != sharing.shares[*i];
                let expected: Vec<u8> = liars.iter().copied().filter(differ).map(|i| i as u8 + 1).collect();
                assert_eq!(sharing.decode(&shares, 0), Ok(expected), "{k} of {n}, {lying} lie");
            }
        }
    }
}

#[test]
fn sixteen_of_31_with_15_liars_gives_the_right_key_or_none() {
    let mut rng = ChaCha20Rng::seed_from_u64(15);
    let sharing = Sharing::new(&mut rng, 31, 16, 64);
    assert!(!work_limit_covers(31, 16, WORK_LIMIT));
    let mut shares = sharing.shares.clone();
    shares[16..].iter_mut().for_each(|share| spoil(&mut rng, share));
    shares.swap(0, 16);
    let mut swapped = sharing.coordinates.clone();
    swapped.swap(0, 16);
    let late = Sharing { coordinates: swapped, ..sharing };
    // Within reach of the limit, since early shares are tried first ...
    let culprits = late.decode(&shares, WORK_LIMIT).unwrap();
    assert_eq!(culprits.len(), 15);
    // ... and out of reach.
    shares.reverse();
    let late = Sharing { coordinates: late.coordinates.iter().rev().copied().collect(), ..late };
    assert_eq!(late.decode(&shares, WORK_LIMIT), Err(DecodeError::Undecodable));
}

/// The largest search that the default limit covers, with the one subset of right shares the last.
#[test]
fn ten_of_20_with_nine_liars_in_front() {
    let mut rng = ChaCha20Rng::seed_from_u64(20);
    let sharing = Sharing::new(&mut rng, 20, 10, 64);
    let mut shares = sharing.shares.clone();
    shares[..9].iter_mut().for_each(|share| spoil(&mut rng, share));
    assert_eq!(sharing.decode(&shares, WORK_LIMIT), Ok((1..=9).collect()));
    assert_eq!(sharing.decode(&shares, 1000), Err(DecodeError::Undecodable));
}

/// A key of 64 KiB: the search takes another path there.
#[test]
fn three_of_five_with_two_liars_and_a_long_key() {
    let mut rng = ChaCha20Rng::seed_from_u64(64);
    let sharing = Sharing::new(&mut rng, 5, 3, 1 << 16);
    for (a, b) in [(0, 1), (0, 4), (1, 3), (2, 3)] {
        let mut shares = sharing.shares.clone();
        spoil(&mut rng, &mut shares[a]);
        spoil(&mut rng, &mut shares[b]);
        let expected = vec![a as u8 + 1, b as u8 + 1];
        assert_eq!(sharing.decode(&shares, WORK_LIMIT), Ok(expected));
    }
}

/// Liars who agree on a polynomial of their own: the word is close to two codewords, the tag decides.
#[test]
fn liars_with_one_story_do_not_pass() {
    let mut rng = ChaCha20Rng::seed_from_u64(12);
    for (n, k) in [(5u8, 3u8), (7, 4), (9, 5), (15, 8), (31, 16)] {
        let sharing = Sharing::new(&mut rng, n, k, 64);
        let other = Sharing::new(&mut rng, n, k, 64);
        let lying = usize::from(k - 1).min(usize::from((n - k) / 2));
        let mut shares = sharing.shares.clone();
        shares[..lying].clone_from_slice(&other.shares[..lying]);
        assert_eq!(sharing.decode(&shares, WORK_LIMIT), Ok((1..=lying as u8).collect()));
        // Shares of another key altogether: consistent, refused by the tag at once.
        let mut tries = 0;
        let given: Vec<_> =
            other.coordinates.iter().zip(&other.shares).map(|(x, s)| (*x, s.as_slice())).collect();
        let refused = decode(k, &given, WORK_LIMIT, |candidate| {
            tries += 1;
            sharing.verify(candidate)
        });
        assert_eq!(refused.unwrap_err(), DecodeError::Undecodable);
        assert_eq!(tries, 1);
    }
}

/// The liars take k - 1 right shares (their own) and choose theirs so that the first candidate is an offset
/// of the right block of their choice. It goes past nothing but the tag.
#[test]
fn scenario_12_chosen_offsets_on_the_tag_key_and_the_payload_do_not_pass() {
    let mut rng = ChaCha20Rng::seed_from_u64(13);
    let sharing = Sharing::new(&mut rng, 5, 3, 64);
    for target in [0, 16, 32, 48, 100] {
        // An offset polynomial that vanishes at the honest third hub: only hubs 1 and 2 lie.
        let mut offset = vec![0; sharing.block.len()];
        offset[target] = 0x01;
        let zero = vec![0; sharing.block.len()];
        // Zero at hubs 3 and 4, `offset` at 0: three points of a polynomial of degree 2.
        let points: [(u8, &[u8]); 3] = [(0, &offset), (3, &zero), (4, &zero)];
        let mut shares = sharing.shares.clone();
        for (x, share) in (1u8..).zip(&mut shares[..2]) {
            let mut lie = vec![0; zero.len()];
            interpolate_at(&points, x, &mut lie).unwrap();
            share.iter_mut().zip(&lie).for_each(|(byte, lie)| *byte ^= lie);
        }
        // Shares 1 to 4 agree with the offset block, 3 to 5 with the right one.
        assert_eq!(sharing.decode(&shares, WORK_LIMIT), Ok(vec![1, 2]));
    }
}

/// Two liars or more among the first k shares bend these so that their errors cancel at zero: the first
/// candidate is right, and a naive re-evaluation would accuse everybody else.
#[test]
fn liars_cannot_frame_honest_hubs() {
    let mut rng = ChaCha20Rng::seed_from_u64(25);
    for (n, k, lying) in
        [(6u8, 3u8, 2usize), (7, 3, 2), (7, 4, 2), (9, 4, 3), (31, 16, 8), (31, 16, 7), (30, 16, 7)]
    {
        let sharing = Sharing::new(&mut rng, n, k, 64);
        // A polynomial of degree k - 1 with zeros at 0 and at the k - 2 hubs after the liars (or fewer, and 1
        // elsewhere).
        let (zero, one) = (vec![0; 112], vec![1; 112]);
        let mut points: Vec<(u8, &[u8])> = vec![(0, &zero), (1, &one)];
        let honest = lying as u8 + 1;
        points.extend((honest..=n).take(usize::from(k) - 2).map(|x| (x, zero.as_slice())));
        let mut shares = sharing.shares.clone();
        for (x, share) in (1u8..).zip(&mut shares[..lying]) {
            let mut lie = vec![0; 112];
            interpolate_at(&points, x, &mut lie).unwrap();
            share.iter_mut().zip(&lie).for_each(|(byte, lie)| *byte ^= lie);
        }
        let expected: Vec<u8> = (1..honest).collect();
        // Others than these could lie in their place only if k or more did: with few enough, that proves it.
        let certain = lying + 2 * usize::from(k) <= usize::from(n) + 2;
        assert_eq!(sharing.decode_and_judge(&shares, 0), Ok((expected, certain)), "{k} of {n}, {lying} lie");
    }
    // With three shares for either story nobody can tell: said, not guessed.
    let sharing = Sharing::new(&mut rng, 5, 3, 64);
    let (zero, one) = (vec![0; 112], vec![1; 112]);
    let points: [(u8, &[u8]); 3] = [(0, &zero), (1, &one), (3, &zero)];
    let mut shares = sharing.shares.clone();
    for (x, share) in (1u8..).zip(&mut shares[..2]) {
        let mut lie = vec![0; 112];
        interpolate_at(&points, x, &mut lie).unwrap();
        share.iter_mut().zip(&lie).for_each(|(byte, lie)| *byte ^= lie);
    }
    let (culprits, certain) = sharing.decode_and_judge(&shares, WORK_LIMIT).unwrap();
    assert_eq!((culprits.len(), certain), (2, false));
}

/// Scenario 21: however the shares are made up, the work is bounded by the limit.
#[test]
fn scenario_21_fabricated_shares_cost_at_most_the_work_limit() {
    let mut rng = ChaCha20Rng::seed_from_u64(21);
    for (n, k) in [(5u8, 3u8), (9, 5), (20, 10), (31, 16)] {
        let coordinates: Vec<_> = (1..=n).map(|x| Coordinate::new(x).unwrap()).collect();
        let mut shares = vec![vec![0; 64]; usize::from(n)];
        shares.iter_mut().for_each(|share| rng.fill_bytes(share));
        let given: Vec<_> =
            coordinates.iter().zip(&shares).map(|(x, share)| (*x, share.as_slice())).collect();
        for limit in [0, 1, 5, 1000] {
            let mut tries = 0;
            let result = decode(k, &given, limit, |_| {
                tries += 1;
                false
            });
            assert_eq!(result.unwrap_err(), DecodeError::Undecodable);
            assert!((1..=limit + 2).contains(&tries), "{k} of {n}, limit {limit}: {tries}");
        }
    }
}

#[test]
fn shares_that_do_not_fit_together_are_refused() {
    let block = [1; 64];
    let given = |places: &[u8]| -> Vec<(Coordinate, &[u8])> {
        places.iter().map(|&x| (Coordinate::new(x).unwrap(), block.as_slice())).collect()
    };
    let refusal = |k, shares: &[(Coordinate, &[u8])]| {
        decode(k, shares, WORK_LIMIT, |_| panic!("nothing is to be tried")).unwrap_err()
    };
    assert_eq!(refusal(1, &given(&[1, 2, 3])), DecodeError::Shares(ShareError::ThresholdTooSmall));
    assert_eq!(refusal(3, &given(&[1, 2])), DecodeError::Shares(ShareError::TooFewShares));
    assert_eq!(refusal(2, &[]), DecodeError::Shares(ShareError::TooFewShares));
    // One hub never counts twice, also beyond the first k shares.
    assert_eq!(refusal(2, &given(&[1, 2, 1])), DecodeError::Shares(ShareError::DuplicateCoordinate));
    let mut uneven = given(&[1, 2, 3]);
    uneven[2].1 = &block[..63];
    assert_eq!(refusal(2, &uneven), DecodeError::Shares(ShareError::UnequalLengths));
    let empty = given(&[1, 2]).into_iter().map(|(x, _)| (x, &[][..])).collect::<Vec<_>>();
    assert_eq!(refusal(2, &empty), DecodeError::Shares(ShareError::EmptyBlock));
}

#[test]
fn debug_shows_no_byte_of_the_secret() {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let sharing = Sharing::new(&mut rng, 3, 2, 16);
    let given: Vec<_> =
        sharing.coordinates.iter().zip(&sharing.shares).map(|(x, s)| (*x, s.as_slice())).collect();
    let decoded = decode(2, &given, 0, |candidate| sharing.verify(candidate)).unwrap();
    assert_eq!(
        format!("{decoded:?}"),
        "Decoded { secret: SecretVec(..), culprits: [], blame_is_certain: true }"
    );
}

proptest! {
    /// The law of step 2 by itself: whatever at most half of the surplus send, in whatever columns.
    #[test]
    fn any_errors_within_half_of_the_surplus_are_corrected(
        n in 4..=31u8,
        k in 2..=29u8,
        seed: u64,
        lies in prop::collection::vec(prop::collection::vec((0..112usize, 1..=255u8), 1..20), 14),
    ) {
        let k = k.min(n - 2);
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let sharing = Sharing::new(&mut rng, n, k, 64);
        let lying = usize::from(((n - k) / 2).min(k - 1));
        let mut order: Vec<usize> = (0..usize::from(n)).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, rng.next_u32() as usize % (i + 1));
        }
        let mut shares = sharing.shares.clone();
        for (&liar, lie) in order[..lying].iter().zip(&lies) {
            for &(place, difference) in lie {
                shares[liar][place] ^= difference;
            }
        }
        let expected: Vec<u8> = (1..=n)
            .filter(|&x| shares[usize::from(x) - 1] != sharing.shares[usize::from(x) - 1])
            .collect();
        prop_assert_eq!(sharing.decode(&shares, 0), Ok(expected));
    }
}
