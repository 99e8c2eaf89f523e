//! What comes to a driver from other threads of the process, in place of a socket: for machines that are parts of one.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, Result};
use skex_core::machine::Machine;

use super::Driver;

/// Messages and calls that wait for a driver. Beyond, they are lost as in a network.
const WAITING: usize = 16384;

/// Something for a driver.
pub(crate) enum Incoming<M: Machine> {
    /// A message, and where it came from.
    Datagram(SocketAddr, Vec<u8>),
    /// Something to be done with it.
    Call(Call<M>),
}

/// What is to be done.
pub(crate) type Call<M> = Box<dyn FnOnce(&mut Driver<M>) -> Result<()> + Send>;

/// Where a driver finds it.
pub(crate) struct Inbox<M: Machine> {
    queue: Receiver<Incoming<M>>,
    bell: UnixStream,
    hammer: Hammer,
}

/// Where others leave it.
pub(crate) struct Post<M: Machine> {
    queue: SyncSender<Incoming<M>>,
    hammer: Hammer,
}

/// Rings the bell of an inbox: once for everything that is left before the driver looks.
#[derive(Clone)]
struct Hammer {
    wire: Arc<UnixStream>,
    rung: Arc<AtomicBool>,
}

impl Hammer {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // A full bell is rung already.
            let _ = (&*self.wire).write(&[0]);
        }
    }
}

impl<M: Machine> Clone for Post<M> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), hammer: self.hammer.clone() }
    }
}

pub(crate) fn inbox<M: Machine>() -> Result<(Post<M>, Inbox<M>)> {
    let (send, queue) = sync_channel(WAITING);
    let (bell, wire) = UnixStream::pair().context("cannot make a pair of sockets")?;
    bell.set_nonblocking(true).context("cannot set a socket up")?;
    wire.set_nonblocking(true).context("cannot set a socket up")?;
    let hammer = Hammer { wire: Arc::new(wire), rung: Arc::new(AtomicBool::new(false)) };
    Ok((Post { queue: send, hammer: hammer.clone() }, Inbox { queue, bell, hammer }))
}

impl<M: Machine> Post<M> {
    /// Leaves it there, if there is room.
    pub(crate) fn leave(&self, incoming: Incoming<M>) {
        if self.queue.try_send(incoming).is_ok() {
            self.hammer.ring();
        }
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
    pub(super) fn hear(&mut self) {
        let mut rung = [0; 64];
        let _ = self.bell.read(&mut rung);
        self.hammer.rung.swap(false, Ordering::AcqRel);
    }

    pub(super) fn next(&self) -> Option<Incoming<M>> {
        self.queue.try_recv().ok()
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
