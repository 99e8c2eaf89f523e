//! What one shard of a hub that is down, or behind, can do to the clients of the others.

use core::num::NonZeroU16;
use core::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use skex_core::machine::{Instant, Output};
use skex_core::record::{self, RECORD_OVERHEAD, RecordHeader, RecordKind};
use skex_core::{SecretBytes, SecretVec};
use skex_dske::{
    Authorised, ClientId, ClientTag, Coordinate, Hub, HubClient, HubConfig, HubError, HubEvent, HubId,
    KeyError, KeyRequest, MemoryPad, Origin, RestoreError, Table,
};
use skex_sim::Receipts;
use skex_wire::SuiteId;
use skex_wire::dske::AnswerStatus;

use crate::oracle::Oracle;
use crate::sharded::Between;
use crate::world::{Cast, Setup, cast};

const BOB: &str = "bob@example";

/// Nothing comes from one shard to another.
const APART: Between = Between { lost: 1000, twice: 0, late: 0, delay: Duration::ZERO, crash: 0, torn: 0 };

fn short() -> KeyRequest {
    let mut request = KeyRequest::new(2);
    request.lifetime = 20;
    request
}

/// Clients 0 and 2 are at one shard of each hub, client 1 at the other, which is down.
fn apart() -> Cast {
    let mut setup = Setup::new(3);
    (setup.clients, setup.shards) = (3, (2, APART));
    setup.names = (0..3).map(|hub| (hub, 1, BOB)).collect();
    setup.hub_limits.waiting_per_pair = 4;
    cast(1, &setup)
}

/// A client looks up names whose owner is at a shard that is down, and gives up each time. When the other shard is there again, the client's
/// shard hears it as before, in the same session.
#[test]
fn look_ups_at_a_shard_that_is_down_shut_nobody_out_when_it_is_up_again() {
    let mut cast = apart();
    cast.settle(2);
    for _ in 0..3 {
        for _ in 0..8 {
            cast.look_up(0, BOB);
        }
        cast.settle(31);
    }
    let boots = cast.boots.borrow().len();
    cast.set_between(Between::default());
    let id = cast.request(0, 1, short());
    cast.look_up(0, BOB);
    cast.settle(20);
    assert_eq!(boots, cast.boots.borrow().len());
    cast.assert_agreed(0, 1, id);
    assert_eq!(cast.lookups(0).pop().unwrap().unwrap().tag, cast.tags[1]);
    Oracle::acquit(&cast);
}

/// As many uploads for a client of a shard that is down as may wait there do not hold up keys with clients of other shards, nor commands.
#[test]
fn uploads_for_a_shard_that_is_down_hold_up_no_others() {
    let mut cast = apart();
    cast.settle(2);
    let held_up: Vec<_> = (0..6).map(|_| cast.request(0, 1, KeyRequest::new(2))).collect();
    cast.settle(5);
    let id = cast.request(0, 2, short());
    cast.authorise(0, 1, true);
    cast.settle(15);
    cast.assert_agreed(0, 2, id);
    assert!(cast.outcomes(0)[0].1.iter().all(Option::is_some));
    cast.set_between(Between::default());
    cast.settle(60);
    held_up.into_iter().for_each(|id| cast.assert_agreed(0, 1, id));
    Oracle::acquit(&cast);
}

/// Uploads wait for the verdict of a shard that is down when their responder is revoked. They are answered: nobody judges them any more.
#[test]
fn an_upload_that_waits_for_another_shard_is_answered_when_its_responder_is_revoked() {
    let mut cast = apart();
    cast.settle(2);
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(3);
    for hub in cast.hubs.clone() {
        let revoked =
            cast.world.call(hub, |party, now, _| party.right().unwrap().revoke(now, ClientId::new(1)));
        assert_eq!(revoked, Some(Ok(())));
    }
    cast.settle(5);
    assert_eq!(cast.failure(0, id), Some(KeyError::Refused(AnswerStatus::UNKNOWN_PEER)));
    Oracle::acquit(&cast);
}

/// A client repeats an upload again and again while its shard cannot store that it was asked for. One copy of the share waits for that, not as many as
/// there were repetitions.
#[test]
fn a_share_that_waits_for_a_slow_disk_waits_there_once() {
    let mut setup = Setup::new(3);
    setup.shards = (2, Between::default());
    let often = Duration::from_millis(100);
    (setup.client_limits.first_retransmission, setup.client_limits.longest_retransmission) = (often, often);
    let mut cast = cast(2, &setup);
    let first = cast.request(0, 1, short());
    cast.settle(2);
    cast.assert_agreed(0, 1, first);
    let handed_over = |cast: &mut Cast| {
        cast.world.call(cast.hubs[0], |hub, _, _| hub.right().unwrap().handed_over()).unwrap()
    };
    cast.world.set_receipts(cast.hubs[0], Receipts::After(Duration::from_secs(5)));
    let before = handed_over(&mut cast);
    let id = cast.request(0, 1, short());
    cast.world.run_for(Duration::from_millis(4900), 1_000_000);
    cast.world.run_for(Duration::from_millis(200), 1_000_000);
    let copies = handed_over(&mut cast) - before;
    assert!(copies <= 3, "{copies}");
    cast.settle(15);
    cast.assert_agreed(0, 1, id);
    Oracle::acquit(&cast);
}

fn client(number: u32) -> HubClient<MemoryPad> {
    let octet = number as u8 + 1;
    let table = || Table::new(0, Origin::OutOfBand, MemoryPad::new(SecretVec::from_vec(vec![octet; 1600])));
    HubClient {
        client: ClientId::new(number),
        tag: ClientTag::new([octet; 16]),
        suite: SuiteId::SHA256_AES256GCM,
        initial_key: SecretBytes::copied_from(&[octet; 32]),
        uplink: table(),
        downlink: table(),
        authorised: Authorised::Everyone,
    }
}

/// The two shards of a hub, with so many clients.
fn two_shards(clients: u32) -> [Hub<MemoryPad>; 2] {
    let coordinate = Coordinate::new(1).unwrap();
    let config = HubConfig::new(HubId::new([9; 16]), coordinate, (0..clients).map(client).collect()).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let shards = config.into_shards(NonZeroU16::new(2).unwrap()).into_iter();
    let now = Instant::from_millis(1);
    let mut shards = shards.map(|config| Hub::restore(config, [] as [&[u8]; 0], now, &mut rng).unwrap());
    [(); 2].map(|()| shards.next().unwrap())
}

/// Stores everything at once. What the hub tells.
fn events(hub: &mut Hub<MemoryPad>) -> Vec<HubEvent> {
    stored(hub, &mut Vec::new())
}

/// As [`events`], with the records.
fn stored(hub: &mut Hub<MemoryPad>, log: &mut Vec<Vec<u8>>) -> Vec<HubEvent> {
    let mut events = Vec::new();
    loop {
        match hub.poll_output() {
            Output::Persist(checkpoint) => {
                log.push(checkpoint.record().as_ref().to_vec());
                let receipt = checkpoint.commit_with(|_| Ok::<_, ()>(())).unwrap();
                hub.handle_persisted(receipt).unwrap();
            }
            Output::Event(event) => events.push(event),
            Output::Wait(_) => return events,
            _ => {}
        }
    }
}

/// A client is revoked at one shard and not yet at its own, which is then given the roster of a client that the first has enrolled. It refuses
/// it until it was told of the revocation too: else it would never end the session, nor erase the tables, of a client that is in no roster.
#[test]
fn a_roster_does_not_take_the_place_of_a_revocation() {
    let [mut own, mut other] = two_shards(3);
    let now = Instant::from_millis(2);
    for hub in [&mut own, &mut other] {
        assert_eq!(events(hub), []);
    }
    other.revoke(now, ClientId::new(0)).unwrap();
    let revoked =
        HubEvent::ClientRevoked { client: ClientId::new(0), tag: ClientTag::new([1; 16]), erased: true };
    assert_eq!(events(&mut other), [revoked]);
    other.enrol(client(3), &[]).unwrap();
    assert_eq!(own.enrolled_elsewhere(&other.roster()), Err(HubError::Enrolment));
    own.revoke(now, ClientId::new(0)).unwrap();
    assert_eq!(events(&mut own), [revoked]);
    own.enrolled_elsewhere(&other.roster()).unwrap();
    assert_eq!(own.status().count(), 1);
}

/// A client was enrolled at one shard, and revoked there before the other had heard of it. The other gives the next number, and takes that back as well. It
/// starts again with a configuration in which both are missing, and the next client is enrolled.
#[test]
fn a_shard_that_never_heard_of_a_number_of_another_starts_again() {
    let [mut own, mut other] = two_shards(3);
    let (mut log, now) = (Vec::new(), Instant::from_millis(2));
    assert_eq!((stored(&mut own, &mut log), events(&mut other)), (vec![], vec![]));
    other.enrol(client(3), &[]).unwrap();
    assert_eq!(events(&mut other), []);
    other.revoke(now, ClientId::new(3)).unwrap();
    assert_eq!(events(&mut other).len(), 1);
    assert_eq!(own.revoke(now, ClientId::new(3)), Err(HubError::UnknownClient));
    own.enrolled_elsewhere(&other.roster()).unwrap();
    own.enrol(client(4), &[]).unwrap();
    other.enrolled_elsewhere(&own.roster()).unwrap();
    assert_eq!(stored(&mut own, &mut log), []);
    own.revoke(now, ClientId::new(4)).unwrap();
    other.revoke(now, ClientId::new(4)).unwrap();
    assert_eq!((stored(&mut own, &mut log).len(), events(&mut other).len()), (1, 1));
    let coordinate = Coordinate::new(1).unwrap();
    let config = HubConfig::new(HubId::new([9; 16]), coordinate, (0..3).map(client).collect()).unwrap();
    let config = config.into_shards(NonZeroU16::new(2).unwrap()).swap_remove(0);
    let mut own = Hub::restore(config, &log, now, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
    other.enrol(client(5), &[]).unwrap();
    own.enrolled_elsewhere(&other.roster()).unwrap();
    own.enrol(client(6), &[]).unwrap();
}

/// A record that is intact says that a client was revoked whose number this hub can never have given. It is refused, and no room is made for all the
/// numbers below.
#[test]
fn a_number_that_was_never_given_is_not_taken_from_a_record() {
    for number in [4, 5, u32::MAX] {
        let name = [&[6], &number.to_be_bytes()[..]].concat();
        let body = [&[1, 5][..], &name, &16_u32.to_be_bytes(), &[7; 16]].concat();
        let mut record = vec![0; body.len() + RECORD_OVERHEAD];
        record::encode(RecordHeader::new(RecordKind::DSKE_HUB, [9; 8], 1), &body, &mut record).unwrap();
        let coordinate = Coordinate::new(1).unwrap();
        let config = HubConfig::new(HubId::new([9; 16]), coordinate, (0..3).map(client).collect()).unwrap();
        let now = Instant::from_millis(1);
        let restored = Hub::restore(config, [&record], now, &mut ChaCha20Rng::seed_from_u64(1));
        assert!(matches!(restored, Err(RestoreError::Configuration)), "{number}");
    }
}
