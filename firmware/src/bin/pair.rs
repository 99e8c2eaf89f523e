//! Two unmediated peers without an allocator: handshakes, keys, a restart from what was stored.
#![no_std]
#![no_main]

use core::mem::size_of;

use cortex_m_rt::entry;
use skex_core::Label;
use skex_core::machine::{Disposition, Output, PathId};
use skex_firmware::flash::Slots;
use skex_firmware::random::Repeatable;
use skex_firmware::stack::depth_of;
use skex_firmware::{NOW, fail, print, succeed};
use skex_unmediated::{Datagram, Event, Peer, PeerConfig, Side};

const HANDSHAKES: u64 = 5;

struct End {
    peer: Peer,
    slots: Slots,
    /// What stands in for a radio's buffer: the message that is on its way.
    sent: Option<Datagram>,
}

struct Pair {
    ends: [End; 2],
    rng: Repeatable,
}

#[entry]
fn main() -> ! {
    print("peer_ram", size_of::<Peer>());
    let mut pair = None;
    let enrolment = depth_of(|| pair = Pair::enrolled());
    let Some(mut pair) = pair else { fail() };
    print("stack_enrolment", enrolment);

    let mut done = 0;
    let handshakes = depth_of(|| {
        while done < HANDSHAKES && pair.handshake() {
            done += 1;
        }
    });
    print("stack_handshake", handshakes);
    let mut exported = false;
    print("stack_export", depth_of(|| exported = pair.export()));
    let restart = depth_of(|| {
        if !pair.restart() {
            fail();
        }
    });
    print("stack_restart", restart);
    if done != HANDSHAKES || !exported || !pair.handshake() || !pair.export() {
        fail();
    }
    print("handshakes", done as usize + 1);
    succeed()
}

fn config(side: Side) -> PeerConfig<'static> {
    let (own, peer): (&[u8], &[u8]) =
        if side == Side::A { (b"meter", b"gateway") } else { (b"gateway", b"meter") };
    PeerConfig::new(side, own, peer)
}

impl Pair {
    fn enrolled() -> Option<Self> {
        let mut rng = Repeatable::new(1);
        let mut end = |side| {
            let peer = Peer::enrol(&config(side), &[0x5e; 32], NOW, &mut rng).ok()?;
            Some(End { peer, slots: Slots::empty(), sent: None })
        };
        let ends = [end(Side::A)?, end(Side::B)?];
        let mut pair = Self { ends, rng };
        let quiet = pair.ends.iter_mut().all(|end| !end.drain());
        quiet.then_some(pair)
    }

    /// One handshake, all of its messages, and whether both ends have the same session then.
    fn handshake(&mut self) -> bool {
        let epoch = self.ends[0].peer.epoch();
        if self.ends[0].peer.establish(NOW, &mut self.rng).is_err() {
            return false;
        }
        if !self.carry(0) {
            return false;
        }
        let [a, b] = &self.ends;
        if !a.slots.hold_one() || !b.slots.hold_one() {
            return false;
        }
        let session = |end: &End| end.peer.session().map(|session| session.id);
        a.peer.epoch() == epoch + 1 && session(a).is_some() && session(a) == session(b)
    }

    /// Carries what this end sends, and the answers, until there are none; whether all were accepted.
    fn carry(&mut self, mut from: usize) -> bool {
        while self.ends[from].drain() {
            let [a, b] = &mut self.ends;
            let (sender, receiver) = if from == 0 { (a, b) } else { (b, a) };
            from = 1 - from;
            let Some(message) = &sender.sent else { return false };
            let taken = receiver.peer.handle_message(NOW, &mut self.rng, PathId::new(1), message.as_bytes());
            if taken.ok() != Some(Disposition::Accepted) {
                return false;
            }
        }
        true
    }

    /// A key for an application, at both ends, and whether it is the same.
    fn export(&mut self) -> bool {
        let [a, b] = &mut self.ends;
        let Ok(ours) = a.peer.export_next(Label::EXPORT_RAW, b"firmware") else { return false };
        if b.peer.export_at(ours.id(), ours.index(), Label::EXPORT_RAW, b"firmware").is_err() {
            return false;
        }
        let mut output = Output::Wait(None);
        loop {
            b.peer.poll_output_into(&mut output);
            if let Some(stored) = output.commit_with(|record| b.slots.store(record)) {
                if !stored.is_ok_and(|receipt| b.peer.handle_persisted(receipt).is_ok()) {
                    return false;
                }
                continue;
            }
            match &output {
                Output::Event(Event::KeyReady(theirs)) => {
                    let same = ours.secret().expose() == theirs.secret().expose();
                    return same && a.peer.note_answer(ours.id(), ours.index()).is_ok();
                }
                Output::Wait(_) => return false,
                Output::Transmit(_) | Output::Event(_) | Output::Persist(_) => {}
            }
        }
    }

    /// Both ends lose power, and go on from their slots.
    fn restart(&mut self) -> bool {
        for (end, side) in self.ends.iter_mut().zip([Side::A, Side::B]) {
            let Ok(peer) = Peer::restore(&config(side), end.slots.contents(), NOW, &mut self.rng) else {
                return false;
            };
            end.peer = peer;
        }
        // Both write anew what they read. The initiator's record does not know yet that the responder followed: it repeats its
        // third message.
        !self.ends[1].drain() && self.carry(0)
    }
}

impl End {
    /// Stores what is to be stored, and sends what is to be sent; whether something was.
    #[inline(never)]
    fn drain(&mut self) -> bool {
        self.sent = None;
        let mut output = Output::Wait(None);
        loop {
            self.peer.poll_output_into(&mut output);
            if let Some(stored) = output.commit_with(|record| self.slots.store(record)) {
                if !stored.is_ok_and(|receipt| self.peer.handle_persisted(receipt).is_ok()) {
                    fail();
                }
                continue;
            }
            match &output {
                Output::Transmit(transmit) => self.sent = Some(transmit.payload),
                Output::Event(_) | Output::Persist(_) => {}
                Output::Wait(_) => return self.sent.is_some(),
            }
        }
    }
}
