//! The formulas of the specification, "Enrolment" and "Key Schedule", and the messages that they need.

use serde_json::{Value, json};
use skex_core::Suite;
use skex_testvectors::Hex;
use skex_testvectors::unmediated_keys::Handshake;

use super::{letter, number};
use crate::file::hex;
use crate::primitives::{expand_label, extract, hash, mac};

/// Expand under a label of the unmediated protocol.
pub(super) fn expand(suite: Suite, key: &[u8], label: &str, context: &[u8], length: usize) -> Vec<u8> {
    expand_label(suite, key, &format!("skex u1 {label}"), context, length)
}

fn labelled_hash(suite: Suite, label: &str, message: &[u8]) -> Vec<u8> {
    let label = format!("skex u1 {label}");
    hash(suite, &[&[label.len() as u8], label.as_bytes(), message].concat())
}

pub(super) fn mac16(suite: Suite, key: &[u8], message: &[u8]) -> Vec<u8> {
    mac(suite, key, message)[..16].to_vec()
}

/// Who is enrolled with whom, for what.
#[derive(Clone)]
pub(super) struct Enrolment {
    pub(super) names: [Vec<u8>; 2],
    pub(super) lane: u8,
    pub(super) suite: Suite,
    pub(super) context: Vec<u8>,
}

impl Enrolment {
    /// EB.
    pub(super) fn binding(&self) -> Vec<u8> {
        let mut message = Vec::new();
        let [a, b] = &self.names;
        for part in [a, b, &vec![self.lane], &vec![number(self.suite)], &self.context] {
            message.push(part.len() as u8);
            message.extend(part);
        }
        labelled_hash(self.suite, "enrol", &message)[..32].to_vec()
    }

    /// CK_0.
    pub(super) fn chain_key(&self, secret: &[u8]) -> Vec<u8> {
        extract(self.suite, &self.binding(), secret)
    }
}

/// An epoch: its number, suite and chain key.
#[derive(Clone)]
pub(super) struct Epoch {
    pub(super) number: u64,
    pub(super) suite: Suite,
    pub(super) chain_key: Vec<u8>,
}

impl Epoch {
    /// kid of a side.
    pub(super) fn pseudonym(&self, side: u8) -> Vec<u8> {
        let label = format!("kid {}", char::from(side));
        expand(self.suite, &self.chain_key, &label, &self.number.to_be_bytes(), 8)
    }

    /// k1 of a side.
    pub(super) fn mac_key(&self, side: u8) -> Vec<u8> {
        let label = format!("m1 mac {}", char::from(side));
        expand(self.suite, &self.chain_key, &label, &self.number.to_be_bytes(), 32)
    }
}

/// The body of a first message without extension.
pub(super) fn first_body(flags: u8, pseudonym: &[u8], nonce: &[u8], suites: &[u8]) -> Vec<u8> {
    [&[0x11, flags], pseudonym, nonce, &[suites.len() as u8], suites, &[0]].concat()
}

/// The body of a second message without extension.
pub(super) fn second_body(flags: u8, attempt: &[u8], nonce: &[u8], suite: u8) -> Vec<u8> {
    [&[0x12, flags], attempt, nonce, &[suite, 0]].concat()
}

/// A body of a first or second message without extension, with this one.
pub(super) fn extended(body: &[u8], extension: &[u8]) -> Vec<u8> {
    [&body[..body.len() - 1], &[extension.len() as u8], extension].concat()
}

/// The reference to a block.
pub(super) fn reference(suite: Suite, block: &[u8], epoch: u64, initiator: u8, nonce: &[u8]) -> Vec<u8> {
    let context = [&epoch.to_be_bytes()[..], &[initiator], nonce].concat();
    expand(suite, block, "mix ref", &context, 8)
}

/// What fills an offer.
pub(super) fn filling(epoch: &Epoch, initiator: u8, nonce: &[u8]) -> Vec<u8> {
    let context = [&epoch.number.to_be_bytes()[..], &[initiator], nonce].concat();
    expand(epoch.suite, &epoch.chain_key, "mix none", &context, 16)
}

/// The parts of a first message: what a responder reads of it.
pub(super) fn first_body_of(message: &[u8]) -> &[u8] {
    let suites = usize::from(message[26]);
    let extension = usize::from(message[27 + suites]);
    &message[..28 + suites + extension]
}

/// A handshake that `initiator` began with a first message of this body, and that was answered with a second one.
pub(super) fn handshake(
    binding: &[u8],
    epoch: &Epoch,
    initiator: u8,
    first_body: &[u8],
    second_body: &[u8],
    block: Option<&[u8]>,
) -> Value {
    let suite = epoch.suite;
    let own = epoch.pseudonym(initiator);
    let mac_key = epoch.mac_key(initiator);
    let mac1 = mac16(suite, &mac_key, first_body);
    let h1 = hash(suite, &[first_body, &mac1].concat());
    let h2 = hash(suite, second_body);
    let transcript = [binding, &epoch.number.to_be_bytes(), &[initiator], &h1, &h2].concat();
    let th = labelled_hash(suite, "th", &transcript);
    let ms = expand(suite, &epoch.chain_key, "hs", &th, suite.hash_len());
    let mix_key = block.map(|block| expand(suite, block, "mix key", &th, suite.hash_len()));
    let ms = mix_key.as_ref().map_or_else(|| ms.clone(), |key| extract(suite, &ms, key));
    let mac2 = expand(suite, &ms, "m2 mac", b"", 16);
    let third_body = [&[0x13, 0], &own[..], &[0]].concat();
    let third = [&third_body[..], &expand(suite, &ms, "m3 mac", &third_body, 16)].concat();
    // The short form from its octet 1 on; of the first message its flags, and all behind the pseudonym; of the second
    // its flags, and all behind the reference of the attempt.
    let long_body =
        [&[0x15], &third[1..], &first_body[1..2], &first_body[10..], &second_body[1..2], &second_body[10..]]
            .concat();
    let long = [&long_body[..], &mac16(suite, &mac_key, &long_body)[..8]].concat();
    let fourth = |status: u8| {
        let body = [&[0x14, 0], &own[..], &[status]].concat();
        [&body[..], &expand(suite, &ms, "m4 mac", &body, 16)].concat()
    };
    let stale_body = [&[0x17, 0], &first_body[10..18]].concat();
    let stale = [&stale_body[..], &mac16(suite, &mac_key, &[&stale_body[..], &h1].concat())].concat();
    let next = super::suite(second_body[26]);
    let forth = |label: &str| expand(suite, &ms, label, &[number(next)], next.hash_len());
    json!({
        "epoch": epoch.number,
        "suite": number(suite),
        "binding": hex(binding),
        "chainKey": hex(&epoch.chain_key),
        "initiator": letter(initiator),
        "pseudonym": hex(&own),
        "macKey": hex(&mac_key),
        "firstBody": hex(first_body),
        "mac1": hex(&mac1),
        "h1": hex(&h1),
        "secondBody": hex(second_body),
        "h2": hex(&h2),
        "transcriptHash": hex(&th),
        "block": block.map(hex),
        "mixKey": mix_key.as_deref().map(hex),
        "masterSecret": hex(&ms),
        "mac2": hex(&mac2),
        "third": hex(&third),
        "longThird": hex(&long),
        "fourthGood": hex(&fourth(0)),
        "fourthVoid": hex(&fourth(1)),
        "staleNotice": hex(&stale),
        "nextSuite": number(next),
        "sessionId": hex(&expand(suite, &ms, "sid", b"", 16)),
        "exportA": hex(&forth("export a")),
        "exportB": hex(&forth("export b")),
        "nextChainKey": hex(&forth("chain")),
    })
}

/// The same, with names.
pub(super) fn typed(handshake: &Value) -> Handshake {
    serde_json::from_value(handshake.clone()).expect("every value of a handshake")
}

/// The whole first and second message of a handshake.
pub(super) fn first_and_second(handshake: &Handshake) -> [Vec<u8>; 2] {
    let join = |body: &Hex, tag: &Hex| [body.as_bytes(), tag.as_bytes()].concat();
    [join(&handshake.first_body, &handshake.mac1), join(&handshake.second_body, &handshake.mac2)]
}

/// A responder's nonce.
pub(super) fn nonce(
    suite: Suite,
    boot: &[u8],
    (epoch, slot): (u64, u64),
    head: [u8; 2],
    h1: &[u8],
    extension: &[u8],
) -> Vec<u8> {
    let context = [&epoch.to_be_bytes()[..], &slot.to_be_bytes(), &head, h1, extension].concat();
    expand(suite, boot, "nonce", &context, 16)
}

/// A cookie.
pub(super) fn cookie(suite: Suite, boot: &[u8], path: u64, slot: u64, h1: &[u8]) -> Vec<u8> {
    let context = [&path.to_be_bytes()[..], &slot.to_be_bytes(), h1].concat();
    expand(suite, boot, "cookie", &context, 16)
}

/// OK at a position, and the next link.
pub(super) fn step(suite: Suite, link: &[u8], position: u64) -> [Vec<u8>; 2] {
    ["output", "next"].map(|label| expand(suite, link, label, &position.to_be_bytes(), suite.hash_len()))
}

/// The key of a consumer.
pub(super) fn consumer_key(suite: Suite, output: &[u8], index: u64, label: &str, context: &[u8]) -> Vec<u8> {
    let context = [&index.to_be_bytes()[..], context].concat();
    expand_label(suite, output, label, &context, suite.hash_len())
}
