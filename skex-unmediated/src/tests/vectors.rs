//! The published vectors of the key schedule and the exporter, against the functions that the machine is made of.

use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
use skex_core::machine::Instant;
use skex_core::{Digest, Expander, HashSecret, Label, SecretBytes, Suite};
use skex_testvectors::unmediated_exporter::{self, WindowTest};
use skex_testvectors::unmediated_keys::{self, HandshakeTest, TagTest, TestGroup};
use skex_testvectors::{Hex, Verdict};
use skex_wire::unmediated::{
    FourthMessage, LongThirdMessage, Message, SessionStatus, StaleMessage, ThirdMessage,
};
use skex_wire::{SuiteId, Writer};
use std::vec::Vec;

use crate::exporter::{AnsweringChain, NamingChain, derive};
use crate::schedule::{self, Context, Handshake};
use crate::{Peer, PeerConfig, Side};

fn suite(number: u8) -> Suite {
    Suite::from_id(SuiteId::new(number)).expect("a suite of the vectors")
}

fn side(letter: &str) -> Side {
    match letter {
        "a" => Side::A,
        "b" => Side::B,
        other => panic!("no side {other}"),
    }
}

fn secret(suite: Suite, octets: &Hex) -> HashSecret {
    HashSecret::try_copied_from(suite, octets.as_bytes()).unwrap()
}

fn key(octets: &Hex) -> SecretBytes<32> {
    SecretBytes::try_copied_from(octets.as_bytes()).unwrap()
}

fn hash(suite: Suite, parts: &[&[u8]]) -> Digest {
    parts.iter().fold(suite.hash(), |hash, part| hash.chain(part)).finish()
}

fn first_hash(suite: Suite, first: &Hex, wanted: &Hex) -> Digest {
    let digest = hash(suite, &[first.as_bytes()]);
    assert_eq!(digest.as_bytes(), wanted.as_bytes());
    digest
}

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer);
    writer.written().to_vec()
}

#[test]
fn keys_of_enrolments_epochs_and_handshakes_are_those_of_the_vectors() {
    let mut count = 0;
    for group in unmediated_keys::load().unwrap().test_groups {
        count += group.cases().len();
        match group {
            TestGroup::Enrolment(group) => {
                for test in group.tests {
                    let names = [test.name_a.as_bytes(), test.name_b.as_bytes()];
                    for (side, own, peer) in [(Side::A, names[0], names[1]), (Side::B, names[1], names[0])] {
                        let config = PeerConfig::new(side, own, peer)
                            .context(test.context.as_bytes())
                            .lane(test.lane)
                            .initial_suite(suite(group.suite));
                        enrolment(&config, &test);
                    }
                }
            }
            TestGroup::Epoch(group) => {
                for test in group.tests {
                    let chain =
                        Expander::new(suite(group.suite), &secret(suite(group.suite), &test.chain_key));
                    for (side, pseudonym, mac_key) in [
                        (Side::A, &test.pseudonym_a, &test.mac_key_a),
                        (Side::B, &test.pseudonym_b, &test.mac_key_b),
                    ] {
                        let found = schedule::pseudonym(&chain, side, test.epoch);
                        assert_eq!(found.octets(), pseudonym.as_bytes(), "{}", test.tc_id);
                        let found = schedule::mac_key(&chain, side, test.epoch);
                        assert_eq!(found.expose()[..], *mac_key.as_bytes(), "{}", test.tc_id);
                    }
                }
            }
            TestGroup::Handshake(group) => group.tests.iter().for_each(handshake),
            TestGroup::Tag(group) => {
                for test in group.tests {
                    let right = tag_is_right(suite(group.suite), &test);
                    assert_eq!(right, test.result == Verdict::Valid, "{}", test.tc_id);
                }
            }
            TestGroup::Nonce(group) => {
                for test in group.tests {
                    let suite = suite(group.suite);
                    let h1 = first_hash(suite, &test.first, &test.h1);
                    let (boot, head) = (key(&test.boot_key), [test.second_flags, test.next_suite]);
                    let (boot, extension) = (&boot, test.extension.as_bytes());
                    let found =
                        schedule::responder_nonce(suite, boot, test.epoch, &h1, test.slot, head, extension);
                    assert_eq!(found, test.nonce.as_bytes(), "{}", test.tc_id);
                }
            }
            TestGroup::Offer(group) => {
                for test in group.tests {
                    let suite = suite(group.suite);
                    let chain = Expander::new(suite, &secret(suite, &test.chain_key));
                    let (initiator, nonce) = (side(&test.initiator), test.nonce.array().unwrap());
                    let mut offer = schedule::empty_mix_offer(&chain, test.epoch, initiator, &nonce);
                    assert_eq!(offer, test.filling.as_bytes(), "{}", test.tc_id);
                    for (at, block) in test.blocks.iter().enumerate() {
                        let found =
                            schedule::mix_reference(suite, &key(block), test.epoch, initiator, &nonce);
                        assert_eq!(found, test.references[at].as_bytes(), "{}", test.tc_id);
                        offer[8 * at..8 * at + 8].copy_from_slice(&found);
                    }
                    assert_eq!(offer, test.extension.as_bytes(), "{}", test.tc_id);
                }
            }
            TestGroup::Cookie(group) => {
                for test in group.tests {
                    let suite = suite(group.suite);
                    let h1 = first_hash(suite, &test.first, &test.h1);
                    let found = schedule::cookie(suite, &key(&test.boot_key), test.path, &h1, test.slot);
                    assert_eq!(found, test.cookie.as_bytes(), "{}", test.tc_id);
                }
            }
            other => panic!("a group that is not known here: {}", other.name()),
        }
    }
    assert!(count > 150, "only {count} tests");
}

fn enrolment(config: &PeerConfig<'_>, test: &unmediated_keys::EnrolmentTest) {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let made = Peer::enrol(config, test.secret.as_bytes(), Instant::ZERO, &mut rng);
    assert_eq!(made.is_ok(), test.result == Verdict::Valid, "{}", test.tc_id);
    if let (Some(binding), Some(chain_key)) = (&test.binding, &test.chain_key) {
        let checked = config.checked().unwrap();
        assert_eq!(checked.binding, binding.as_bytes(), "{}", test.tc_id);
        let suite = checked.initial_suite;
        let found = schedule::first_chain_key(suite, &checked.binding, test.secret.as_bytes());
        assert_eq!(found.expose(), chain_key.as_bytes(), "{}", test.tc_id);
    }
}

fn handshake(test: &HandshakeTest) {
    let (wanted, id) = (&test.handshake, test.tc_id);
    let (own, next) = (suite(wanted.suite), suite(wanted.next_suite));
    let initiator = side(&wanted.initiator);
    let chain_key = secret(own, &wanted.chain_key);
    let chain = Expander::new(own, &chain_key);
    let mac_key = schedule::mac_key(&chain, initiator, wanted.epoch);
    assert_eq!(mac_key.expose()[..], *wanted.mac_key.as_bytes(), "k1, {id}");
    let pseudonym = schedule::pseudonym(&chain, initiator, wanted.epoch);
    assert_eq!(pseudonym.octets(), wanted.pseudonym.as_bytes(), "kid, {id}");

    let mac1 = schedule::mac(own, &mac_key, &[wanted.first_body.as_bytes()]);
    assert_eq!(mac1, wanted.mac1.as_bytes(), "MAC1, {id}");
    let first = hash(own, &[wanted.first_body.as_bytes(), &mac1]);
    assert_eq!(first.as_bytes(), wanted.h1.as_bytes(), "H1, {id}");
    let second = hash(own, &[wanted.second_body.as_bytes()]);
    assert_eq!(second.as_bytes(), wanted.h2.as_bytes(), "H2, {id}");
    let binding = wanted.binding.array().unwrap();
    let context = Context { binding: &binding, epoch: wanted.epoch, initiator };
    let block = wanted.block.as_ref().map(key);
    let mut master = HashSecret::zeroed(own);
    schedule::master_secret_into(own, &chain, &context, &first, &second, block.as_ref(), &mut master);
    assert_eq!(master.expose(), wanted.master_secret.as_bytes(), "MS, {id}");

    let keys = Handshake::new(own, &master);
    assert_eq!(keys.second_tag(), wanted.mac2.as_bytes(), "MAC2, {id}");
    assert_eq!(keys.session_id(), wanted.session_id.as_bytes(), "session id, {id}");
    let mut out = HashSecret::zeroed(own);
    for (side, export) in [(Side::A, &wanted.export_a), (Side::B, &wanted.export_b)] {
        keys.export_into(side, next, &mut out);
        assert_eq!(out.expose(), export.as_bytes(), "XC, {id}");
    }
    keys.chain_into(next, &mut out);
    assert_eq!(out.expose(), wanted.next_chain_key.as_bytes(), "CK, {id}");

    let first_octets = [wanted.first_body.as_bytes(), &mac1].concat();
    let second_octets = [wanted.second_body.as_bytes(), wanted.mac2.as_bytes()].concat();
    let (Ok(Message::First(first_message)), Ok(Message::Second(second_message))) =
        (Message::decode(&first_octets), Message::decode(&second_octets))
    else {
        panic!("first and second message, {id}")
    };
    let mut third = ThirdMessage::new(pseudonym, &[], [0; 16]);
    third.tag = keys.third_tag(&written(|writer| third.encode_body(writer).unwrap()));
    assert_eq!(written(|writer| third.encode(writer).unwrap()), wanted.third.as_bytes(), "M3, {id}");
    let mut long = LongThirdMessage::new(third, &first_message, &second_message);
    let guard = schedule::mac(own, &mac_key, &[&written(|writer| long.encode_body(writer).unwrap())]);
    long.guard.copy_from_slice(&guard[..8]);
    assert_eq!(written(|writer| long.encode(writer).unwrap()), wanted.long_third.as_bytes(), "long M3, {id}");
    for (status, octets) in
        [(SessionStatus::Good, &wanted.fourth_good), (SessionStatus::Void, &wanted.fourth_void)]
    {
        let mut fourth = FourthMessage::new(pseudonym, status, [0; 16]);
        fourth.tag = keys.fourth_tag(&written(|writer| fourth.encode_body(writer).unwrap()));
        assert_eq!(written(|writer| fourth.encode(writer).unwrap()), octets.as_bytes(), "M4, {id}");
    }
    let mut stale = StaleMessage::new(first_message.attempt(), [0; 16]);
    let body = written(|writer| stale.encode_body(writer).unwrap());
    stale.tag = schedule::mac(own, &mac_key, &[&body, first.as_bytes()]);
    let octets = written(|writer| stale.encode(writer).unwrap());
    assert_eq!(octets, wanted.stale_notice.as_bytes(), "stale notice, {id}");
}

fn tag_is_right(suite: Suite, test: &TagTest) -> bool {
    let octets = test.octets.as_bytes();
    let (body, tag) = octets.split_at(octets.len() - if test.message_type == "THIRD_LONG" { 8 } else { 16 });
    match test.message_type.as_str() {
        "FIRST" | "THIRD_LONG" | "STALE" => {
            let found = schedule::mac(suite, &key(&test.key), &[body, test.after.as_bytes()]);
            found[..tag.len()] == *tag
        }
        kind => {
            let keys = Handshake::new(suite, &secret(suite, &test.key));
            let found = match kind {
                "SECOND" => keys.second_tag(),
                "THIRD" => keys.third_tag(body),
                "FOURTH" => keys.fourth_tag(body),
                other => panic!("no tag of {other}"),
            };
            found == tag
        }
    }
}

#[test]
fn outputs_and_consumers_keys_are_those_of_the_vectors_and_each_is_given_once() {
    let mut count = 0;
    for group in unmediated_exporter::load().unwrap().test_groups {
        count += group.cases().len();
        match group {
            unmediated_exporter::TestGroup::Chain(group) => {
                for test in group.tests {
                    let (suite, owner) = (suite(group.suite), side(&test.owner));
                    let mut chain = NamingChain::none(suite);
                    chain.begin().overwrite(&secret(suite, &test.links[0]));
                    for (wanted, octets) in test.indices.iter().zip(&test.outputs) {
                        let (index, output) = chain.name(suite, owner).unwrap();
                        assert_eq!((index, output.expose()), (*wanted, octets.as_bytes()), "{}", test.tc_id);
                        chain.note_answer(index).unwrap();
                    }
                    assert_eq!(test.indices.len(), test.outputs.len());
                }
            }
            unmediated_exporter::TestGroup::Key(group) => {
                for test in group.tests {
                    let suite = suite(group.suite);
                    let label =
                        Label::ALL.iter().find(|label| label.as_bytes() == test.label.as_bytes()).unwrap();
                    let output = secret(suite, &test.output);
                    let found = derive(suite, &output, test.index, *label, test.context.as_bytes());
                    assert_eq!(found.expose(), test.key.as_bytes(), "{}", test.tc_id);
                }
            }
            unmediated_exporter::TestGroup::Window(group) => {
                assert_eq!(group.window as usize, crate::WINDOW);
                group.tests.iter().for_each(|test| window(suite(group.suite), test));
            }
            other => panic!("a group that is not known here: {}", other.name()),
        }
    }
    assert!(count > 100, "only {count} tests");
}

fn window(suite: Suite, test: &WindowTest) {
    let mut chain = AnsweringChain::none(suite);
    chain.begin().overwrite(&secret(suite, &test.link));
    for (at, wanted) in test.operations.iter().enumerate() {
        let found = match wanted.operation.as_str() {
            "take" => chain.take(suite, wanted.index),
            "peek" => chain.peek(suite, wanted.index),
            other => panic!("no operation {other}"),
        };
        let place = (test.tc_id, at);
        assert_eq!(
            found.as_ref().ok().map(HashSecret::expose),
            wanted.output.as_ref().map(Hex::as_bytes),
            "{place:?}"
        );
        let last = at + 1 == test.operations.len();
        assert_eq!(found.is_err(), last && test.result == Verdict::Invalid, "{place:?}");
    }
}
