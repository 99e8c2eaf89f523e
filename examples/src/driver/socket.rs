//! A socket that is read and written many datagrams at a time.

#[cfg(target_os = "linux")]
mod many;
#[cfg(any(test, not(target_os = "linux")))]
mod one_by_one;

use core::net::SocketAddr;
use core::ops::Range;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result};

#[cfg(target_os = "linux")]
use many::Calls;
#[cfg(not(target_os = "linux"))]
use one_by_one::Calls;

/// Datagrams of one call.
pub(crate) const BATCH: usize = 64;

/// The longest datagram of UDP, and a bit.
const BUFFER_LEN: usize = 65536;

/// Octets that the operating system is asked to keep for us while we are at work. It may give less.
const RECEIVE_BUFFER: usize = 8 << 20;

/// A socket, what came in by its last reading, and what is to leave.
pub(crate) struct Socket<C = Calls> {
    socket: UdpSocket,
    calls: C,
    buffers: Vec<Vec<u8>>,
    received: Vec<(SocketAddr, usize)>,
    outgoing: Vec<(SocketAddr, Range<usize>)>,
    octets: Vec<u8>,
}

/// How the operating system is asked.
pub(crate) trait SocketCalls {
    fn new() -> Self;

    /// Reads datagrams into `buffers`, one each: where each came from, and its length. Nothing, if there is none now.
    fn receive(
        &mut self,
        socket: &UdpSocket,
        buffers: &mut [Vec<u8>],
        received: &mut Vec<(SocketAddr, usize)>,
    ) -> std::io::Result<()>;

    /// Sends the first datagrams of `batch`: how many. An error is about the first.
    fn send(&mut self, socket: &UdpSocket, batch: &[(SocketAddr, &[u8])]) -> std::io::Result<usize>;
}

/// What became of the datagrams that were to leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) messages: u64,
    pub(crate) octets: u64,
    /// Messages that the operating system would not send.
    pub(crate) unsent: u64,
}

/// Opens the socket of a process.
pub(crate) fn bind(address: &str) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(address).map_err(|error| {
        let advice = match error.kind() {
            ErrorKind::AddrInUse => "another process uses the port: stop it, or choose another one",
            ErrorKind::AddrNotAvailable => "the address is not this machine's: choose another one",
            ErrorKind::PermissionDenied => "this user may not: choose another port, above 1023",
            _ => "write HOST:PORT, with a name that can be looked up",
        };
        anyhow::Error::new(error).context(format!("cannot listen on {address}: {advice}"))
    })?;
    socket.set_nonblocking(true).context("cannot set the socket up")?;
    enlarge_buffer(&socket);
    Ok(socket)
}

/// A wish. Beyond the limit of the machine only an administrator gets it granted, and less works too.
fn enlarge_buffer(socket: &UdpSocket) {
    #[cfg(target_os = "linux")]
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER).is_ok() {
        return;
    }
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(socket, RECEIVE_BUFFER);
}

impl<C: SocketCalls> Socket<C> {
    pub(crate) fn new(socket: UdpSocket) -> Self {
        Self {
            socket,
            calls: C::new(),
            // The pages that no datagram has reached take no memory.
            buffers: (0..BATCH).map(|_| vec![0; BUFFER_LEN]).collect(),
            received: Vec::with_capacity(BATCH),
            outgoing: Vec::with_capacity(BATCH),
            octets: Vec::new(),
        }
    }

    pub(crate) fn local_address(&self) -> Result<SocketAddr> {
        self.socket.local_addr().context("the socket has no address")
    }

    /// Reads what is there, a batch at most: how many datagrams.
    pub(crate) fn receive(&mut self) -> Result<usize> {
        self.received.clear();
        self.calls.receive(&self.socket, &mut self.buffers, &mut self.received).context("cannot receive")?;
        Ok(self.received.len())
    }

    /// One of the datagrams that were read last, and where it came from.
    pub(crate) fn received(&self, number: usize) -> Option<(SocketAddr, &[u8])> {
        let (from, len) = self.received.get(number)?;
        Some((*from, self.buffers.get(number)?.get(..*len)?))
    }

    /// Lets a datagram leave with the next [`flush`](Self::flush).
    pub(crate) fn send(&mut self, to: SocketAddr, payload: &[u8]) {
        let start = self.octets.len();
        self.octets.extend_from_slice(payload);
        self.outgoing.push((to, start..self.octets.len()));
    }

    /// Sends what waits. As a network would: what cannot be sent is lost, and counted.
    pub(crate) fn flush(&mut self) -> Sent {
        let mut sent = Sent::default();
        let mut batch: Vec<(SocketAddr, &[u8])> = Vec::with_capacity(BATCH.min(self.outgoing.len()));
        let mut rest = self.outgoing.as_slice();
        while !rest.is_empty() {
            let octets = |range: &Range<usize>| self.octets.get(range.clone()).unwrap_or_default();
            batch.clear();
            batch.extend(rest.iter().take(BATCH).map(|(to, range)| (*to, octets(range))));
            let done = self.calls.send(&self.socket, &batch).unwrap_or(0);
            for (_, went) in batch.iter().take(done) {
                sent.messages = sent.messages.saturating_add(1);
                sent.octets = sent.octets.saturating_add(went.len() as u64);
            }
            sent.unsent = sent.unsent.saturating_add(u64::from(done == 0));
            rest = rest.get(done.max(1)..).unwrap_or_default();
        }
        self.outgoing.clear();
        self.octets.clear();
        sent
    }
}

impl<C> AsFd for Socket<C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "numbers of the tests' own")]
mod tests {
    use super::*;

    fn received(socket: &mut Socket<impl SocketCalls>) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut all = Vec::new();
        // Loopback: what was sent is there.
        while let count @ 1.. = socket.receive().unwrap() {
            all.extend((0..count).map(|number| {
                let (from, octets) = socket.received(number).unwrap();
                (from, octets.to_vec())
            }));
        }
        all
    }

    fn arrive<C: SocketCalls>() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = bind(host) else { continue };
            let (mut from, mut to) = (Socket::<C>::new(socket), Socket::<C>::new(bind(host).unwrap()));
            let (source, target) = (from.local_address().unwrap(), to.local_address().unwrap());
            let messages: Vec<Vec<u8>> =
                (0..=255).map(|number: u8| vec![number; 1 + usize::from(number) / 4]).collect();
            messages.iter().for_each(|message| from.send(target, message));
            let octets = messages.iter().map(|message| message.len() as u64).sum();
            assert_eq!(from.flush(), Sent { messages: 256, octets, unsent: 0 });
            let expected: Vec<_> = messages.into_iter().map(|message| (source, message)).collect();
            assert_eq!(received(&mut to), expected);
            assert_eq!(from.flush(), Sent::default(), "nothing leaves twice");
        }
    }

    fn some_cannot_be_sent<C: SocketCalls>() {
        let mut from = Socket::<C>::new(bind("127.0.0.1:0").unwrap());
        let mut to = Socket::<C>::new(bind("127.0.0.1:0").unwrap());
        let target = to.local_address().unwrap();
        from.send(target, b"before");
        // An address of another family, and a datagram that is longer than any.
        from.send(SocketAddr::from(([0_u8; 16], 9)), b"nowhere");
        from.send(target, &[0; 70_000]);
        from.send(target, b"after");
        assert_eq!(from.flush(), Sent { messages: 2, octets: 11, unsent: 2 });
        let got: Vec<Vec<u8>> = received(&mut to).into_iter().map(|(_, octets)| octets).collect();
        assert_eq!(got, [b"before".to_vec(), b"after".to_vec()]);
    }

    #[test]
    fn more_datagrams_than_a_batch_arrive_whole_and_in_order_and_say_where_from() {
        arrive::<Calls>();
        arrive::<one_by_one::Calls>();
    }

    #[test]
    fn what_cannot_be_sent_is_counted_and_the_rest_leaves() {
        some_cannot_be_sent::<Calls>();
        some_cannot_be_sent::<one_by_one::Calls>();
    }
}
