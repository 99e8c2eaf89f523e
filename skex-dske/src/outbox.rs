//! What leaves a machine, behind the checkpoints that it waits for. A message is sealed when it leaves, and until then others for the
//! same end join it (docs/draft-skex-dske.md, "Several messages in one").

use alloc::vec;
use alloc::vec::Vec;

use skex_core::machine::{Place, Queue, TransmitClass};
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
    pub(crate) class: TransmitClass,
    pub(crate) unsealed: Unsealed,
}

/// Links whose messages find each other, at most.
const REMEMBERED: usize = 256;

impl<T> Outbox<T> {
    /// For at most `bound` datagrams and others, of so many links.
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
        (link, session): (u32, u32),
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
            && messages.unsealed.take_along(len, &write, self.longest)
        {
            // A first sending or an answer is what the datagram is for.
            if messages.class == TransmitClass::Retransmission {
                messages.class = class;
            }
            return;
        }
        if let Some(unsealed) = Unsealed::of(fresh, len, write) {
            let messages = Messages { link, session, class, unsealed };
            *last = self.queue.push(after, Unsent::Messages(messages)).ok();
        }
    }
}
