//! Two unmediated peers.

use chacha20::ChaCha20Rng;
use skex_core::machine::{Disposition, Instant, Output, PathId};
use skex_core::{Label, OutputKey, Suite};
use skex_unmediated::{Datagram, Event, Peer, PeerConfig, Record, Side};

/// Both ends of an enrolment, with stores that are always durable and a wire without loss.
#[derive(Debug)]
pub struct Pair {
    ends: [Peer; 2],
    rng: ChaCha20Rng,
    now: Instant,
}

impl Pair {
    /// Two ends, enrolled, in epoch 0.
    #[must_use]
    pub fn enrolled(suite: Suite) -> Self {
        let mut rng = crate::generator(1);
        let now = Instant::ZERO;
        let suites = [suite];
        let config = |side, own, peer| PeerConfig::new(side, own, peer).initial_suite(suite).suites(&suites);
        let a = Peer::enrol(&config(Side::A, b"alice", b"bob"), &[0x5e; 32], now, &mut rng).unwrap();
        let b = Peer::enrol(&config(Side::B, b"bob", b"alice"), &[0x5e; 32], now, &mut rng).unwrap();
        let mut pair = Self { ends: [a, b], rng, now };
        for end in 0..2 {
            assert!(pair.drain(end).is_none(), "nothing leaves an end that was only enrolled");
        }
        pair
    }

    /// The next message of an end; on the way there, everything is stored and events are dropped.
    fn drain(&mut self, end: usize) -> Option<Datagram> {
        let end = &mut self.ends[end];
        let mut sent = None;
        loop {
            match end.poll_output() {
                Output::Persist(checkpoint) => {
                    let stored = |record: &Record| {
                        core::hint::black_box(record);
                        Ok::<(), ()>(())
                    };
                    end.handle_persisted(checkpoint.commit_with(stored).unwrap()).unwrap();
                }
                Output::Transmit(transmit) => {
                    assert!(sent.is_none(), "one message at a time");
                    sent = Some(transmit.payload);
                }
                Output::Wait(_) => return sent,
                _ => {}
            }
        }
    }

    /// One handshake, all four messages. Gives the octets that it sent.
    pub fn handshake(&mut self) -> usize {
        let epoch = self.ends[0].epoch();
        self.ends[0].establish(self.now, &mut self.rng).unwrap();
        let (mut sent, mut from) = (0, 0);
        while let Some(message) = self.drain(from) {
            let octets = message.as_bytes();
            sent += octets.len();
            from = 1 - from;
            let taken = self.ends[from].handle_message(self.now, &mut self.rng, PathId::new(1), octets);
            assert_eq!(taken.unwrap(), Disposition::Accepted);
        }
        assert!(self.ends.iter().all(|end| end.epoch() == epoch + 1 && end.session().is_some()));
        sent
    }

    /// One key for an application, at both ends.
    pub fn export(&mut self) -> [OutputKey; 2] {
        let [a, b] = &mut self.ends;
        let ours = a.export_next(Label::EXPORT_RAW, b"bench").unwrap();
        b.export_at(ours.id(), ours.index(), Label::EXPORT_RAW, b"bench").unwrap();
        let theirs = loop {
            match b.poll_output() {
                Output::Persist(checkpoint) => {
                    b.handle_persisted(checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap()).unwrap();
                }
                Output::Event(Event::KeyReady(key)) => break key,
                Output::Wait(_) => panic!("no key"),
                _ => {}
            }
        };
        a.note_answer(ours.id(), ours.index()).unwrap();
        assert!(ours.secret().expose() == theirs.secret().expose());
        [ours, theirs]
    }
}
