//! A key made by liars: what they can make is right in form, tags and all, and must come to nothing.

use rand_core::Rng;
use skex_core::KeyId;
use skex_dske::{ClientTag, Coordinate, ResponderPolicy, SecretTagKey, split};
use skex_wire::Writer;
use skex_wire::dske::{DskeSuiteId, context_len, encode_context};

use super::liar::{Liar, Share, pass};
use crate::world::{Cast, Setup, cast};

/// Shares of a key that nobody asked for, through the hubs of these coordinates, in the name of client 0.
struct Forged {
    shares: Vec<Share>,
    key_id: KeyId,
}

fn forge(cast: &Cast, threshold: u8, coordinates: &[u8], responder: ClientTag) -> Forged {
    forge_at(cast, DskeSuiteId::ITS, threshold, coordinates, coordinates, responder)
}

/// As above, with shares at other places than the context says.
fn forge_at(
    cast: &Cast,
    suite: DskeSuiteId,
    threshold: u8,
    coordinates: &[u8],
    places: &[u8],
    responder: ClientTag,
) -> Forged {
    let key_id = [0x66; 16];
    let mut rng = <chacha20::ChaCha20Rng as rand_core::SeedableRng>::seed_from_u64(66);
    let mut block = [0; 112];
    rng.fill_bytes(&mut block);
    let mut share = Share::junk(key_id, cast.tags[0]);
    (share.suite, share.threshold, share.coordinates) = (suite, threshold, coordinates.to_vec());
    let hubs = coordinates.iter().map(|&x| cast.hub_ids[usize::from(x) - 1].as_bytes());
    let mut context = vec![0; context_len(coordinates.len() as u8)];
    let (initiator, responder) = (cast.tags[0].as_bytes(), responder.as_bytes());
    encode_context(&mut Writer::new(&mut context), &key_id, initiator, responder, &share.terms(), hubs)
        .unwrap();
    let (tag_key, payload) = block.split_first_chunk().unwrap();
    share.secret_tag = *SecretTagKey::from_secret(tag_key).tag(payload, &context).as_bytes();
    let places: Vec<Coordinate> = places.iter().map(|&x| Coordinate::new(x).unwrap()).collect();
    let mut blocks = vec![vec![0; 112]; places.len()];
    let mut out: Vec<&mut [u8]> = blocks.iter_mut().map(Vec::as_mut_slice).collect();
    split(&mut rng, threshold, &places, &block, &mut out).unwrap();
    let shares = blocks.into_iter().map(|octets| Share { share: octets, ..share.clone() }).collect();
    Forged { shares, key_id: KeyId::new(key_id) }
}

fn setup(minimum_threshold: u8) -> Setup {
    let mut setup = Setup::new(5);
    let mut policy = ResponderPolicy::default();
    policy.minimum_threshold = minimum_threshold;
    setup.policy = Some(policy);
    setup
}

/// Hubs 0 and 1 deliver these shares to client 1, which then has so many keys.
fn two_liars(cast: &mut Cast, forged: &Forged) -> usize {
    for (hub, share) in forged.shares.iter().enumerate() {
        let mut liar = Liar::hub(cast, hub, 1);
        liar.share(cast, share);
    }
    pass(cast, 1000);
    cast.keys(1).iter().filter(|established| established.key.id() == forged.key_id).count()
}

/// Rule 1. Carried by the comparison with `policy.minimum_threshold` in `Client::admit`: with a policy that allows what
/// they say, the same two liars succeed (which shows that all else of their forgery is right).
#[test]
fn scenario_36_two_liars_cannot_lower_the_threshold_below_the_responders_own() {
    for &suite in DskeSuiteId::KNOWN {
        for (minimum, keys) in [(3, 0), (2, 1)] {
            let mut cast = cast(1, &setup(minimum));
            let forged = forge_at(&cast, suite, 2, &[1, 2], &[1, 2], cast.tags[1]);
            assert_eq!(two_liars(&mut cast, &forged), keys, "{suite:?}, minimum {minimum}");
        }
    }
}

/// The context is built from the responder's own name. Carried by `responder: self.tag` in `Client::admit`.
#[test]
fn scenario_18_a_key_for_somebody_else_is_no_key() {
    let mut cast = cast(2, &setup(2));
    let forged = forge(&cast, 2, &[1, 2], ClientTag::new([0xee; 16]));
    assert_eq!(two_liars(&mut cast, &forged), 0);
}

/// The names of the hubs come from the responder's roster. Carried by `id: hub.link.keys.hub()` in `Client::admit`.
#[test]
fn hubs_that_go_by_other_names_make_no_key() {
    let mut cast = cast(3, &setup(2));
    cast.hub_ids.swap(1, 4);
    let forged = forge(&cast, 2, &[1, 2], cast.tags[1]);
    cast.hub_ids.swap(1, 4);
    assert_eq!(two_liars(&mut cast, &forged), 0);
}

/// One liar sends both shares of a key of two. Carried by "one hub never counts twice" in `Client::on_delivery`, and by
/// the coordinate of the link: without both, it would have chosen the key.
#[test]
fn a_hub_that_claims_another_coordinate_counts_once() {
    let mut cast = cast(4, &setup(2));
    let forged = forge(&cast, 2, &[1, 2], cast.tags[1]);
    let mut liar = Liar::hub(&mut cast, 0, 1);
    for share in &forged.shares {
        liar.share(&mut cast, share);
    }
    pass(&mut cast, 1000);
    assert!(cast.keys(1).is_empty());
    // The second hub's share from the second hub: now they are two.
    let mut second = Liar::hub(&mut cast, 1, 1);
    second.share(&mut cast, &forged.shares[1]);
    pass(&mut cast, 1000);
    assert_eq!(cast.keys(1).len(), 1, "the forgery is right in all else");
}

/// A hub that is not among those of the context has nothing to say about the key. Carried by the check of its
/// coordinate in `Client::on_delivery`.
#[test]
fn a_hub_beside_the_context_does_not_count() {
    let mut cast = cast(5, &setup(2));
    let forged = forge_at(&cast, DskeSuiteId::ITS, 2, &[1, 2], &[1, 3], cast.tags[1]);
    for (hub, share) in [(0, &forged.shares[0]), (2, &forged.shares[1])] {
        let mut liar = Liar::hub(&mut cast, hub, 1);
        liar.share(&mut cast, share);
    }
    pass(&mut cast, 1000);
    assert!(cast.keys(1).is_empty());
}

/// An initiator that the responder does not know. Carried by `self.peers.contains` in `Client::admit`.
#[test]
fn scenario_17_a_stranger_gives_no_key() {
    let mut setup = setup(2);
    setup.peers_known = false;
    let mut cast = cast(6, &setup);
    let forged = forge(&cast, 2, &[1, 2], cast.tags[1]);
    assert_eq!(two_liars(&mut cast, &forged), 0);
}
