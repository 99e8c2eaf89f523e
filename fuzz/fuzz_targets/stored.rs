//! Whatever a disk or a carrier brings: records of a peer, a client and a hub, and provisioning files. What is accepted is
//! a state that can be stored and read again; checksums are made right, for they stop accidents, not this.
#![no_main]

use core::num::NonZeroU16;

use chacha20::ChaCha20Rng;
use libfuzzer_sys::fuzz_target;
use rand_core::SeedableRng;
use sha2::{Digest, Sha256};
use skex_core::machine::{Instant, Machine, Output, PeerHandle};
use skex_core::record::{self, RECORD_OVERHEAD, RecordHeader};
use skex_core::{SecretBytes, SecretVec};
use skex_dske::{
    Authorised, Client, ClientConfig, ClientId, ClientTag, Coordinate, Hub, HubClient, HubConfig, HubId,
    HubLink, MemoryPad, Origin, Provision, ProvisionKey, Table,
};
use skex_fuzz::Input;
use skex_unmediated::{Peer, PeerConfig, Side};
use skex_wire::SuiteId;

fuzz_target!(|octets: &[u8]| {
    let mut input = Input::new(octets);
    match input.octet() {
        Some(0) => peer(input.rest()),
        Some(1) => log(input, client),
        Some(2) => log(input, |records| hub(records, 1)),
        Some(3) => provision(input.rest()),
        Some(4) => frames(input),
        // Client 0 is this shard's, client 1 the other's.
        Some(5) => log(input, |records| hub(records, 2)),
        _ => {}
    }
});

const NOW: Instant = Instant::from_millis(1000);

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(7)
}

/// What a machine stores first.
fn first_record<M: Machine>(mut machine: M) -> Vec<u8>
where
    M::Record: AsRef<[u8]>,
{
    match machine.poll_output() {
        Output::Persist(checkpoint) => checkpoint.record().as_ref().to_vec(),
        other => panic!("nothing is stored first, but {other:?}", other = core::mem::discriminant(&other)),
    }
}

/// `body` in the frame of another record, with this sequence.
fn framed(like: &[u8], sequence: u64, body: &[u8]) -> Vec<u8> {
    let (header, _) = record::decode(like).unwrap();
    let mut octets = vec![0; body.len() + RECORD_OVERHEAD];
    let header = RecordHeader::new(header.kind, header.machine, sequence);
    let len = record::encode(header, body, &mut octets).unwrap();
    octets.truncate(len);
    octets
}

fn peer(body: &[u8]) {
    for side in [Side::A, Side::B] {
        let (own, other): (&[u8], &[u8]) =
            if side == Side::A { (b"alice", b"bob") } else { (b"bob", b"alice") };
        // As the vectors have it, so that their records are seeds.
        let config = PeerConfig::new(side, own, other);
        let enrolled = first_record(Peer::enrol(&config, &[0x5e; 32], NOW, &mut rng()).unwrap());
        let stored = framed(&enrolled, 5, body);
        let Ok(restored) = Peer::restore(&config, [&stored, &[]], NOW, &mut rng()) else { continue };
        let epoch = restored.epoch();
        let again = first_record(restored);
        let (header, rewritten) = record::decode(&again).unwrap();
        assert_eq!(header.sequence, 6, "what was read is written anew");
        assert_eq!(rewritten, body, "what was accepted is the one encoding of it");
        let restored = Peer::restore(&config, [&stored, &again], NOW, &mut rng()).expect("it wrote that");
        assert_eq!(restored.epoch(), epoch);
    }
}

/// A log of up to three records. What a machine makes of it, it can store, and go on from.
fn log(mut input: Input<'_>, restore: impl Fn(&[Vec<u8>]) -> Option<Vec<u8>>) {
    let like = restore(&[]).expect("a new machine");
    let mut records = Vec::new();
    for sequence in 1..=3 {
        let Some(length) = input.pair() else { break };
        let mut body = Vec::new();
        while body.len() < usize::from(length % 1024) {
            let Some(octet) = input.octet() else { break };
            body.push(octet);
        }
        records.push(framed(&like, sequence, &body));
    }
    if let Some(again) = restore(&records) {
        let third = restore(&[again.clone()]).expect("it wrote that");
        let bodies = [&again, &third].map(|octets| record::decode(octets).unwrap().1);
        assert_eq!(bodies[0], bodies[1], "a state that is read and written stays what it is");
    }
}

fn table() -> Table<MemoryPad> {
    let octets = (0..64 * 16_u32).map(|at| at.to_le_bytes()[0] | 1).collect::<Vec<u8>>();
    Table::new(0, Origin::OutOfBand, MemoryPad::new(SecretVec::copied_from(&octets)))
}

fn client(records: &[Vec<u8>]) -> Option<Vec<u8>> {
    let links = (1..=2).map(|hub| HubLink {
        hub: HubId::new([0xb0 + hub; 16]),
        coordinate: Coordinate::new(hub).unwrap(),
        handle: PeerHandle::new(hub.into()),
        client: ClientId::new(0),
        suite: SuiteId::SHA256_AES256GCM,
        initial_key: SecretBytes::copied_from(&[hub; 32]),
        uplink: table(),
        downlink: table(),
    });
    let tag = ClientTag::new([0xc0; 16]);
    let config = ClientConfig::new(tag, links.collect(), vec![ClientTag::new([0xc1; 16])]).unwrap();
    Client::restore(config, records, NOW, &mut rng()).ok().map(first_record)
}

fn hub(records: &[Vec<u8>], shards: u16) -> Option<Vec<u8>> {
    let clients = (0..2_u8).map(|client| HubClient {
        client: ClientId::new(client.into()),
        tag: ClientTag::new([0xc0 + client; 16]),
        suite: SuiteId::SHA256_AES256GCM,
        initial_key: SecretBytes::copied_from(&[client + 1; 32]),
        uplink: table(),
        downlink: table(),
        authorised: Authorised::Everyone,
    });
    let coordinate = Coordinate::new(1).unwrap();
    let config = HubConfig::new(HubId::new([0xb1; 16]), coordinate, clients.collect()).unwrap();
    let config = if shards == 1 {
        config
    } else {
        config.into_shards(NonZeroU16::new(shards).expect("not zero")).swap_remove(0)
    };
    Hub::restore(config, records, NOW, &mut rng()).ok().map(first_record)
}

/// The pads of a file have tags; one that is right for them is made, and changed by a bit.
fn tags(provision: &Provision, octets: &[u8]) {
    let initial_key = provision.initial_key.as_ref().map_or([7; 32], |key| *key.expose());
    let Ok(key) = ProvisionKey::new(&provision.link, &SecretBytes::copied_from(&initial_key)) else { return };
    let mut rest = octets;
    for chunk in provision.chunks().take(4) {
        let Some((pad, behind)) = rest.split_at_checked(chunk.len()) else { return };
        let mut tag = key.tag(&chunk, pad);
        assert!(key.verify(&chunk, pad, &tag).is_ok());
        tag[pad.len() % tag.len()] ^= 1;
        assert!(key.verify(&chunk, pad, &tag).is_err());
        rest = behind.get(tag.len()..).unwrap_or_default();
    }
}

fn provision(octets: &[u8]) {
    let _ = Provision::decode(octets);
    // The checksum stands behind the parts, whose number is stated.
    let mut octets = octets.to_vec();
    let start = if octets.get(8) == Some(&1) { 79 } else { 47 };
    let Some(count) = octets.get(start..start + 2) else { return };
    let end = start + 2 + 16 * usize::from(u16::from_be_bytes([count[0], count[1]]));
    if octets.len() < end + 16 {
        return;
    }
    let digest = Sha256::digest(&octets[..end]);
    octets[end..end + 16].copy_from_slice(&digest[..16]);
    let Ok((provision, length)) = Provision::decode(&octets) else { return };
    assert_eq!(provision.encode().expose(), &octets[..length], "what was accepted is the one encoding of it");
    assert_eq!(length, provision.header_len());
    tags(&provision, octets.get(length..).unwrap_or_default());
    let mut offset = length as u64;
    for chunk in provision.chunks().take(1000) {
        assert!(chunk.len() > 0);
        offset += (chunk.len() + skex_dske::PROVISION_TAG_LEN) as u64;
        assert!(offset <= provision.file_len());
    }
    let _ = provision.check_len(octets.len() as u64);
    if let Ok(portion) = provision.portion(0, 4096, false) {
        assert!(portion.file_len() <= provision.file_len());
        let (again, _) = Provision::decode(portion.encode().expose()).expect("it wrote that");
        assert_eq!(again.parts, portion.parts);
    }
}

/// The frame alone: what is accepted is the one encoding, and two slots give the newer one.
fn frames(mut input: Input<'_>) {
    let Some(first) = input.some() else { return };
    let second = input.rest();
    for octets in [first, second] {
        if let Ok((header, body)) = record::decode(octets) {
            // A slot may be longer than its record.
            let mut again = vec![0; octets.len()];
            let len = record::encode(header, body, &mut again).expect("it was that long");
            assert_eq!(again[..len], octets[..len]);
        }
    }
    if let Ok((header, _)) = record::decode(first)
        && let Ok(Some(newest)) = record::newest([first, second], header.kind, header.machine)
    {
        assert!(newest.slot == 1 || newest.sequence == header.sequence);
    }
}
