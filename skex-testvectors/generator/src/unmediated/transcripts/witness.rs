//! Explains every octet that two peers sent, stored or gave from the formulas of the specification alone.

use serde_json::Value;
use skex_core::Suite;

use super::super::schedule::{
    Epoch, consumer_key, cookie, filling, first_and_second, first_body_of, handshake, mac16, nonce,
    reference, step, typed,
};
use super::super::suite;
use super::world::{Sent, TRIES, World};
use crate::primitives::hash;

const ATTEMPT_LIFE: u64 = 1000 * ((1 << TRIES) - 1);
const KIND_OF_RECORD: u8 = 1;

/// The epochs of a pair, and the handshakes between them.
pub(super) struct Witness {
    epochs: Vec<Epoch>,
    handshakes: Vec<Value>,
}

/// The handshakes of an exchange that was completed at one end at least.
///
/// # Panics
/// If anything does not follow from the specification.
pub(super) fn handshakes(world: &World) -> Vec<Value> {
    let mut witness = Witness { epochs: Vec::new(), handshakes: Vec::new() };
    for secret in [&world.secret].into_iter().chain(&world.new_secrets) {
        witness.epochs.push(world.epoch_0_of(secret));
        while let Some(found) = witness.next_handshake(world) {
            let known = typed(&found);
            let next: Suite = suite(known.next_suite);
            let number = known.epoch + 1;
            witness.epochs.push(Epoch {
                number,
                suite: next,
                chain_key: known.next_chain_key.as_bytes().to_vec(),
            });
            witness.handshakes.push(found);
        }
    }
    for sent in &world.sent {
        witness.explain(world, sent);
    }
    witness.check_records(world);
    witness.check_keys(world);
    witness.handshakes
}

impl Witness {
    /// Of which epoch and initiator a pseudonym is.
    fn owner(&self, pseudonym: &[u8]) -> (&Epoch, u8) {
        let sides = |epoch| [(epoch, b'a'), (epoch, b'b')];
        let mut all = self.epochs.iter().flat_map(sides);
        all.find(|(epoch, side)| epoch.pseudonym(*side) == pseudonym).expect("a pseudonym of this pair")
    }

    /// Every handshake that a second message in `world` could be of.
    fn answered(&self, world: &World, second: &[u8]) -> Value {
        let first = first_of(world, &second[2..10]);
        let (epoch, initiator) = self.owner(&first[2..10]);
        let second_body = &second[..second.len() - 16];
        let first_body = first_body_of(first);
        // The block whose reference the second message chooses: none is chosen by no octet, or by 0.
        let place = second_body.get(28).map_or(0, |choice| usize::from(*choice));
        let block = place.checked_sub(1).map(|place| {
            let at = first_body.len() - 16 + 8 * place;
            let wanted = &first_body[at..at + 8];
            let refers = |block: &&Vec<u8>| {
                reference(epoch.suite, block, epoch.number, initiator, &first[10..26]) == wanted
            };
            world.blocks.iter().find(refers).expect("a block that was provided")
        });
        let block = block.map(|block| &block[..]);
        handshake(&world.enrolment.binding(), epoch, initiator, first_body, second_body, block)
    }

    /// Every reference of an offer is to a block, or what fills an offer.
    fn check_offer(world: &World, epoch: &Epoch, side: u8, body: &[u8]) {
        let extension = &body[28 + usize::from(body[26])..];
        assert!(extension.is_empty() || extension.len() == 16, "no offer, or two references");
        let nonce = &body[10..26];
        for (place, filled) in extension.chunks(8).zip(filling(epoch, side, nonce).chunks(8)) {
            let refers = |block: &Vec<u8>| reference(epoch.suite, block, epoch.number, side, nonce) == place;
            assert!(place == filled || world.blocks.iter().any(refers), "a reference");
        }
    }

    /// The handshake that ended the last epoch: the one of which a third message was sent.
    fn next_handshake(&self, world: &World) -> Option<Value> {
        let last = self.epochs.last().expect("epoch 0");
        let names = [last.pseudonym(b'a'), last.pseudonym(b'b')];
        let of_last = |sent: &&Sent| {
            sent.octets[0] == 0x12
                && names.iter().any(|name| first_of(world, &sent.octets[2..10])[2..10] == name[..])
        };
        let candidates = world.sent.iter().filter(of_last).map(|sent| self.answered(world, &sent.octets));
        candidates.into_iter().find(|candidate| {
            let known = typed(candidate);
            let thirds = [known.third.as_bytes(), known.long_third.as_bytes()];
            world.sent.iter().any(|sent| thirds.contains(&&sent.octets[..]))
        })
    }

    fn explain(&self, world: &World, sent: &Sent) {
        let octets = &sent.octets;
        match octets[0] {
            0x11 => {
                let body = first_body_of(octets);
                let (epoch, side) = self.owner(&octets[2..10]);
                assert_eq!(side, sent.side);
                let tag = mac16(epoch.suite, &epoch.mac_key(side), body);
                assert_eq!(octets[body.len()..body.len() + 16], tag, "MAC1");
                assert!(world.drew(side, &octets[10..22]), "Ni");
                Self::check_offer(world, epoch, side, body);
                let rest = &octets[body.len() + 16..];
                assert!(rest.is_empty() || (rest[0] == 16 && rest.len() == 17), "a cookie or nothing");
            }
            0x12 => {
                let known = typed(&self.answered(world, octets));
                assert_eq!(first_and_second(&known)[1], *octets, "M2");
                let head = [octets[1], octets[26]];
                let h1 = known.h1.as_bytes();
                let slot = sent.time / ATTEMPT_LIFE;
                let extension = &octets[28..octets.len() - 16];
                let when = (known.epoch, slot);
                let expected = nonce(suite(known.suite), &sent.boot, when, head, h1, extension);
                assert_eq!(octets[10..26], expected, "Nr");
            }
            0x13..=0x15 => {
                let of_it = self.handshakes.iter().map(typed).any(|known| {
                    let all = [&known.third, &known.long_third, &known.fourth_good, &known.fourth_void];
                    all.into_iter().any(|message| message.as_bytes() == octets)
                });
                assert!(of_it, "a third or fourth message of a handshake");
            }
            0x16 => {
                let (epoch, h1) = self.first_hash(world, &octets[2..10]);
                let slot = sent.time / ATTEMPT_LIFE;
                let path = sent.path.expect("an answer");
                assert_eq!(octets[10..], cookie(epoch.suite, &sent.boot, path, slot, &h1), "cookie");
            }
            0x17 => {
                let (epoch, h1) = self.first_hash(world, &octets[2..10]);
                let (_, initiator) = self.owner(&first_of(world, &octets[2..10])[2..10]);
                let message = [&octets[..10], &h1].concat();
                assert_eq!(octets[10..], mac16(epoch.suite, &epoch.mac_key(initiator), &message), "stale");
            }
            other => panic!("a message of type {other:x}"),
        }
    }

    fn first_hash(&self, world: &World, attempt: &[u8]) -> (&Epoch, Vec<u8>) {
        let first = first_of(world, attempt);
        let (epoch, _) = self.owner(&first[2..10]);
        let whole = &first[..first_body_of(first).len() + 16];
        (epoch, hash(epoch.suite, whole))
    }

    /// The chain key in every record is that of its epoch.
    fn check_records(&self, world: &World) {
        for record in &world.records {
            assert_eq!(record[5], KIND_OF_RECORD);
            let body = &record[26..];
            let number = u64::from_be_bytes(body[2..10].try_into().expect("8 octets"));
            let is_it = |epoch: &Epoch| {
                let length = epoch.suite.hash_len();
                epoch.number == number
                    && body[10] == super::super::number(epoch.suite)
                    && body[29..29 + length] == epoch.chain_key
            };
            assert!(self.epochs.iter().any(is_it), "chain key in a record");
        }
    }

    /// Every key follows from its session's chains, and every session id from its handshake.
    fn check_keys(&self, world: &World) {
        for (number, id) in &world.sessions {
            let mut all = self.handshakes.iter().map(typed);
            assert!(all.any(|known| known.epoch + 1 == *number && known.session_id.as_bytes() == id));
        }
        for given in &world.given {
            let all = self.handshakes.iter().map(typed);
            let mut own = all.filter(|known| known.session_id.as_bytes() == given.session);
            let session = own.next().expect("the session of a key");
            let (start, position) = match given.index >> 63 {
                0 => (&session.export_a, given.index),
                _ => (&session.export_b, given.index & !(1 << 63)),
            };
            let suite = suite(session.next_suite);
            let mut link = start.as_bytes().to_vec();
            let mut output = Vec::new();
            for at in 0..=position {
                [output, link] = step(suite, &link, at);
            }
            let key = consumer_key(suite, &output, given.index, &given.label, &given.context);
            assert_eq!(key, given.key, "the key of an output");
        }
    }
}

/// The first message with this reference.
fn first_of<'a>(world: &'a World, attempt: &[u8]) -> &'a [u8] {
    let mut firsts = world.sent.iter().filter(|sent| sent.octets[0] == 0x11);
    &firsts.find(|sent| sent.octets[10..18] == *attempt).expect("a first message").octets
}
