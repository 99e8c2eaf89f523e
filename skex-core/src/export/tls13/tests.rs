extern crate std;

use super::*;
use crate::export::tests::{exporter, hex};

/// Computed with OpenSSL 3 (`openssl kdf TLS13-KDF`), for an EPSK of 32 times 0x01, the external identity `skex-0001` and
/// the context `skex-epoch-1`.
#[test]
fn imported_keys_are_those_that_openssl_derives() {
    for (protocol, kdf, expected) in IMPORTED {
        let identity = ImportedIdentity::new(b"skex-0001", b"skex-epoch-1", protocol, kdf).unwrap();
        assert_eq!(imported_key(&[1; 32], &identity).expose(), hex(expected), "{protocol:?} {kdf:?}");
    }
}

const IMPORTED: [(TlsProtocol, TlsHash, &str); 3] = [
    (TlsProtocol::Tls13, TlsHash::Sha256, "c225a8823cf11d0fbb3e2cc473e091273b647c7b2eb0b7193c54905109254973"),
    (
        TlsProtocol::Tls13,
        TlsHash::Sha384,
        "b42d09c94aab509aab08d1b1ef78631e1c6047afa27f6748a613cf36a0a45c9f1a0773dc5c03c9215040414098cb9b7c",
    ),
    (
        TlsProtocol::Dtls13,
        TlsHash::Sha256,
        "2426ad088a071be8543baf40a6837743346358d8a8dce5ed7c738c98d53fdf6c",
    ),
];

#[test]
fn an_identity_is_encoded_as_rfc_9258_says() {
    let mut exporter = exporter(End::A);
    let psk = exporter.tls13_importable_psk(0, End::A, TlsUse::KeyAlone).unwrap();
    let imported = psk.import(b"ctx", TlsProtocol::Dtls13, TlsHash::Sha384).unwrap();
    let mut out = [0; 64];
    let encoded = imported.identity().encode(&mut out).unwrap();
    let expected =
        [&[0, 37], psk.external_identity().as_bytes(), &[0, 3], b"ctx", &[0xfe, 0xfc, 0, 2]].concat();
    assert_eq!(encoded, expected);
    assert_eq!(imported.identity().encoded_len(), expected.len());
    assert_eq!(imported.ipsk().len(), 48);
    assert_eq!(imported.identity().encode(&mut [0; 47]), Err(ExportError::Length));
}

#[test]
fn a_context_that_makes_an_identity_too_long_for_tls_is_refused() {
    let psk = exporter(End::A).tls13_importable_psk(0, End::A, TlsUse::KeyAlone).unwrap();
    let import = |len| psk.import(&[0; 65536][..len], TlsProtocol::Tls13, TlsHash::Sha256).map(|_| ());
    assert_eq!(import(65490), Ok(()));
    for len in [65491, 65535, 65536] {
        assert_eq!(import(len), Err(ExportError::Length), "{len}");
    }
}

#[test]
fn protocols_kdfs_and_contexts_have_imported_keys_of_their_own() {
    let psk = exporter(End::A).tls13_importable_psk(0, End::B, TlsUse::WithCertificates).unwrap();
    let key = |context, protocol, kdf| {
        let imported = psk.import(context, protocol, kdf).unwrap();
        imported.ipsk().expose()[..32].to_vec()
    };
    let keys = [
        key(b"", TlsProtocol::Tls13, TlsHash::Sha256),
        key(b"x", TlsProtocol::Tls13, TlsHash::Sha256),
        key(b"", TlsProtocol::Dtls13, TlsHash::Sha256),
        key(b"", TlsProtocol::Tls13, TlsHash::Sha384),
        psk.epsk().expose().to_vec(),
    ];
    for (i, one) in keys.iter().enumerate() {
        assert!(keys.iter().skip(i + 1).all(|other| one != other));
    }
}

#[test]
fn a_key_serves_one_client_one_hash_and_one_use() {
    let mut exporter = exporter(End::A);
    let keys = [
        exporter.tls13_psk(0, End::A, TlsHash::Sha256, TlsUse::KeyAlone).unwrap(),
        exporter.tls13_psk(0, End::B, TlsHash::Sha256, TlsUse::KeyAlone).unwrap(),
        exporter.tls13_psk(1, End::A, TlsHash::Sha384, TlsUse::KeyAlone).unwrap(),
        exporter.tls13_psk(2, End::A, TlsHash::Sha256, TlsUse::WithCertificates).unwrap(),
    ];
    for (i, one) in keys.iter().enumerate() {
        assert_eq!(one.identity().as_bytes().len(), 37);
        for other in keys.iter().skip(i + 1) {
            assert_ne!(one.psk(), other.psk());
            assert_ne!(one.identity(), other.identity());
        }
    }
}
