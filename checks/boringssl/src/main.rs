//! Whether skex-core imports external preshared keys (RFC 9258) as BoringSSL does.
//!
//! BoringSSL makes a ClientHello with a key that skex-core exported and BoringSSL imports. Each identity in it must be, octet by octet,
//! the one that skex-core's importer gives, and each binder that which follows from skex-core's imported key. Then handshakes of BoringSSL
//! with itself, each end with the key that one end of SKEX exports: the same at both; another name, key or context is refused.
//!
//! ```text
//! apt-get install cmake clang libclang-dev
//! cargo run --manifest-path checks/boringssl/Cargo.toml --target-dir target/boringssl
//! ```

use std::ptr;

use boring_sys as ffi;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256, Sha384};
use skex_core::export::{End, Exporter, TlsHash, TlsImportablePsk, TlsProtocol, TlsUse};
use skex_core::{Assurance, KeyBytes, KeyId, OutputKey};

const CONTEXT: &[u8] = b"skex link 7";

/// What end `end` exports of an output key whose secret is `octet`, 32 times.
fn exported(octet: u8, end: End) -> TlsImportablePsk {
    let secret = KeyBytes::copied_from(&[octet; 32]).expect("32 octets");
    let key = OutputKey::new(KeyId::new([7; 16]), 3, Assurance::Computational, secret).confirmed();
    let mut exporter = Exporter::new(key, end).expect("confirmed, and long enough");
    exporter.tls13_importable_psk(0, End::A, TlsUse::KeyAlone).expect("the first one")
}

/// What an end imports: a key, the name of the key and the context.
#[derive(Clone)]
struct Imported<'a> {
    key: &'a [u8],
    identity: Vec<u8>,
    context: &'a [u8],
}

impl<'a> Imported<'a> {
    fn of(psk: &'a TlsImportablePsk) -> Self {
        Self {
            key: psk.epsk().expose(),
            identity: psk.external_identity().as_bytes().to_vec(),
            context: CONTEXT,
        }
    }
}

/// A connection that imports a key.
fn connection(Imported { key, identity, context }: Imported<'_>) -> *mut ffi::SSL {
    // SAFETY: the pointers are those of slices that live throughout, and BoringSSL copies them.
    unsafe {
        let settings = ffi::SSL_CTX_new(ffi::TLS_method());
        ffi::SSL_CTX_set_min_proto_version(settings, ffi::TLS1_3_VERSION as u16);
        let credential = ffi::SSL_CREDENTIAL_new_pre_shared_key(
            key.as_ptr(),
            key.len(),
            identity.as_ptr(),
            identity.len(),
            ffi::EVP_sha256(),
            context.as_ptr(),
            context.len(),
        );
        assert!(!credential.is_null());
        assert_eq!(ffi::SSL_CTX_add1_credential(settings, credential), 1);
        ffi::SSL_new(settings)
    }
}

/// The other end of what a connection reads and writes.
fn attach(connection: *mut ffi::SSL) -> *mut ffi::BIO {
    let (mut here, mut there) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: both are written before they are read; the connection takes `here` over.
    unsafe {
        assert_eq!(ffi::BIO_new_bio_pair(&mut here, 1 << 16, &mut there, 1 << 16), 1);
        ffi::SSL_set_bio(connection, here, here);
    }
    there
}

/// The first handshake message of a client.
fn client_hello(psk: &TlsImportablePsk) -> Vec<u8> {
    let client = connection(Imported::of(psk));
    let wire = attach(client);
    let mut octets = vec![0; 1 << 14];
    // SAFETY: the buffer is as long as is said.
    let len = unsafe {
        ffi::SSL_set_connect_state(client);
        assert_eq!(ffi::SSL_do_handshake(client), -1, "it waits for the server");
        ffi::BIO_read(wire, octets.as_mut_ptr().cast(), 1 << 14)
    };
    octets.truncate(usize::try_from(len).expect("a record"));
    // The header of the record.
    assert_eq!((octets[0], usize::from(octets[3]) << 8 | usize::from(octets[4])), (22, octets.len() - 5));
    octets.split_off(5)
}

/// A cursor over vectors of TLS.
struct Vectors<'a>(&'a [u8]);

impl<'a> Vectors<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn vector(&mut self, octets: usize) -> &'a [u8] {
        let len = self.take(octets).iter().fold(0, |len, octet| len << 8 | usize::from(*octet));
        self.take(len)
    }
}

/// The identities, the binders, and what the binders cover.
fn offered(hello: &[u8]) -> (Vec<&[u8]>, Vec<&[u8]>, &[u8]) {
    let mut message = Vectors(&hello[4..]);
    message.take(2 + 32);
    message.vector(1);
    message.vector(2);
    message.vector(1);
    let mut extensions = Vectors(message.vector(2));
    while !extensions.0.is_empty() {
        let kind = extensions.take(2);
        let content = extensions.vector(2);
        if kind != [0, 41] {
            continue;
        }
        assert!(extensions.0.is_empty(), "pre_shared_key stands last");
        let mut content = Vectors(content);
        let (mut listed, mut identities) = (Vectors(content.vector(2)), Vec::new());
        while !listed.0.is_empty() {
            identities.push(listed.vector(2));
            assert_eq!(listed.take(4), [0; 4], "obfuscated_ticket_age of an external key");
        }
        let covered = &hello[..hello.len() - content.0.len()];
        let (mut listed, mut binders) = (Vectors(content.vector(2)), Vec::new());
        while !listed.0.is_empty() {
            binders.push(listed.vector(1));
        }
        return (identities, binders, covered);
    }
    panic!("no pre_shared_key");
}

/// HkdfLabel of RFC 8446, section 7.1.
fn label(len: usize, label: &str, context: &[u8]) -> Vec<u8> {
    let label = format!("tls13 {label}");
    let len = u16::try_from(len).expect("short").to_be_bytes();
    [&len[..], &[label.len() as u8], label.as_bytes(), &[context.len() as u8], context].concat()
}

macro_rules! binder {
    ($hash:ty, $len:expr, $key:expr, $covered:expr) => {{
        let early = Hkdf::<$hash>::new(Some(&[0; $len]), $key);
        let expand = |from: &Hkdf<$hash>, name: &str, context: &[u8]| {
            let mut out = [0; $len];
            from.expand(&label($len, name, context), &mut out).expect("short");
            out
        };
        let key = expand(&early, "imp binder", &<$hash>::digest(b""));
        let finished = expand(&Hkdf::<$hash>::from_prk(&key).expect("long enough"), "finished", b"");
        let mac = Hmac::<$hash>::new_from_slice(&finished).expect("any length");
        mac.chain_update(<$hash>::digest($covered)).finalize().into_bytes().to_vec()
    }};
}

/// Compares what BoringSSL offers with what skex-core imports. How many keys that were.
fn compare(psk: &TlsImportablePsk) -> usize {
    let hello = client_hello(psk);
    let (identities, binders, covered) = offered(&hello);
    assert_eq!(identities.len(), binders.len());
    for (identity, binder) in identities.iter().zip(&binders) {
        let kdf = if identity.ends_with(&[0, 1]) { TlsHash::Sha256 } else { TlsHash::Sha384 };
        let imported = psk.import(CONTEXT, TlsProtocol::Tls13, kdf).expect("a short context");
        let mut encoded = [0; 256];
        assert_eq!(imported.identity().encode(&mut encoded).expect("room"), *identity, "{kdf:?}");
        let key = imported.ipsk().expose();
        let expected = match kdf {
            TlsHash::Sha256 => binder!(Sha256, 32, key, covered),
            _ => binder!(Sha384, 48, key, covered),
        };
        assert_eq!(expected, *binder, "{kdf:?}");
        println!("ok   {kdf:?}: identity of {} octets, binder of {}", identity.len(), binder.len());
    }
    identities.len()
}

/// A handshake; what it failed with, if it did.
fn handshake(client: Imported<'_>, server: Imported<'_>) -> Result<(), String> {
    let (client, server) = (connection(client), connection(server));
    let (mut one, mut other) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: as above; the connections take the BIOs over.
    unsafe {
        assert_eq!(ffi::BIO_new_bio_pair(&mut one, 1 << 16, &mut other, 1 << 16), 1);
        ffi::SSL_set_bio(client, one, one);
        ffi::SSL_set_bio(server, other, other);
        ffi::SSL_set_connect_state(client);
        ffi::SSL_set_accept_state(server);
        for _ in 0..20 {
            let done = [client, server].map(|end| {
                let result = ffi::SSL_do_handshake(end);
                (result, ffi::SSL_get_error(end, result))
            });
            if done.iter().all(|(result, _)| *result == 1) {
                return Ok(());
            }
            if done.iter().any(|(result, error)| *result != 1 && *error != ffi::SSL_ERROR_WANT_READ) {
                let mut text = [0_u8; 200];
                ffi::ERR_error_string_n(ffi::ERR_get_error(), text.as_mut_ptr().cast(), text.len());
                return Err(String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned());
            }
        }
    }
    Err("no end".to_owned())
}

fn main() {
    let (a, b, other) = (exported(1, End::A), exported(1, End::B), exported(2, End::B));
    let compared = compare(&a);
    assert_eq!(compared, 2, "one for each hash of TLS 1.3");
    let (here, there) = (Imported::of(&a), Imported::of(&b));
    handshake(here.clone(), there.clone()).expect("both ends have one key");
    println!("ok   a handshake, each end with its own export");
    for (what, wrong, says) in [
        ("another context", Imported { context: b"skex link 8", ..there.clone() }, "PSK_IDENTITY_NOT_FOUND"),
        (
            "another name",
            Imported { identity: other.external_identity().as_bytes().to_vec(), ..there.clone() },
            "PSK_IDENTITY_NOT_FOUND",
        ),
        (
            "another key under the name",
            Imported { key: other.epsk().expose(), ..there.clone() },
            "DIGEST_CHECK_FAILED",
        ),
    ] {
        let refused = handshake(here.clone(), wrong).expect_err(what);
        assert!(refused.contains(says), "{what}: {refused}");
        println!("ok   {what}: refused");
    }
    println!("skex-core imports as BoringSSL does: {compared} keys compared");
}
