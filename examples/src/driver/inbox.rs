//! What comes to a driver from other threads of the process, in place of a socket: for machines that are parts of one.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, Result};
use skex_core::machine::Machine;

use super::Driver;
use crate::bell::{Bell, Hammer, bell};

/// Messages and calls that wait for a driver. Beyond, they are lost as in a network.
const WAITING: usize = 16384;

/// Octets of messages, and of what other parts have for it, that wait for a driver, at most, as in a socket: however long they are, they take no
/// more memory.
const OCTETS: usize = 8 << 20;

/// Something for a driver.
pub(crate) enum Incoming<M: Machine> {
    /// A message, and where it came from.
    Datagram(SocketAddr, Vec<u8>),
    /// Something to be done with it.
    Call(Call<M>),
    /// What another part has for it, of so many octets.
    FromPart(usize, Call<M>),
}

impl<M: Machine> Incoming<M> {
    fn octets(&self) -> usize {
        match self {
            Self::Datagram(_, message) => message.len(),
            Self::FromPart(octets, _) => *octets,
            Self::Call(_) => 0,
        }
    }
}

/// What is to be done.
pub(crate) type Call<M> = Box<dyn FnOnce(&mut Driver<M>) -> Result<()> + Send>;

/// Where a driver finds it.
pub(crate) struct Inbox<M: Machine> {
    queue: Receiver<Incoming<M>>,
    bell: Bell,
    hammer: Hammer,
    octets: Arc<AtomicUsize>,
}

/// Where others leave it.
pub(crate) struct Post<M: Machine> {
    queue: SyncSender<Incoming<M>>,
    hammer: Hammer,
    octets: Arc<AtomicUsize>,
}

impl<M: Machine> Clone for Post<M> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), hammer: self.hammer.clone(), octets: Arc::clone(&self.octets) }
    }
}

pub(crate) fn inbox<M: Machine>() -> Result<(Post<M>, Inbox<M>)> {
    let (send, queue) = sync_channel(WAITING);
    let (hammer, bell) = bell()?;
    let octets = Arc::new(AtomicUsize::new(0));
    let post = Post { queue: send, hammer: hammer.clone(), octets: Arc::clone(&octets) };
    Ok((post, Inbox { queue, bell, hammer, octets }))
}

impl<M: Machine> Post<M> {
    /// Leaves it there, if there is room.
    pub(crate) fn leave(&self, incoming: Incoming<M>) {
        let len = incoming.octets();
        if self.octets.fetch_add(len, Ordering::AcqRel).saturating_add(len) <= OCTETS
            && self.queue.try_send(incoming).is_ok()
        {
            return self.hammer.ring();
        }
        self.octets.fetch_sub(len, Ordering::AcqRel);
    }

    /// Leaves it there, and waits until there is room.
    pub(crate) fn wait(&self, incoming: Incoming<M>) -> Result<()> {
        self.queue.send(incoming).ok().context("a part of this program has ended")?;
        self.hammer.ring();
        Ok(())
    }
}

impl<M: Machine> Inbox<M> {
    /// What is left from now on rings again.
    pub(super) fn hear(&self) {
        self.bell.hear();
    }

    pub(super) fn next(&self) -> Option<Incoming<M>> {
        let incoming = self.queue.try_recv().ok()?;
        self.octets.fetch_sub(incoming.octets(), Ordering::AcqRel);
        Some(incoming)
    }

    /// There may be more: look again soon.
    pub(super) fn remember(&self) {
        self.hammer.ring();
    }
}

impl<M: Machine> AsFd for Inbox<M> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use skex_unmediated::PeerTable;

    use super::{Incoming, OCTETS, WAITING, inbox};

    /// However many messages come, and however long they are, so much waits and no more; what was taken makes room.
    #[test]
    fn a_flood_takes_no_more_memory_than_a_socket_has() {
        let from = SocketAddr::from(([127, 0, 0, 1], 1));
        for len in [1, 1200, 65_507] {
            let (post, inbox) = inbox::<PeerTable>().unwrap();
            let fill = || (0..2 * WAITING).for_each(|_| post.leave(Incoming::Datagram(from, vec![0; len])));
            let count = || core::iter::from_fn(|| inbox.next()).count();
            fill();
            let first = count();
            assert!(
                first * len <= OCTETS && first <= WAITING && first == (OCTETS / len).min(WAITING),
                "{first}"
            );
            fill();
            assert_eq!(count(), first);
            // What other parts have for it takes no more, and nothing beside that.
            let hand_over = || Incoming::FromPart(len, Box::new(|_| Ok(())));
            (0..2 * WAITING).for_each(|_| post.leave(hand_over()));
            fill();
            assert_eq!(count(), first);
        }
    }

    /// A call is not lost behind messages.
    #[test]
    fn a_call_that_waits_for_room_comes_whatever_messages_there_are() {
        let from = SocketAddr::from(([127, 0, 0, 1], 1));
        let (post, inbox) = inbox::<PeerTable>().unwrap();
        (0..OCTETS / 60_000 + 1).for_each(|_| post.leave(Incoming::Datagram(from, vec![0; 60_000])));
        post.wait(Incoming::Call(Box::new(|_| Ok(())))).unwrap();
        let calls =
            core::iter::from_fn(|| inbox.next()).filter(|incoming| matches!(incoming, Incoming::Call(_)));
        assert_eq!(calls.count(), 1);
    }
}
