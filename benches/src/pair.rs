//! Two unmediated peers.

use chacha20::ChaCha20Rng;
use skex_core::machine::{Disposition, Instant, Output, PathId};
use skex_core::{Label, OutputKey, Suite};
use skex_unmediated::{Datagram, Event, Peer, PeerConfig, Record, Side};

/// Both ends of an enrolment, with stores that are always durable and a wire without loss.
#[derive(Debug)]
pub struct Pair {
    ends: [Peer; 2],
    sent: Option<Datagram>,
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
        let mut pair = Self { ends: [a, b], sent: None, rng, now };
        for end in 0..2 {
            assert!(!pair.drain(end), "nothing leaves an end that was only enrolled");
        }
        pair
    }

    /// The next message of an end, left in `sent`; on the way there, everything is stored and events are dropped. Outputs are
    /// taken where they lie, as on a small stack: moving them costs three hundredths of a handshake.
    fn drain(&mut self, end: usize) -> bool {
        let end = &mut self.ends[end];
        self.sent = None;
        let mut output = Output::Wait(None);
        loop {
            end.poll_output_into(&mut output);
            let stored = |record: &Record| {
                core::hint::black_box(record);
                Ok::<(), ()>(())
            };
            if let Some(stored) = output.commit_with(stored) {
                end.handle_persisted(stored.unwrap()).unwrap();
                continue;
            }
            match &output {
                Output::Transmit(transmit) => {
                    assert!(self.sent.is_none(), "one message at a time");
                    self.sent = Some(transmit.payload);
                }
                Output::Wait(_) => return self.sent.is_some(),
                _ => {}
            }
        }
    }

    /// One handshake, all four messages. Gives the octets that it sent.
    pub fn handshake(&mut self) -> usize {
        let epoch = self.ends[0].epoch();
        self.ends[0].establish(self.now, &mut self.rng).unwrap();
        let (mut sent, mut from) = (0, 0);
        while self.drain(from) {
            let octets = self.sent.as_ref().map(Datagram::as_bytes).unwrap_or_default();
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
