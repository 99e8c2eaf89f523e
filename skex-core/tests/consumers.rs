//! The published vectors of keys for consumers, against the exporter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg(all(feature = "all-exports", feature = "alloc"))]

use core::net::{IpAddr, SocketAddr};

use skex_core::export::{
    End, ExportError, Exporter, MacsecKeyLen, Refusal, TcpAoAlgorithm, TcpAoConnection, TlsHash, TlsProtocol,
    TlsUse,
};
use skex_core::rotation::DatagramKey;
use skex_core::{Assurance, KeyBytes, KeyId, OutputKey};
use skex_testvectors::consumers::{self, ExportTest, TestGroup};
use skex_testvectors::{Hex, Layer, Verdict};

fn key(id: &Hex, index: u64, secret: &Hex) -> OutputKey {
    let secret = KeyBytes::copied_from(secret.as_bytes()).unwrap();
    OutputKey::new(KeyId::new(id.array().unwrap()), index, Assurance::Computational, secret)
}

/// The exporters of both ends.
fn both(id: &Hex, index: u64, secret: &Hex) -> [Exporter; 2] {
    [End::A, End::B].map(|end| Exporter::new(key(id, index, secret).confirmed(), end).unwrap())
}

fn end(direction: u8) -> End {
    match direction {
        1 => End::A,
        2 => End::B,
        other => panic!("no direction {other}"),
    }
}

fn usage(octet: u8) -> TlsUse {
    match octet {
        1 => TlsUse::KeyAlone,
        2 => TlsUse::WithCertificates,
        other => panic!("no use {other}"),
    }
}

fn hash(kdf: u16) -> TlsHash {
    match kdf {
        1 => TlsHash::Sha256,
        2 => TlsHash::Sha384,
        other => panic!("no KDF {other}"),
    }
}

fn key_len(octets: u8) -> MacsecKeyLen {
    match octets {
        16 => MacsecKeyLen::Octets16,
        32 => MacsecKeyLen::Octets32,
        other => panic!("no length {other}"),
    }
}

fn algorithm(octet: u8) -> TcpAoAlgorithm {
    match octet {
        1 => TcpAoAlgorithm::HmacSha1,
        2 => TcpAoAlgorithm::Aes128Cmac,
        other => panic!("no algorithm {other}"),
    }
}

fn generation(parameters: &[u8]) -> u64 {
    u64::from_be_bytes(*parameters.last_chunk().unwrap())
}

/// The key, and the name in the form of the consumer.
fn exported(
    label: &str,
    test: &ExportTest,
    exporter: &mut Exporter,
) -> Result<(Vec<u8>, Vec<u8>), ExportError> {
    let (number, parameters) = (test.number, test.parameters.as_bytes());
    Ok(match label {
        "skex x1 raw" => {
            let raw = exporter.raw(number, parameters, test.length as usize)?;
            (raw.key().expose().to_vec(), raw.name().as_bytes().to_vec())
        }
        "skex x1 ike ppk" => {
            let ppk = exporter.ikev2_ppk(number)?;
            (ppk.ppk().expose().to_vec(), ppk.identity().to_vec())
        }
        "skex x1 tls psk" => {
            let kdf = u16::from_be_bytes(*parameters.last_chunk().unwrap());
            let psk = exporter.tls13_psk(number, end(test.direction), hash(kdf), usage(parameters[0]))?;
            (psk.psk().expose().to_vec(), psk.identity().as_bytes().to_vec())
        }
        "skex x1 tls epsk" => {
            let psk = exporter.tls13_importable_psk(number, end(test.direction), usage(parameters[0]))?;
            (psk.epsk().expose().to_vec(), psk.external_identity().as_bytes().to_vec())
        }
        "skex x1 mac cak" => {
            let cak = exporter.macsec_cak(number, key_len(parameters[0]))?;
            (cak.expose_cak().to_vec(), cak.ckn().to_vec())
        }
        "skex x1 mac sak" => {
            let saks = exporter.macsec_saks(number, generation(parameters), key_len(parameters[0]))?;
            let sends = end(test.direction) == exporter.end();
            let sak = if sends { saks.transmit() } else { saks.receive() };
            (sak.expose_sak().to_vec(), sak.ki().as_bytes().to_vec())
        }
        "skex x1 tcp ao" => {
            let mkt = exporter.tcp_ao(number, generation(parameters), algorithm(parameters[0]))?;
            (mkt.expose_master_key().to_vec(), mkt.name().as_bytes().to_vec())
        }
        "skex x1 wg psk" => {
            let psk = exporter.wireguard(number)?;
            (psk.psk().expose().to_vec(), psk.name().as_bytes().to_vec())
        }
        "skex x1 edhoc" => {
            let psk = exporter.edhoc_psk(number, end(test.direction))?;
            (psk.psk().expose().to_vec(), psk.kid().to_vec())
        }
        other => panic!("no consumer {other}"),
    })
}

/// The layer that refuses, or the key and identifier that both ends get.
fn judge(label: &str, test: &ExportTest) -> Result<(Vec<u8>, Vec<u8>), Layer> {
    let mut got = Vec::new();
    for here in [End::A, End::B] {
        let key = key(&test.key_id, test.index, &test.secret);
        let key = if test.confirmed { key.confirmed() } else { key };
        let mut exporter = Exporter::new(key, here).map_err(|refused| {
            let expected = if test.confirmed { Refusal::Short } else { Refusal::Unconfirmed };
            assert_eq!(refused.refusal(), expected);
            Layer::Key
        })?;
        got.push(exported(label, test, &mut exporter).map_err(|error| {
            assert_eq!(error, ExportError::Length);
            Layer::Argument
        })?);
    }
    assert_eq!(got[0], got[1], "{}: the ends differ", test.name);
    Ok(got.remove(0))
}

#[test]
fn every_consumer_gets_what_the_vectors_say_at_both_ends() {
    for group in consumers::load().unwrap().test_groups {
        match group {
            TestGroup::Export(group) => {
                for test in &group.tests {
                    match judge(&group.label, test) {
                        Ok((key, identifier)) => {
                            assert_eq!(test.result, Verdict::Valid, "{}", test.tc_id);
                            assert_eq!(key, test.key.as_ref().unwrap().as_bytes(), "{}", test.tc_id);
                            let expected = test.identifier.as_ref().unwrap().as_bytes();
                            assert_eq!(identifier, expected, "{}", test.tc_id);
                        }
                        Err(layer) => assert_eq!(Some(layer), test.refused_by, "{}", test.tc_id),
                    }
                }
            }
            TestGroup::Import(group) => {
                for test in &group.tests {
                    for mut exporter in both(&test.key_id, test.index, &test.secret) {
                        let psk = exporter
                            .tls13_importable_psk(test.number, end(test.direction), usage(test.usage))
                            .unwrap();
                        let protocol = match test.protocol {
                            0x0304 => TlsProtocol::Tls13,
                            0xfefc => TlsProtocol::Dtls13,
                            other => panic!("no protocol {other}"),
                        };
                        let imported = psk.import(test.context.as_bytes(), protocol, hash(test.kdf)).unwrap();
                        let mut out = [0; 512];
                        assert_eq!(psk.epsk().expose(), test.epsk.as_bytes());
                        assert_eq!(imported.identity().encode(&mut out).unwrap(), test.identity.as_bytes());
                        assert_eq!(imported.ipsk().expose(), test.ipsk.as_bytes(), "{}", test.tc_id);
                    }
                }
            }
            TestGroup::Mka(group) => {
                for test in &group.tests {
                    for mut exporter in both(&test.key_id, test.index, &test.secret) {
                        let len = key_len(u8::try_from(test.length).unwrap());
                        let cak = exporter.macsec_cak(test.number, len).unwrap();
                        assert_eq!(
                            (cak.expose_cak(), &cak.ckn()[..]),
                            (test.cak.as_bytes(), test.ckn.as_bytes())
                        );
                        assert!(cak.is_kek(test.kek.as_bytes()) && cak.is_ick(test.ick.as_bytes()));
                        assert!(!cak.is_kek(test.ick.as_bytes()));
                    }
                }
            }
            TestGroup::TcpAo(group) => {
                for test in &group.tests {
                    let ends = both(&test.key_id, test.index, &test.secret);
                    for (mut exporter, ids) in
                        ends.into_iter().zip([(test.send_id, test.recv_id), (test.recv_id, test.send_id)])
                    {
                        let which = algorithm(test.algorithm);
                        let mkt = exporter.tcp_ao(test.number, test.generation, which).unwrap();
                        assert_eq!((mkt.send_id(), mkt.recv_id()), ids, "{}", test.tc_id);
                        assert_eq!(mkt.expose_master_key(), test.master_key.as_bytes());
                        let address = |octets: &Hex, port| {
                            let ip = octets
                                .array::<4>()
                                .map_or_else(|| IpAddr::from(octets.array::<16>().unwrap()), IpAddr::from);
                            SocketAddr::new(ip, port)
                        };
                        let connection = TcpAoConnection::new(
                            address(&test.source, test.source_port),
                            address(&test.destination, test.destination_port),
                            test.source_isn,
                            test.destination_isn,
                        );
                        let traffic = mkt.traffic_key(&connection.unwrap());
                        assert_eq!(traffic.expose(), test.traffic_key.as_bytes(), "{}", test.tc_id);
                    }
                }
            }
            TestGroup::Edhoc(group) => {
                for test in &group.tests {
                    for mut exporter in both(&test.key_id, test.index, &test.secret) {
                        let psk = exporter.edhoc_psk(test.number, end(test.direction)).unwrap();
                        let mut out = [0; 300];
                        assert_eq!(psk.id_cred(), test.id_cred.as_bytes());
                        assert_eq!(psk.id_cred_compact(), test.id_cred_compact.as_bytes());
                        let credential = psk.credential(&test.subject, &mut out).unwrap();
                        assert_eq!(credential, test.credential.as_bytes(), "{}", test.tc_id);
                    }
                }
            }
            TestGroup::StatusDatagram(group) => {
                for test in &group.tests {
                    for mut exporter in both(&test.key_id, test.index, &test.secret) {
                        let key = DatagramKey::export(&mut exporter).unwrap();
                        let (from, status) = (end(test.end), test.status.array().unwrap());
                        let datagram = key.seal(from, test.generation, &status);
                        assert_eq!(datagram, test.datagram.as_bytes(), "{}", test.tc_id);
                        assert_eq!(key.name(), test.key_name.as_bytes());
                        let opened = key.open(from, &datagram).unwrap();
                        assert_eq!((opened.generation, *opened.status), (test.generation, status));
                    }
                }
            }
            other => panic!("a group that is not known here: {}", other.name()),
        }
    }
}
