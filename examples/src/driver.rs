//! The loop that is the same for every machine of the family: a socket, a store, a clock, an entropy source.

mod capture;
mod paths;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context, Result, anyhow};
use rand_core::CryptoRng;
use rustix::event::{PollFd, PollFlags, Timespec};
use serde::{Deserialize, Serialize};
use skex_core::machine::{Destination, Disposition, Instant, Machine, Output};

pub(crate) use capture::{CAPTURE, Capture, merge};
pub(crate) use paths::{Paths, resolve};

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::store::Store;

/// The longest datagram of UDP, and a bit.
const BUFFER_LEN: usize = 65536;

/// Datagrams that are taken from the socket before the clock is looked at again.
const BATCH: usize = 64;

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

/// A machine and everything that it needs of the world.
pub(crate) struct Driver<M: Machine, S> {
    pub(crate) machine: M,
    store: S,
    socket: UdpSocket,
    pub(crate) paths: Paths,
    clock: Clock,
    entropy: Entropy,
    traffic: Traffic,
    deadline: Option<Instant>,
    events: VecDeque<M::Event>,
    buffer: Vec<u8>,
    capture: Option<Capture>,
}

/// Opens the socket of a process.
pub(crate) fn bind(address: &str) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(address).with_context(|| {
        format!(
            "cannot listen on {address}: another process uses the port, or the address is not this machine's; choose \
             another one"
        )
    })?;
    socket.set_nonblocking(true).context("cannot set the socket up")?;
    Ok(socket)
}

impl<M: Machine, S: Store<M::Record>> Driver<M, S> {
    /// Starts a machine: what it wants stored and sent at first is.
    pub(crate) fn start(
        machine: M,
        store: S,
        socket: UdpSocket,
        paths: Paths,
        clock: Clock,
        entropy: Entropy,
    ) -> Result<Self> {
        let capture = Capture::from_environment()?;
        let mut driver = Self {
            machine,
            store,
            socket,
            paths,
            clock,
            entropy,
            traffic: Traffic::default(),
            deadline: None,
            events: VecDeque::new(),
            buffer: vec![0; BUFFER_LEN],
            capture,
        };
        driver.drain()?;
        Ok(driver)
    }

    /// Where the process can be reached.
    pub(crate) fn local_address(&self) -> Result<SocketAddr> {
        self.socket.local_addr().context("the socket has no address")
    }

    pub(crate) const fn traffic(&self) -> Traffic {
        self.traffic
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) fn store_wants_snapshot(&self) -> bool {
        self.store.wants_snapshot()
    }

    /// A verb of the application; what follows from it is carried out before this returns.
    pub(crate) fn call<T>(
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

    /// Carries out what the machine wants, until it waits.
    fn drain(&mut self) -> Result<()> {
        loop {
            match self.machine.poll_output() {
                // Stored first; the receipt opens what waits behind it. After a failure nobody knows what is durable:
                // the program ends, and its next start goes on from what the store then holds.
                Output::Persist(checkpoint) => {
                    let receipt = checkpoint.commit_with(|record| self.store.store(record)).context(
                        "the state could not be stored; mend the disk and start again: nothing is lost",
                    )?;
                    self.machine.handle_persisted(receipt).map_err(|error| anyhow!("{error}"))?;
                }
                Output::Transmit(transmit) => self.send(transmit.to, transmit.payload.as_ref())?,
                Output::Event(event) => self.events.push_back(event),
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    return Ok(());
                }
            }
        }
    }

    /// As a network would: what cannot be sent is lost, and counted.
    fn send(&mut self, to: Destination, payload: &[u8]) -> Result<()> {
        let address = match to {
            Destination::Path(path) => self.paths.address_of_path(path),
            Destination::Peer(peer) => self.paths.address_of_peer(peer),
            _ => None,
        };
        if let (Some(capture), Some(to)) = (&mut self.capture, address) {
            capture.write(self.socket.local_addr().context("the socket has no address")?, to, payload)?;
        }
        let sent = address.map(|address| self.socket.send_to(payload, address));
        if matches!(sent, Some(Ok(_))) {
            self.traffic.sent_messages = self.traffic.sent_messages.saturating_add(1);
            self.traffic.sent_octets = self.traffic.sent_octets.saturating_add(payload.len() as u64);
        } else {
            self.traffic.unsent = self.traffic.unsent.saturating_add(1);
        }
        Ok(())
    }

    /// Waits for a message, a deadline of the machine, `until`, or something to read on `orders`, and handles the first
    /// two. `true`: there is something to read on `orders`.
    ///
    /// Returns at once while there are events.
    pub(crate) fn wait(&mut self, until: Option<Instant>, orders: Option<BorrowedFd<'_>>) -> Result<bool> {
        if !self.events.is_empty() {
            return Ok(false);
        }
        let now = self.clock.now();
        let wake = self.deadline.into_iter().chain(until).min();
        let (message, order) = self.poll(wake.map(|wake| wake.saturating_since(now)), orders)?;
        if message {
            self.receive()?;
        }
        let now = self.clock.now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.machine.handle_timeout(now, &mut self.entropy).map_err(|error| anyhow!("{error}"))?;
            self.drain()?;
        }
        Ok(order)
    }

    /// Whether there is a message, and an order.
    fn poll(&self, timeout: Option<Duration>, orders: Option<BorrowedFd<'_>>) -> Result<(bool, bool)> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut sources = vec![PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
        sources.extend(orders.map(|orders| PollFd::from_borrowed_fd(orders, PollFlags::IN)));
        match rustix::event::poll(&mut sources, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok((false, false)),
            Err(error) => return Err(error).context("cannot wait for messages"),
        }
        let ready = |source: usize| sources.get(source).is_some_and(|source| !source.revents().is_empty());
        Ok((ready(0), ready(1)))
    }

    fn receive(&mut self) -> Result<()> {
        for _ in 0..BATCH {
            let (len, from) = match self.socket.recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // What the network says about a message that was sent earlier; the machines find out for themselves.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::Interrupted) =>
                {
                    continue;
                }
                Err(error) => return Err(error).context("cannot receive"),
            };
            self.traffic.received_messages = self.traffic.received_messages.saturating_add(1);
            self.traffic.received_octets = self.traffic.received_octets.saturating_add(len as u64);
            let from = self.paths.path_of(from);
            let message = self.buffer.get(..len).unwrap_or_default();
            let handled = self.machine.handle_message(self.clock.now(), &mut self.entropy, from, message);
            if let Disposition::Discarded(_) = handled.map_err(|error| anyhow!("{error}"))? {
                self.traffic.discarded = self.traffic.discarded.saturating_add(1);
            }
            self.drain()?;
        }
        Ok(())
    }
}
