//! One call of the operating system for each datagram, where it offers no other.

use core::net::SocketAddr;
use std::io::{ErrorKind, Result};
use std::net::UdpSocket;

use super::SocketCalls;

pub(crate) struct Calls;

impl SocketCalls for Calls {
    fn new() -> Self {
        Self
    }

    fn receive(
        &mut self,
        socket: &UdpSocket,
        buffers: &mut [Vec<u8>],
        received: &mut Vec<(SocketAddr, usize)>,
    ) -> Result<()> {
        for buffer in buffers {
            match socket.recv_from(buffer) {
                Ok((len, from)) => received.push((from, len)),
                // What the network says about a message that was sent earlier, among others.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::ConnectionRefused | ErrorKind::Interrupted
                    ) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn send(&mut self, socket: &UdpSocket, batch: &[(SocketAddr, &[u8])]) -> Result<usize> {
        let Some((to, octets)) = batch.first() else { return Ok(0) };
        socket.send_to(octets, *to).map(|_| 1)
    }
}
