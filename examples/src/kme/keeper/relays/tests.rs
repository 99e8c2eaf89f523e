use skex_dske::ClientTag;

use super::super::tests::{ALICE, BOB, Memory, NOW, ids, kept, name, settings};
use super::super::{Arrival, DeliveryId, Part};
use super::*;

const CAROL: ClientTag = ClientTag::new([0xc; 16]);

/// sae-a and sae-x are at A, sae-b and sae-e at B, sae-c and sae-d at C.
const TEXTS: [&str; 3] = [
    r#"{"kme": "kme-a", "https": "127.0.0.1:0", "certificate": "p", "private_key": "p", "client_ca": "p",
        "peers": [{"client": "bob", "kme": "kme-b", "https": "kme-b:1", "ready": 8, "held": 4},
                  {"client": "carol", "kme": "kme-c", "https": "kme-c:1", "ready": 8, "held": 4}],
        "links": [{"local_sae": "sae-a", "remote_sae": "sae-b", "peer": "bob", "keys_per_minute": 20},
                  {"local_sae": "sae-a", "remote_sae": "sae-e", "peer": "bob", "keys_per_minute": 20},
                  {"local_sae": "sae-a", "remote_sae": "sae-c", "peer": "carol", "keys_per_minute": 4},
                  {"local_sae": "sae-a", "remote_sae": "sae-d", "peer": "carol", "keys_per_minute": 20},
                  {"local_sae": "sae-x", "remote_sae": "sae-d", "peer": "carol", "keys_per_minute": 20}],
        "max_key_per_request": 4, "max_sae_id_count": 3}"#,
    r#"{"kme": "kme-b", "https": "127.0.0.1:0", "certificate": "p", "private_key": "p", "client_ca": "p",
        "peers": [{"client": "alice", "kme": "kme-a", "ready": 8, "held": 4},
                  {"client": "carol", "kme": "kme-c", "ready": 8, "held": 4}],
        "links": [{"local_sae": "sae-b", "remote_sae": "sae-a", "peer": "alice"},
                  {"local_sae": "sae-e", "remote_sae": "sae-a", "peer": "alice"},
                  {"local_sae": "sae-b", "remote_sae": "sae-c", "peer": "carol"}],
        "max_key_per_request": 4}"#,
    r#"{"kme": "kme-c", "https": "127.0.0.1:0", "certificate": "p", "private_key": "p", "client_ca": "p",
        "peers": [{"client": "alice", "kme": "kme-a", "ready": 8, "held": 4},
                  {"client": "bob", "kme": "kme-b", "ready": 8, "held": 4}],
        "links": [{"local_sae": "sae-c", "remote_sae": "sae-a", "peer": "alice"},
                  {"local_sae": "sae-d", "remote_sae": "sae-a", "peer": "alice"},
                  {"local_sae": "sae-d", "remote_sae": "sae-x", "peer": "alice"},
                  {"local_sae": "sae-c", "remote_sae": "sae-b", "peer": "bob"}],
        "max_key_per_request": 4}"#,
];

const PEERS: [[ClientTag; 2]; 3] = [[BOB, CAROL], [ALICE, CAROL], [ALICE, BOB]];
const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

/// Three KMEs.
pub(in crate::kme) struct Three {
    pub(in crate::kme) kmes: [Keeper<Memory>; 3],
    disks: [Memory; 3],
    made: u8,
}

fn start(end: usize, disk: &Memory) -> Keeper<Memory> {
    Keeper::new(settings(TEXTS[end]), PEERS[end].to_vec(), disk.clone(), disk.read())
}

impl Three {
    /// With so many keys for SAEs that begin at A, with B and with C.
    pub(in crate::kme) fn with_keys(with_b: u8, with_c: u8) -> Self {
        let disks = [Memory::default(), Memory::default(), Memory::default()];
        let mut three = Self { kmes: [A, B, C].map(|end| start(end, &disks[end])), disks, made: 0 };
        three.make(B, with_b);
        three.make(C, with_c);
        three
    }

    fn make(&mut self, end: usize, count: u8) {
        for _ in 0..count {
            self.made = self.made.checked_add(1).unwrap();
            let ends = [(A, PEERS[A][end.saturating_sub(1)], Part::Made), (end, ALICE, Part::Received)];
            ends.into_iter().for_each(|(end, peer, part)| self.take_in(end, peer, part, self.made));
        }
    }

    fn take_in(&mut self, end: usize, peer: ClientTag, part: Part, octet: u8) {
        let arrival = self.kmes[end].take_in(kept(octet, peer, part)).unwrap();
        let Arrival::Stored(slot) = arrival else { panic!() };
        self.kmes[end].open(slot);
    }

    /// Kills a KME and starts it again, with a disk that works.
    fn restart(&mut self, end: usize) {
        self.disks[end].fail_after(None);
        self.kmes[end] = start(end, &self.disks[end]);
    }

    fn stored(&self) -> [usize; 3] {
        [A, B, C].map(|end| self.disks[end].len())
    }

    fn begin(&mut self, additional: &[&str], number: u32, bits: u32) -> Result<Begun, Refusal> {
        let additional: Vec<Option<Name>> = additional.iter().map(|sae| Name::parse(sae)).collect();
        let (master, slave) = (&name("sae-a"), &name("sae-b"));
        let wanted = Wanted { master, slave, additional: &additional, number, bits };
        self.kmes[A].begin_for_several(NOW, &wanted)
    }

    fn follow(&mut self, end: usize, slave: &str, keys: &[Delivery]) -> Result<Vec<Delivery>, Refusal> {
        self.kmes[end].follow((&name(slave), &name("sae-a")), &ids(keys))
    }

    /// KME A brings a message.
    fn bring(&mut self, end: usize, message: &[u8]) -> Result<Answer, Declined> {
        self.kmes[end].take_over(&name("kme-a"), message)
    }
}

#[test]
fn every_sae_gets_the_same_keys_at_its_own_kme_and_each_of_them_once() {
    let mut three = Three::with_keys(3, 2);
    let Begun { keys, relays } = three.begin(&["sae-c", "sae-e"], 2, 256).unwrap();
    assert_eq!(three.stored(), [1, 3, 2], "gone at A: two that are shared, and two that wrap them");
    let to: Vec<(&str, usize)> = relays.iter().map(|relay| (relay.sae.as_str(), relay.peer)).collect();
    assert_eq!(to, [("sae-c", 1), ("sae-e", 0)]);
    assert_eq!(three.follow(C, "sae-c", &keys), Err(Refusal::NotFound), "before the message");
    assert_eq!(three.bring(C, &relays[0].message), Ok(relays[0].answer));
    assert_eq!(three.bring(B, &relays[1].message), Ok(relays[1].answer));
    for (end, sae) in [(B, "sae-b"), (C, "sae-c"), (B, "sae-e")] {
        assert_eq!(three.follow(end, sae, &keys).unwrap(), keys, "{sae}");
        assert_eq!(three.follow(end, sae, &keys), Err(Refusal::NotFound), "{sae}");
    }
    assert_eq!(three.stored(), [1, 0, 1], "nothing is left of it");
}

#[test]
fn sizes_up_to_256_bits_are_relayed() {
    for bits in [64, 128, 256] {
        let mut three = Three::with_keys(1, 1);
        let Begun { keys, relays } = three.begin(&["sae-c"], 1, bits).unwrap();
        assert_eq!(keys[0].key.len(), bits as usize / 8);
        assert_eq!(three.bring(C, &relays[0].message), Ok(relays[0].answer));
        assert_eq!(three.follow(C, "sae-c", &keys).unwrap(), keys);
    }
}

#[test]
fn a_request_for_saes_that_may_not_have_it_is_refused_and_nothing_is_spent() {
    let mut three = Three::with_keys(4, 2);
    let all = three.stored();
    let fault = Refusal::Additional;
    for (additional, number, bits, refusal) in [
        (&["sae-c", "sae-d", "sae-e", "sae-f"][..], 1, 256, fault(Fault::TooMany)),
        (&["sae-c", "nobody"], 1, 256, fault(Fault::NoLink(1))),
        (&["no/name"], 1, 256, fault(Fault::NoLink(0))),
        (&["sae-x"], 1, 256, fault(Fault::NoLink(0))),
        (&["sae-c", "sae-d", "sae-c"], 1, 256, fault(Fault::Twice(2))),
        (&["sae-b"], 1, 256, fault(Fault::Twice(0))),
        (&["sae-c", "sae-a"], 1, 256, fault(Fault::Twice(1))),
        (&["sae-c"], 1, 264, fault(Fault::Size)),
        (&["sae-c"], 1, 2048, Refusal::Size),
        (&["sae-c"], 5, 256, Refusal::Number),
        (&["sae-c"], 0, 256, Refusal::Number),
        // Four are shared; none is left to wrap them.
        (&["sae-e"], 4, 256, Refusal::NotReady),
        (&["sae-c", "sae-d", "sae-e"], 4, 256, Refusal::NotReady),
    ] {
        assert_eq!(three.begin(additional, number, bits), Err(refusal), "{additional:?} {number} {bits}");
        assert_eq!(three.stored(), all);
    }
    // Four keys a minute may be begun for sae-c, shared ones too.
    assert_eq!(three.begin(&["sae-c"], 3, 256).unwrap().keys.len(), 3);
    three.make(B, 1);
    assert_eq!(three.begin(&["sae-c"], 2, 256), Err(Refusal::TooMany));
    assert_eq!(three.begin(&["sae-d"], 2, 256).unwrap().keys.len(), 2, "sae-d does not pay for that");
}

#[test]
fn where_the_settings_name_no_address_there_are_no_additional_saes() {
    let (master, slave, additional) = (&name("sae-a"), &name("sae-b"), [Some(name("sae-c"))]);
    let wanted = Wanted { master, slave, additional: &additional, number: 1, bits: 256 };
    let text = TEXTS[A].replace("\"https\": \"kme-c:1\",", "");
    let kme_of = |text: &str| Keeper::new(settings(text), PEERS[A].to_vec(), Memory::default(), Vec::new());
    let mut kme = kme_of(&text);
    assert_eq!(kme.settings().max_sae_id_count(), 3);
    assert_eq!(kme.begin_for_several(NOW, &wanted), Err(Refusal::Additional(Fault::NoAddress(0))));
    let mut kme = kme_of(&text.replace("\"https\": \"kme-b:1\",", ""));
    assert_eq!(kme.settings().max_sae_id_count(), 0);
    assert_eq!(kme.begin_for_several(NOW, &wanted), Err(Refusal::Additional(Fault::TooMany)));
}

/// While the keys wait; then the message is as good as one that never was.
#[test]
fn a_message_that_comes_again_is_answered_the_same_and_changes_nothing() {
    let mut three = Three::with_keys(2, 2);
    let Begun { keys, relays } = three.begin(&["sae-c"], 2, 256).unwrap();
    let Relay { message, answer, .. } = &relays[0];
    for _ in 0..3 {
        assert_eq!(three.bring(C, message), Ok(*answer));
        assert_eq!(three.stored()[C], 3, "two keys, and one that may wrap others");
        three.restart(C);
    }
    assert_eq!(three.follow(C, "sae-c", &keys[..1]).unwrap(), keys[..1]);
    assert_eq!(three.bring(C, message), Err(Declined::NotFound), "one of them was fetched");
    assert_eq!(three.follow(C, "sae-c", &keys[..1]), Err(Refusal::NotFound));
    assert_eq!(three.follow(C, "sae-c", &keys[1..]).unwrap(), keys[1..]);
    three.restart(C);
    assert_eq!(three.bring(C, message), Err(Declined::NotFound));
    assert_eq!(three.follow(C, "sae-c", &keys), Err(Refusal::NotFound));
}

#[test]
fn a_message_that_is_wrong_changes_nothing_and_the_right_one_still_goes_through() {
    let mut three = Three::with_keys(1, 2);
    let Begun { keys, relays } = three.begin(&["sae-c"], 1, 256).unwrap();
    let Relay { message, answer, .. } = &relays[0];
    for bit in 0..message.len() * 8 {
        let mut changed = message.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(three.bring(C, &changed).is_err(), "bit {bit}");
    }
    for len in 0..message.len() {
        assert_eq!(three.bring(C, &message[..len]), Err(Declined::Malformed), "{len}");
    }
    // To another KME; from a KME that is not the master's, from one that is none.
    assert_eq!(three.bring(B, message), Err(Declined::NoLink));
    for kme in ["kme-b", "kme-c", "sae-a", "nobody"] {
        assert_eq!(three.kmes[C].take_over(&name(kme), message), Err(Declined::NoLink), "{kme}");
    }
    assert_eq!((three.stored()[C], three.kmes[C].is_broken()), (2, false));
    assert_eq!(three.bring(C, message), Ok(*answer));
    assert_eq!(three.follow(C, "sae-c", &keys).unwrap(), keys);
}

/// It knows the key and may tell anybody: but it makes no other KME believe that the master began with more SAEs.
#[test]
fn a_kme_that_was_told_a_key_cannot_tell_it_on_in_the_name_of_the_master() {
    let mut three = Three::with_keys(2, 2);
    let Begun { keys, relays } = three.begin(&["sae-c"], 1, 256).unwrap();
    // As it came; and made anew for sae-e at B, under a key that C has with A.
    let (master, slave) = (&name("sae-a"), &name("sae-e"));
    let known_to_c = kept(4, ALICE, Part::Received).key;
    let forged = wrap(&known_to_c, Pair { master, slave }, &keys).unwrap().message;
    for message in [&relays[0].message, &forged] {
        for kme in ["kme-a", "kme-c"] {
            assert!(three.kmes[B].take_over(&name(kme), message).is_err());
        }
    }
    assert_eq!(three.follow(B, "sae-e", &keys), Err(Refusal::NotFound));
    assert_eq!(three.follow(B, "sae-b", &keys).unwrap(), keys);
}

#[test]
fn a_relayed_key_is_for_its_pair_and_nobody_else_can_fetch_or_burn_it() {
    let mut three = Three::with_keys(1, 2);
    let Begun { keys, relays } = three.begin(&["sae-d"], 1, 256).unwrap();
    assert_eq!(three.bring(C, &relays[0].message), Ok(relays[0].answer));
    assert_eq!(three.follow(C, "sae-c", &keys), Err(Refusal::NotFound), "at the same KME");
    assert_eq!(three.follow(B, "sae-e", &keys), Err(Refusal::NotFound), "at another");
    let mut fetched = |end: usize, slave, master, ids: &[DeliveryId]| {
        three.kmes[end].follow((&name(slave), &name(master)), ids)
    };
    let id = keys[0].id;
    assert_eq!(fetched(C, "sae-d", "sae-x", &[id]), Err(Refusal::NotFound), "of another master there");
    assert_eq!(fetched(A, "sae-a", "sae-d", &[id]), Err(Refusal::NotFound), "by the master");
    assert_eq!(fetched(C, "sae-d", "sae-a", &[id; 2]), Err(Refusal::Twice));
    for bit in 0..128 {
        let mut changed = *id.as_bytes();
        changed[bit / 8] ^= 1 << (bit % 8);
        let found = fetched(C, "sae-d", "sae-a", &[DeliveryId::from_bytes(changed)]);
        assert_eq!(found, Err(Refusal::NotFound), "bit {bit}");
    }
    assert_eq!(three.follow(C, "sae-d", &keys).unwrap(), keys);
}

/// The KME that takes keys over dies after any number of slots were written or erased. Nobody knows the ids before it answered;
/// after its restart the message comes again, or the other KME is gone too.
#[test]
fn a_crash_while_keys_are_taken_over_gives_none_twice() {
    for comes_again in [true, false] {
        let mut crashes = 0;
        loop {
            // Room is made for them: the oldest of what waits goes.
            let mut three = Three::with_keys(3, 4);
            let Begun { keys, relays } = three.begin(&["sae-c"], 3, 256).unwrap();
            let Relay { message, answer, .. } = &relays[0];
            three.disks[C].fail_after(Some(crashes));
            let first = three.bring(C, message);
            three.disks[C].fail_after(None);
            if first == Ok(*answer) {
                break;
            }
            assert_eq!(first, Err(Declined::Broken));
            assert!(three.kmes[C].is_broken());
            assert_eq!(three.bring(C, message), Err(Declined::Broken), "not before a restart");
            three.restart(C);
            if comes_again {
                for _ in 0..2 {
                    assert_eq!(three.bring(C, message), Ok(*answer), "after {crashes}");
                }
                three.restart(C);
                assert_eq!(three.follow(C, "sae-c", &keys).unwrap(), keys);
            } else {
                three.make(C, 8);
                assert_eq!(three.bring(C, message), Err(Declined::NotFound));
            }
            assert_eq!(three.follow(C, "sae-c", &keys), Err(Refusal::NotFound));
            crashes += 1;
        }
        assert_eq!(crashes, 6, "two make room, three are stored, one wrapped them");
    }
}

/// The order is: out of storage, then out of the server. Where storage fails, no message and no key leaves.
#[test]
fn where_storage_fails_while_keys_are_begun_nothing_leaves() {
    for steps in 0..3 {
        let mut three = Three::with_keys(2, 2);
        three.disks[A].fail_after(Some(steps));
        assert_eq!(three.begin(&["sae-c", "sae-d"], 1, 256), Err(Refusal::Broken));
        three.disks[A].fail_after(None);
        assert_eq!(three.begin(&["sae-c", "sae-d"], 1, 256), Err(Refusal::Broken), "not before a restart");
        three.restart(A);
        assert_eq!(three.stored()[A], 4 - steps as usize, "what is erased stays erased");
        three.make(B, 2);
        three.make(C, 2);
        let Begun { keys, relays } = three.begin(&["sae-c", "sae-d"], 1, 256).unwrap();
        for relay in &relays {
            assert_eq!(three.bring(C, &relay.message), Ok(relay.answer));
        }
        assert_eq!(three.follow(C, "sae-d", &keys).unwrap(), keys);
    }
}

#[test]
fn relayed_keys_that_nobody_fetches_go_as_the_oldest_and_drive_out_no_other_kmes() {
    let mut three = Three::with_keys(3, 3);
    three.take_in(C, BOB, Part::Received, 200);
    let mut begun = Vec::new();
    for sae in ["sae-c", "sae-d", "sae-d"] {
        let Begun { keys, relays } = three.begin(&[sae], 1, 256).unwrap();
        assert_eq!(three.bring(C, &relays[0].message), Ok(relays[0].answer));
        begun.push((sae, keys));
    }
    three.make(C, 2);
    assert_eq!(three.stored()[C], 5, "four of A's, and the one of B's");
    assert_eq!(three.follow(C, begun[0].0, &begun[0].1), Err(Refusal::NotFound), "the oldest");
    assert_eq!(three.follow(C, begun[2].0, &begun[2].1).unwrap(), begun[2].1);
}

/// Nothing can help that: docs/kme.md says never to do it. What holds even then: no second SAE gets the key.
#[test]
fn an_old_copy_of_the_storage_gives_a_key_to_no_other_sae() {
    let mut three = Three::with_keys(2, 2);
    let (old_a, old_c) = (three.disks[A].read(), three.disks[C].read());
    let Begun { keys, relays } = three.begin(&["sae-c"], 1, 256).unwrap();
    assert_eq!(three.bring(C, &relays[0].message), Ok(relays[0].answer));
    assert_eq!(three.follow(C, "sae-c", &keys).unwrap(), keys);
    // At C: the message is heeded once more, for the same SAE.
    three.disks[C].restore(old_c);
    three.restart(C);
    assert_eq!(three.bring(C, &relays[0].message), Ok(relays[0].answer));
    assert_eq!(three.follow(C, "sae-d", &keys), Err(Refusal::NotFound));
    // At A: it wraps for another SAE under a key that is used up at C.
    three.disks[A].restore(old_a);
    three.restart(A);
    let Begun { relays, .. } = three.begin(&["sae-d"], 1, 128).unwrap();
    assert_eq!(three.bring(C, &relays[0].message), Err(Declined::NotFound));
}
