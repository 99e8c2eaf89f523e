//! The published vectors of labels, suites, key schedule, envelope and records.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg(feature = "all-suites")]

use std::collections::BTreeSet;

use skex_core::record::{RecordError, RecordKind, decode_own, newest};
use skex_core::{Expander, HashSecret, Label, SecretBytes, Suite, extract};
use skex_testvectors::{Hex, Layer, Verdict, dske_envelope, key_schedule, labels, records, suites};
use skex_wire::SuiteId;

fn suite(number: u8) -> Suite {
    Suite::from_id(SuiteId::new(number)).expect("a suite of the vectors")
}

fn label(text: &str) -> Label {
    let found = Label::ALL.iter().find(|label| label.as_bytes() == text.as_bytes());
    *found.unwrap_or_else(|| panic!("no label {text}"))
}

/// A pseudorandom key as it stands in a file.
fn expander(suite: Suite, prk: &Hex) -> Expander {
    Expander::new(suite, &HashSecret::try_copied_from(suite, prk.as_bytes()).unwrap())
}

fn key(key: &Hex) -> SecretBytes<32> {
    SecretBytes::try_copied_from(key.as_bytes()).unwrap()
}

#[test]
fn the_labels_are_those_of_the_vectors_and_no_others() {
    let mut known = BTreeSet::new();
    for group in labels::load().unwrap().test_groups {
        let labels::TestGroup::Label(group) = group else { panic!("a group that is not known here") };
        for test in group.tests {
            assert_eq!(label(&test.label).as_bytes(), test.octets.as_bytes());
            assert!(test.label.starts_with(&group.prefix));
            known.insert(test.octets.as_bytes().to_vec());
        }
    }
    assert_eq!(known, Label::ALL.iter().map(|label| label.as_bytes().to_vec()).collect());
}

#[test]
fn every_suite_hashes_authenticates_and_seals_as_the_vectors_say() {
    for group in suites::load().unwrap().test_groups {
        match group {
            suites::TestGroup::Hash(group) => {
                for test in group.tests {
                    let digest = suite(group.suite).hash().chain(test.message.as_bytes()).finish();
                    assert_eq!(digest.as_bytes(), test.digest.as_bytes(), "{}", test.tc_id);
                }
            }
            suites::TestGroup::Mac(group) => {
                for test in group.tests {
                    let mac = || suite(group.suite).mac(test.key.as_bytes()).chain(test.message.as_bytes());
                    assert_eq!(mac().finish().expose(), test.mac.as_bytes(), "{}", test.tc_id);
                    let good = mac().verify_truncated16(&test.tag.array().unwrap()).is_ok();
                    assert_eq!(good, test.result == Verdict::Valid, "{}", test.tc_id);
                }
            }
            suites::TestGroup::Aead(group) => {
                for test in group.tests {
                    let (suite, key) = (suite(group.suite), key(&test.key));
                    let (nonce, tag) = (test.nonce.array().unwrap(), test.tag.array().unwrap());
                    let mut buffer = test.ciphertext.as_bytes().to_vec();
                    let opened = suite.open(&key, &nonce, test.aad.as_bytes(), &mut buffer, &tag).is_ok();
                    assert_eq!(opened, test.result == Verdict::Valid, "{}", test.tc_id);
                    if opened {
                        assert_eq!(buffer, test.plaintext.as_bytes());
                        assert_eq!(suite.seal(&key, &nonce, test.aad.as_bytes(), &mut buffer), Ok(tag));
                        assert_eq!(buffer, test.ciphertext.as_bytes());
                    }
                }
            }
            other => panic!("a group that is not known here: {}", other.name()),
        }
    }
}

#[test]
fn keys_follow_the_schedule_of_the_vectors() {
    for group in key_schedule::load().unwrap().test_groups {
        match group {
            key_schedule::TestGroup::Extract(group) => {
                for test in group.tests {
                    let (salt, ikm) = (test.salt.as_bytes(), test.ikm.as_bytes());
                    let prk = extract(suite(group.suite), salt, &[ikm]);
                    assert_eq!(prk.expose(), test.prk.as_bytes(), "{}", test.tc_id);
                    // In parts it is the same.
                    let (front, back) = ikm.split_at(ikm.len() / 3);
                    assert_eq!(extract(suite(group.suite), salt, &[front, back]), prk);
                }
            }
            key_schedule::TestGroup::Expand(group) => {
                for test in group.tests {
                    let mut out = vec![0; test.length as usize];
                    let done = expander(suite(group.suite), &test.prk).expand(
                        label(&test.label),
                        &[test.context.as_bytes()],
                        &mut out,
                    );
                    assert_eq!(done.is_ok(), test.result == Verdict::Valid, "{}", test.tc_id);
                    if let Some(okm) = test.okm {
                        assert_eq!(out, okm.as_bytes(), "{}", test.tc_id);
                    }
                }
            }
            other => panic!("a group that is not known here: {}", other.name()),
        }
    }
}

#[test]
fn the_envelope_is_made_of_this_schedule_and_these_suites() {
    for group in dske_envelope::load().unwrap().test_groups {
        match group {
            dske_envelope::TestGroup::Keys(group) => {
                let suite = suite(group.suite);
                for test in &group.tests {
                    let hub = test.hub_id.as_bytes();
                    let prk0 = extract(suite, b"", &[test.initial_key.as_bytes()]);
                    assert_eq!(prk0.expose(), test.prk0.as_bytes());
                    let hello = Expander::new(suite, &prk0);
                    assert_eq!(hello.secret(Label::DSKE_HELLO, &[hub]), key(&test.hello_key));
                    assert_eq!(hello.secret(Label::DSKE_HELLO_REPLY, &[hub]), key(&test.reply_key));
                    assert_eq!(hello.secret(Label::DSKE_HELLO_REQUEST, &[hub]), key(&test.request_key));
                    let salt = [test.salt_c.as_bytes(), test.salt_h.as_bytes()].concat();
                    let prk = extract(suite, &salt, &[test.initial_key.as_bytes()]);
                    assert_eq!(prk.expose(), test.prk.as_bytes());
                    let session = Expander::new(suite, &prk);
                    let link = [&test.client_id.to_be_bytes()[..], hub];
                    assert_eq!(session.secret(Label::DSKE_ENVELOPE_TO_HUB, &link), key(&test.uplink_key));
                    assert_eq!(
                        session.secret(Label::DSKE_ENVELOPE_TO_CLIENT, &link),
                        key(&test.downlink_key)
                    );
                }
            }
            dske_envelope::TestGroup::Hello(group) => {
                for test in &group.tests {
                    let (message, tag) = test.octets.as_bytes().split_last_chunk().unwrap();
                    let mac = suite(group.suite).mac(test.key.as_bytes());
                    let good =
                        mac.chain(test.before.as_bytes()).chain(message).verify_truncated16(tag).is_ok();
                    assert_eq!(good, test.result == Verdict::Valid, "{}", test.tc_id);
                }
            }
            dske_envelope::TestGroup::Sealed(group) => {
                for test in &group.tests {
                    let octets = test.octets.as_bytes();
                    let (header, rest) = octets.split_at(if test.salt_c.is_some() { 25 } else { 9 });
                    let (ciphertext, tag) = rest.split_last_chunk().unwrap();
                    let seq = header.last_chunk::<4>().unwrap();
                    let mut nonce = [0; 12];
                    nonce[8..].copy_from_slice(seq);
                    let mut inner = ciphertext.to_vec();
                    let opened = suite(group.suite).open(&key(&test.key), &nonce, header, &mut inner, tag);
                    assert_eq!(opened.is_ok(), test.result == Verdict::Valid, "{}", test.tc_id);
                    if opened.is_ok() {
                        assert_eq!(inner, test.inner.as_bytes());
                        assert_eq!((header, &nonce[..]), (test.aad.as_bytes(), test.nonce.as_bytes()));
                    }
                }
            }
            dske_envelope::TestGroup::Salt(group) => {
                for test in &group.tests {
                    let boot = Expander::from_key(suite(group.suite), test.boot_key.as_bytes());
                    let context = [
                        &test.client_id.to_be_bytes()[..],
                        test.salt_c.as_bytes(),
                        &test.generation.to_be_bytes(),
                    ];
                    assert_eq!(boot.public::<16>(Label::DSKE_SALT, &context), test.salt_h.array().unwrap());
                }
            }
            other => panic!("a group that is not known here: {}", other.name()),
        }
    }
}

/// The layer and the cause that the vectors give an error.
fn cause(error: RecordError) -> (Layer, &'static str) {
    match error {
        RecordError::Truncated => (Layer::Decode, "Truncated"),
        RecordError::BadMagic => (Layer::Decode, "BadMagic"),
        RecordError::UnknownVersion => (Layer::Decode, "UnknownVersion"),
        RecordError::Checksum => (Layer::Authenticate, "Checksum"),
        RecordError::WrongKind => (Layer::State, "WrongKind"),
        RecordError::ForeignMachine => (Layer::State, "ForeignMachine"),
        RecordError::Conflict => (Layer::State, "Conflict"),
        other => panic!("an error that the vectors do not have: {other}"),
    }
}

#[test]
fn records_are_read_and_slots_rule_as_the_vectors_say() {
    let mut refusals = BTreeSet::new();
    for group in records::load().unwrap().test_groups {
        match group {
            records::TestGroup::Frame(group) => {
                for test in &group.tests {
                    let (kind, machine) = (RecordKind::new(test.kind), test.machine.array().unwrap());
                    match decode_own(test.octets.as_bytes(), kind, machine) {
                        Ok((sequence, body)) => {
                            assert_eq!(test.result, Verdict::Valid, "{}", test.name);
                            assert_eq!(test.sequence, Some(sequence));
                            assert_eq!(test.body.as_ref().unwrap().as_bytes(), body);
                        }
                        Err(error) => {
                            let (layer, flag) = cause(error);
                            assert_eq!((test.refused_by, &test.flags[..]), (Some(layer), &[flag.into()][..]));
                            refusals.insert(flag);
                        }
                    }
                }
            }
            records::TestGroup::Slots(group) => {
                for test in &group.tests {
                    let (kind, machine) = (RecordKind::new(test.kind), test.machine.array().unwrap());
                    match newest(test.slots.each_ref().map(Hex::as_bytes), kind, machine) {
                        Ok(found) => {
                            assert_eq!(test.result, Verdict::Valid, "{}", test.name);
                            let rules = found.as_ref().map(|found| u8::try_from(found.slot).unwrap());
                            assert_eq!(test.rules, rules, "{}", test.name);
                            assert_eq!(test.sequence, found.as_ref().map(|found| found.sequence));
                            assert_eq!(test.body.as_ref().map(Hex::as_bytes), found.map(|found| found.body));
                        }
                        Err(error) => {
                            let (layer, flag) = cause(error);
                            assert_eq!((test.refused_by, &test.flags[..]), (Some(layer), &[flag.into()][..]));
                            refusals.insert(flag);
                        }
                    }
                }
            }
            // How a machine stores itself in records is the protocol crates' business.
            records::TestGroup::Log(_) | records::TestGroup::Marks(_) | records::TestGroup::Relay(_) => {}
            other => panic!("a group that is not known here: {}", other.name()),
        }
    }
    assert_eq!(refusals.len(), 7, "{refusals:?}");
}
