//! The loop that is the same for every machine of the family: a socket, a store, a clock, an entropy source.
//!
//! One thread serves a machine, and a machine serves many others: a hub its clients, a table its peers. It sleeps until there
//! is something to do; datagrams come and go many at a time; and while the store syncs, on a thread of its own, it goes on.

mod capture;
mod inbox;
mod paths;
mod socket;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context, Result, anyhow};
use rand_core::CryptoRng;
use rustix::event::{PollFd, PollFlags, Timespec};
use serde::{Deserialize, Serialize};
use skex_core::machine::{Destination, Disposition, Instant, Machine, Output, Receipt};

pub(crate) use capture::{CAPTURE, Capture, merge};
pub(crate) use inbox::{Inbox, Incoming, Post, inbox};
pub(crate) use paths::{Paths, resolve};
pub(crate) use socket::{BATCH, Socket, bind};

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::store::{Committer, Store};

/// Batches that are taken from the socket before anything else is looked at.
pub(crate) const ROUNDS: usize = 16;

/// What has passed the socket since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Traffic {
    pub(crate) sent_messages: u64,
    pub(crate) sent_octets: u64,
    pub(crate) received_messages: u64,
    pub(crate) received_octets: u64,
    /// Messages that the machine discarded.
    pub(crate) discarded: u64,
    /// Messages that the operating system would not send.
    pub(crate) unsent: u64,
}

impl Traffic {
    pub(crate) fn add(&mut self, other: Self) {
        let pairs = [
            (&mut self.sent_messages, other.sent_messages),
            (&mut self.sent_octets, other.sent_octets),
            (&mut self.received_messages, other.received_messages),
            (&mut self.received_octets, other.received_octets),
            (&mut self.discarded, other.discarded),
            (&mut self.unsent, other.unsent),
        ];
        pairs.into_iter().for_each(|(sum, more)| *sum = sum.saturating_add(more));
    }

    /// A message has come.
    pub(crate) fn count(&mut self, message: &[u8], discarded: bool) {
        self.received_messages = self.received_messages.saturating_add(1);
        self.received_octets = self.received_octets.saturating_add(message.len() as u64);
        self.discarded = self.discarded.saturating_add(discarded.into());
    }
}

/// A machine and everything that it needs of the world.
pub(crate) struct Driver<M: Machine> {
    pub(crate) machine: M,
    committer: Committer<M::Record>,
    socket: Socket,
    pub(crate) paths: Paths,
    clock: Clock,
    entropy: Entropy,
    traffic: Traffic,
    deadline: Option<Instant>,
    events: VecDeque<M::Event>,
    capture: Option<Capture>,
    part: Option<Part<M>>,
    /// Whether the machine takes all messages of a batch before it is asked what it wants.
    gathers: bool,
}

/// What a driver of one part of a machine has of the others.
pub(crate) struct Part<M: Machine> {
    /// What comes to it in place of what comes to the socket.
    pub(crate) inbox: Inbox<M>,
    /// Takes what the machine has for other parts, each time that it waits.
    pub(crate) hand_over: Box<dyn FnMut(&mut M) + Send>,
}

impl<M: Machine<Record: Send + 'static>> Driver<M> {
    /// Starts a machine: what it wants stored and sent at first is.
    pub(crate) fn start(
        machine: M,
        store: impl Store<M::Record> + 'static,
        socket: UdpSocket,
        paths: Paths,
        clock: Clock,
        entropy: Entropy,
    ) -> Result<Self> {
        let capture = Capture::from_environment()?;
        let mut driver = Self {
            machine,
            committer: Committer::new(store)?,
            socket: Socket::new(socket),
            paths,
            clock,
            entropy,
            traffic: Traffic::default(),
            deadline: None,
            events: VecDeque::new(),
            capture,
            part: None,
            gathers: false,
        };
        driver.drain()?;
        driver.settle()?;
        Ok(driver)
    }

    /// Gives the machine all messages of a batch before it is asked what it wants: what it says to one other end then shares datagrams,
    /// and a checkpoint. For machines that take that.
    pub(crate) const fn gathering(mut self) -> Self {
        self.gathers = true;
        self
    }

    /// Goes on as the driver of a part of a machine. It reads nothing from its socket any more, and sends by it.
    pub(crate) fn become_part(&mut self, part: Part<M>) -> Result<()> {
        self.part = Some(part);
        self.drain()
    }

    /// Where the process can be reached.
    pub(crate) fn local_address(&self) -> Result<SocketAddr> {
        self.socket.local_address()
    }

    /// Where messages and receipts come in, for who waits for several drivers.
    pub(crate) fn sources(&self) -> [BorrowedFd<'_>; 2] {
        [self.socket.as_fd(), self.committer.as_fd()]
    }

    /// How long the driver can be left alone, if nothing comes in.
    pub(crate) fn patience(&self) -> Option<Duration> {
        if !self.events.is_empty() {
            return Some(Duration::ZERO);
        }
        let deadline = self.deadline.map(|deadline| deadline.saturating_since(self.clock.now()));
        deadline.into_iter().chain(self.committer.patience(std::time::Instant::now())).min()
    }

    pub(crate) const fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Batches of checkpoints that were made durable.
    pub(crate) const fn syncs(&self) -> u64 {
        self.committer.batches()
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// A verb of the application; what follows from it is carried out, and durable, before this returns.
    pub(crate) fn call<T>(
        &mut self,
        verb: impl FnOnce(&mut M, Instant, &mut dyn CryptoRng) -> T,
    ) -> Result<T> {
        let answer = verb(&mut self.machine, self.clock.now(), &mut self.entropy);
        self.drain()?;
        self.settle()?;
        Ok(answer)
    }

    /// A verb that need not be durable before this returns.
    pub(crate) fn tell<T>(
        &mut self,
        verb: impl FnOnce(&mut M, Instant, &mut dyn CryptoRng) -> T,
    ) -> Result<T> {
        let answer = verb(&mut self.machine, self.clock.now(), &mut self.entropy);
        self.drain()?;
        Ok(answer)
    }

    /// The next event, if there is one.
    pub(crate) fn next_event(&mut self) -> Option<M::Event> {
        self.events.pop_front()
    }

    /// Those of the events that are wanted out of their turn.
    pub(crate) fn events_that(&mut self, wanted: impl Fn(&M::Event) -> bool) -> VecDeque<M::Event> {
        let (these, others) = core::mem::take(&mut self.events).into_iter().partition(wanted);
        self.events = others;
        these
    }

    /// Carries out what the machine wants, until it waits. What is to be stored or sent is gathered; see
    /// [`hand_over`](Self::hand_over).
    fn drain(&mut self) -> Result<()> {
        loop {
            match self.machine.poll_output() {
                Output::Persist(checkpoint) => self.committer.add((), checkpoint),
                Output::Transmit(transmit) => self.send(transmit.to, transmit.payload.as_ref())?,
                Output::Event(event) => self.events.push_back(event),
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    if let Some(part) = &mut self.part {
                        (part.hand_over)(&mut self.machine);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Gives what was gathered to the store and the socket.
    pub(crate) fn hand_over(&mut self) {
        self.committer.start(std::time::Instant::now());
        let sent = self.socket.flush();
        self.traffic.sent_messages = self.traffic.sent_messages.saturating_add(sent.messages);
        self.traffic.sent_octets = self.traffic.sent_octets.saturating_add(sent.octets);
        self.traffic.unsent = self.traffic.unsent.saturating_add(sent.unsent);
    }

    /// Waits until everything is durable, and sends what waited for that.
    fn settle(&mut self) -> Result<()> {
        self.hand_over();
        while self.committer.is_busy() {
            let receipts = self.committer.wait().context(NOT_STORED)?;
            self.open_gate(receipts)?;
            self.hand_over();
        }
        Ok(())
    }

    /// What waited for these receipts leaves.
    fn open_gate(&mut self, receipts: Vec<((), Receipt)>) -> Result<()> {
        for (_, receipt) in receipts {
            self.machine.handle_persisted(receipt).map_err(|error| anyhow!("{error}"))?;
            self.drain()?;
        }
        Ok(())
    }

    fn send(&mut self, to: Destination, payload: &[u8]) -> Result<()> {
        let address = match to {
            Destination::Path(path) => self.paths.address_of_path(path),
            Destination::Peer(peer) => self.paths.address_of_peer(peer),
            _ => None,
        };
        let Some(address) = address else {
            self.traffic.unsent = self.traffic.unsent.saturating_add(1);
            return Ok(());
        };
        if let Some(capture) = &mut self.capture {
            capture.write(self.socket.local_address()?, address, payload)?;
        }
        self.socket.send(address, payload);
        Ok(())
    }

    /// Waits for a message, a receipt of the store, a deadline of the machine, `until`, or something to read on `orders`, and
    /// handles all but the last. `true`: there is something to read on `orders`.
    ///
    /// Returns at once while there are events.
    pub(crate) fn wait(&mut self, until: Option<Instant>, orders: Option<BorrowedFd<'_>>) -> Result<bool> {
        if !self.events.is_empty() {
            return Ok(false);
        }
        let now = self.clock.now();
        let wake = self.deadline.into_iter().chain(until).min().map(|wake| wake.saturating_since(now));
        let paced = self.committer.patience(std::time::Instant::now());
        let [message, stored, order] = self.poll(wake.into_iter().chain(paced).min(), orders)?;
        self.committer.start(std::time::Instant::now());
        if stored {
            let receipts = self.committer.finished().context(NOT_STORED)?;
            self.open_gate(receipts)?;
            self.hand_over();
        }
        if message {
            self.receive()?;
        }
        let now = self.clock.now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.machine.handle_timeout(now, &mut self.entropy).map_err(|error| anyhow!("{error}"))?;
            self.drain()?;
            self.hand_over();
        }
        Ok(order)
    }

    /// Whether there is a message, a receipt, and an order.
    fn poll(&self, timeout: Option<Duration>, orders: Option<BorrowedFd<'_>>) -> Result<[bool; 3]> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut sources = vec![
            PollFd::from_borrowed_fd(
                self.part.as_ref().map_or_else(|| self.socket.as_fd(), |part| part.inbox.as_fd()),
                PollFlags::IN,
            ),
            PollFd::from_borrowed_fd(self.committer.as_fd(), PollFlags::IN),
        ];
        sources.extend(orders.map(|orders| PollFd::from_borrowed_fd(orders, PollFlags::IN)));
        match rustix::event::poll(&mut sources, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok([false; 3]),
            Err(error) => return Err(error).context("cannot wait for messages"),
        }
        let ready = |source: usize| sources.get(source).is_some_and(|source| !source.revents().is_empty());
        Ok([ready(0), ready(1), ready(2)])
    }

    fn receive(&mut self) -> Result<()> {
        if self.part.is_some() {
            return self.take_incoming();
        }
        for _ in 0..ROUNDS {
            let count = self.socket.receive()?;
            let now = self.clock.now();
            for number in 0..count {
                let Some((from, message)) = self.socket.received(number) else { break };
                let from = self.paths.path_of(from);
                let handled = self.machine.handle_message(now, &mut self.entropy, from, message);
                let handled = handled.map_err(|error| anyhow!("{error}"))?;
                self.traffic.count(message, matches!(handled, Disposition::Discarded(_)));
                if !self.gathers {
                    self.drain()?;
                }
            }
            self.drain()?;
            self.hand_over();
            if count < BATCH {
                break;
            }
        }
        Ok(())
    }

    /// As [`receive`](Self::receive), of a part of a machine.
    fn take_incoming(&mut self) -> Result<()> {
        let Some(part) = &self.part else { return Ok(()) };
        part.inbox.hear();
        let most = ROUNDS.saturating_mul(BATCH);
        for number in 1..=most {
            let Some(part) = &self.part else { break };
            let Some(incoming) = part.inbox.next() else { break };
            if number == most {
                part.inbox.remember();
            }
            match incoming {
                Incoming::Datagram(from, message) => {
                    let (now, from) = (self.clock.now(), self.paths.path_of(from));
                    let handled = self.machine.handle_message(now, &mut self.entropy, from, &message);
                    let handled = handled.map_err(|error| anyhow!("{error}"))?;
                    self.traffic.count(&message, matches!(handled, Disposition::Discarded(_)));
                    if !self.gathers {
                        self.drain()?;
                    }
                }
                Incoming::Call(call) | Incoming::FromPart(_, call) => call(self)?,
            }
            if number % BATCH == 0 {
                self.drain()?;
                self.hand_over();
            }
        }
        self.drain()?;
        self.hand_over();
        Ok(())
    }
}

/// After a failure nobody knows what is durable: the program ends, and its next start goes on from what the store then holds.
const NOT_STORED: &str = "the state could not be stored; mend the disk and start again: nothing is lost";
