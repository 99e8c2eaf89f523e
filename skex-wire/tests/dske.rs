//! The laws of the DSKE wire format: one encoding for each message, and no input that a decoder cannot take.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;
use skex_wire::dske::*;
use skex_wire::{DecodeErrorKind, EncodeError, Writer};

type Bytes = Vec<u8>;

fn written(room: usize, write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>) -> Bytes {
    let mut buffer = vec![0xcc; room];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer).unwrap();
    let length = writer.len();
    buffer.truncate(length);
    buffer
}

fn with_tag(mut bytes: Bytes, tag: [u8; 16]) -> Bytes {
    bytes.extend(tag);
    bytes
}

/// Writes a decoded inner message anew.
fn encode_inner(inner: &Inner<'_>, room: usize) -> Bytes {
    match inner {
        Inner::LeaseRequest(message) => written(room, |w| message.encode(w)),
        Inner::LeaseGrant(tagged) => {
            with_tag(written(room, |w| tagged.message.encode_untagged(w)), tagged.tag)
        }
        Inner::LeaseDenied(message) => written(room, |w| message.encode(w)),
        Inner::Share(tagged) => with_tag(written(room, |w| tagged.message.encode_untagged(w)), tagged.tag),
        Inner::Answer(tagged) => with_tag(written(room, |w| tagged.message.encode_untagged(w)), tagged.tag),
        Inner::Busy(message) => written(room, |w| message.encode(w)),
        Inner::Confirm(message) => written(room, |w| message.encode(w)),
        Inner::Fetch(message) => written(room, |w| message.encode(w)),
        Inner::Fetched(message) => written(room, |w| message.encode(w)),
        Inner::Command(tagged) => with_tag(written(room, |w| tagged.message.encode_untagged(w)), tagged.tag),
        Inner::Outcome(tagged) => with_tag(written(room, |w| tagged.message.encode_untagged(w)), tagged.tag),
        Inner::Refill(message) => written(room, |w| message.encode(w)),
        Inner::Refilled(message) => written(room, |w| message.encode(w)),
        Inner::Several(message) => written(room, |w| message.encode(w)),
        other => panic!("a message that the tests do not know: {other:?}"),
    }
}

fn encode_outer(outer: &Outer<'_>, room: usize) -> Bytes {
    match outer {
        Outer::Hello(tagged) => with_tag(written(room, |w| tagged.message.encode_untagged(w)), tagged.tag),
        Outer::HelloReply(tagged) => {
            with_tag(written(room, |w| tagged.message.encode_untagged(w)), tagged.tag)
        }
        Outer::HelloRequest(tagged) => {
            with_tag(written(room, |w| tagged.message.encode_untagged(w)), tagged.tag)
        }
        Outer::Sealed(sealed) => {
            let mut bytes = written(room, |w| sealed.header.encode(w));
            assert_eq!(bytes, sealed.aad);
            bytes.extend(sealed.ciphertext);
            with_tag(bytes, sealed.tag)
        }
        other => panic!("a message that the tests do not know: {other:?}"),
    }
}

fn bits(n: usize, value: u32) -> Bytes {
    let kept = value & ((1_u64 << n) - 1) as u32;
    kept.to_le_bytes()[..n.div_ceil(8)].to_vec()
}

#[derive(Debug, Clone)]
struct Share {
    upload: bool,
    direct: bool,
    position: BlockPosition,
    key_id: [u8; 16],
    peer: [u8; 16],
    suite: u8,
    threshold: u8,
    key_len: u32,
    lifetime: u16,
    coordinates: Bytes,
    origins: Bytes,
    secret_tag: [u8; 16],
    tag: [u8; 16],
    filling: u8,
}

impl Share {
    fn encode(&self) -> Bytes {
        let suite = DskeSuiteId::new(self.suite);
        let (coordinates, origins) = (&self.coordinates, &self.origins);
        let terms =
            Terms::new(suite, self.threshold, self.key_len, self.lifetime, coordinates, origins).unwrap();
        let sealed = self.position.number.is_some();
        let inner_type = match (self.upload, sealed) {
            (true, false) => InnerType::UPLOAD,
            (false, false) => InnerType::DELIVERY,
            (true, true) => InnerType::UPLOAD_SEALED,
            (false, true) => InnerType::DELIVERY_SEALED,
        };
        let direct = self.direct && self.upload && !sealed;
        let share_len = if direct { 0 } else { share_elements(self.key_len).unwrap() as usize * ELEMENT_LEN };
        let share = vec![self.filling; share_len];
        let (position, key_id, peer) = (self.position, self.key_id, self.peer);
        let message =
            ShareMessage::new(inner_type, position, key_id, peer, terms, self.secret_tag, &share).unwrap();
        let bytes = with_tag(written(message.encoded_len(), |w| message.encode_untagged(w)), self.tag);
        assert_eq!(bytes.len(), message.encoded_len());

        let read = ShareMessage::decode(&bytes).unwrap();
        assert_eq!(read.message, message);
        assert_eq!(read.tag, self.tag);
        assert_eq!(read.untagged, &bytes[..bytes.len() - TAG_LEN]);
        assert_eq!(read.message.is_direct(), direct);
        assert_eq!(bytes[message.head_len()..], with_tag(share, self.tag));
        bytes
    }
}

fn share() -> impl Strategy<Value = Share> {
    let coordinates = btree_set(1_u8..=255, 2..=31).prop_map(|set| set.into_iter().collect::<Bytes>());
    let position = any::<(u16, u32, Option<u8>, u32)>();
    let head = (any::<(bool, bool)>(), position, any::<[[u8; 16]; 4]>(), any::<u8>());
    (head, coordinates, any::<Index>(), any::<u32>(), 16_u32..200, 1_u16.., any::<u8>()).prop_map(
        |(head, coordinates, threshold, origins, key_len, lifetime, filling)| {
            let ((upload, direct), (table, index, number, floor), [key_id, peer, secret_tag, tag], suite) =
                head;
            let position = match number {
                None => BlockPosition::new(table, index, floor),
                Some(number) => BlockPosition::in_epoch(table, index, number, floor),
            };
            let n = coordinates.len();
            Share {
                upload,
                direct,
                position,
                key_id,
                peer,
                suite,
                threshold: 2 + threshold.index(n - 1) as u8,
                key_len,
                lifetime,
                origins: bits(n, origins),
                coordinates,
                secret_tag,
                tag,
                filling,
            }
        },
    )
}

fn bitmaps() -> impl Strategy<Value = (Bytes, Bytes)> {
    (1_usize..=31, any::<u32>(), any::<u32>()).prop_map(|(n, a, b)| (bits(n, a), bits(n, b)))
}

/// Octets of any inner message that a conforming sender could write.
fn inner() -> impl Strategy<Value = Bytes> {
    let tag = any::<[u8; 16]>;
    prop_oneof![
        (any::<u16>(), tag(), any::<u32>(), any::<u32>()).prop_map(|(table, nonce, mark, want)| {
            written(LeaseRequest::LEN, |w| LeaseRequest::new(table, nonce, mark, want).encode(w))
        }),
        (any::<u16>(), tag(), 0..u32::MAX - 2, any::<u32>(), tag()).prop_map(
            |(table, nonce, start, more, tag)| {
                let end = start.saturating_add(more.max(2));
                let grant = LeaseGrant::new(table, nonce, start, end);
                with_tag(written(LeaseGrant::LEN, |w| grant.encode_untagged(w)), tag)
            }
        ),
        (any::<u16>(), tag(), any::<u32>()).prop_map(|(table, nonce, mark)| {
            written(LeaseDenied::LEN, |w| LeaseDenied::new(table, nonce, mark).encode(w))
        }),
        share().prop_map(|share| share.encode()),
        (any::<(u16, u32, Option<u8>)>(), any::<u8>(), option::of((bitmaps(), tag())), tag()).prop_map(
            |((table, index, number), status, confirmation, tag)| {
                let status =
                    if confirmation.is_some() { AnswerStatus::ACCEPTED } else { AnswerStatus::new(status) };
                let confirmation = confirmation
                    .as_ref()
                    .map(|((origins, lying), tag)| Confirmation::new(origins, lying, *tag).unwrap());
                let answer = Answer::new(table, index, status, confirmation).unwrap().in_epoch(number);
                let bytes = with_tag(written(answer.encoded_len(), |w| answer.encode_untagged(w)), tag);
                assert_eq!(bytes.len(), answer.encoded_len());
                assert_eq!(Answer::decode(&bytes).unwrap().message, answer);
                bytes
            }
        ),
        (any::<u16>(), any::<u32>())
            .prop_map(|(table, index)| { written(Busy::LEN, |w| Busy::new(table, index).encode(w)) }),
        (tag(), tag(), bitmaps(), tag()).prop_map(|(key_id, peer, (origins, lying), tag)| {
            let confirm = Confirm::new(key_id, peer, Confirmation::new(&origins, &lying, tag).unwrap());
            let bytes = written(confirm.encoded_len(), |w| confirm.encode(w));
            assert_eq!(bytes.len(), confirm.encoded_len());
            assert_eq!(Confirm::decode(&bytes).unwrap(), confirm);
            bytes
        }),
        Just(written(Fetch::LEN, |w| Fetch::new().encode(w))),
        any::<u16>().prop_map(|waiting| written(Fetched::LEN, |w| Fetched::new(waiting).encode(w))),
        (0..=1_u8, any::<u16>(), any::<u32>(), 1..=64_usize).prop_map(|(way, table, first, count)| {
            let pad = vec![0x5a; count * 16];
            let first = first.min(u32::MAX - 64);
            let refill = Refill::new(Direction::new(way), table, first + 64, first, &pad).unwrap();
            written(refill.encoded_len(), |w| refill.encode(w))
        }),
        (0..=1_u8, any::<u16>(), any::<u32>()).prop_map(|(way, table, next)| {
            written(Refilled::LEN, |w| Refilled::new(Direction::new(way), table, next).encode(w))
        }),
        (any::<(u16, u32, u32)>(), body(), tag()).prop_map(|((table, index, floor), body, tag)| {
            let position = BlockPosition::new(table, index, floor);
            let command = Command::new(position, body.borrowed()).unwrap();
            let bytes = with_tag(written(command.encoded_len(), |w| command.encode_untagged(w)), tag);
            assert_eq!(bytes.len(), command.encoded_len());
            assert_eq!(Command::decode(&bytes).unwrap().message, command);
            bytes
        }),
        (any::<(u16, u32, u8)>(), option::of((tag(), option::of(offer()))), tag()).prop_map(
            |((table, index, status), found, tag)| {
                let status = if found.is_some() { OutcomeStatus::DONE } else { OutcomeStatus::new(status) };
                let found = found
                    .as_ref()
                    .map(|(client, offer)| Found::new(*client, offer.as_ref().map(OwnOffer::borrowed)));
                let outcome = Outcome::new(table, index, status, found).unwrap();
                let bytes = with_tag(written(outcome.encoded_len(), |w| outcome.encode_untagged(w)), tag);
                assert_eq!(bytes.len(), outcome.encoded_len());
                assert_eq!(Outcome::decode(&bytes).unwrap().message, outcome);
                bytes
            }
        ),
    ]
}

#[derive(Debug, Clone)]
struct OwnOffer {
    threshold: u8,
    information_theoretic: bool,
    lifetime: u16,
    suites: Bytes,
    coordinates: Bytes,
}

impl OwnOffer {
    fn borrowed(&self) -> Offer<'_> {
        let Self { threshold, information_theoretic, lifetime, suites, coordinates } = self;
        Offer::new(*threshold, *information_theoretic, *lifetime, suites, coordinates).unwrap()
    }
}

#[derive(Debug, Clone)]
enum Body {
    Lookup(Bytes),
    Publish(Option<OwnOffer>),
    Withdraw([u8; 16]),
    Authorise([u8; 16], bool),
}

impl Body {
    fn borrowed(&self) -> CommandBody<'_> {
        match self {
            Self::Lookup(name) => CommandBody::Lookup(name),
            Self::Publish(offer) => CommandBody::Publish(offer.as_ref().map(OwnOffer::borrowed)),
            Self::Withdraw(key_id) => CommandBody::Withdraw(*key_id),
            Self::Authorise(client, allowed) => CommandBody::Authorise { client: *client, allowed: *allowed },
        }
    }
}

fn offer() -> impl Strategy<Value = OwnOffer> {
    let set = |most| btree_set(1_u8..=255, 1..=most).prop_map(|set| set.into_iter().collect::<Bytes>());
    let coordinates = btree_set(1_u8..=255, 2..=31).prop_map(|set| set.into_iter().collect::<Bytes>());
    (any::<Index>(), any::<bool>(), 1_u16.., set(8), coordinates).prop_map(
        |(threshold, information_theoretic, lifetime, suites, coordinates)| OwnOffer {
            threshold: 2 + threshold.index(coordinates.len() - 1) as u8,
            information_theoretic,
            lifetime,
            suites,
            coordinates,
        },
    )
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        vec(any::<u8>(), 1..=MAX_NAME_LEN).prop_map(Body::Lookup),
        option::of(offer()).prop_map(Body::Publish),
        any::<[u8; 16]>().prop_map(Body::Withdraw),
        any::<([u8; 16], bool)>().prop_map(|(client, allowed)| Body::Authorise(client, allowed)),
    ]
}

fn outer() -> impl Strategy<Value = Bytes> {
    let octets = any::<[u8; 16]>;
    prop_oneof![
        (any::<u32>(), octets(), octets()).prop_map(|(client, salt, tag)| {
            with_tag(written(64, |w| Hello::new(client, salt).encode_untagged(w)), tag)
        }),
        (any::<u32>(), octets(), octets()).prop_map(|(client, salt, tag)| {
            with_tag(written(64, |w| Hello::reply(client, salt).encode_untagged(w)), tag)
        }),
        (any::<u32>(), octets()).prop_map(|(client, tag)| {
            with_tag(written(64, |w| HelloRequest::new(client).encode_untagged(w)), tag)
        }),
        (any::<u32>(), option::of(octets()), any::<u32>(), vec(any::<u8>(), 1..80), octets()).prop_map(
            |(client, salt, seq, ciphertext, tag)| {
                let header = SealedHeader::new(client, salt, seq);
                let mut bytes = written(header.len(), |w| header.encode(w));
                bytes.extend(&ciphertext);
                let bytes = with_tag(bytes, tag);
                assert_eq!(bytes.len(), header.sealed_len(ciphertext.len()));
                let read = Sealed::decode(&bytes).unwrap();
                assert_eq!((read.header, read.ciphertext, read.tag), (header, &ciphertext[..], tag));
                assert_eq!(read.header.nonce()[8..], seq.to_be_bytes());
                bytes
            }
        ),
    ]
}

proptest! {
    #[test]
    fn an_inner_message_comes_back_the_same(bytes in inner()) {
        let read = Inner::decode(&bytes).unwrap();
        prop_assert_eq!(encode_inner(&read, bytes.len()), bytes);
    }

    #[test]
    fn messages_about_keys_share_an_envelope_and_come_out_as_they_were(messages in vec(inner(), 2..6)) {
        let framed: Vec<Bytes> = messages
            .iter()
            .map(|message| written(message.len() + 2, |w| w.prefixed_u16(message, MAX_SEVERAL_LEN)))
            .collect();
        let bytes = [vec![InnerType::SEVERAL.value()], framed.concat()].concat();
        let fits = bytes.len() <= MAX_SEVERAL_LEN && messages.iter().all(|message| Several::admits(message));
        match Inner::decode(&bytes) {
            Ok(Inner::Several(several)) => {
                prop_assert!(fits);
                prop_assert!(several.messages().eq(messages.iter().map(Vec::as_slice)));
                prop_assert_eq!(encode_inner(&Inner::Several(several), bytes.len()), bytes);
            }
            other => prop_assert!(!fits, "{other:?}"),
        }
    }

    #[test]
    fn an_outer_message_comes_back_the_same(bytes in outer()) {
        let read = Outer::decode(&bytes).unwrap();
        prop_assert_eq!(&read.client_id().to_be_bytes(), bytes[1..].first_chunk().unwrap());
        prop_assert_eq!(encode_outer(&read, bytes.len()), bytes);
    }

    #[test]
    fn whatever_is_accepted_has_this_one_encoding(bytes in vec(any::<u8>(), 0..300), kind in 0_u8..40) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() { *first = kind; }
        if let Ok(read) = Inner::decode(&bytes) {
            prop_assert_eq!(encode_inner(&read, bytes.len()), bytes);
        }
    }

    #[test]
    fn a_changed_message_is_refused_or_another_one(bytes in inner(), at in any::<Index>(), mask in 1_u8..) {
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= mask;
        if let Ok(read) = Inner::decode(&changed) {
            prop_assert_ne!(read, Inner::decode(&bytes).unwrap());
            prop_assert_eq!(encode_inner(&read, changed.len()), changed);
        }
    }

    #[test]
    fn a_changed_envelope_is_refused_or_another_one(bytes in outer(), at in any::<Index>(), mask in 1_u8..) {
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= mask;
        if let Ok(read) = Outer::decode(&changed) {
            prop_assert_ne!(read, Outer::decode(&bytes).unwrap());
            prop_assert_eq!(encode_outer(&read, changed.len()), changed);
        }
    }

    #[test]
    fn a_cut_or_prolonged_envelope_is_refused_or_one_of_another_ciphertext(
        bytes in outer(), at in any::<Index>(), more in any::<u8>(),
    ) {
        for other in [bytes[..at.index(bytes.len())].to_vec(), [&bytes[..], &[more]].concat()] {
            if let Ok(read) = Outer::decode(&other) {
                prop_assert!(matches!(read, Outer::Sealed(_)), "{:?}", read);
                prop_assert_ne!(&read, &Outer::decode(&bytes).unwrap());
                prop_assert_eq!(encode_outer(&read, other.len()), other);
            }
        }
    }

    #[test]
    fn whatever_envelope_is_accepted_has_this_one_encoding(
        like in outer(), rest in vec(any::<u8>(), 0..120),
    ) {
        let bytes = [&like[..1], &rest].concat();
        if let Ok(read) = Outer::decode(&bytes) {
            prop_assert_eq!(encode_outer(&read, bytes.len()), bytes);
        }
    }

    #[test]
    fn a_cut_message_is_refused_or_a_shorter_one(bytes in inner(), at in any::<Index>()) {
        let cut = &bytes[..at.index(bytes.len())];
        if let Ok(read) = Inner::decode(cut) {
            // Only these have more than one length: bitmaps for fewer hubs, no confirmation, no share, fewer elements; a shorter
            // name or offer.
            let direct = matches!(&read, Inner::Share(tagged) if tagged.message.is_direct());
            let variable = matches!(
                read,
                Inner::Confirm(_) | Inner::Answer(_) | Inner::Command(_) | Inner::Outcome(_) | Inner::Refill(_)
            );
            prop_assert!(direct || variable, "{:?}", read);
            prop_assert_eq!(encode_inner(&read, cut.len()), cut);
        }
    }

    #[test]
    fn an_octet_behind_a_message_of_fixed_length_is_refused(bytes in inner(), more in any::<u8>()) {
        let read = Inner::decode(&bytes).unwrap();
        // A longer name is another name.
        prop_assume!(bytes[0] != InnerType::LOOKUP.value());
        let variable = matches!(
            read,
            Inner::Confirm(_) | Inner::Answer(_) | Inner::Command(_) | Inner::Outcome(_)
        );
        let mut longer = bytes;
        longer.push(more);
        // A longer confirmation is one of other bitmaps, by two octets: never by one.
        let kind = Inner::decode(&longer).unwrap_err().kind;
        prop_assert!(variable || matches!(kind, DecodeErrorKind::TrailingBytes | DecodeErrorKind::BadLength));
    }

    #[test]
    fn a_buffer_too_short_is_said_so(share in share(), room in any::<Index>()) {
        let bytes = share.encode();
        let read = ShareMessage::decode(&bytes).unwrap();
        let mut buffer = vec![0; room.index(read.untagged.len())];
        let result = read.message.encode_untagged(&mut Writer::new(&mut buffer));
        prop_assert_eq!(result, Err(EncodeError::BufferTooSmall));
    }
}

fn three_of_five() -> Share {
    Share {
        upload: true,
        direct: false,
        position: BlockPosition::new(0, 4098, 4098),
        key_id: [0x4b; 16],
        peer: [0xb0; 16],
        suite: 1,
        threshold: 3,
        key_len: 32,
        lifetime: 600,
        coordinates: vec![1, 2, 3, 4, 5],
        origins: vec![0],
        secret_tag: [0x0f; 16],
        tag: [0x7a; 16],
        filling: 0x55,
    }
}

/// Where the fields of the terms lie in an upload.
const SUITE: usize = 43;
const THRESHOLD: usize = 44;
const COUNT: usize = 45;
const KEY_LEN: usize = 46;
const LIFETIME: usize = 50;
const COORDINATES: usize = 52;
const ORIGINS: usize = 57;

#[test]
fn a_number_in_an_epoch_belongs_to_a_sealed_message_alone() {
    let terms = Terms::new(DskeSuiteId::AES256GCM, 2, 32, 1, &[1, 2], &[0]).unwrap();
    let (own, epoch) = (BlockPosition::new(0, 0, 0), BlockPosition::in_epoch(0, 0, 255, 0));
    let share = [0; 112];
    let new = |inner_type, position, share| {
        ShareMessage::new(inner_type, position, [0; 16], [0; 16], terms, [0; 16], share).map(|_| ())
    };
    for (inner_type, sealed) in [
        (InnerType::UPLOAD, false),
        (InnerType::DELIVERY, false),
        (InnerType::UPLOAD_SEALED, true),
        (InnerType::DELIVERY_SEALED, true),
    ] {
        let (right, wrong) = if sealed { (epoch, own) } else { (own, epoch) };
        assert_eq!(new(inner_type, right, &share), Ok(()));
        assert_eq!(new(inner_type, wrong, &share), Err(DecodeErrorKind::BadValue));
    }
    for inner_type in [InnerType::UPLOAD_SEALED, InnerType::DELIVERY_SEALED] {
        assert_eq!(new(inner_type, epoch, &[]), Err(DecodeErrorKind::BadLength), "a sealed share travels");
    }
}

#[test]
fn a_share_outside_its_limits_is_refused() {
    let good = three_of_five().encode();
    let refused: &[(&str, usize, &[u8], DecodeErrorKind)] = &[
        ("threshold one", THRESHOLD, &[1], DecodeErrorKind::BadValue),
        ("threshold above n", THRESHOLD, &[6], DecodeErrorKind::BadValue),
        ("key of 15 octets", KEY_LEN, &[0, 0, 0, 15], DecodeErrorKind::BadLength),
        ("key above 1 MiB", KEY_LEN, &[0, 0x10, 0, 1], DecodeErrorKind::BadLength),
        ("key that needs another share", KEY_LEN, &[0, 0, 0, 33], DecodeErrorKind::BadLength),
        ("no lifetime", LIFETIME, &[0, 0], DecodeErrorKind::BadValue),
        ("coordinate zero", COORDINATES, &[0], DecodeErrorKind::NonCanonical),
        ("coordinates not in order", COORDINATES, &[2, 1], DecodeErrorKind::NonCanonical),
        ("a coordinate twice", COORDINATES, &[1, 1], DecodeErrorKind::NonCanonical),
        ("a bit for a sixth hub", ORIGINS, &[0x20], DecodeErrorKind::NonCanonical),
    ];
    for (name, at, octets, kind) in refused {
        let mut bytes = good.clone();
        bytes[*at..at + octets.len()].copy_from_slice(octets);
        assert_eq!(ShareMessage::decode(&bytes).unwrap_err().kind, *kind, "{name}");
    }
    for n in [0, 1, 2, 4, 6, 31, 32, 255] {
        let mut bytes = good.clone();
        bytes[COUNT] = n;
        assert!(ShareMessage::decode(&bytes).is_err(), "{n} hubs");
    }
}

#[test]
fn thirty_one_hubs_are_the_most() {
    let coordinates: Bytes = (1..=32).collect();
    let terms = |n: usize| {
        Terms::new(DskeSuiteId::ITS, 2, 32, 1, &coordinates[..n], &[0; 4]).map(|terms| terms.hubs())
    };
    assert_eq!(terms(31), Ok(31));
    assert_eq!(terms(32), Err(DecodeErrorKind::BadValue));
}

#[test]
fn only_an_upload_may_be_direct() {
    let mut direct = Share { direct: true, ..three_of_five() }.encode();
    direct[0] = InnerType::DELIVERY.value();
    assert_eq!(ShareMessage::decode(&direct).unwrap_err().kind, DecodeErrorKind::BadLength);
}

#[test]
fn a_suite_or_status_that_is_not_known_survives() {
    let mut upload = three_of_five().encode();
    upload[SUITE] = 0xfe;
    assert_eq!(ShareMessage::decode(&upload).unwrap().message.terms.suite, DskeSuiteId::new(0xfe));
    let answer = Answer::new(1, 2, AnswerStatus::new(0xfe), None).unwrap();
    let bytes = with_tag(written(64, |w| answer.encode_untagged(w)), [0; 16]);
    assert_eq!(Answer::decode(&bytes).unwrap().message.status, AnswerStatus::new(0xfe));
}

#[test]
fn only_an_acceptance_confirms() {
    let confirmation = Some(Confirmation::new(&[0], &[0], [0; 16]).unwrap());
    for status in 1..=u8::MAX {
        assert!(Answer::new(0, 0, AnswerStatus::new(status), confirmation).is_err());
    }
    let accepted = Answer::new(0, 0, AnswerStatus::ACCEPTED, confirmation).unwrap();
    let mut bytes = with_tag(written(64, |w| accepted.encode_untagged(w)), [0; 16]);
    bytes[7] = AnswerStatus::POLICY.value();
    assert_eq!(Answer::decode(&bytes).unwrap_err().kind, DecodeErrorKind::BadLength);
}

#[test]
fn an_answer_has_one_of_five_lengths() {
    for length in 0..100 {
        let mut bytes = vec![0; length];
        if let Some(first) = bytes.first_mut() {
            *first = InnerType::ANSWER.value();
        }
        assert_eq!(Answer::decode(&bytes).is_ok(), matches!(length, 24 | 42 | 44 | 46 | 48), "{length}");
    }
}

#[test]
fn a_lease_holds_at_least_its_own_tag_key() {
    for (start, end, good) in
        [(0, 2, true), (0, 1, false), (5, 5, false), (5, 4, false), (u32::MAX, 1, false)]
    {
        let grant = LeaseGrant::new(0, [0; 16], start, end);
        let bytes = with_tag(written(64, |w| grant.encode_untagged(w)), [0; 16]);
        assert_eq!(LeaseGrant::decode(&bytes).is_ok(), good, "{start}..{end}");
    }
}

#[test]
fn other_versions_and_types_are_told_apart() {
    let hello = with_tag(written(64, |w| Hello::new(7, [1; 16]).encode_untagged(w)), [2; 16]);
    for octet in 0..=u8::MAX {
        let mut bytes = hello.clone();
        bytes[0] = octet;
        let kind = Outer::decode(&bytes).map(|_| ()).map_err(|error| error.kind);
        match (octet >> 4, octet & 0x0f) {
            (1, 1..=3) => assert_eq!(kind, Ok(()), "{octet:#x}"),
            (1, 4) => {
                assert_eq!(kind, Err(DecodeErrorKind::Truncated), "37 octets are too short for a fresh one")
            }
            (1, 5) => assert_eq!(kind, Err(DecodeErrorKind::TrailingBytes)),
            (1, _) => assert_eq!(kind, Err(DecodeErrorKind::UnknownType), "{octet:#x}"),
            _ => assert_eq!(kind, Err(DecodeErrorKind::UnknownVersion), "{octet:#x}"),
        }
    }
}

#[test]
fn an_envelope_without_content_or_above_the_limit_is_refused() {
    let header = written(64, |w| SealedHeader::new(1, None, 0).encode(w));
    let sealed = |inner: usize| {
        let mut bytes = header.clone();
        bytes.resize(header.len() + inner + TAG_LEN, 0);
        Outer::decode(&bytes).map(|_| ()).map_err(|error| error.kind)
    };
    assert_eq!(sealed(0), Err(DecodeErrorKind::Truncated));
    assert_eq!(sealed(1), Ok(()));
    let most = MAX_DSKE_MESSAGE_LEN - header.len() - TAG_LEN;
    assert_eq!(sealed(most), Ok(()));
    assert_eq!(sealed(most + 1), Err(DecodeErrorKind::BadLength));
}

#[test]
fn the_longest_share_fits_into_a_message() {
    let largest = Share {
        key_len: MAX_DSKE_KEY_LEN,
        coordinates: (1..=31).collect(),
        origins: vec![0; 4],
        ..three_of_five()
    };
    let inner_len = largest.encode().len();
    assert!(SealedHeader::FRESH_LEN + inner_len + TAG_LEN <= MAX_DSKE_MESSAGE_LEN);
}

/// The example of docs/draft-skex-dske.md, "Terms and context of a key".
#[test]
fn the_context_of_the_specification() {
    let terms = Terms::new(DskeSuiteId::ITS, 2, 32, 600, &[1, 5, 9], &[0b010]).unwrap();
    let hubs = [[0xa1; 16], [0xa2; 16], [0xa3; 16]];
    let context =
        written(context_len(3), |w| encode_context(w, &[0x4b; 16], &[0xa0; 16], &[0xb0; 16], &terms, &hubs));
    let expected = concat!(
        "01014b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4ba0a0a0a0a0a0a0a0a0a0a0a0a0a0",
        "a0a0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b00203000000200258a1a1a1a1a1a1",
        "a1a1a1a1a1a1a1a1a1a10100a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a20501a3a3",
        "a3a3a3a3a3a3a3a3a3a3a3a3a3a30900",
    );
    assert_eq!(hex(&context), expected);
}

/// Every inner message of fixed length, to the octet.
#[test]
fn the_diagrams_of_the_specification() {
    let n = "0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e";
    let of = |room, write: &dyn Fn(&mut Writer<'_>) -> Result<(), EncodeError>| hex(&written(room, write));
    let request = LeaseRequest::new(0x0102, [0x0e; 16], 0x0304_0506, 0x0708_090a);
    assert_eq!(of(64, &|w| request.encode(w)), format!("010102{n}030405060708090a"));
    let grant = LeaseGrant::new(0x0102, [0x0e; 16], 0x0304_0506, 0x0708_090a);
    assert_eq!(of(64, &|w| grant.encode_untagged(w)), format!("020102{n}030405060708090a"));
    let denied = LeaseDenied::new(0x0102, [0x0e; 16], 0x0304_0506);
    assert_eq!(of(64, &|w| denied.encode(w)), format!("030102{n}03040506"));
    let answer = Answer::new(0x0102, 0x0304_0506, AnswerStatus::POLICY, None).unwrap();
    assert_eq!(of(64, &|w| answer.encode_untagged(w)), "0601020304050605");
    assert_eq!(of(64, &|w| Busy::new(0x0102, 0x0304_0506).encode(w)), "07010203040506");
    let confirmation = Confirmation::new(&[0x01], &[0x02], [0x0e; 16]).unwrap();
    let confirm = Confirm::new([0x4b; 16], [0xb0; 16], confirmation);
    let (key_id, peer) = ("4b".repeat(16), "b0".repeat(16));
    assert_eq!(of(64, &|w| confirm.encode(w)), format!("08{key_id}{peer}0102{n}"));
    assert_eq!(of(64, &|w| Fetch::new().encode(w)), "09");
    assert_eq!(of(64, &|w| Fetched::new(0x0102).encode(w)), "0a0102");
    let pad = [0x5a; 16];
    let refill = Refill::new(Direction::DOWNLINK, 2, 0x1000, 0x40, &pad).unwrap();
    assert_eq!(of(64, &|w| refill.encode(w)), format!("140100020000100000000040{}", "5a".repeat(16)));
    let refilled = Refilled::new(Direction::DOWNLINK, 2, 0x41);
    assert_eq!(of(64, &|w| refilled.encode(w)), "1501000200000041");
    for (elements, first, len) in [(4, 4, 16), (4, 0, 0), (4, 0, 17), (65, 0, 65 * 16), (4, u32::MAX, 16)] {
        let pad = vec![0; len];
        assert!(
            Refill::new(Direction::UPLINK, 0, elements, first, &pad).is_err(),
            "{elements} {first} {len}"
        );
    }

    let upload = hex(&three_of_five().encode());
    let head = format!("04000000001002{}{key_id}{peer}010305000000200258010203040500", "00001002");
    let share = "55".repeat(16 * 7);
    assert_eq!(upload, format!("{head}{}{share}{}", "0f".repeat(16), "7a".repeat(16)));

    assert_eq!(
        of(64, &|w| Hello::new(7, [0x5c; 16]).encode_untagged(w)),
        format!("1100000007{}", "5c".repeat(16))
    );
    assert_eq!(
        of(64, &|w| Hello::reply(7, [0x54; 16]).encode_untagged(w)),
        format!("1200000007{}", "54".repeat(16))
    );
    assert_eq!(of(64, &|w| HelloRequest::new(7).encode_untagged(w)), "1500000007");
    assert_eq!(of(64, &|w| SealedHeader::new(7, None, 0x0102).encode(w)), "130000000700000102");
    let fresh = SealedHeader::new(7, Some([0x5c; 16]), 0x0102);
    assert_eq!(of(64, &|w| fresh.encode(w)), format!("1400000007{}00000102", "5c".repeat(16)));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[test]
fn commands_outside_their_limits_are_neither_made_nor_read() {
    let position = BlockPosition::new(0, 0, 0);
    let command = |body| Command::new(position, body).map(|_| ());
    assert_eq!(command(CommandBody::Lookup(&[])), Err(DecodeErrorKind::BadLength));
    assert_eq!(command(CommandBody::Lookup(&[0; 65])), Err(DecodeErrorKind::BadLength));
    assert_eq!(command(CommandBody::Lookup(&[0; 64])), Ok(()));
    let in_epoch = BlockPosition::in_epoch(0, 0, 0, 0);
    assert_eq!(Command::new(in_epoch, CommandBody::Publish(None)), Err(DecodeErrorKind::BadValue));
    for (offer, kind) in [
        (Offer::new(1, false, 1, &[1], &[1, 2]), DecodeErrorKind::BadValue),
        (Offer::new(3, false, 1, &[1], &[1, 2]), DecodeErrorKind::BadValue),
        (Offer::new(2, false, 0, &[1], &[1, 2]), DecodeErrorKind::BadValue),
        (Offer::new(2, false, 1, &[], &[1, 2]), DecodeErrorKind::BadLength),
        (Offer::new(2, false, 1, &[0], &[1, 2]), DecodeErrorKind::BadValue),
        (Offer::new(2, false, 1, &[2, 1], &[1, 2]), DecodeErrorKind::NonCanonical),
        (Offer::new(2, false, 1, &[1], &[1]), DecodeErrorKind::BadLength),
        (Offer::new(2, false, 1, &[1], &[0, 1]), DecodeErrorKind::BadValue),
        (Offer::new(2, false, 1, &[1], &[2, 2]), DecodeErrorKind::NonCanonical),
    ] {
        assert_eq!(offer, Err(kind));
    }
    let found = Some(Found::new([0; 16], None));
    assert_eq!(Outcome::new(0, 0, OutcomeStatus::UNKNOWN, found), Err(DecodeErrorKind::BadLength));
}
