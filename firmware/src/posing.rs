//! One end of a pair whose other end never answers: everything that a device calls is linked, and nothing else is. For its size.

use core::hint::black_box;

use skex_core::Label;
use skex_core::machine::{Output, PathId};
use skex_unmediated::{Event, Peer, PeerConfig, Side};

use crate::NOW;
use crate::flash::Slots;
use crate::random::Repeatable;

/// Enrols, stores, sends, takes what would come back, restores; whether what was stored can be restored.
pub fn pose_as_peer(rng: &mut Repeatable) -> bool {
    let config = PeerConfig::new(Side::A, b"meter", b"gateway");
    let Ok(mut peer) = Peer::enrol(&config, &[0x5e; 32], NOW, rng) else { return false };
    let mut slots = Slots::empty();
    loop {
        match peer.poll_output() {
            Output::Persist(checkpoint) => {
                let Ok(receipt) = checkpoint.commit_with(|record| slots.store(record)) else { return false };
                if peer.handle_persisted(receipt).is_err() || peer.establish(NOW, rng).is_err() {
                    return false;
                }
            }
            Output::Transmit(transmit) => {
                // What came back would be this: nobody's message.
                let message = black_box(transmit.payload);
                let _ = black_box(peer.handle_message(NOW, rng, PathId::new(1), message.as_bytes()));
            }
            Output::Event(Event::Established(session)) => {
                let _ = black_box(peer.export_next(Label::EXPORT_RAW, b"firmware"));
                let _ = black_box(peer.export_at(session.id, 0, Label::EXPORT_RAW, b"firmware"));
            }
            Output::Event(_) => {}
            Output::Wait(deadline) => {
                let _ = black_box(deadline.map(|due| peer.handle_timeout(due, rng)));
                return black_box(Peer::restore(&config, slots.contents(), NOW, rng)).is_ok();
            }
        }
    }
}
