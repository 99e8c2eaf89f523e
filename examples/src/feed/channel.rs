//! A rotation whose statuses go over a network: each in a datagram, authenticated under keys of the link's generations
//! (docs/draft-skex-integration.md, "Status Datagrams").

use core::time::Duration;
use std::collections::VecDeque;
use std::rc::Rc;

use rand_core::CryptoRng;
use skex_core::export::{End, KEY_NAME_LEN};
use skex_core::machine::{
    Destination, DiscardReason, Disposition, Instant, Machine, Output, PathId, PeerHandle, Receipt, Transmit,
    TransmitClass,
};
use skex_core::rotation::{
    DATAGRAM_LEN, DatagramKey, Rotation, RotationError, RotationEvent, RotationRecord, STATUS_LEN,
    datagram_key_name,
};

/// Datagrams that wait to be sent, at most.
const MOST_OUTGOING: usize = 16;

/// What the feed is to do.
#[derive(Debug)]
pub(super) enum ChannelEvent {
    /// What the rotation orders or tells.
    Rotation(RotationEvent),
    /// The other end says which generation a key has that waits for one here.
    Numbered { name: [u8; KEY_NAME_LEN], generation: u64 },
    /// The other end has heard more of this end than this end has said: its state was lost, or is an old copy. Told once.
    RolledBack,
}

/// A key under which statuses come and go.
struct Keyed {
    /// `None`: the other end has not said it yet.
    generation: Option<u64>,
    key: Rc<DatagramKey>,
}

/// A rotation and the keys of its statuses.
pub(super) struct Channel {
    pub(super) rotation: Rotation,
    end: End,
    peer: Destination,
    keys: Vec<Keyed>,
    outgoing: VecDeque<Transmit<[u8; DATAGRAM_LEN]>>,
    news: VecDeque<ChannelEvent>,
    told_of_rollback: bool,
    /// Where the last status came from that said something new.
    path: Option<PathId>,
    /// When to say a generation's number again, that the other end has not.
    announce: Option<Instant>,
    is_due: bool,
    /// A checkpoint is not durable yet.
    storing: bool,
}

/// How often a number is said until the other end has it.
const ANNOUNCE: Duration = Duration::from_millis(250);

impl Channel {
    pub(super) const fn new(rotation: Rotation, end: End, peer: PeerHandle) -> Self {
        Self {
            rotation,
            end,
            peer: Destination::Peer(peer),
            keys: Vec::new(),
            outgoing: VecDeque::new(),
            news: VecDeque::new(),
            told_of_rollback: false,
            path: None,
            announce: None,
            is_due: false,
            storing: false,
        }
    }

    /// Whether the other end has yet to hear which generation its newest key has.
    fn is_ahead(&self) -> bool {
        self.end == End::A && self.rotation.peer_newest() < self.rotation.status().newest
    }

    fn arm(&mut self, now: Instant) {
        if self.announce.is_none() && self.is_ahead() {
            self.announce = Some(now.saturating_add(ANNOUNCE));
        }
    }

    /// The key of a generation is here, as [`Rotation::ready`] takes it.
    pub(super) fn ready(
        &mut self,
        now: Instant,
        key: &Rc<DatagramKey>,
        generation: u64,
    ) -> Result<(), RotationError> {
        self.rotation.ready(now, generation)?;
        // Told under its own key only if it is taken: the other end numbers its key by that.
        self.add(key, Some(generation));
        self.arm(now);
        Ok(())
    }

    /// Statuses come under this key, and go once it has a generation.
    pub(super) fn add(&mut self, key: &Rc<DatagramKey>, generation: Option<u64>) {
        self.forget_name(key.name());
        self.keys.push(Keyed { generation, key: key.clone() });
    }

    pub(super) fn forget(&mut self, generation: u64) {
        self.keys.retain(|keyed| keyed.generation != Some(generation));
    }

    pub(super) fn forget_name(&mut self, name: &[u8; KEY_NAME_LEN]) {
        self.keys.retain(|keyed| keyed.key.name() != name);
    }

    /// Forgets the keys without a generation.
    pub(super) fn forget_waiting(&mut self) {
        self.keys.retain(|keyed| keyed.generation.is_some());
    }

    /// One copy under each key: the other end may lack any of them, but for one.
    fn send(&mut self, transmit: &Transmit<[u8; STATUS_LEN]>) {
        let to = self.path.map_or(transmit.to, Destination::Path);
        for keyed in &self.keys {
            let Some(generation) = keyed.generation else { continue };
            if self.outgoing.len() >= MOST_OUTGOING {
                return;
            }
            let datagram = keyed.key.seal(self.end, generation, &transmit.payload);
            self.outgoing.push_back(Transmit::new(to, transmit.class, datagram));
        }
    }
}

impl Machine for Channel {
    type Record = RotationRecord;
    type Payload = [u8; DATAGRAM_LEN];
    type Event = ChannelEvent;
    type Error = RotationError;

    fn handle_message(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: PathId,
        message: &[u8],
    ) -> Result<Disposition, RotationError> {
        let Some(name) = datagram_key_name(message) else {
            return Ok(Disposition::Discarded(DiscardReason::Malformed));
        };
        let Some(keyed) = self.keys.iter().find(|keyed| *keyed.key.name() == name) else {
            return Ok(Disposition::Discarded(DiscardReason::UnknownPeer));
        };
        let Some(opened) = keyed.key.open(self.end.other(), message) else {
            return Ok(Disposition::Discarded(DiscardReason::Unauthentic));
        };
        match keyed.generation {
            Some(generation) if generation == opened.generation => {}
            Some(_) => return Ok(Disposition::Discarded(DiscardReason::Unexpected)),
            // End A gives the numbers. What else is in the datagram is said again, under this key too.
            None if self.end == End::B => {
                if self.news.is_empty() {
                    let generation = opened.generation;
                    self.news.push_back(ChannelEvent::Numbered { name, generation });
                }
            }
            None => return Ok(Disposition::Discarded(DiscardReason::Unexpected)),
        }
        let disposition = self.rotation.handle_message(now, rng, from, opened.status)?;
        self.arm(now);
        match disposition {
            Disposition::Accepted => self.path = Some(from),
            // The status is authentic, so there is one reason only.
            Disposition::Discarded(DiscardReason::Unexpected) if !self.told_of_rollback => {
                self.told_of_rollback = true;
                self.news.push_back(ChannelEvent::RolledBack);
            }
            _ => {}
        }
        Ok(disposition)
    }

    fn handle_timeout(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Result<(), RotationError> {
        if self.announce.is_some_and(|due| due <= now) {
            self.announce = None;
            self.is_due = true;
        }
        self.arm(now);
        self.rotation.handle_timeout(now, rng)
    }

    fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), RotationError> {
        self.rotation.handle_persisted(receipt)?;
        self.storing = false;
        Ok(())
    }

    fn poll_output(&mut self) -> Output<RotationRecord, [u8; DATAGRAM_LEN], ChannelEvent> {
        loop {
            if let Some(datagram) = self.outgoing.pop_front() {
                return Output::Transmit(datagram);
            }
            if let Some(event) = self.news.pop_front() {
                return Output::Event(event);
            }
            match self.rotation.poll_output() {
                Output::Transmit(status) => self.send(&status),
                Output::Event(event) => return Output::Event(ChannelEvent::Rotation(event)),
                Output::Persist(checkpoint) => {
                    self.storing = true;
                    return Output::Persist(checkpoint);
                }
                // Everything that it had to say was said, so what its status says is durable, if nothing is being stored.
                Output::Wait(_) if self.is_due && self.is_ahead() && !self.storing => {
                    self.is_due = false;
                    let status = self.rotation.status().encode();
                    self.send(&Transmit::new(self.peer, TransmitClass::Retransmission, status));
                }
                Output::Wait(deadline) => {
                    return Output::Wait(deadline.into_iter().chain(self.announce).min());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;
    use skex_core::SecretBytes;
    use skex_core::rotation::RotationConfig;

    const NOW: Instant = Instant::from_millis(1000);
    const PATH: PathId = PathId::new(7);

    fn key(octet: u8) -> Rc<DatagramKey> {
        Rc::new(DatagramKey::new([octet; KEY_NAME_LEN], SecretBytes::copied_from(&[octet; 32])))
    }

    fn channel(end: End) -> Channel {
        let peer = PeerHandle::new(0);
        let mut entropy = Entropy::open().unwrap();
        let rotation = Rotation::new(RotationConfig::new(*b"a link's", peer), NOW, &mut entropy);
        Channel::new(rotation, end, peer)
    }

    /// Carries out what a channel wants: what it sends, and the numbers that it tells.
    fn drain(channel: &mut Channel) -> (Vec<[u8; DATAGRAM_LEN]>, Vec<u64>) {
        let (mut sent, mut numbers) = (Vec::new(), Vec::new());
        loop {
            match channel.poll_output() {
                Output::Persist(checkpoint) => {
                    let stored = checkpoint.commit_with(|_| Ok::<(), ()>(()));
                    channel.handle_persisted(stored.unwrap()).unwrap();
                }
                Output::Transmit(transmit) => sent.push(transmit.payload),
                Output::Event(ChannelEvent::Numbered { generation, .. }) => numbers.push(generation),
                Output::Event(_) => {}
                Output::Wait(_) => return (sent, numbers),
            }
        }
    }

    fn hand(channel: &mut Channel, datagram: &[u8]) -> Disposition {
        channel.handle_message(NOW, &mut Entropy::open().unwrap(), PATH, datagram).unwrap()
    }

    #[test]
    fn end_b_takes_the_number_of_an_authentic_datagram_of_end_a_and_of_no_other() {
        let (mut a, mut b) = (channel(End::A), channel(End::B));
        a.ready(NOW, &key(1), 41).unwrap();
        let (sent, _) = drain(&mut a);
        assert!(matches!(hand(&mut b, &sent[0]), Disposition::Discarded(DiscardReason::UnknownPeer)));
        b.add(&key(1), None);
        for bit in 0..sent[0].len() * 8 {
            let mut turned = sent[0];
            turned[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(hand(&mut b, &turned), Disposition::Discarded(_)), "bit {bit}");
        }
        assert_eq!(drain(&mut b).1, [0; 0], "nothing forged counts");
        assert_eq!(hand(&mut b, &sent[0]), Disposition::Accepted);
        assert_eq!(drain(&mut b).1, [41]);

        let mut other = channel(End::A);
        other.add(&key(1), None);
        assert!(matches!(hand(&mut other, &sent[0]), Disposition::Discarded(_)), "from an end like itself");
        assert_eq!(drain(&mut other).1, [0; 0]);
    }

    #[test]
    fn a_status_goes_under_each_generation_and_a_number_again_until_it_is_heard() {
        let mut a = channel(End::A);
        a.ready(NOW, &key(1), 1).unwrap();
        drain(&mut a);
        a.ready(NOW, &key(2), 2).unwrap();
        let (sent, _) = drain(&mut a);
        let names: Vec<u8> =
            sent.iter().filter_map(|sent| datagram_key_name(sent)).map(|name| name[0]).collect();
        assert_eq!(names, [1, 2]);
        a.handle_timeout(NOW.saturating_add(ANNOUNCE), &mut Entropy::open().unwrap()).unwrap();
        assert_eq!(drain(&mut a).0.len(), 2, "said again");

        let mut b = channel(End::B);
        b.ready(NOW, &key(2), 2).unwrap();
        for datagram in drain(&mut b).0 {
            assert_eq!(hand(&mut a, &datagram), Disposition::Accepted);
        }
        drain(&mut a);
        a.handle_timeout(NOW.saturating_add(ANNOUNCE * 2), &mut Entropy::open().unwrap()).unwrap();
        assert_eq!(drain(&mut a).0.len(), 0, "heard");
    }

    #[test]
    fn statuses_follow_the_last_one_that_said_something_new_and_no_repetition_of_it() {
        let (mut a, mut b) = (channel(End::A), channel(End::B));
        a.ready(NOW, &key(1), 1).unwrap();
        b.ready(NOW, &key(1), 1).unwrap();
        let (sent, _) = drain(&mut a);
        assert_eq!(hand(&mut b, &sent[0]), Disposition::Accepted);
        drain(&mut b);
        let elsewhere = PathId::new(8);
        let again = b.handle_message(NOW, &mut Entropy::open().unwrap(), elsewhere, &sent[0]).unwrap();
        assert!(matches!(again, Disposition::Discarded(_)));
        assert_eq!(b.path, Some(PATH));
    }
}
