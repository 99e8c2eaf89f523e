//! The published vectors of one-time tags, of sharing, and of what a key is made of.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use skex_dske::{
    Coordinate, DecodeError, MessageTagKey, MessageVerificationKey, SecretTagKey, ShareError, Splitter, Tag,
    combine, decode,
};
use skex_testvectors::{Hex, Layer, Verdict, dske_key, shamir, tags};
use skex_wire::Writer;
use skex_wire::dske::{DskeSuiteId, Terms, context_len, encode_context};

fn tag(octets: &Hex) -> Tag {
    Tag::from_bytes(octets.array().expect("16 octets"))
}

#[test]
fn scenario_10_tags_verify_and_are_made_as_the_vectors_say() {
    for group in tags::load().unwrap().test_groups {
        match group {
            tags::TestGroup::MessageTag(group) => {
                for test in group.tests {
                    let (key, message) = (test.key.array().unwrap(), test.message.as_bytes());
                    if test.refused_by == Some(Layer::Key) {
                        assert!(MessageTagKey::from_pad(&key).is_err(), "{}", test.name);
                        assert!(MessageVerificationKey::from_pad(&key).is_err(), "{}", test.name);
                        continue;
                    }
                    let wanted = tag(test.tag.as_ref().unwrap());
                    let (front, back) = message.split_at(message.len() / 3);
                    let good =
                        MessageVerificationKey::from_pad(&key).unwrap().verify(&[front, back], &wanted);
                    assert_eq!(good, test.result == Verdict::Valid, "{}", test.name);
                    let made = MessageTagKey::from_pad(&key).unwrap().tag(&[message]);
                    assert_eq!(made == wanted, good, "{}", test.name);
                }
            }
            tags::TestGroup::SecretTag(group) => {
                for test in group.tests {
                    let key = SecretTagKey::from_secret(&test.key.array().unwrap());
                    let good = key.verify(test.payload.as_bytes(), test.context.as_bytes(), &tag(&test.tag));
                    assert_eq!(good, test.result == Verdict::Valid, "{}", test.name);
                }
            }
            other => panic!("a group that is not known here: {}", other.name()),
        }
    }
}

fn cause(error: ShareError) -> &'static str {
    match error {
        ShareError::ThresholdTooSmall | ShareError::ThresholdTooLarge => "Threshold",
        ShareError::ZeroCoordinate => "ZeroCoordinate",
        ShareError::DuplicateCoordinate => "DuplicateCoordinate",
        ShareError::TooFewShares => "TooFew",
        ShareError::WrongCount => "Count",
        ShareError::UnequalLengths => "UnequalLengths",
        ShareError::EmptyBlock => "EmptyBlock",
        other => panic!("an error that the vectors do not have: {other}"),
    }
}

fn coordinates(values: &[u8]) -> Result<Vec<Coordinate>, ShareError> {
    values.iter().map(|&value| Coordinate::try_from(value)).collect()
}

fn given(shares: &[shamir::Share]) -> Result<Vec<(Coordinate, &[u8])>, ShareError> {
    shares.iter().map(|share| Ok((Coordinate::try_from(share.coordinate)?, share.share.as_bytes()))).collect()
}

fn split(test: &shamir::SplitTest) -> Result<Vec<Hex>, ShareError> {
    let splitter = Splitter::new(test.threshold, &coordinates(&test.coordinates)?)?;
    let secret = test.secret.as_bytes();
    let mut out = vec![vec![0; secret.len()]; splitter.following()];
    let mut places: Vec<&mut [u8]> = out.iter_mut().map(Vec::as_mut_slice).collect();
    let direct: Vec<&[u8]> = test.direct.iter().map(Hex::as_bytes).collect();
    splitter.split(secret, &direct, &mut places)?;
    Ok(out.into_iter().map(Hex::new).collect())
}

#[test]
fn scenario_10_shares_are_made_and_taken_together_as_the_vectors_say() {
    for group in shamir::load().unwrap().test_groups {
        match group {
            shamir::TestGroup::Split(group) => {
                for test in group.tests {
                    match split(&test) {
                        Ok(following) => assert_eq!(Some(following), test.following, "{}", test.name),
                        Err(error) => assert_eq!(cause(error), test.flags[0], "{}", test.name),
                    }
                    assert_eq!(test.following.is_some(), test.result == Verdict::Valid, "{}", test.name);
                }
            }
            shamir::TestGroup::Combine(group) => {
                for test in group.tests {
                    let length = test.shares.first().map_or(16, |share| share.share.as_bytes().len());
                    let mut out = vec![0; length];
                    let done =
                        given(&test.shares).and_then(|shares| combine(test.threshold, &shares, &mut out));
                    match done {
                        Ok(()) => assert_eq!(Some(Hex::new(out)), test.secret, "{}", test.name),
                        Err(error) => assert_eq!(cause(error), test.flags[0], "{}", test.name),
                    }
                    assert_eq!(test.secret.is_some(), test.result == Verdict::Valid, "{}", test.name);
                }
            }
            shamir::TestGroup::Decode(group) => {
                for test in group.tests {
                    let verify = |block: &[u8]| {
                        let (key, payload) = block.split_first_chunk().unwrap();
                        let key = SecretTagKey::from_secret(key);
                        key.verify(payload, test.context.as_bytes(), &tag(&test.secret_tag))
                    };
                    let decoded =
                        decode(test.threshold, &given(&test.shares).unwrap(), test.work_limit, verify);
                    match decoded {
                        Ok(decoded) => {
                            assert_eq!(test.result, Verdict::Valid, "{}", test.name);
                            assert_eq!(
                                decoded.secret().expose(),
                                test.secret.unwrap().as_bytes(),
                                "{}",
                                test.name
                            );
                            let culprits: Vec<u8> = decoded.culprits().iter().map(|x| x.get()).collect();
                            assert_eq!(Some(culprits), test.culprits, "{}", test.name);
                            let certain = decoded.blame_is_certain();
                            assert_eq!(Some(certain), test.blame_is_certain, "{}", test.name);
                        }
                        Err(error) => {
                            assert_eq!(error, DecodeError::Undecodable, "{}", test.name);
                            assert_eq!(test.refused_by, Some(Layer::Authenticate), "{}", test.name);
                        }
                    }
                }
            }
            other => panic!("a group that is not known here: {}", other.name()),
        }
    }
}

fn bitmap(bits: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut octets = Vec::new();
    for (i, bit) in bits.enumerate() {
        if i % 8 == 0 {
            octets.push(0);
        }
        *octets.last_mut().unwrap() |= bit << (i % 8);
    }
    octets
}

fn context(test: &dske_key::ContextTest) -> Vec<u8> {
    let mut hubs = test.hubs.clone();
    hubs.sort_by_key(|hub| hub.coordinate);
    let coordinates: Vec<u8> = hubs.iter().map(|hub| hub.coordinate).collect();
    let origins = bitmap(hubs.iter().map(|hub| hub.origin));
    let suite = DskeSuiteId::new(test.suite);
    let terms = Terms::new(suite, test.threshold, test.key_length, test.lifetime, &coordinates, &origins);
    let ids: Vec<[u8; 16]> = hubs.iter().map(|hub| hub.hub_id.array().unwrap()).collect();
    let [key_id, initiator, responder] =
        [&test.key_id, &test.initiator, &test.responder].map(|octets| octets.array().unwrap());
    let mut octets = vec![0; context_len(u8::try_from(hubs.len()).unwrap())];
    encode_context(&mut Writer::new(&mut octets), &key_id, &initiator, &responder, &terms.unwrap(), &ids)
        .unwrap();
    octets
}

#[test]
fn a_key_is_bound_and_confirmed_as_the_vectors_say() {
    for group in dske_key::load().unwrap().test_groups {
        match group {
            dske_key::TestGroup::Context(group) => {
                for test in &group.tests {
                    assert_eq!(context(test), test.context.as_bytes(), "{}", test.name);
                }
            }
            dske_key::TestGroup::SecretBlock(group) => {
                for test in &group.tests {
                    let (tag_key, payload) = test.block.as_bytes().split_first_chunk::<48>().unwrap();
                    let key = test.key.as_bytes();
                    let (beginning, end) = (&payload[..key.len()], payload.last_chunk::<32>().unwrap());
                    assert_eq!((tag_key, beginning), (&test.tag_key.array().unwrap(), key), "{}", test.name);
                    assert_eq!(end, test.confirm_key.as_bytes(), "{}", test.name);
                    let secret = SecretTagKey::from_secret(tag_key);
                    let (context, wanted) = (test.context.as_bytes(), tag(&test.secret_tag));
                    assert!(secret.verify(payload, context, &wanted), "{}", test.name);
                    let confirm = MessageVerificationKey::from_pad(end).unwrap();
                    let parts = [context, test.origins.as_bytes(), test.lying.as_bytes()];
                    let good = confirm.verify(&parts, &tag(&test.confirmation_tag));
                    assert_eq!(good, test.result == Verdict::Valid, "{}", test.name);
                }
            }
            // By the tests of the client, which alone can say what a peer offers, and what hubs say of a name.
            dske_key::TestGroup::Negotiation(_) | dske_key::TestGroup::LookUp(_) => {}
            other => panic!("a group that is not known here: {}", other.name()),
        }
    }
}
