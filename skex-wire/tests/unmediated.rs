//! Laws of every message of the unmediated protocol: what is written is read back, what is read is written back, and what
//! is cut, prolonged or changed is refused or another message.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use proptest::collection::{hash_set, vec};
use proptest::prelude::*;
use proptest::sample::Index;
use skex_wire::unmediated::{
    CookieMessage, FirstMessage, FourthMessage, LongThirdMessage, MAX_EXTENSION, MAX_MESSAGE, MAX_SUITES,
    Message, OfferedSuites, Pseudonym, SecondMessage, SessionStatus, StaleMessage, ThirdMessage,
};
use skex_wire::{SuiteId, Writer};

/// Everything of which a message of any type can be made.
#[derive(Debug)]
struct Fields {
    void: [bool; 2],
    stateless: bool,
    good: bool,
    pseudonym: [u8; 8],
    nonces: [[u8; 16]; 2],
    suites: Vec<u8>,
    suite: u8,
    extensions: [Vec<u8>; 3],
    tag: [u8; 16],
    guard: [u8; 8],
    cookie: Option<[u8; 16]>,
}

fn fields() -> impl Strategy<Value = Fields> {
    let flags = (any::<[bool; 2]>(), any::<bool>(), any::<bool>());
    let names = (any::<[u8; 8]>(), any::<[[u8; 16]; 2]>());
    let suites = (hash_set(1_u8.., 1..=MAX_SUITES), 1_u8..);
    let block = || vec(any::<u8>(), 0..=MAX_EXTENSION);
    let tags = (any::<[u8; 16]>(), any::<[u8; 8]>(), proptest::option::of(any::<[u8; 16]>()));
    (flags, names, suites, [block(), block(), block()], tags).prop_map(
        |(
            (void, stateless, good),
            (pseudonym, nonces),
            (suites, suite),
            extensions,
            (tag, guard, cookie),
        )| Fields {
            void,
            stateless,
            good,
            pseudonym,
            nonces,
            suites: suites.into_iter().collect(),
            suite,
            extensions,
            tag,
            guard,
            cookie,
        },
    )
}

fn encode(message: &Message<'_>) -> Vec<u8> {
    let mut octets = [0; 2 * MAX_MESSAGE];
    let mut writer = Writer::new(&mut octets);
    match message {
        Message::First(message) => message.encode(&mut writer),
        Message::Second(message) => message.encode(&mut writer),
        Message::Third(message) => message.encode(&mut writer),
        Message::LongThird(message) => message.encode(&mut writer),
        Message::Fourth(message) => message.encode(&mut writer),
        Message::Cookie(message) => message.encode(&mut writer),
        Message::Stale(message) => message.encode(&mut writer),
        _ => panic!("a message that these laws do not know: {message:?}"),
    }
    .unwrap();
    writer.written().to_vec()
}

impl Fields {
    /// The message of one of the seven types.
    fn message(&self, kind: u8) -> Message<'_> {
        let pseudonym = Pseudonym::new(self.pseudonym);
        let [first_extension, second_extension, third_extension] = &self.extensions;
        let suites = OfferedSuites::new(&self.suites).unwrap();
        let flags = u8::from(self.void[0]) * FirstMessage::VOID;
        let mut first = FirstMessage::new(flags, pseudonym, &self.nonces[0], suites, first_extension);
        first.tag = self.tag;
        first.cookie = self.cookie;
        let flags = u8::from(self.void[1]) * SecondMessage::VOID
            + u8::from(self.stateless) * SecondMessage::STATELESS;
        let suite = SuiteId::new(self.suite);
        let mut second = SecondMessage::new(flags, first.attempt(), &self.nonces[1], suite, second_extension);
        second.tag = self.tag;
        let third = ThirdMessage::new(pseudonym, third_extension, self.tag);
        let status = if self.good { SessionStatus::Good } else { SessionStatus::Void };
        match kind {
            1 => Message::First(first),
            2 => Message::Second(second),
            3 => Message::Third(third),
            4 => Message::Fourth(FourthMessage::new(pseudonym, status, self.tag)),
            5 => {
                let mut long = LongThirdMessage::new(third, &first, &second);
                long.guard = self.guard;
                Message::LongThird(long)
            }
            6 => Message::Cookie(CookieMessage::new(self.pseudonym, self.tag)),
            _ => Message::Stale(StaleMessage::new(self.pseudonym, self.tag)),
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(fields in fields(), kind in 1_u8..8) {
        let message = fields.message(kind);
        let octets = encode(&message);
        if octets.len() <= MAX_MESSAGE {
            prop_assert_eq!(Message::decode(&octets).unwrap(), message);
        } else {
            prop_assert!(Message::decode(&octets).is_err(), "longer than any message");
        }
    }

    #[test]
    fn a_changed_message_is_refused_or_another_one(
        fields in fields(), kind in 1_u8..8, at in any::<Index>(), mask in 1_u8..,
    ) {
        let message = fields.message(kind);
        let mut octets = encode(&message);
        let at = at.index(octets.len());
        octets[at] ^= mask;
        if let Ok(changed) = Message::decode(&octets) {
            prop_assert_ne!(&changed, &message);
            prop_assert_eq!(encode(&changed), octets);
        }
    }

    #[test]
    fn a_cut_message_is_refused_unless_all_that_went_was_the_cookie(
        fields in fields(), kind in 1_u8..8, at in any::<Index>(),
    ) {
        let octets = encode(&fields.message(kind));
        let cut = &octets[..at.index(octets.len())];
        if let Ok(shorter) = Message::decode(cut) {
            prop_assert!(matches!(&shorter, Message::First(first) if first.cookie.is_none()));
            prop_assert_eq!(cut.len() + 17, octets.len());
        }
    }

    #[test]
    fn whatever_is_accepted_has_this_one_encoding(
        fields in fields(), kind in 1_u8..8, rest in vec(any::<u8>(), 0..300),
    ) {
        let octets = [&encode(&fields.message(kind))[..1], &rest].concat();
        if let Ok(message) = Message::decode(&octets) {
            prop_assert_eq!(encode(&message), octets);
        }
    }

    #[test]
    fn an_octet_more_is_refused(fields in fields(), kind in 1_u8..8, more in any::<u8>()) {
        let mut octets = encode(&fields.message(kind));
        octets.push(more);
        prop_assert!(Message::decode(&octets).is_err());
    }
}
