//! One call of the operating system for many datagrams: recvmmsg(2), sendmmsg(2).

use core::net::SocketAddr;
use std::io::{IoSlice, IoSliceMut, Result};
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};

use super::{BATCH, SocketCalls};

/// Headers for each way: those that were sent with point to addresses that are gone, where a reading would write.
pub(crate) struct Calls {
    reading: MultiHeaders<SockaddrStorage>,
    sending: MultiHeaders<SockaddrStorage>,
}

impl SocketCalls for Calls {
    fn new() -> Self {
        Self {
            reading: MultiHeaders::preallocate(BATCH, None),
            sending: MultiHeaders::preallocate(BATCH, None),
        }
    }

    fn receive(
        &mut self,
        socket: &UdpSocket,
        buffers: &mut [Vec<u8>],
        received: &mut Vec<(SocketAddr, usize)>,
    ) -> Result<()> {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        match recvmmsg(socket.as_raw_fd(), &mut self.reading, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)
        {
            Ok(messages) => {
                let from = |from: Option<SockaddrStorage>| from.and_then(address).unwrap_or(NOBODY);
                received.extend(messages.map(|message| (from(message.address), message.bytes)));
                Ok(())
            }
            // The last is what the network says about a message that was sent earlier; the machines find out for themselves.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&mut self, socket: &UdpSocket, batch: &[(SocketAddr, &[u8])]) -> Result<usize> {
        let slices: Vec<[IoSlice<'_>; 1]> = batch.iter().map(|(_, octets)| [IoSlice::new(octets)]).collect();
        let to: Vec<Option<SockaddrStorage>> =
            batch.iter().map(|(to, _)| Some(SockaddrStorage::from(*to))).collect();
        loop {
            match sendmmsg(socket.as_raw_fd(), &mut self.sending, &slices, &to, [], MsgFlags::MSG_DONTWAIT) {
                Ok(sent) => return Ok(sent.count()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Of a datagram without a sender, which no IP socket gives.
const NOBODY: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), 0);

fn address(address: SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || address.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    let v6 = || address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into()));
    v4().or_else(v6)
}
