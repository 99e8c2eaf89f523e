//! What leaves a machine, behind the checkpoints that it waits for. A message is sealed when it leaves, and until then others for the
//! same end join it (docs/draft-skex-dske.md, "Several messages in one").

use alloc::vec;
use alloc::vec::Vec;

use skex_core::machine::{Destination, Place, Queue, TransmitClass};
use skex_wire::{EncodeError, Writer};

use crate::unsealed::Unsealed;

/// Octets of a datagram that several messages share: what every path of IPv6 carries whole, without the headers of IP and UDP.
pub(crate) const DATAGRAM: usize = 1232;

/// Bounded; with `T` for what does not go under an envelope.
pub(crate) struct Outbox<T> {
    pub(crate) queue: Queue<Unsent<T>>,
    /// Where the last messages for a link wait, by its number modulo the length: another link's may stand there.
    last: Vec<Option<Place>>,
    /// Octets of a datagram that several messages share, at most.
    longest: usize,
}

/// What waits to leave.
pub(crate) enum Unsent<T> {
    Messages(Messages),
    Other(T),
}

/// Messages for the other end of a link, to be sealed into one datagram.
pub(crate) struct Messages {
    pub(crate) link: u32,
    /// The session that they are of: under another they mean nothing.
    pub(crate) session: u32,
    /// As it was when they were made: whoever has taken the address over since gets what is said from then on, and not what waits.
    pub(crate) to: Destination,
    pub(crate) class: TransmitClass,
    pub(crate) unsealed: Unsealed,
}

/// Links whose messages find each other, at most.
const REMEMBERED: usize = 256;

impl<T> Outbox<T> {
    /// For at most `bound` datagrams and others, of up to so many links.
    pub(crate) fn new(bound: usize, links: usize, longest: usize) -> Self {
        Self { queue: Queue::new(bound), last: vec![None; links.clamp(1, REMEMBERED)], longest }
    }

    /// How many more it takes.
    pub(crate) fn free(&self) -> usize {
        self.queue.free()
    }

    /// Lets something leave behind checkpoint `after`. With a full queue it is as good as lost on the way.
    pub(crate) fn push(&mut self, after: u64, other: T) {
        let _ = self.queue.push(after, Unsent::Other(other));
    }

    /// Lets the message of `len` octets that `write` writes leave behind checkpoint `after`: with others of its link and session that
    /// wait for the same, or as a datagram of its own.
    pub(crate) fn send(
        &mut self,
        (link, session, to): (u32, u32, Destination),
        fresh: bool,
        (after, class): (u64, TransmitClass),
        len: usize,
        write: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) {
        let place = usize::try_from(link).unwrap_or(0).checked_rem(self.last.len());
        let Some(last) = place.and_then(|place| self.last.get_mut(place)) else { return };
        let waiting = last.and_then(|place| self.queue.waiting_mut(place, after));
        if let Some(Unsent::Messages(messages)) = waiting
            && (messages.link, messages.session, messages.unsealed.is_fresh()) == (link, session, fresh)
            && messages.to == to
            && messages.unsealed.take_along(len, &write, self.longest)
        {
            // A first sending or an answer is what the datagram is for.
            if messages.class == TransmitClass::Retransmission {
                messages.class = class;
            }
            return;
        }
        if let Some(unsealed) = Unsealed::of(fresh, len, write) {
            let messages = Messages { link, session, to, class, unsealed };
            *last = self.queue.push(after, Unsent::Messages(messages)).ok();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use chacha20::ChaCha20Rng;
    use chacha20::rand_core::SeedableRng;
    use skex_core::machine::{Barrier, PathId};

    use super::*;

    const BUSY: [u8; 7] = [7, 0, 0, 0, 0, 0, 1];

    fn send(outbox: &mut Outbox<()>, (link, session): (u32, u32), fresh: bool, after: u64) {
        let of = (link, session, Destination::Path(PathId::new(1)));
        outbox.send(of, fresh, (after, TransmitClass::Reply), BUSY.len(), |out| out.bytes(&BUSY));
    }

    /// Of links that find each other in one place too: what differs in link, session, salt or checkpoint is never in one datagram, in
    /// whatever order it came.
    #[test]
    fn only_messages_of_one_link_session_and_checkpoint_share_a_datagram() {
        let barrier = Barrier::resume(9, &mut ChaCha20Rng::seed_from_u64(1));
        let all = [
            ((0, 1), false, 5),
            ((256, 1), false, 5),
            ((0, 2), false, 5),
            ((0, 1), true, 5),
            ((0, 1), false, 6),
            ((0, 1), false, Barrier::OPEN),
        ];
        for first in all {
            for second in all {
                let mut outbox = Outbox::new(9, 256, 1232);
                for (of, fresh, after) in [first, second, first] {
                    send(&mut outbox, of, fresh, after);
                }
                let is_one = first == second;
                let datagrams = 9 - outbox.free();
                assert_eq!(datagrams == 1, is_one, "{first:?}, {second:?}");
                while let Some(Unsent::Messages(messages)) = outbox.queue.pop(&barrier) {
                    let own = ((messages.link, messages.session), messages.unsealed.is_fresh());
                    assert!([first, second].iter().any(|(of, fresh, _)| (*of, *fresh) == own));
                }
            }
        }
    }

    /// Where the messages of a link waited there is something else, once those have left or were dropped.
    #[test]
    fn nothing_joins_what_came_into_the_place_of_others() {
        let barrier = Barrier::resume(9, &mut ChaCha20Rng::seed_from_u64(1));
        for after in [5, Barrier::OPEN] {
            for drops in [false, true] {
                let mut outbox = Outbox::new(9, 2, 1232);
                send(&mut outbox, (0, 1), false, after);
                if drops {
                    outbox.queue.discard(|_| true);
                } else {
                    assert!(outbox.queue.pop(&barrier).is_some());
                }
                send(&mut outbox, (1, 1), false, after);
                send(&mut outbox, (0, 1), false, after);
                assert_eq!(outbox.free(), 7, "{after}, {drops}");
                outbox.push(after, ());
                send(&mut outbox, (1, 1), false, after);
                assert_eq!(outbox.free(), 6, "{after}, {drops}");
            }
        }
    }
}
