#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

extern crate std;
use proptest::prelude::*;
use std::vec::Vec;

use super::*;
use crate::{SuiteId, Writer};

const NONCE_I: [u8; 16] = [0xa1; 16];
const NONCE_R: [u8; 16] = [0xb2; 16];
const TAG: [u8; 16] = [0xcc; 16];

fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut buffer = [0; MAX_MESSAGE];
    let mut writer = Writer::new(&mut buffer);
    match message {
        Message::First(message) => message.encode(&mut writer),
        Message::Second(message) => message.encode(&mut writer),
        Message::Third(message) => message.encode(&mut writer),
        Message::LongThird(message) => message.encode(&mut writer),
        Message::Fourth(message) => message.encode(&mut writer),
        Message::Cookie(message) => message.encode(&mut writer),
        Message::Stale(message) => message.encode(&mut writer),
    }
    .unwrap();
    writer.written().to_vec()
}

fn with_examples(suites: &[u8], extension: &[u8], mut use_them: impl FnMut(&Message<'_>)) {
    let pseudonym = Pseudonym::new([7; 8]);
    let suites = OfferedSuites::new(suites).unwrap();
    let first = FirstMessage::new(FirstMessage::VOID, pseudonym, &NONCE_I, suites, extension);
    let second = SecondMessage::new(
        SecondMessage::STATELESS,
        first.attempt(),
        &NONCE_R,
        SuiteId::SHA256_CHACHA20POLY1305,
        extension,
    );
    let third = ThirdMessage::new(pseudonym, extension, TAG);
    let long = LongThirdMessage::new(third.clone(), &first, &second);
    let with_cookie = FirstMessage { cookie: Some([9; 16]), ..first.clone() };
    use_them(&Message::First(first));
    use_them(&Message::Second(second));
    use_them(&Message::Third(third));
    use_them(&Message::LongThird(long));
    use_them(&Message::Fourth(FourthMessage::new(pseudonym, SessionStatus::Void, TAG)));
    use_them(&Message::Cookie(CookieMessage::new([1; 8], [2; 16])));
    use_them(&Message::Stale(StaleMessage::new([1; 8], TAG)));
    use_them(&Message::First(with_cookie));
}

#[test]
fn a_handshake_with_two_suites_is_144_octets_and_its_variants_117_192_and_165() {
    let mut lengths = Vec::new();
    with_examples(&[1, 2], &[], |message| lengths.push(encoded(message).len()));
    let [first, second, third, long, fourth, cookie, stale, with_cookie] = lengths.try_into().unwrap();
    assert_eq!([first, second, third, long, fourth], [46, 44, 27, 75, 27]);
    assert_eq!([cookie, stale, with_cookie], [26, 26, 63]);
    assert_eq!(first + second + third + fourth, 144);
    assert_eq!(first + second + third, 117);
    assert_eq!(first + second + long + fourth, 192);
    assert_eq!(first + second + long, 165);
}

#[test]
fn what_is_decoded_is_what_was_encoded_and_every_other_length_is_refused() {
    for extension in [&[][..], &[5; 1], &[5; MIX_OFFER_LEN], &[5; MAX_EXTENSION]] {
        with_examples(&[1, 2, 3, 4, 5, 0x80, 0x81, 0xff], extension, |message| {
            let bytes = encoded(message);
            assert!(bytes.len() <= MAX_MESSAGE);
            assert_eq!(Message::decode(&bytes).as_ref(), Ok(message));
            for length in 0..bytes.len() {
                // A first message without its cookie is a first message.
                let is_first = matches!(message, Message::First(FirstMessage { cookie: Some(_), .. }));
                if is_first && length + 17 == bytes.len() {
                    continue;
                }
                assert!(Message::decode(&bytes[..length]).is_err(), "{message:?} cut to {length}");
            }
            let mut longer = bytes.clone();
            longer.push(0);
            assert!(Message::decode(&longer).is_err(), "{message:?} with an octet behind it");
        });
    }
}

#[test]
fn a_long_third_message_gives_the_first_and_the_second_back_byte_for_byte() {
    let mut messages = Vec::new();
    with_examples(&[2, 1], &[6; 20], |message| messages.push(encoded(message)));
    let Ok(Message::LongThird(long)) = Message::decode(&messages[3]) else { panic!("no long third message") };
    let first = FirstMessage { tag: [0; 16], ..long.first() };
    assert_eq!(encoded(&Message::First(first)), messages[0]);
    assert_eq!(encoded(&Message::Second(long.second())), messages[1]);
    assert_eq!(encoded(&Message::Third(long.short)), messages[2]);
}

#[test]
fn what_is_not_canonical_is_refused() {
    let refused = |bytes: &[u8], kind: DecodeErrorKind| {
        assert_eq!(Message::decode(bytes).unwrap_err().kind, kind, "{bytes:02x?}");
    };
    with_examples(&[1, 2], &[], |message| {
        let bytes = encoded(message);
        let changed = |at: usize, to: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = to;
            bytes
        };
        refused(&changed(0, bytes[0] ^ 0x30), DecodeErrorKind::UnknownVersion);
        refused(&changed(0, 0x10), DecodeErrorKind::UnknownType);
        refused(&changed(0, 0x1f), DecodeErrorKind::UnknownType);
        refused(&changed(1, 0x80), DecodeErrorKind::BadValue);
        match message {
            Message::First(_) => {
                refused(&changed(26, 0), DecodeErrorKind::BadLength);
                refused(&changed(26, 9), DecodeErrorKind::BadLength);
                refused(&changed(27, 0), DecodeErrorKind::BadValue);
                refused(&changed(28, 1), DecodeErrorKind::NonCanonical);
                refused(&changed(29, 57), DecodeErrorKind::BadLength);
            }
            Message::Second(_) => refused(&changed(26, 0), DecodeErrorKind::BadValue),
            Message::Fourth(_) => refused(&changed(10, 2), DecodeErrorKind::BadValue),
            _ => {}
        }
    });
    refused(&[0x11; MAX_MESSAGE + 1], DecodeErrorKind::BadLength);
    refused(&[], DecodeErrorKind::Truncated);
}

#[test]
fn an_offer_holds_what_a_message_may_carry() {
    let all = SuiteId::KNOWN;
    let offer = Offer::new(all).unwrap();
    assert!(offer.offered().iter().eq(all.iter().copied()));
    assert_eq!(Offer::from(offer.offered()), offer);
    assert_eq!(Offer::new(&[]), Err(DecodeErrorKind::BadLength));
    assert_eq!(Offer::new(&[SuiteId::new(1); 2]), Err(DecodeErrorKind::NonCanonical));
    assert_eq!(Offer::new(&[SuiteId::new(0)]), Err(DecodeErrorKind::BadValue));
    assert_eq!(Offer::new(&[SuiteId::new(1); 9]), Err(DecodeErrorKind::BadLength));
}

proptest! {
    #[test]
    fn any_bytes_that_decode_are_the_encoding_of_what_they_decode_to(
        message_type in 0_u8..9,
        mut bytes in proptest::collection::vec(any::<u8>(), 0..=120),
    ) {
        if let Some(first) = bytes.first_mut() {
            *first = 0x10 | message_type;
        }
        for at in [1, 10, 26, 28, 29] {
            // Small values where lengths and flags stand, so that some of it decodes.
            if let Some(octet) = bytes.get_mut(at) {
                *octet &= 0x03;
            }
        }
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(encoded(&message), bytes);
        }
    }
}
