//! The provisioning file: whatever is done to it on its way is noticed before a pad of it is used.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use proptest::prelude::*;
use skex_core::SecretBytes;
use skex_dske::{
    ClientId, ClientTag, Coordinate, ELEMENT_LEN, HubId, LinkIdentity, MAX_PROVISION_HEADER_LEN, Origin,
    PROVISION_CHUNK_ELEMENTS, PROVISION_TAG_LEN, Provision, ProvisionError, ProvisionKey, TablePart,
};
use skex_wire::SuiteId;
use skex_wire::dske::Direction;

const STEP: u32 = PROVISION_CHUNK_ELEMENTS;

fn link() -> LinkIdentity {
    LinkIdentity {
        hub: HubId::new([0xa1; 16]),
        coordinate: Coordinate::new(5).unwrap(),
        tag: ClientTag::new([0xb0; 16]),
        client: ClientId::new(7),
        suite: SuiteId::SHA256_AES256GCM,
    }
}

fn initial_key() -> SecretBytes<32> {
    SecretBytes::from_fn(|key| key.iter_mut().zip(0..).for_each(|(octet, i)| *octet = i))
}

/// The octet of a pad at its place in its table.
fn pad(part: &TablePart, at: usize) -> u8 {
    (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ part.number as u8 ^ part.direction.value() << 7
}

fn written(provision: &Provision) -> Vec<u8> {
    let key = ProvisionKey::new(&provision.link, &initial_key()).unwrap();
    let mut file = provision.encode().expose().to_vec();
    for chunk in provision.chunks() {
        assert_eq!(file.len() as u64, chunk.offset);
        let start = chunk.first as usize * ELEMENT_LEN;
        let octets: Vec<u8> = (start..start + chunk.len()).map(|at| pad(&chunk.part, at)).collect();
        file.extend_from_slice(&octets);
        file.extend_from_slice(&key.tag(&chunk, &octets));
    }
    assert_eq!(file.len() as u64, provision.file_len());
    file
}

/// What a client does: everything is verified, then given.
fn read(file: &[u8]) -> Result<(Provision, Vec<u8>), ProvisionError> {
    let (provision, header) = Provision::decode(&file[..file.len().min(MAX_PROVISION_HEADER_LEN)])?;
    assert_eq!(header, provision.header_len());
    provision.check_len(file.len() as u64)?;
    let key = provision.initial_key.as_ref().map(|key| SecretBytes::copied_from(key.expose()));
    let key = ProvisionKey::new(&provision.link, &key.unwrap_or_else(initial_key))?;
    let mut pads = Vec::new();
    for chunk in provision.chunks() {
        let octets = &file[chunk.offset as usize..][..chunk.len()];
        let tag = file[chunk.offset as usize + chunk.len()..].first_chunk::<PROVISION_TAG_LEN>().unwrap();
        key.verify(&chunk, octets, tag)?;
        pads.extend_from_slice(octets);
    }
    Ok((provision, pads))
}

fn whole(uplink: u32, downlink: u32) -> Provision {
    let parts = vec![
        TablePart::whole(Direction::UPLINK, 0, Origin::OutOfBand, uplink),
        TablePart::whole(Direction::DOWNLINK, 0, Origin::OutOfBand, downlink),
    ];
    Provision::new(link(), Some(initial_key()), parts).unwrap()
}

#[test]
fn what_was_written_is_read_back() {
    for (uplink, downlink) in [(1, 1), (16, STEP), (STEP + 1, 3 * STEP - 1)] {
        let provision = whole(uplink, downlink);
        let (read, pads) = read(&written(&provision)).unwrap();
        assert_eq!((read.link, &read.parts), (provision.link, &provision.parts));
        assert_eq!(read.initial_key.unwrap(), initial_key());
        assert_eq!(pads.len(), (uplink + downlink) as usize * ELEMENT_LEN);
    }
}

/// The example of the draft, "Provisioning file".
#[test]
fn the_octets_of_the_draft() {
    let part = TablePart::whole(Direction::UPLINK, 0, Origin::OutOfBand, 2);
    let provision = Provision::new(link(), Some(initial_key()), vec![part]).unwrap();
    let key = ProvisionKey::new(&provision.link, &initial_key()).unwrap();
    let mut file = provision.encode().expose().to_vec();
    let chunk = provision.chunks().next().unwrap();
    let octets: Vec<u8> = (0..32).map(|i| 0xe0 ^ i).collect();
    file.extend_from_slice(&octets);
    file.extend_from_slice(&key.tag(&chunk, &octets));
    let digits: String = file.iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(digits, include_str!("provision.hex").split_whitespace().collect::<String>());
}

#[test]
fn every_turned_bit_is_noticed() {
    let file = written(&whole(3, 2));
    for bit in 0..file.len() * 8 {
        let mut altered = file.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&altered).is_err(), "bit {bit}");
    }
}

/// Scenario 45: a torn write.
#[test]
fn every_shorter_file_is_torn() {
    let file = written(&whole(3, 2));
    for len in 0..file.len() {
        let error = read(&file[..len]).unwrap_err();
        let expected = if len < 7 { ProvisionError::NotProvisioning } else { ProvisionError::Torn };
        assert_eq!(error, expected, "{len}");
    }
    assert_eq!(read(&[&file[..], &[0]].concat()).unwrap_err(), ProvisionError::TooLong);
}

#[test]
fn a_file_of_another_format_is_named() {
    let mut file = written(&whole(3, 2));
    file[7] = 2;
    assert_eq!(read(&file).unwrap_err(), ProvisionError::Version(2));
    file[0] = b'X';
    assert_eq!(read(&file).unwrap_err(), ProvisionError::NotProvisioning);
}

/// One link's pads under another link's header, with the checksum made right: the tags say no.
#[test]
fn pads_of_another_link_are_refused() {
    let file = written(&whole(3, 2));
    let others = [
        LinkIdentity { hub: HubId::new([0xa2; 16]), ..link() },
        LinkIdentity { coordinate: Coordinate::new(6).unwrap(), ..link() },
        LinkIdentity { tag: ClientTag::new([0xb1; 16]), ..link() },
        LinkIdentity { client: ClientId::new(8), ..link() },
        LinkIdentity { suite: SuiteId::SHA256_CHACHA20POLY1305, ..link() },
    ];
    for other in others {
        let mut foreign = whole(3, 2);
        foreign.link = other;
        let pads = &file[foreign.header_len()..];
        let error = read(&[foreign.encode().expose(), pads].concat()).unwrap_err();
        assert_eq!(error, ProvisionError::Chunk { number: 0, first: 0 });
    }
    // A table that came out of band is not passed off as another, or for another way.
    for change in [
        |part: &mut TablePart| part.origin = Origin::Refill,
        |part: &mut TablePart| part.number = 1,
        |part: &mut TablePart| (part.elements, part.end) = (4096 + 3, 3),
    ] {
        let mut parts = whole(3, 2).parts;
        change(&mut parts[0]);
        if let Ok(renamed) = Provision::new(link(), Some(initial_key()), parts) {
            let pads = &file[renamed.header_len()..];
            assert!(read(&[renamed.encode().expose(), pads].concat()).is_err());
        }
    }
}

#[test]
fn chunks_that_change_places_are_refused() {
    let provision = whole(2 * STEP, 1);
    let mut file = written(&provision);
    let chunks: Vec<_> = provision.chunks().collect();
    let len = chunks[0].len() + PROVISION_TAG_LEN;
    let (first, second) = (chunks[0].offset as usize, chunks[1].offset as usize);
    let moved = file[first..first + len].to_vec();
    file.copy_within(second..second + len, first);
    file[second..second + len].copy_from_slice(&moved);
    assert_eq!(read(&file).unwrap_err(), ProvisionError::Chunk { number: 0, first: 0 });
}

/// A local distributor cuts without any key: the client verifies what the hub's side tagged.
#[test]
fn portions_are_cut_without_a_key_and_make_up_the_whole() {
    let provision = whole(5 * STEP + 7, 3 * STEP);
    let file = written(&provision);
    let cut = |from: u32, to: u32, enrol| {
        let portion = provision.portion(from, to, enrol).unwrap();
        let mut octets = portion.encode().expose().to_vec();
        for chunk in portion.chunks() {
            let own = |own: &skex_dske::Chunk| {
                (own.part.direction, own.first) == (chunk.part.direction, chunk.first)
            };
            let source = provision.chunks().find(own).unwrap();
            let place = source.offset as usize;
            octets.extend_from_slice(&file[place..place + source.len() + PROVISION_TAG_LEN]);
        }
        octets
    };
    let mut elements = 0;
    for (from, to) in [(0, 2 * STEP), (2 * STEP, 4 * STEP), (4 * STEP, 6 * STEP)] {
        let (portion, pads) = read(&cut(from, to, from == 0)).unwrap();
        assert_eq!(portion.initial_key.is_some(), from == 0);
        elements += portion.parts.iter().map(|part| part.end - part.first).sum::<u32>();
        let mut pads = pads.iter();
        for part in &portion.parts {
            let octets = part.first as usize * ELEMENT_LEN..part.end as usize * ELEMENT_LEN;
            octets.for_each(|at| assert_eq!(*pads.next().unwrap(), pad(part, at)));
        }
    }
    assert_eq!(elements, 8 * STEP + 7);
    assert_eq!(provision.portion(6 * STEP, 7 * STEP, false).unwrap_err(), ProvisionError::Content);
    assert_eq!(provision.portion(0, STEP + 1, false).unwrap_err(), ProvisionError::Content);
    assert_eq!(provision.portion(1, STEP, false).unwrap_err(), ProvisionError::Content);
}

#[test]
fn what_cannot_be_is_not_described() {
    let good = |number| TablePart::whole(Direction::UPLINK, number, Origin::OutOfBand, 100);
    let wrong = [
        vec![],
        vec![good(1), good(0)],
        vec![good(0), good(0)],
        vec![TablePart::whole(Direction::UPLINK, 0, Origin::OutOfBand, 0)],
        vec![TablePart { end: 101, ..good(0) }],
        vec![TablePart { first: 1, ..good(0) }],
        vec![TablePart { end: 99, ..good(0) }],
        vec![TablePart { direction: Direction::new(2), ..good(0) }],
        (0..1025).map(good).collect(),
    ];
    for parts in wrong {
        assert_eq!(Provision::new(link(), None, parts).unwrap_err(), ProvisionError::Content);
    }
    let unknown = LinkIdentity { suite: SuiteId::new(0xee), ..link() };
    assert_eq!(Provision::new(unknown, None, vec![good(0)]).unwrap_err(), ProvisionError::Suite);
    let longest = Provision::new(link(), Some(initial_key()), (0..1024).map(good).collect()).unwrap();
    assert_eq!(longest.header_len(), MAX_PROVISION_HEADER_LEN);
}

#[test]
fn the_key_is_not_shown() {
    assert!(!format!("{:?}", whole(1, 1)).contains("[0, 1"));
}

proptest! {
    #[test]
    fn no_octets_make_the_reader_panic(octets in proptest::collection::vec(any::<u8>(), 0..300), begin in any::<bool>()) {
        let mut file = octets;
        if begin {
            file.splice(..0, *b"SKEXPRV\x01");
        }
        prop_assert!(read(&file).is_err());
    }
}
