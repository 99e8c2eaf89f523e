//! One-time tags: the implementation against the formulas, and the formulas on toy fields.
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
use skex_dske::{MessageTagKey, MessageVerificationKey, SecretTagKey, SpentKey, Tag};

/// GF(2^128) as in NIST SP 800-38D, bit by bit: the first bit of the first byte is the constant term.
mod reference {
    pub(super) const ONE: u128 = 1 << 127;

    pub(super) fn multiply(a: u128, b: u128) -> u128 {
        let mut product = 0;
        let mut shifted = b;
        for bit in 0..128 {
            if a >> (127 - bit) & 1 == 1 {
                product ^= shifted;
            }
            // Times x; x^128 = 1 + x + x^2 + x^7.
            let carry = shifted & 1 == 1;
            shifted >>= 1;
            if carry {
                shifted ^= 0xe1 << 120;
            }
        }
        product
    }

    pub(super) fn power(base: u128, exponent: usize) -> u128 {
        (0..exponent).fold(ONE, |product, _| multiply(product, base))
    }

    pub(super) fn elements(bytes: &[u8]) -> Vec<u128> {
        bytes
            .chunks(16)
            .map(|chunk| {
                let mut element = [0; 16];
                element[..chunk.len()].copy_from_slice(chunk);
                u128::from_be_bytes(element)
            })
            .collect()
    }

    /// d + sum c^j y_j, each power made anew.
    pub(super) fn message_tag(key: &[u8; 32], message: &[u8]) -> [u8; 16] {
        let [c, d] = elements(key)[..] else { unreachable!() };
        let mut y = vec![message.len() as u128];
        y.extend(elements(message));
        let sum = (1..).zip(y).fold(d, |sum, (j, y)| sum ^ multiply(power(c, j), y));
        sum.to_be_bytes()
    }

    /// d + c e + sum c^(j+1) S_j.
    pub(super) fn secret_tag(key: &[u8; 48], payload: &[u8], context: &[u8]) -> [u8; 16] {
        let [c, d, e] = elements(key)[..] else { unreachable!() };
        let mut s = vec![(payload.len() as u128) << 64 | context.len() as u128];
        s.extend(elements(payload));
        s.extend(elements(context));
        let start = d ^ multiply(c, e);
        let sum = (1..).zip(s).fold(start, |sum, (j, s)| sum ^ multiply(power(c, j + 1), s));
        sum.to_be_bytes()
    }
}

fn message_tag(key: &[u8; 32], message: &[u8]) -> Tag {
    MessageTagKey::from_pad(key).unwrap().tag(&[message])
}

fn secret_tag(key: &[u8; 48], payload: &[u8], context: &[u8]) -> Tag {
    SecretTagKey::from_secret(key).tag(payload, context)
}

fn random<const N: usize>(rng: &mut ChaCha20Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn element(hex: &str) -> u128 {
    u128::from_str_radix(hex, 16).unwrap()
}

/// Scenario 1: the reference itself, bit order included, against GCM test case 2 of McGrew and Viega's
/// submission.
#[test]
fn the_reference_multiplies_as_ghash_does() {
    let h = element("66e94bd4ef8a2c3b884cfa59ca342b2e");
    let x1 = element("0388dace60b6a392f328c2b971b2fe78");
    let length = 128;
    let ghash = reference::multiply(reference::multiply(x1, h) ^ length, h);
    assert_eq!(ghash, element("f38cbb1ad69223dcc3457ae5b6b0f885"));
    assert_eq!(reference::multiply(h, reference::ONE), h);
}

/// The same answer out of the implementation: GHASH runs its blocks down to the power one, our messages up
/// from it.
#[test]
fn scenario_1_known_answer_from_gcm() {
    let mut key = [0; 32];
    key[..16].copy_from_slice(&element("66e94bd4ef8a2c3b884cfa59ca342b2e").to_be_bytes());
    // y_1 = 16, the length in bytes; y_2 is x1 of GCM's test case. Their y_1 is 128, in bits.
    let h = element("66e94bd4ef8a2c3b884cfa59ca342b2e");
    let ghash = element("f38cbb1ad69223dcc3457ae5b6b0f885");
    let tag = message_tag(&key, &element("0388dace60b6a392f328c2b971b2fe78").to_be_bytes());
    assert_eq!(tag.as_bytes(), &(ghash ^ reference::multiply(128 ^ 16, h)).to_be_bytes());
}

#[test]
fn every_length_equals_the_formula() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let message: [u8; 200] = random(&mut rng);
    for length in 0..=message.len() {
        let key = random(&mut rng);
        let expected = reference::message_tag(&key, &message[..length]);
        assert_eq!(message_tag(&key, &message[..length]).as_bytes(), &expected, "{length} bytes");
    }
    for payload in (0..=80).step_by(5) {
        for context in (0..=120).step_by(7) {
            let key = random(&mut rng);
            let (payload, context) = (&message[..payload], &message[80..80 + context]);
            let expected = reference::secret_tag(&key, payload, context);
            assert_eq!(secret_tag(&key, payload, context).as_bytes(), &expected);
        }
    }
}

/// Scenario 3.
#[test]
fn scenario_3_zeros_at_the_end_change_the_tag() {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    for length in 0..48 {
        let key = random(&mut rng);
        let mut message = vec![0x5a; length];
        let short = message_tag(&key, &message);
        for _ in 0..33 {
            message.push(0);
            assert_ne!(short, message_tag(&key, &message));
        }
    }
    // Nor does a byte wander between payload and context.
    let key = random(&mut rng);
    assert_ne!(secret_tag(&key, &[0; 16], &[]), secret_tag(&key, &[], &[0; 16]));
    assert_ne!(secret_tag(&key, &[1; 16], &[2; 32]), secret_tag(&key, &[1; 15], &[2; 32]));
}

#[test]
fn a_tag_verifies_itself_alone() {
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let key: [u8; 32] = random(&mut rng);
    let message: [u8; 50] = random(&mut rng);
    let tag = message_tag(&key, &message);
    let receiver = MessageVerificationKey::from_pad(&key).unwrap();
    for bit in 0..128 {
        let mut forged = *tag.as_bytes();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(!receiver.verify(&[&message], &Tag::from_bytes(forged)));
    }
    for bit in 0..message.len() * 8 {
        let mut forged = message;
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(!receiver.verify(&[&forged], &tag));
    }
    assert!(!receiver.verify(&[&message[..49]], &tag));
    // Failed tries leave the key as it was.
    assert!(receiver.verify(&[&message], &tag));
    assert!(MessageTagKey::from_pad(&key).unwrap().verify(&[&message], &tag));

    let key: [u8; 48] = random(&mut rng);
    let tag = secret_tag(&key, &message, b"context");
    assert!(SecretTagKey::from_secret(&key).verify(&message, b"context", &tag));
    assert!(!SecretTagKey::from_secret(&key).verify(&message, b"contexT", &tag));
    for bit in 0..key.len() * 8 {
        let mut other = key;
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(!SecretTagKey::from_secret(&other).verify(&message, b"context", &tag));
    }
}

#[test]
fn an_erased_key_is_refused() {
    assert!(matches!(MessageTagKey::from_pad(&[0; 32]), Err(SpentKey { .. })));
    assert!(matches!(MessageVerificationKey::from_pad(&[0; 32]), Err(SpentKey { .. })));
    for bit in 0..256 {
        let mut pad = [0; 32];
        pad[bit / 8] = 1 << (bit % 8);
        assert!(MessageTagKey::from_pad(&pad).is_ok());
    }
}

#[test]
fn debug_shows_no_byte_of_a_key() {
    assert_eq!(format!("{:?}", MessageTagKey::from_pad(&[7; 32]).unwrap()), "MessageTagKey(..)");
    let receiver = MessageVerificationKey::from_pad(&[7; 32]).unwrap();
    assert_eq!(format!("{receiver:?}"), "MessageVerificationKey(..)");
    assert_eq!(format!("{:?}", SecretTagKey::from_secret(&[7; 48])), "SecretTagKey(..)");
    let tag = Tag::from_bytes([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    assert_eq!(format!("{tag:?}"), "Tag(0102030405060708090a0b0c0d0e0f10)");
}

/// Scenario 4 in the real field. With a payload of zeros and no context the sum is c^2 S_1, and squares are
/// additive: without the term c e, the offset (dc, dc^2 S_1) on (c, d) would always go unnoticed.
#[test]
fn scenario_4_the_attack_on_the_tag_without_e_fails() {
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    for _ in 0..100 {
        let key: [u8; 48] = random(&mut rng);
        let dc = u128::from_be_bytes(random(&mut rng));
        let dd = reference::multiply(reference::multiply(dc, dc), 16 << 64);
        let mut offset = [dc, dd, 0].map(u128::to_be_bytes).concat();
        offset.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        let shifted = offset.try_into().unwrap();
        assert_ne!(secret_tag(&key, &[0; 16], &[]), secret_tag(&shifted, &[0; 16], &[]));
        // And the attack is real: the two tags differ by the term alone.
        let [c, _, e] = reference::elements(&key)[..] else { unreachable!() };
        let term = reference::multiply(c, e) ^ reference::multiply(c ^ dc, e);
        let difference = u128::from_be_bytes(*secret_tag(&key, &[0; 16], &[]).as_bytes())
            ^ u128::from_be_bytes(*secret_tag(&shifted, &[0; 16], &[]).as_bytes());
        assert_eq!(difference, term);
    }
}

/// GF(4) with x^2 = x + 1.
mod toy {
    pub(super) const FIELD: [u8; 4] = [0, 1, 2, 3];

    pub(super) fn multiply(a: u8, b: u8) -> u8 {
        let product = ((a & 1) * b) ^ ((a >> 1) * (b << 1));
        if product & 4 == 0 { product } else { product ^ 7 }
    }

    /// d + [c e] + sum c^(j+1) S_j over the toy field.
    pub(super) fn secret_tag(c: u8, d: u8, e: u8, s: &[u8], with_e: bool) -> u8 {
        let mut power = c;
        let mut tag = if with_e { d ^ multiply(c, e) } else { d };
        for &s in s {
            power = multiply(power, c);
            tag ^= multiply(power, s);
        }
        tag
    }
}

/// For the worst of all offsets that do change something but d and the tag alone: of how many keys, out of
/// 64, is it unnoticed?
fn worst_offset(s: u8, with_e: bool) -> usize {
    use toy::FIELD;
    let mut worst = 0;
    for dc in FIELD {
        for dd in FIELD {
            for de in FIELD {
                for ds in FIELD {
                    if [dc, dd, de, ds] == [0; 4] {
                        continue;
                    }
                    let mut unnoticed = 0;
                    for c in FIELD {
                        for d in FIELD {
                            for e in FIELD {
                                let tag = toy::secret_tag(c, d, e, &[s], with_e);
                                let shifted = toy::secret_tag(c ^ dc, d ^ dd, e ^ de, &[s ^ ds], with_e);
                                unnoticed += usize::from(tag == shifted);
                            }
                        }
                    }
                    // Without e in the tag, an offset on e alone is none.
                    if with_e || [dc, dd, ds] != [0; 3] {
                        worst = worst.max(unnoticed);
                    }
                }
            }
        }
    }
    worst
}

/// Scenarios 2 and 4: the bound (m + 1) / |F| holds for every offset and every S, is reached, and falls
/// without e.
#[test]
fn scenario_2_offsets_on_the_shared_secret_exhaustively_on_a_toy_field() {
    for s in toy::FIELD {
        assert!(worst_offset(s, true) <= 64 * 2 / 4, "S = {s}");
        assert_eq!(worst_offset(s, false), 64, "S = {s}");
    }
    assert_eq!(toy::FIELD.map(|s| worst_offset(s, true)).into_iter().max(), Some(32));
}

/// Scenario 2: message tags of two messages of equal length collide for a chosen difference of tags with s /
/// |F| of all keys.
#[test]
fn scenario_2_forgeries_of_messages_exhaustively_on_a_toy_field() {
    use toy::{FIELD, multiply};
    let mut worst = 0;
    for first in FIELD {
        for second in FIELD {
            for difference in FIELD {
                if [first, second] == [0; 2] {
                    continue;
                }
                // y and y' differ by (first, second); d cancels.
                let fits =
                    |c: &&u8| multiply(**c, first) ^ multiply(multiply(**c, **c), second) == difference;
                worst = worst.max(FIELD.iter().filter(fits).count());
            }
        }
    }
    assert_eq!(worst, 2);
}

/// Scenario 5: a hub that holds one share of a block (c, d, e, S), k = 2, and sees the tag. Every S remains
/// exactly as likely, for every share and every tag.
#[test]
fn scenario_5_fewer_than_k_shares_and_the_tag_tell_nothing_on_a_toy_field() {
    const HUB: u8 = 2;
    let mut count = vec![[0u32; 4]; 4 * 256];
    // 256 blocks times 256 slopes: all polynomials of degree below 2.
    for choice in 0..=0xffffu16 {
        let digit = |i: u16| (choice >> (2 * i) & 3) as u8;
        let block = [0, 1, 2, 3].map(digit);
        let slope = [4, 5, 6, 7].map(digit);
        let share =
            (0..4).fold(0, |seen, i| seen << 2 | usize::from(block[i] ^ toy::multiply(slope[i], HUB)));
        let [c, d, e, s] = block;
        let tag = toy::secret_tag(c, d, e, &[s], true);
        count[share << 2 | usize::from(tag)][usize::from(s)] += 1;
    }
    for seen in count {
        assert_eq!(seen, [16; 4]);
    }
}

proptest! {
    /// Parts are hashed as their concatenation, wherever they are cut.
    #[test]
    fn cuts_do_not_matter(
        key: [u8; 32],
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..150), 0..8),
    ) {
        prop_assume!(key != [0; 32]);
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let tag = MessageTagKey::from_pad(&key).unwrap().tag(&slices);
        prop_assert_eq!(tag.as_bytes(), &reference::message_tag(&key, &parts.concat()));
    }

    #[test]
    fn secret_tags_equal_the_formula(
        key in prop::collection::vec(any::<u8>(), 48),
        payload in prop::collection::vec(any::<u8>(), 0..200),
        context in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let key = key.try_into().unwrap();
        let tag = secret_tag(&key, &payload, &context);
        prop_assert_eq!(tag.as_bytes(), &reference::secret_tag(&key, &payload, &context));
    }
}

/// The example of the specification ("Test vectors"), which another program computed: a command and its outcome, as they travel.
#[test]
fn a_look_up_and_its_outcome_as_the_specification_prints_them() {
    use skex_wire::Writer;
    use skex_wire::dske::{
        BlockPosition, Command, CommandBody, Direction, Found, Outcome, OutcomeStatus, tag_prefix,
    };
    let key = |first: u8| -> [u8; 32] { core::array::from_fn(|i| first + i as u8) };
    let mut octets = [0; 64];
    let mut finish = |first, direction, write: &dyn Fn(&mut Writer<'_>)| -> String {
        let mut writer = Writer::new(&mut octets);
        write(&mut writer);
        let prefix = tag_prefix(direction, 7, &[0xa1; 16]);
        let tag = MessageTagKey::from_pad(&key(first)).unwrap().tag(&[&prefix, writer.written()]);
        writer.bytes(tag.as_bytes()).unwrap();
        writer.written().iter().map(|octet| format!("{octet:02x}")).collect()
    };
    let command = Command::new(BlockPosition::new(0, 4098, 4098), CommandBody::Lookup(b"bob")).unwrap();
    assert_eq!(
        finish(0x20, Direction::UPLINK, &|out| command.encode_untagged(out).unwrap()),
        "1e00000000100200001002626f62a7d42c5797b3f3e5de068826a15defe4"
    );
    let outcome = Outcome::new(0, 4098, OutcomeStatus::DONE, Some(Found::new([0xb0; 16], None))).unwrap();
    assert_eq!(
        finish(0, Direction::DOWNLINK, &|out| outcome.encode_untagged(out).unwrap()),
        "2200000000100200b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b03975986e11d26b220233b2eaefdd145a"
    );
}
