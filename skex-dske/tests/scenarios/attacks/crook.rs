//! A hub between two honest clients, in the adversary's hand: it hears what is uploaded and delivers what it wants.
//! The four other hubs are honest, and three make a key: whatever it says, the key arrives once, is right, and it alone
//! is blamed.

use core::time::Duration;

use skex_core::KeyId;
use skex_dske::{Conduct, KeyRequest, MessageTagKey};
use skex_sim::Verdict;
use skex_wire::Writer;
use skex_wire::dske::{Answer, AnswerStatus, Confirm, Direction, Inner, InnerType, tag_prefix};

use super::liar::{Liar, Share, pass};
use crate::oracle::Oracle;
use crate::several::several;
use crate::world::{Cast, Setup, cast};

const ANSWER: u8 = 6;

/// Hub 0: its links with the initiator and the responder.
struct Crook {
    initiator: Liar,
    responder: Liar,
}

impl Crook {
    fn new(cast: &mut Cast) -> Self {
        cast.settle(1);
        let initiator = Liar::hub(cast, 0, 0);
        let mut responder = Liar::hub(cast, 0, 1);
        responder.ask(cast, [1; 16], 0, 400).unwrap();
        Self { initiator, responder }
    }

    /// Client 0 asks for a key with client 1. Its id, its share here as the responder should get it, and its block's index.
    fn hears(&mut self, cast: &mut Cast) -> (KeyId, Share, u32) {
        self.hears_of(cast, KeyRequest::new(3))
    }

    fn hears_of(&mut self, cast: &mut Cast, request: KeyRequest) -> (KeyId, Share, u32) {
        let id = cast.request(0, 1, request);
        for _ in 0..100 {
            pass(cast, 5);
            for inner in self.initiator.hear(cast) {
                match Inner::decode(&inner).unwrap() {
                    Inner::LeaseRequest(asked) => {
                        let end = asked.mark + asked.want;
                        let grant =
                            self.initiator.grant_octets(cast, asked.nonce, asked.mark, end, asked.mark);
                        self.initiator.say(cast, &grant);
                    }
                    Inner::Share(upload) if upload.message.key_id == *id.as_bytes() => {
                        let message = upload.message;
                        let index = message.position.index;
                        let pad = (index as usize + 4) * 16;
                        let mut share = cast.enrolments[0][0].uplink[pad..pad + 112].to_vec();
                        share.iter_mut().zip(message.share).for_each(|(octet, masked)| *octet ^= masked);
                        let terms = message.terms;
                        let share = Share {
                            secret_tag: message.secret_tag,
                            share,
                            threshold: terms.threshold,
                            key_len: terms.key_len,
                            lifetime: terms.lifetime,
                            coordinates: terms.coordinates.to_vec(),
                            ..Share::junk(*id.as_bytes(), cast.tags[0])
                        };
                        return (id, share, index);
                    }
                    _ => {}
                }
            }
        }
        panic!("no upload came");
    }

    /// The answers that client 1 gave since the last time.
    fn answers(&mut self, cast: &Cast) -> Vec<Vec<u8>> {
        self.responder.hear(cast).into_iter().filter(|inner| inner[0] == ANSWER).collect()
    }
}

/// The key is there, once and right; the responder's report says this of hub 0, and good of all others.
fn the_key_arrives(cast: &mut Cast, id: KeyId, of_the_crook: Conduct, case: &str) {
    cast.settle(10);
    cast.assert_agreed(0, 1, id);
    let mut expected = [Conduct::Good; 5];
    expected[0] = of_the_crook;
    assert_eq!(cast.conducts(1, id).unwrap(), expected, "{case}");
    Oracle::acquit(cast);
}

type Change = (&'static str, Conduct, fn(&mut Share));

/// Delivers the share as changed in each of these ways, each in a world of its own.
fn delivered_otherwise(changes: &[Change]) {
    for &(case, conduct, change) in changes {
        let mut cast = cast(1, &Setup::new(5));
        let mut crook = Crook::new(&mut cast);
        let (id, mut share, _) = crook.hears(&mut cast);
        change(&mut share);
        crook.responder.share(&mut cast, &share);
        the_key_arrives(&mut cast, id, conduct, case);
        assert_eq!(cast.keys(1).len(), 1, "{case}");
    }
}

#[test]
fn scenario_14_a_hub_substitutes_the_secret_tag_or_the_key_id() {
    delivered_otherwise(&[
        ("nothing is changed", Conduct::Good, |_| {}),
        ("another secret tag", Conduct::Lying, |share| share.secret_tag[0] ^= 1),
        ("another key id", Conduct::Silent, |share| share.key_id[0] ^= 1),
    ]);
}

#[test]
fn scenario_15_a_hub_lies_about_the_terms() {
    delivered_otherwise(&[
        ("a lower threshold", Conduct::Lying, |share| share.threshold = 2),
        ("a higher threshold", Conduct::Lying, |share| share.threshold = 5),
        ("fewer hubs", Conduct::Lying, |share| share.coordinates.truncate(4)),
        ("another lifetime", Conduct::Lying, |share| share.lifetime = 599),
    ]);
}

/// Two keys at once, the share of each under the name of the other.
#[test]
fn scenario_16_a_hub_swaps_the_shares_of_two_keys() {
    let mut cast = cast(2, &Setup::new(5));
    let mut crook = Crook::new(&mut cast);
    let (first_id, mut first, _) = crook.hears(&mut cast);
    let (second_id, mut second, _) = crook.hears(&mut cast);
    core::mem::swap(&mut first.share, &mut second.share);
    crook.responder.share(&mut cast, &first);
    crook.responder.share(&mut cast, &second);
    the_key_arrives(&mut cast, first_id, Conduct::Lying, "the first");
    the_key_arrives(&mut cast, second_id, Conduct::Lying, "the second");
    assert_ne!(cast.key(1, first_id), cast.key(1, second_id));
}

/// It accepts from the initiator and never delivers; and it delivers when the lifetime is over.
#[test]
fn scenario_19_a_hub_withholds_or_delays_or_answers_one_end_alone() {
    let mut withheld = cast(3, &Setup::new(5));
    withheld.world.net_mut().cut(withheld.hubs[0], withheld.clients[1]);
    let id = withheld.request(0, 1, KeyRequest::new(3));
    the_key_arrives(&mut withheld, id, Conduct::Silent, "withheld");
    assert_eq!(withheld.conducts(0, id).unwrap()[0], Conduct::Good, "it did what the initiator can see");

    let mut late = cast(4, &Setup::new(5));
    late.settle(1);
    let (hub, responder) = (late.hubs[0], late.world.net().address(late.clients[1]));
    late.world.net_mut().intercept(move |sent| {
        let is_share = sent.node == Some(hub) && sent.to == responder && sent.bytes.len() > 130;
        if is_share { Verdict::Delay(Duration::from_secs(30)) } else { Verdict::Pass }
    });
    let mut request = KeyRequest::new(3);
    request.lifetime = 5;
    let id = late.request(0, 1, request);
    the_key_arrives(&mut late, id, Conduct::Silent, "late");
    late.settle(60);
    assert_eq!(late.keys(1).len(), 1, "what comes late is no second key");
    Oracle::acquit(&late);
}

/// Two messages in one block: the second is not looked at, and the one-time key of the answer serves the first alone.
#[test]
fn scenario_22_a_hub_uses_a_block_twice() {
    let mut cast = cast(5, &Setup::new(5));
    let mut crook = Crook::new(&mut cast);
    let (id, share, _) = crook.hears(&mut cast);
    let index = crook.responder.share(&mut cast, &share);
    pass(&mut cast, 100);
    let first = crook.answers(&cast);
    assert_eq!(first.len(), 1);
    let mut other = share;
    other.share[0] ^= 1;
    let octets = crook.responder.share_octets(&cast, &other, index);
    crook.responder.say(&mut cast, &octets);
    pass(&mut cast, 100);
    let second = crook.answers(&cast);
    assert!(second.is_empty() || second == first, "two answers under one key");
    the_key_arrives(&mut cast, id, Conduct::Good, "the first was right");
}

/// The same share again and again, in blocks of their own: each block is answered with the same confirmation, and there is
/// one key.
#[test]
fn scenario_23_a_hub_serves_the_same_share_twice() {
    let mut cast = cast(6, &Setup::new(5));
    let mut crook = Crook::new(&mut cast);
    let (id, share, _) = crook.hears(&mut cast);
    for _ in 0..4 {
        crook.responder.share(&mut cast, &share);
        pass(&mut cast, 200);
    }
    // Type, table and index, status, confirmation, tag: the confirmation is the same in all.
    let answers = crook.answers(&cast);
    assert!(answers.len() >= 4, "{}", answers.len());
    assert!(
        answers.iter().all(|answer| answer[7..answer.len() - 16] == answers[0][7..answers[0].len() - 16])
    );
    the_key_arrives(&mut cast, id, Conduct::Good, "served four times");
    assert_eq!(cast.keys(1).len(), 1);
}

/// Every shorter message, and longer ones: none is looked at, and its block still takes the whole one.
#[test]
fn scenario_24_a_share_that_is_cut_short_or_too_long() {
    let mut cast = cast(7, &Setup::new(5));
    let mut crook = Crook::new(&mut cast);
    let (id, share, _) = crook.hears(&mut cast);
    let whole = crook.responder.share_octets(&cast, &share, crook.responder.next());
    for len in (1..whole.len()).chain(whole.len() + 1..whole.len() + 40) {
        let mut octets = whole.clone();
        octets.resize(len, 0);
        crook.responder.say(&mut cast, &octets);
    }
    pass(&mut cast, 100);
    assert!(crook.answers(&cast).is_empty());
    crook.responder.say(&mut cast, &whole);
    pass(&mut cast, 100);
    assert_eq!(crook.answers(&cast).len(), 1);
    the_key_arrives(&mut cast, id, Conduct::Good, "the whole one came");
}

/// Refusals without the block's one-time key, as who has broken the envelope could send them: not believed, and not a word
/// of the hub's own.
#[test]
fn scenario_34_a_forged_refusal_refuses_nothing() {
    let mut cast = cast(8, &Setup::new(5));
    let mut crook = Crook::new(&mut cast);
    let (id, _, index) = crook.hears(&mut cast);
    for status in 0..8 {
        let place = index.to_be_bytes();
        let forged = [&[InnerType::ANSWER.value(), 0, 0][..], &place, &[status], &[7; 16]].concat();
        crook.initiator.say(&mut cast, &forged);
    }
    cast.settle(20);
    cast.assert_agreed(0, 1, id);
    assert_eq!(cast.conducts(0, id).unwrap()[0], Conduct::Silent);
    Oracle::acquit(&cast);
}

/// The hub passes the responder's confirmation on, and in the same datagram it refuses the share. The key was confirmed before it was
/// refused, as it is where each comes alone.
#[test]
fn a_key_that_is_confirmed_is_refused_by_nothing_behind_it_in_a_datagram() {
    let mut cast = cast(7, &Setup::new(2));
    let mut crook = Crook::new(&mut cast);
    let (id, share, index) = crook.hears_of(&mut cast, KeyRequest::new(2));
    // Nobody else tells the initiator.
    cast.world.net_mut().cut(cast.hubs[1], cast.clients[0]);
    crook.responder.share(&mut cast, &share);
    pass(&mut cast, 100);
    let answers = crook.answers(&cast);
    let confirmation = answers.iter().find_map(|answer| Answer::decode(answer).unwrap().message.confirmation);
    let confirm = Confirm::new(*id.as_bytes(), *cast.tags[1].as_bytes(), confirmation.unwrap());
    let mut confirm_octets = vec![0; confirm.encoded_len()];
    confirm.encode(&mut Writer::new(&mut confirm_octets)).unwrap();
    let mut refusal = vec![0; Answer::PLAIN_LEN - 16];
    let answer = Answer::new(0, index, AnswerStatus::POLICY, None).unwrap();
    answer.encode_untagged(&mut Writer::new(&mut refusal)).unwrap();
    let key = index as usize * 16;
    let key = cast.enrolments[0][0].uplink[key..key + 32].try_into().unwrap();
    let prefix = tag_prefix(Direction::DOWNLINK, 0, cast.hub_ids[0].as_bytes());
    let tag = MessageTagKey::from_pad(&key).unwrap().tag(&[&prefix, &refusal]);
    refusal.extend_from_slice(tag.as_bytes());
    crook.initiator.say(&mut cast, &several(&[&confirm_octets, &refusal]));
    pass(&mut cast, 100);
    cast.assert_agreed(0, 1, id);
    assert_eq!(cast.failure(0, id), None);
}
