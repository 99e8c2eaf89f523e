//! A table of many unmediated peers, and a first message from each of them.

use core::hint::black_box;
use core::time::Duration;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::Rng;
use skex_core::Suite;
use skex_core::machine::{Disposition, Instant, Output, PathId, PeerHandle};
use skex_unmediated::{Datagram, Peer, PeerConfig, PeerTable, Side, TableConfig};

/// A table whose peers all want a session, in random order, again and again.
#[derive(Debug)]
pub struct Crowd {
    table: PeerTable,
    firsts: Vec<Datagram>,
    next: usize,
    rng: ChaCha20Rng,
    now: Instant,
}

impl Crowd {
    /// So many peers, enrolled. With `loaded` every first message has to bring a cookie, and none does.
    #[must_use]
    pub fn enrolled(peers: u32, loaded: bool) -> Self {
        let mut rng = crate::generator(3);
        let now = Instant::ZERO;
        let suites = [Suite::all().next().unwrap()];
        let most = if loaded { 0 } else { u32::MAX };
        let bounds = TableConfig::new(peers).load(most, Duration::from_secs(3600));
        let mut table = PeerTable::new(bounds, now, &mut rng);
        let mut firsts = Vec::new();
        for pair in 0..peers {
            let name = pair.to_be_bytes();
            let secret = crate::octets(&mut rng, 32);
            let config = |side, own, peer| {
                PeerConfig::new(side, own, peer).suites(&suites).peer_handle(PeerHandle::new(pair))
            };
            table.enrol(&config(Side::A, b"hub", &name), &secret, now, &mut rng).unwrap();
            let mut device = Peer::enrol(&config(Side::B, &name, b"hub"), &secret, now, &mut rng).unwrap();
            device.establish(now, &mut rng).unwrap();
            firsts.push(first_message(&mut device));
        }
        for at in (1..firsts.len()).rev() {
            let other = rng.next_u64() % (at as u64 + 1);
            firsts.swap(at, other as usize);
        }
        let mut crowd = Self { table, firsts, next: 0, rng, now };
        assert_eq!(crowd.drain(), 0, "nothing leaves a table that was only enrolled");
        crowd
    }

    /// Stores everything at once; gives how many messages left.
    fn drain(&mut self) -> usize {
        let mut sent = 0;
        loop {
            match self.table.poll_output() {
                Output::Persist(checkpoint) => {
                    let receipt = checkpoint.commit_with(|record| {
                        black_box(record);
                        Ok::<(), ()>(())
                    });
                    self.table.handle_persisted(receipt.unwrap()).unwrap();
                }
                Output::Transmit(transmit) => {
                    black_box(transmit.payload);
                    sent += 1;
                }
                Output::Wait(_) => return sent,
                _ => {}
            }
        }
    }

    /// The first message of the next peer, and the answer to it.
    pub fn first(&mut self) -> Disposition {
        let message = self.firsts[self.next];
        self.next += 1;
        if self.next == self.firsts.len() {
            self.next = 0;
            // Above 16 a second a lane would ask for cookies.
            self.now = self.now.saturating_add(Duration::from_millis(100));
        }
        let taken = self.table.handle_message(self.now, &mut self.rng, PathId::new(1), message.as_bytes());
        assert_eq!(self.drain(), 1);
        taken.unwrap()
    }
}

fn first_message(device: &mut Peer) -> Datagram {
    loop {
        match device.poll_output() {
            Output::Persist(checkpoint) => {
                device.handle_persisted(checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap()).unwrap();
            }
            Output::Transmit(transmit) => return transmit.payload,
            _ => panic!("no first message"),
        }
    }
}
