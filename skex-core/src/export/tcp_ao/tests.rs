extern crate std;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::vec::Vec;

use super::*;
use crate::export::tests::{exporter, hex};

/// One connection of RFC 9235: section, client's port, the two initial sequence numbers, and the keys of its SYN, of the
/// client's other segments, and of the server's.
type Connection = (&'static str, TcpAoAlgorithm, u16, u32, u32, [&'static str; 3]);

const IPV4: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 11, 12, 13)), IpAddr::V4(Ipv4Addr::new(172, 27, 28, 29))];
const IPV6: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)),
];
const BGP: u16 = 179;

/// All eight connections, with the corrections of its errata.
const RFC9235: [Connection; 8] = [
    (
        "4.1",
        TcpAoAlgorithm::HmacSha1,
        0xe9d7,
        0xfbfbab5a,
        0x11c14261,
        [
            "6d63ef1b02fe1509d4b1402707fd7b0416abb74f",
            "d2e59c65ffc7b1a39347656463b70edc24a13d71",
            "d9e217e4834a80ca2f3fd8de2e41b8e6797fea96",
        ],
    ),
    (
        "4.2",
        TcpAoAlgorithm::HmacSha1,
        0xff12,
        0xcb0efbee,
        0xacd5b5e1,
        [
            "30eaa1560cf0be57dab5c045229fb10a423cd7ea",
            "f3db1793d7910ecd806c34f155ea1f00345953e3",
            "b5b2896bb3664e8176b0edc6e799524101a8307f",
        ],
    ),
    (
        "5.1",
        TcpAoAlgorithm::Aes128Cmac,
        0xc4fa,
        0x787a1ddf,
        0xfadd6de9,
        [
            "f5b8b3d5f34fdbb6eb8d4ab9660e60e3",
            "8c8ae0e8371ec5cbb97ea79d90418391",
            "4bc7571a486f3264bbd888474066b4b1",
        ],
    ),
    (
        "5.2",
        TcpAoAlgorithm::Aes128Cmac,
        0xda1c,
        0x389bed71,
        0xd3844a6f,
        [
            "2cdbae1392c49449fa92c4509735d50e",
            "035bc400a341ffe595f59f58005006ca",
            "3ce67a551869506b6347b633c50a624a",
        ],
    ),
    (
        "6.1",
        TcpAoAlgorithm::HmacSha1,
        0xf7e4,
        0x176a833f,
        0x3f51994b,
        [
            "625ec09d575836edc9b6428418bbf06989a361bb",
            "1ed82975f4ea444c61580c5bd90dbd61bbc91b7e",
            "e4a37ada2a0afca8711434913fe138c771ebcb4a",
        ],
    ),
    (
        "6.2",
        TcpAoAlgorithm::HmacSha1,
        0xc6cd,
        0x020c1e69,
        0xeba3734d,
        [
            "31a3faf69effae52931b7f845467315c270a4edc",
            "b34eed6a9396a669f1c4f4f57618f3656f52c7ab",
            "405108947f996575e7bdbc26d40216a2c7fa91bd",
        ],
    ),
    (
        "7.1",
        TcpAoAlgorithm::Aes128Cmac,
        0xf85a,
        0x193cccec,
        0xa6744ecb,
        [
            "fa5a2108882d39d0c71929175ab1b7b8",
            "6174c3557abed27574dba37185f00300",
            "cf1b1e225e06a63616764a067b46f4b1",
        ],
    ),
    (
        "7.2",
        TcpAoAlgorithm::Aes128Cmac,
        0xf288,
        0xb01da74a,
        0xa6246145,
        [
            "a94f511263e4093d35dd818c13bbbf53",
            "4fb2086e402c679079ed65d4bf97693d",
            "92dea5bbc78b1d9f5b2952e9cd30642a",
        ],
    ),
];

#[test]
fn traffic_keys_are_those_of_rfc_9235() {
    for (section, algorithm, port, client_isn, server_isn, [syn, sent, received]) in RFC9235 {
        let [client, server] = if section < "6" { IPV4 } else { IPV6 };
        let (client, server) = (SocketAddr::new(client, port), SocketAddr::new(server, BGP));
        let key = |source, destination, source_isn, destination_isn| {
            let connection = TcpAoConnection::new(source, destination, source_isn, destination_isn).unwrap();
            traffic_key(algorithm, b"testvector", &connection).expose().to_vec()
        };
        assert_eq!(key(client, server, client_isn, 0), hex(syn), "{section}, SYN");
        assert_eq!(key(client, server, client_isn, server_isn), hex(sent), "{section}, client");
        assert_eq!(key(server, client, server_isn, client_isn), hex(received), "{section}, server");
    }
}

#[test]
fn a_connection_has_addresses_of_one_family() {
    let address = |ip| SocketAddr::new(ip, 1);
    assert!(TcpAoConnection::new(address(IPV4[0]), address(IPV6[1]), 0, 0).is_none());
    assert!(TcpAoConnection::new(address(IPV6[0]), address(IPV6[1]), 0, 0).is_some());
}

#[test]
fn the_ids_cross_at_the_two_ends_and_128_generations_are_told_apart() {
    let (mut here, mut there) = (exporter(End::A), exporter(End::B));
    let mut ids = Vec::new();
    for number in 0..130 {
        let ours = here.tcp_ao(number, u64::from(number), TcpAoAlgorithm::HmacSha1).unwrap();
        let theirs = there.tcp_ao(number, u64::from(number), TcpAoAlgorithm::HmacSha1).unwrap();
        assert_eq!(ours.send_id(), theirs.recv_id());
        assert_eq!(ours.recv_id(), theirs.send_id());
        assert_ne!(ours.send_id(), ours.recv_id());
        assert_eq!(ours.expose_master_key(), theirs.expose_master_key());
        ids.extend([ours.send_id(), ours.recv_id()]);
    }
    assert_eq!(ids[..2], ids[256..258], "the ids come round after 128 generations");
    ids.truncate(256);
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(0..=255));
}

#[test]
fn master_keys_have_the_length_that_the_algorithm_takes() {
    let mut exporter = exporter(End::A);
    assert_eq!(exporter.tcp_ao(0, 0, TcpAoAlgorithm::HmacSha1).unwrap().expose_master_key().len(), 32);
    assert_eq!(exporter.tcp_ao(1, 0, TcpAoAlgorithm::Aes128Cmac).unwrap().expose_master_key().len(), 16);
}
