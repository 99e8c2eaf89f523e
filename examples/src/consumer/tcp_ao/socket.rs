//! TCP-AO of Linux, on one socket: `setsockopt` with the structures of linux/tcp.h, which no crate of safe wrappers has.
//!
//! The only unsafe code of the program: two calls.

use core::ffi::{c_int, c_void};
use core::net::IpAddr;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd as _};

use nix::libc;
use zeroize::Zeroize as _;

use super::{Algorithm, MasterKey};

/// Numbers of linux/tcp.h.
const TCP_AO_ADD_KEY: c_int = 38;
const TCP_AO_DEL_KEY: c_int = 39;
const TCP_AO_INFO: c_int = 40;

/// Bits of the flags of the three structures.
const SET_CURRENT: u32 = 1;
const SET_RNEXT: u32 = 1 << 1;
const AO_REQUIRED: u32 = 1 << 2;

/// RFC 5926, section 3.2: both algorithms are cut to 96 bits.
const MAC_LEN: u8 = 12;

/// `struct tcp_ao_add`.
#[repr(C, align(8))]
struct Add {
    address: [u8; 128],
    algorithm: [u8; 64],
    interface: i32,
    flags: u32,
    reserved: u16,
    prefix: u8,
    send_id: u8,
    recv_id: u8,
    mac_len: u8,
    key_flags: u8,
    key_len: u8,
    key: [u8; 80],
}

impl Drop for Add {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// `struct tcp_ao_del`.
#[repr(C, align(8))]
struct Delete {
    address: [u8; 128],
    interface: i32,
    flags: u32,
    reserved: u16,
    prefix: u8,
    send_id: u8,
    recv_id: u8,
    current: u8,
    rnext: u8,
    key_flags: u8,
}

/// `struct tcp_ao_info_opt`.
#[repr(C, align(8))]
#[derive(Default)]
struct Info {
    flags: u32,
    reserved: u16,
    current: u8,
    rnext: u8,
    good: u64,
    bad: u64,
    key_not_found: u64,
    required: u64,
    dropped_icmp: u64,
}

/// Accepts nothing without an option from now on, and has no key yet.
pub(super) fn require(socket: impl AsFd) -> Result<()> {
    set(socket, TCP_AO_INFO, &Info { flags: AO_REQUIRED, ..Info::default() })
}

/// Accepts a key of the other end. A key that is there already is accepted.
pub(super) fn add(socket: impl AsFd, peer: IpAddr, key: MasterKey<'_>) -> Result<()> {
    let mut add = Add {
        address: address(peer),
        algorithm: [0; 64],
        interface: 0,
        flags: 0,
        reserved: 0,
        prefix: prefix(peer),
        send_id: key.send_id,
        recv_id: key.recv_id,
        mac_len: MAC_LEN,
        key_flags: 0,
        key_len: u8::try_from(key.key.len()).unwrap_or(u8::MAX),
        key: [0; 80],
    };
    let name: &[u8] = match key.algorithm {
        Algorithm::HmacSha1 => b"hmac(sha1)",
        Algorithm::Aes128Cmac => b"cmac(aes128)",
    };
    add.algorithm.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
    add.key.iter_mut().zip(key.key).for_each(|(to, from)| *to = *from);
    match set(socket, TCP_AO_ADD_KEY, &add) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// Asks the other end to send with this key from now on, and sends with it: the other end holds it.
pub(super) fn use_key(socket: impl AsFd, send_id: u8, recv_id: u8) -> Result<()> {
    let info = Info { flags: SET_CURRENT | SET_RNEXT, current: send_id, rnext: recv_id, ..Info::default() };
    set(socket, TCP_AO_INFO, &info)
}

/// Forgets a key, and uses another one. A key that is not there is forgotten.
pub(super) fn remove(socket: impl AsFd, peer: IpAddr, key: [u8; 2], then: Option<[u8; 2]>) -> Result<()> {
    let [send_id, recv_id] = key;
    let [current, rnext] = then.unwrap_or_default();
    let delete = Delete {
        address: address(peer),
        interface: 0,
        flags: if then.is_some() { SET_CURRENT | SET_RNEXT } else { 0 },
        reserved: 0,
        prefix: prefix(peer),
        send_id,
        recv_id,
        current,
        rnext,
        key_flags: 0,
    };
    match set(socket, TCP_AO_DEL_KEY, &delete) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// SendID that segments go out with.
pub(super) fn current(socket: impl AsFd) -> Result<u8> {
    let mut info = Info::default();
    let mut len = libc::socklen_t::try_from(size_of::<Info>()).map_err(|_| ErrorKind::InvalidInput)?;
    let place: *mut Info = &mut info;
    // SAFETY: `place` points to `len` octets that are ours, any value of which is an `Info`; the kernel writes no more.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_AO_INFO,
            place.cast::<c_void>(),
            &mut len,
        )
    };
    if done == 0 { Ok(info.current) } else { Err(Error::last_os_error()) }
}

fn set<T>(socket: impl AsFd, option: c_int, value: &T) -> Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| ErrorKind::InvalidInput)?;
    let place: *const T = value;
    // SAFETY: `place` points to `len` octets, which the kernel only reads.
    let done = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), libc::IPPROTO_TCP, option, place.cast::<c_void>(), len)
    };
    if done == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

/// A `struct sockaddr_in` or `sockaddr_in6` in a `sockaddr_storage`. Port 0: keys hold for every port.
fn address(peer: IpAddr) -> [u8; 128] {
    let mut storage = [0; 128];
    let (family, offset) = match peer {
        IpAddr::V4(_) => (libc::AF_INET, 4),
        IpAddr::V6(_) => (libc::AF_INET6, 8),
    };
    let family = u16::try_from(family).unwrap_or_default().to_ne_bytes();
    storage.iter_mut().zip(family).for_each(|(to, from)| *to = from);
    let place = storage.iter_mut().skip(offset);
    match peer {
        IpAddr::V4(address) => place.zip(address.octets()).for_each(|(to, from)| *to = from),
        IpAddr::V6(address) => place.zip(address.octets()).for_each(|(to, from)| *to = from),
    }
    storage
}

const fn prefix(peer: IpAddr) -> u8 {
    if peer.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    /// Sizes and places as a C compiler gives them for linux/tcp.h on x86-64 and AArch64.
    #[test]
    fn the_structures_are_those_of_the_kernel() {
        assert_eq!((size_of::<Add>(), size_of::<Delete>(), size_of::<Info>()), (288, 144, 48));
        assert_eq!(
            (offset_of!(Add, interface), offset_of!(Add, prefix), offset_of!(Add, key)),
            (192, 202, 208)
        );
        assert_eq!((offset_of!(Delete, flags), offset_of!(Delete, key_flags)), (132, 143));
        assert_eq!((offset_of!(Info, current), offset_of!(Info, good)), (6, 8));
    }

    #[test]
    fn a_kernel_without_tcp_ao_says_so_and_one_with_it_takes_a_key() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let key = MasterKey { send_id: 2, recv_id: 3, algorithm: Algorithm::HmacSha1, key: &[7; 32] };
        match add(&listener, IpAddr::from([127, 0, 0, 1]), key) {
            Ok(()) => remove(&listener, IpAddr::from([127, 0, 0, 1]), [2, 3], None).unwrap(),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOPROTOOPT), "{error}"),
        }
    }
}
