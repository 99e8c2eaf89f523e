//! What is left of a key once it is spent: a scan of the machine's memory and of its store.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
use skex_core::machine::{Instant, Output, PathId};
use skex_core::{Expander, Label, SecretBytes, Suite};
use skex_unmediated::{Event, MixBlock, MixPolicy, Peer, PeerConfig, RECOVERY_LANE, Side};

struct End {
    peer: Box<Peer>,
    slots: [Vec<u8>; 2],
    writes: usize,
    sent: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl End {
    fn drain(&mut self) {
        loop {
            match self.peer.poll_output() {
                Output::Persist(checkpoint) => {
                    let receipt = checkpoint
                        .commit_with(|record| {
                            self.slots[self.writes % 2] = record.as_bytes().to_vec();
                            self.slots[(self.writes + 1) % 2].fill(0);
                            self.writes += 1;
                            Ok::<(), ()>(())
                        })
                        .unwrap();
                    self.peer.handle_persisted(receipt).unwrap();
                }
                Output::Transmit(transmit) => self.sent = Some(transmit.payload.as_bytes().to_vec()),
                Output::Event(Event::KeyReady(key)) => self.key = Some(key.secret().expose().to_vec()),
                Output::Event(_) => {}
                Output::Wait(_) => return,
            }
        }
    }

    /// The chain key, where the record has it: behind the frame's 26 octets and the body's first 29.
    fn chain_key(&self) -> Vec<u8> {
        self.record()[55..87].to_vec()
    }

    /// The link of the exporter, behind the chain key and what is left of the epoch before.
    fn link(&self) -> Vec<u8> {
        self.record()[136..168].to_vec()
    }

    fn record(&self) -> &[u8] {
        self.slots.iter().find(|slot| slot.first() == Some(&b'S')).unwrap()
    }

    /// Whether any eight octets of `secret` in a row are in the machine's memory or in its store.
    fn holds(&self, secret: &[u8]) -> bool {
        let peer: *const Peer = &raw const *self.peer;
        // SAFETY: the octets of a live value, read one by one; padding reads as whatever is there.
        let memory: Vec<u8> =
            (0..size_of::<Peer>()).map(|at| unsafe { peer.cast::<u8>().add(at).read_volatile() }).collect();
        [&memory, &self.slots[0], &self.slots[1]]
            .into_iter()
            .any(|octets| secret.windows(8).any(|part| octets.windows(8).any(|window| window == part)))
    }
}

#[test]
fn nothing_of_a_spent_chain_key_or_output_is_left_in_memory_or_store() {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let now = Instant::ZERO;
    let secret = [0x5e; 32];
    let mut enrol = |side, own: &[u8], peer: &[u8]| {
        let config = PeerConfig::new(side, own, peer).mix(MixPolicy::Accept);
        let peer = Peer::enrol(&config, &secret, now, &mut rng).unwrap();
        End { peer: Box::new(peer), slots: [vec![], vec![]], writes: 0, sent: None, key: None }
    };
    let (mut a, mut b) = (enrol(Side::A, b"alice", b"bob"), enrol(Side::B, b"bob", b"alice"));
    a.drain();
    b.drain();
    let mut spent = Vec::from([secret.to_vec()]);
    for round in 0..4_u8 {
        let chain_key = a.chain_key();
        assert_eq!(chain_key, b.chain_key());
        assert!(a.holds(&chain_key) && b.holds(&chain_key), "the scan finds what is there");
        let block: [u8; 32] = core::array::from_fn(|at| round * 32 + u8::try_from(at).unwrap());
        for end in [&mut a, &mut b] {
            end.peer.provide_mix(&MixBlock::new(SecretBytes::copied_from(&block))).unwrap();
            end.drain();
            assert!(end.holds(&block), "the scan finds what is there");
        }
        a.peer.establish(now, &mut rng).unwrap();
        a.drain();
        while let Some(message) = a.sent.take() {
            let _ = b.peer.handle_message(now, &mut rng, PathId::new(1), &message).unwrap();
            b.drain();
            if let Some(answer) = b.sent.take() {
                let _ = a.peer.handle_message(now, &mut rng, PathId::new(1), &answer).unwrap();
                a.drain();
            }
        }
        assert!(a.peer.session().unwrap().mixed && b.peer.session().unwrap().mixed);
        spent.push(chain_key);
        spent.push(block.to_vec());
        let key = a.peer.export_next(Label::EXPORT_RAW, b"").unwrap();
        b.peer.export_at(key.id(), key.index(), Label::EXPORT_RAW, b"").unwrap();
        b.drain();
        assert_eq!(b.key.take().as_deref(), Some(key.secret().expose()));
        spent.push(key.secret().expose().to_vec());
        for (number, old) in spent.iter().enumerate() {
            assert!(!a.holds(old), "the initiator still holds secret {number}");
            assert!(!b.holds(old), "the responder still holds secret {number}");
        }
    }
}

/// Both ends of a lane.
fn lane(number: u8, rng: &mut ChaCha20Rng) -> [End; 2] {
    let mut enrol = |side, own: &[u8], peer: &[u8]| {
        let config = PeerConfig::new(side, own, peer).lane(number);
        let peer = Peer::enrol(&config, &[0x5e; 32], Instant::ZERO, rng).unwrap();
        End { peer: Box::new(peer), slots: [vec![], vec![]], writes: 0, sent: None, key: None }
    };
    let mut ends = [enrol(Side::A, b"alice", b"bob"), enrol(Side::B, b"bob", b"alice")];
    ends.iter_mut().for_each(End::drain);
    ends
}

fn handshake([a, b]: &mut [End; 2], rng: &mut ChaCha20Rng) {
    let (now, path) = (Instant::ZERO, PathId::new(1));
    a.peer.establish(now, rng).unwrap();
    a.drain();
    while let Some(message) = a.sent.take() {
        let _ = b.peer.handle_message(now, rng, path, &message).unwrap();
        b.drain();
        if let Some(answer) = b.sent.take() {
            let _ = a.peer.handle_message(now, rng, path, &answer).unwrap();
            a.drain();
        }
    }
}

/// What is between the chain key and the keys, computed here from the messages: the master secret, the keys of first messages
/// of a and b. `None` where the second message says that the master secret is another.
fn intermediates(chain_key: &[u8], first: &[u8], second: &[u8]) -> Option<[Vec<u8>; 3]> {
    let suite = Suite::all().next().unwrap();
    let names: [&[u8]; 5] = [b"alice", b"bob", &[0], &[suite.id().value()], b""];
    let parts: Vec<u8> =
        names.iter().flat_map(|part| [&[u8::try_from(part.len()).unwrap()], *part].concat()).collect();
    let binding = suite.labelled_digest(Label::UNMEDIATED_ENROL, &[&parts]);
    let (body, tag) = second.split_at(second.len() - 16);
    let digests = [suite.digest(&[first]), suite.digest(&[body])];
    let epoch = 0_u64.to_be_bytes();
    let transcript = suite.labelled_digest(
        Label::UNMEDIATED_TRANSCRIPT,
        &[&binding.as_bytes()[..32], &epoch, b"a", digests[0].as_bytes(), digests[1].as_bytes()],
    );
    let chain = Expander::from_key(suite, chain_key);
    let master = chain.hash_secret(Label::UNMEDIATED_HANDSHAKE, &[transcript.as_bytes()]);
    let expected: [u8; 16] = Expander::new(suite, &master).public(Label::UNMEDIATED_M2_MAC, &[]);
    let mac_key = |label| chain.secret::<32>(label, &[&epoch]).expose().to_vec();
    let keys = [mac_key(Label::UNMEDIATED_M1_MAC_A), mac_key(Label::UNMEDIATED_M1_MAC_B)];
    let [of_a, of_b] = keys;
    (tag == expected).then(|| [master.expose().to_vec(), of_a, of_b])
}

#[test]
fn no_intermediate_secret_is_left_once_the_session_is_accepted() {
    let mut rng = ChaCha20Rng::seed_from_u64(6);
    let [mut a, mut b] = lane(0, &mut rng);
    let (now, path) = (Instant::ZERO, PathId::new(1));
    let chain_key = a.chain_key();
    a.peer.establish(now, &mut rng).unwrap();
    a.drain();
    let first = a.sent.take().unwrap();
    let _ = b.peer.handle_message(now, &mut rng, path, &first).unwrap();
    b.drain();
    let second = b.sent.take().unwrap();
    let [master, of_a, of_b] = intermediates(&chain_key, &first, &second).expect("the same master secret");
    assert!(b.holds(&master) && a.holds(&of_b) && b.holds(&of_a), "the scan finds what is there");
    let _ = a.peer.handle_message(now, &mut rng, path, &second).unwrap();
    a.drain();
    assert!(!a.holds(&master) && !a.holds(&of_a), "gone before the third message leaves");
    let third = a.sent.take().unwrap();
    let _ = b.peer.handle_message(now, &mut rng, path, &third).unwrap();
    b.drain();
    // Each end keeps the other's key of first messages for one epoch, and not its own.
    assert!(!b.holds(&master) && !b.holds(&of_b));
    assert!(![&a, &b].into_iter().any(|end| end.holds(&chain_key)));
}

/// What somebody else's call leaves on the stack.
#[inline(never)]
fn leave(octets: &[u8; 8]) {
    let mut left = [[0_u8; 8]; 8192];
    left.fill(*octets);
    core::hint::black_box(&mut left);
}

/// A machine has room for what it does not hold yet: an answer, a third message, a master secret. Nothing is to come in there
/// with the moves of a new machine, for it would stay: the chain key of another one, for instance, that was made on the same stack.
#[test]
fn a_new_machine_holds_nothing_of_what_was_on_the_stack() {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let left = [0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6, 0x07, 0x18];
    let config = PeerConfig::new(Side::A, b"alice", b"bob");
    leave(&left);
    let peer = Box::new(Peer::enrol(&config, &[0x5e; 32], Instant::ZERO, &mut rng).unwrap());
    let mut end = End { peer, slots: [vec![], vec![]], writes: 0, sent: None, key: None };
    assert!(!end.holds(&left.repeat(2)), "enrolled");
    end.drain();
    leave(&left);
    let slots = [end.slots[0].as_slice(), end.slots[1].as_slice()];
    *end.peer = Peer::restore(&config, slots, Instant::ZERO, &mut rng).unwrap();
    assert!(!end.holds(&left.repeat(2)), "restored");
}

#[test]
fn nothing_of_the_exporter_is_left_once_the_session_is_over() {
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let mut ends = lane(0, &mut rng);
    handshake(&mut ends, &mut rng);
    let [a, b] = &mut ends;
    let mut secrets = vec![b.link()];
    // Index 2 is taken; 0 and 1 are kept, in the record and in memory.
    let keys = [(); 3].map(|()| a.peer.export_next(Label::EXPORT_RAW, b"").unwrap());
    b.peer.export_at(keys[2].id(), keys[2].index(), Label::EXPORT_RAW, b"").unwrap();
    b.drain();
    secrets[0] = b.link();
    secrets.extend([b.record()[173..205].to_vec(), b.record()[205..237].to_vec()]);
    secrets.push(a.peer.export_next(Label::EXPORT_RAW, b"").unwrap().secret().expose().to_vec());
    assert!(secrets[..3].iter().all(|secret| b.holds(secret)), "the scan finds what is there");
    let later = Instant::from_millis(25 * 3_600_000);
    for end in [a, b] {
        end.peer.handle_timeout(later, &mut rng).unwrap();
        end.drain();
        assert!(end.peer.session().is_none());
        for (number, secret) in secrets.iter().enumerate() {
            assert!(!end.holds(secret), "secret {number} of the exporter");
        }
    }
}

#[test]
fn nothing_of_a_recovery_is_left_once_it_is_concluded() {
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let (mut ends, mut recovery) = (lane(0, &mut rng), lane(RECOVERY_LANE, &mut rng));
    recovery[1].peer.allow_recovery();
    recovery[1].drain();
    handshake(&mut recovery, &mut rng);
    let link = recovery[0].link();
    assert_eq!(link, recovery[1].link(), "one chain at both ends");
    for (end, recovery) in ends.iter_mut().zip(&mut recovery) {
        end.peer.enrol_by_recovery(&recovery.peer).unwrap();
        end.drain();
        assert!(recovery.holds(&link) && !end.holds(&link), "the scan finds what is there");
        recovery.peer.conclude_recovery().unwrap();
        recovery.drain();
        assert!(!recovery.holds(&link), "what gives the secret");
        end.peer.release(&recovery.peer).unwrap();
        end.drain();
    }
    let chain_key = ends[0].chain_key();
    assert!(ends.iter().all(|end| end.holds(&chain_key)));
    handshake(&mut ends, &mut rng);
    assert!(ends.iter().all(|end| end.peer.session().is_some() && !end.holds(&chain_key)));
}
