//! Somebody who has everything of some links, and what was sent over them.

use std::collections::BTreeMap;

use skex_core::{Aead, Expander, Label, SecretBytes, Suite};
use skex_dske::{Coordinate, MessageVerificationKey, SecretTagKey, Tag, combine};
use skex_testvectors::Layer;
use skex_testvectors::dske_transcripts::{self, Link, PassiveTest, TestGroup};
use skex_wire::dske::{
    Direction, DskeSuiteId, Inner, InnerType, Outer, ShareMessage, Tagged, context_len, encode_context,
    tag_prefix,
};
use skex_wire::{SuiteId, Writer};

use super::array;

/// One link as the observer follows it.
struct Observed<'a> {
    link: &'a Link,
    hub: [u8; 16],
    coordinate: u8,
    suite: Suite,
    /// `salt_c` and `salt_h`.
    salts: [[u8; 16]; 2],
}

/// A share with what the message said of its key.
struct Share {
    coordinate: u8,
    octets: Vec<u8>,
    context: Vec<u8>,
    secret_tag: [u8; 16],
    threshold: u8,
    key_len: usize,
}

fn key_of(link: &Link, way: u8, index: u32, elements: usize) -> Vec<u8> {
    let table = if way == 0 { &link.uplink } else { &link.downlink };
    let start = index as usize * 16;
    table.octets.as_bytes()[start..start + 16 * elements].to_vec()
}

impl Observed<'_> {
    /// What is inside an envelope.
    fn open(&self, way: u8, octets: &[u8]) -> Result<Vec<u8>, Layer> {
        let Ok(Outer::Sealed(sealed)) = Outer::decode(octets) else { return Ok(Vec::new()) };
        let prk = skex_core::extract(self.suite, &self.salts.concat(), &[self.link.initial_key.as_bytes()]);
        let label = if way == 0 { Label::DSKE_ENVELOPE_TO_HUB } else { Label::DSKE_ENVELOPE_TO_CLIENT };
        let context = [&self.link.client_id.to_be_bytes()[..], &self.hub];
        let key: SecretBytes<32> = Expander::new(self.suite, &prk).secret(label, &context);
        let mut inner = sealed.ciphertext.to_vec();
        let opened = self.suite.open(&key, &sealed.header.nonce(), sealed.aad, &mut inner, &sealed.tag);
        opened.map(|()| inner).map_err(|_| Layer::Authenticate)
    }

    /// The share in an upload or delivery, whose tag is right.
    fn share(&self, test: &PassiveTest, way: u8, inner: &[u8]) -> Result<Option<Share>, Layer> {
        let prefix = tag_prefix(Direction::new(way), self.link.client_id, &self.hub);
        let Inner::Share(Tagged { message, tag, untagged, .. }) =
            Inner::decode(inner).map_err(|_| Layer::Decode)?
        else {
            return Ok(None);
        };
        let octets = match message.position.number {
            None => {
                let key = key_of(self.link, way, message.position.index + 2, 2);
                let key =
                    MessageVerificationKey::from_pad(&key.try_into().unwrap()).map_err(|_| Layer::Key)?;
                if !key.verify(&[&prefix, untagged], &Tag::from_bytes(tag)) {
                    return Err(Layer::Authenticate);
                }
                let length = (5 + message.terms.key_len.div_ceil(16)) as usize;
                let mut octets = key_of(self.link, way, message.position.index + 4, length);
                octets.iter_mut().zip(message.share).for_each(|(octet, sent)| *octet ^= sent);
                octets
            }
            Some(number) => {
                let aead = if message.terms.suite == DskeSuiteId::AES256GCM {
                    Aead::aes256gcm()
                } else {
                    Aead::chacha20poly1305()
                };
                let secret = key_of(self.link, way, message.position.index + 2, 2);
                let context = [
                    &prefix[..],
                    &[message.terms.suite.value()],
                    &message.position.table.to_be_bytes(),
                    &message.position.index.to_be_bytes(),
                ];
                let key = Expander::from_key(self.suite, &secret).secret(Label::DSKE_EPOCH_SHARES, &context);
                let mut octets = message.share.to_vec();
                let (mut nonce, head) = ([0; 12], inner.len() - octets.len() - 16);
                nonce[11] = number;
                let aad = [&prefix[..], &inner[..head]].concat();
                let opened = aead.unwrap().open(&key, &nonce, &aad, &mut octets, &tag);
                opened.map_err(|_| Layer::Authenticate)?;
                octets
            }
        };
        Ok(Some(self.about(test, &message, octets)))
    }

    fn about(&self, test: &PassiveTest, message: &ShareMessage<'_>, octets: Vec<u8>) -> Share {
        let (own, terms) = (array(&test.client_tag), &message.terms);
        let is_upload =
            message.inner_type == InnerType::UPLOAD || message.inner_type == InnerType::UPLOAD_SEALED;
        let (initiator, responder) = if is_upload { (own, message.peer) } else { (message.peer, own) };
        let hub = |coordinate: &u8| test.roster.iter().find(|hub| hub.coordinate == *coordinate).unwrap();
        let ids: Vec<[u8; 16]> =
            terms.coordinates.iter().map(|coordinate| array(&hub(coordinate).hub_id)).collect();
        let mut context = vec![0; context_len(terms.hubs())];
        encode_context(&mut Writer::new(&mut context), &message.key_id, &initiator, &responder, terms, &ids)
            .unwrap();
        Share {
            coordinate: self.coordinate,
            octets,
            context,
            secret_tag: message.secret_tag,
            threshold: terms.threshold,
            key_len: terms.key_len as usize,
        }
    }
}

/// The key, the confirm key and the context.
fn observe(test: &PassiveTest) -> Result<[Vec<u8>; 3], Layer> {
    let suite = Suite::from_id(SuiteId::new(test.envelope_suite)).unwrap();
    let mut links: BTreeMap<&str, Observed<'_>> = BTreeMap::new();
    for link in &test.links {
        let hub = test.roster.iter().find(|hub| hub.name == link.hub).unwrap();
        let observed = Observed {
            link,
            hub: array(&hub.hub_id),
            coordinate: hub.coordinate,
            suite,
            salts: [[0; 16]; 2],
        };
        links.insert(&link.hub, observed);
    }
    let mut shares: BTreeMap<u8, Share> = BTreeMap::new();
    for captured in &test.captured {
        let link = links.get_mut(captured.hub.as_str()).unwrap();
        match Outer::decode(captured.octets.as_bytes()).map_err(|_| Layer::Decode)? {
            Outer::Hello(hello) => link.salts[0] = hello.message.salt,
            Outer::HelloReply(reply) => link.salts[1] = reply.message.salt,
            _ => {
                let inner = link.open(captured.direction, captured.octets.as_bytes())?;
                if let Some(share) = link.share(test, captured.direction, &inner)? {
                    shares.insert(share.coordinate, share);
                }
            }
        }
    }
    let first = shares.values().next().ok_or(Layer::State)?;
    let threshold = usize::from(first.threshold);
    if test.links.len() < threshold {
        return Err(Layer::Argument);
    }
    if shares.len() < threshold {
        return Err(Layer::State);
    }
    let points: Vec<(Coordinate, &[u8])> = shares
        .values()
        .map(|share| (Coordinate::new(share.coordinate).unwrap(), &share.octets[..]))
        .collect();
    let mut block = vec![0; first.octets.len()];
    combine(first.threshold, &points, &mut block).unwrap();
    let (tag_key, payload) = block.split_first_chunk::<48>().unwrap();
    if !SecretTagKey::from_secret(tag_key).verify(payload, &first.context, &Tag::from_bytes(first.secret_tag))
    {
        return Err(Layer::Authenticate);
    }
    Ok([block[48..48 + first.key_len].to_vec(), block[block.len() - 32..].to_vec(), first.context.clone()])
}

#[test]
fn tables_and_recorded_messages_of_a_threshold_of_links_give_the_key_and_those_of_fewer_nothing() {
    let mut count = 0;
    for group in dske_transcripts::load().unwrap().test_groups {
        let TestGroup::Passive(group) = group else { continue };
        for test in &group.tests {
            match (observe(test), &test.found) {
                (Ok([key, confirm_key, context]), Some(found)) => {
                    assert_eq!(key, found.key.as_bytes(), "{}", test.name);
                    assert_eq!(confirm_key, found.confirm_key.as_bytes(), "{}", test.name);
                    assert_eq!(context, found.context.as_bytes(), "{}", test.name);
                }
                (Err(layer), None) => assert_eq!(Some(layer), test.refused_by, "{}", test.name),
                (found, _) => panic!("{}: found a key: {}", test.name, found.is_ok()),
            }
            count += 1;
        }
    }
    assert!(count > 15, "only {count}");
}
