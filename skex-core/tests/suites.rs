//! Every suite against published vectors, against an independent implementation, and against tampering.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use proptest::prelude::*;
use skex_core::{
    CryptoError, Expander, HashSecret, Label, MAX_EXPAND_LEN, SecretBytes, Suite, expand, extract,
};
use skex_wire::SuiteId;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap())
        .collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum HashName {
    Sha256,
    Sha3,
    Sha512,
}

/// The hash that the registry gives each suite, said here a second time.
fn hash_of(suite: Suite) -> HashName {
    match suite.id() {
        SuiteId::SHA256_AES256GCM | SuiteId::SHA256_CHACHA20POLY1305 => HashName::Sha256,
        SuiteId::SHA3_256_AES256GCM | SuiteId::SHA3_256_CHACHA20POLY1305 => HashName::Sha3,
        SuiteId::SHA512_AES256GCM => HashName::Sha512,
        other => panic!("{other:?} is not in this test"),
    }
}

fn is_aes(suite: Suite) -> bool {
    !matches!(suite.id(), SuiteId::SHA256_CHACHA20POLY1305 | SuiteId::SHA3_256_CHACHA20POLY1305)
}

/// What `of` gives for each suite must be the text for its hash, in the order SHA-256, SHA3-256, SHA-512.
fn assert_by_hash(expected: [&str; 3], of: impl Fn(Suite) -> Vec<u8>) {
    for suite in Suite::all() {
        assert_eq!(of(suite), unhex(expected[hash_of(suite) as usize]), "{suite:?}");
    }
}

#[test]
fn code_points_that_are_not_compiled_in_have_no_suite() {
    let compiled: Vec<SuiteId> = Suite::all().map(Suite::id).collect();
    for value in 0..=u8::MAX {
        let id = SuiteId::new(value);
        assert_eq!(Suite::from_id(id).map(Suite::id), compiled.contains(&id).then_some(id));
    }
    if cfg!(feature = "sha512-aes256gcm") {
        assert!(compiled.contains(&SuiteId::SHA512_AES256GCM));
    }
}

/// An unmediated peer holds five: with three octets each it did not fit its 1,024, and no build compiled with several
/// suites of 32 octets, or with one of SHA-3, and without that of SHA-512.
#[test]
fn a_suite_takes_one_octet_whatever_is_compiled_in() {
    assert!(size_of::<Suite>() <= 1, "{} octets", size_of::<Suite>());
}

/// FIPS 180-4 and FIPS 202 examples: "abc".
#[test]
fn hashes_of_abc() {
    assert_by_hash(
        [
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ],
        |suite| {
            let digest = suite.hash().chain(b"a").chain(b"").chain(b"bc").finish();
            assert_eq!(digest.len(), suite.hash_len());
            digest.as_bytes().to_vec()
        },
    );
}

/// RFC 4231, test case 1, and the same input for SHA3-256.
#[test]
fn hmac_hi_there() {
    assert_by_hash(
        [
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            "ba85192310dffa96e2a3a40e69774351140bb7185e1202cdcc917589f95e16bb",
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde
             daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
        ],
        |suite| suite.mac(&[0x0b; 20]).chain(b"Hi ").chain(b"There").finish().expose().to_vec(),
    );
}

/// RFC 4231, test case 6, from a prepared key (131 octets: longer than a block of SHA-256 or SHA-512).
#[test]
fn hmac_with_a_key_longer_than_a_block() {
    assert_by_hash(
        [
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            "ed73a374b96c005235f948032f09674a58c0ce555cfc1f223b02356560312c3b",
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352
             6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
        ],
        |suite| {
            let key = suite.mac_key(&[0xaa; 131]);
            let mut mac = key.begin();
            mac.update(b"Test Using Larger Than Block-Size Key - Hash Key First");
            mac.finish().expose().to_vec()
        },
    );
}

/// RFC 2104, from the suite's hash: keys of every length around that of a block, which the case above does not reach for SHA3-256.
#[test]
fn hmac_by_its_definition() {
    for suite in Suite::all() {
        let block = match hash_of(suite) {
            HashName::Sha256 => 64,
            HashName::Sha3 => 136,
            HashName::Sha512 => 128,
        };
        for len in (0..3).chain(block - 2..block + 3).chain([2 * block, 300]) {
            let key: Vec<u8> = (0..=250).cycle().take(len).collect();
            let hash = |parts: [&[u8]; 2]| suite.hash().chain(parts[0]).chain(parts[1]).finish();
            let mut padded = if len > block { hash([&key, &[]]).as_bytes().to_vec() } else { key.clone() };
            padded.resize(block, 0);
            let with = |octet: u8| padded.iter().map(|own| own ^ octet).collect::<Vec<u8>>();
            let inner = hash([&with(0x36), b"message"]);
            let expected = hash([&with(0x5c), inner.as_bytes()]);
            let place = (suite, len);
            assert_eq!(suite.mac_of(&key, &[b"mess", b"age"]).expose(), expected.as_bytes(), "{place:?}");
            assert_eq!(suite.mac_key(&key).tag(&[b"message"]), expected.as_bytes()[..16], "{place:?}");
            assert_eq!(suite.mac(&key).chain(b"message").finish().expose(), expected.as_bytes(), "{place:?}");
        }
    }
}

/// RFC 5869, test case 1 (SHA-256), the extraction.
#[test]
fn hkdf_extract_of_rfc_5869() {
    let prk = "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5";
    for suite in Suite::all().filter(|suite| hash_of(*suite) == HashName::Sha256) {
        let salt = unhex("000102030405060708090a0b0c");
        assert_eq!(extract(suite, &salt, &[&[0x0b; 10], &[0x0b; 12]]).expose(), unhex(prk));
    }
}

/// Computed with the HMAC of Python's standard library from the words of the specification.
#[test]
fn labelled_expansion_agrees_with_an_implementation_in_another_language() {
    let prk = |suite| extract(suite, b"salt", &[b"input ", b"key ", b"material"]);
    assert_by_hash(
        [
            "5f95aefe5a5a42e4dd258f668d88ef8a1067189fd0f69ec6e942536ad3489204",
            "0f1a24e57e068952b878dc58169e4a74883fe29b521e50c68673fbc2a0acd3e1",
            "2779e50e337067e553d496d7f19f1c7dfc99bc08d11d969f99494c51f9ef8956",
        ],
        |suite| {
            let expander = Expander::new(suite, &prk(suite));
            let secret: SecretBytes<32> = expander.secret(Label::UNMEDIATED_CHAIN, &[b"con", b"text"]);
            assert_eq!(secret.expose(), &expander.public(Label::UNMEDIATED_CHAIN, &[b"context"]));
            secret.expose().to_vec()
        },
    );
    assert_by_hash(
        [
            "2cf8c986606ad3adcb1c153fdf60e92a4cc55ddb50e4fdab1115cc2dd95b11483bb9f02aafde6590686178303b8322ac
             059334e43c6e4d8461f57a7cdeee84e97c4f84a684174ca0b77e9270c7a514ca151a2f351bffc8d6c3e52c25e3d2d0ee
             22d7e12f",
            "d2f2cfcc2e25091bcfc3f1fdd195a83967c615922e29278e36a8ec4245ca8ccc0fe3ac4f1c00406f7c1169e77fab2f8a
             233dc1fc44f2964445a40199986aa26815d5f5ed91acb89f5ed9199c11a3ad96cf665555beed3f805cf4338758da69e9
             42f5e792",
            "d9966555797ab1dd9162f39a1da9263854ea0f9d67529b15ae4e8fa8939b26156322a68b73382e554eb109f0354db344
             298bc6657c2e38cb79d7dab40ff70431d65eb404cf800b776be451c2188fcce75adaa9be3510b66ef9eb9b73a342f287
             617039c8",
        ],
        |suite| {
            let mut out = [0; 100];
            expand(suite, &prk(suite), Label::UNMEDIATED_CHAIN, &[b"context"], &mut out).unwrap();
            out.to_vec()
        },
    );
}

/// The whole key schedule once more, with the `hkdf` crate.
fn with_hkdf_crate(suite: Suite, salt: &[u8], ikm: &[u8], info: &[u8], out: &mut [u8]) -> Vec<u8> {
    match hash_of(suite) {
        HashName::Sha256 => {
            let (prk, hkdf) = hkdf::Hkdf::<sha2::Sha256>::extract(Some(salt), ikm);
            hkdf.expand(info, out).unwrap();
            prk.to_vec()
        }
        #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
        HashName::Sha3 => {
            let (prk, hkdf) = hkdf::Hkdf::<sha3::Sha3_256>::extract(Some(salt), ikm);
            hkdf.expand(info, out).unwrap();
            prk.to_vec()
        }
        #[cfg(not(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305")))]
        HashName::Sha3 => unreachable!("not compiled in"),
        HashName::Sha512 => {
            let (prk, hkdf) = hkdf::Hkdf::<sha2::Sha512>::extract(Some(salt), ikm);
            hkdf.expand(info, out).unwrap();
            prk.to_vec()
        }
    }
}

/// The info of the specification, put together octet by octet.
fn info_of(length: usize, label: Label, context: &[u8]) -> Vec<u8> {
    let mut info = u16::try_from(length).unwrap().to_be_bytes().to_vec();
    info.push(u8::try_from(label.as_bytes().len()).unwrap());
    info.extend_from_slice(label.as_bytes());
    info.extend_from_slice(&u16::try_from(context.len()).unwrap_or(u16::MAX).to_be_bytes());
    info.extend_from_slice(context);
    info
}

proptest! {
    #[test]
    fn the_schedule_equals_the_hkdf_crate(
        salt in prop::collection::vec(any::<u8>(), 0..200),
        ikm: Vec<u8>,
        label in prop::sample::select(Label::ALL),
        context: Vec<Vec<u8>>,
        length in 0..300_usize,
    ) {
        for suite in Suite::all() {
            let (mut theirs, mut ours) = (vec![0; length], vec![0; length]);
            let parts: Vec<&[u8]> = context.iter().map(Vec::as_slice).collect();
            let their_prk =
                with_hkdf_crate(suite, &salt, &ikm, &info_of(length, label, &context.concat()), &mut theirs);
            let prk = extract(suite, &salt, &[&ikm]);
            prop_assert_eq!(prk.expose(), their_prk);
            let expander = Expander::new(suite, &prk);
            expander.expand(label, &parts, &mut ours).unwrap();
            prop_assert_eq!(ours, theirs);

            let length = suite.hash_len();
            let mut theirs = vec![0; length];
            with_hkdf_crate(suite, &salt, &ikm, &info_of(length, label, &context.concat()), &mut theirs);
            let mut overwritten = prk;
            expander.hash_secret_into(label, &parts, &mut overwritten);
            prop_assert_eq!(overwritten.expose(), &theirs);
            prop_assert_eq!(expander.hash_secret(label, &parts), overwritten);
        }
    }

    #[test]
    fn what_is_sealed_opens_and_any_change_does_not(
        key: [u8; 32], nonce: [u8; 12], aad: Vec<u8>, plaintext: Vec<u8>,
        at: prop::sample::Index, bit in 0..8_u8,
    ) {
        for suite in Suite::all() {
            let secret = SecretBytes::copied_from(&key);
            let mut sealed = plaintext.clone();
            let tag = suite.seal(&secret, &nonce, &aad, &mut sealed).unwrap();
            let mut opened = sealed.clone();
            prop_assert_eq!(suite.open(&secret, &nonce, &aad, &mut opened, &tag), Ok(()));
            prop_assert_eq!(&opened, &plaintext);

            // One bit of one of: key, nonce, associated data, ciphertext, tag.
            let (mut k, mut n, mut a, mut c, mut t) = (key, nonce, aad.clone(), sealed.clone(), tag);
            let mut all: Vec<&mut u8> =
                k.iter_mut().chain(&mut n).chain(&mut a).chain(&mut c).chain(&mut t).collect();
            let at = at.index(all.len());
            *all[at] ^= 1 << bit;
            let refused = c.clone();
            prop_assert_eq!(suite.open(&SecretBytes::copied_from(&k), &n, &a, &mut c, &t), Err(refusal()));
            prop_assert_eq!(c, refused, "nothing is decrypted before the tag verified");
        }
    }

    #[test]
    fn a_truncated_tag_verifies_and_any_changed_one_does_not(
        key: Vec<u8>, message: Vec<u8>, bit in 0..128_usize,
    ) {
        for suite in Suite::all() {
            let prepared = suite.mac_key(&key);
            let whole = suite.mac(&key).chain(&message).finish();
            let mut tag = prepared.tag(&[&message]);
            prop_assert_eq!(&tag[..], &whole.expose()[..16]);
            let (front, back) = message.split_at(message.len() / 2);
            prop_assert_eq!(prepared.verify(&[front, back], &tag), Ok(()));
            tag[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(prepared.verify(&[&message], &tag).is_err());
        }
    }
}

/// `CryptoError` cannot be made outside the crate: take one.
fn refusal() -> CryptoError {
    let suite = Suite::all().next().unwrap();
    suite.mac(b"").verify_truncated16(&[0; 16]).unwrap_err()
}

/// AES-256-GCM: test cases 14 and 16 of the GCM specification (McGrew and Viega).
#[test]
fn aes_256_gcm_of_the_gcm_specification() {
    for suite in Suite::all().filter(|suite| is_aes(*suite)) {
        let mut buffer = [0; 16];
        let tag = suite.seal(&SecretBytes::zeroed(), &[0; 12], b"", &mut buffer).unwrap();
        assert_eq!(buffer.as_slice(), unhex("cea7403d4d606b6e074ec5d3baf39d18"));
        assert_eq!(tag.as_slice(), unhex("d0d1c8a799996bf0265b98b5d48ab919"));

        let half = unhex("feffe9928665731c6d6a8f9467308308");
        let key = SecretBytes::try_copied_from(&half.repeat(2)).unwrap();
        let mut buffer = unhex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let tag = suite
            .seal(
                &key,
                &unhex("cafebabefacedbaddecaf888").try_into().unwrap(),
                &unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
                &mut buffer,
            )
            .unwrap();
        assert_eq!(
            buffer,
            unhex(
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
                 8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
            )
        );
        assert_eq!(tag.as_slice(), unhex("76fc6ece0f4e1768cddf8853bb2d551b"));
    }
}

/// ChaCha20-Poly1305: RFC 8439, section 2.8.2.
#[test]
fn chacha20_poly1305_of_rfc_8439() {
    for suite in Suite::all().filter(|suite| !is_aes(*suite)) {
        let key = SecretBytes::from_fn(|key| {
            for (octet, value) in key.iter_mut().zip(0x80..) {
                *octet = value;
            }
        });
        let nonce = unhex("070000004041424344454647").try_into().unwrap();
        let mut buffer =
            b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the \
            future, sunscreen would be it."
                .to_vec();
        let tag = suite.seal(&key, &nonce, &unhex("50515253c0c1c2c3c4c5c6c7"), &mut buffer).unwrap();
        assert_eq!(
            buffer,
            unhex(
                "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6
                 3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36
                 92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
                 3ff4def08e4b7a9de576d26586cec64b6116"
            )
        );
        assert_eq!(tag.as_slice(), unhex("1ae10b594f09e26a7e902ecbd0600691"));
    }
}

#[test]
fn the_longest_expansion_works_and_one_octet_more_is_refused_untouched() {
    for suite in Suite::all() {
        let prk = HashSecret::zeroed(suite);
        let longest = 255 * suite.hash_len();
        let mut out = vec![0xaa; longest];
        assert_eq!(expand(suite, &prk, Label::EXPORT_RAW, &[], &mut out), Ok(()));
        let mut theirs = vec![0; longest];
        hkdf_from_prk(suite, prk.expose(), &info_of(longest, Label::EXPORT_RAW, b""), &mut theirs);
        assert_eq!(out, theirs);
        let mut out = vec![0xaa; longest + 1];
        assert!(expand(suite, &prk, Label::EXPORT_RAW, &[], &mut out).is_err());
        assert!(out.iter().all(|octet| *octet == 0xaa));
    }
    assert_eq!(MAX_EXPAND_LEN, 8160);
}

fn hkdf_from_prk(suite: Suite, prk: &[u8], info: &[u8], out: &mut [u8]) {
    match hash_of(suite) {
        HashName::Sha256 => hkdf::Hkdf::<sha2::Sha256>::from_prk(prk).unwrap().expand(info, out).unwrap(),
        #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
        HashName::Sha3 => hkdf::Hkdf::<sha3::Sha3_256>::from_prk(prk).unwrap().expand(info, out).unwrap(),
        #[cfg(not(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305")))]
        HashName::Sha3 => unreachable!("not compiled in"),
        HashName::Sha512 => hkdf::Hkdf::<sha2::Sha512>::from_prk(prk).unwrap().expand(info, out).unwrap(),
    }
}

#[test]
fn contexts_longer_than_their_length_field_still_differ() {
    for suite in Suite::all() {
        let expander = Expander::new(suite, &HashSecret::zeroed(suite));
        let [long, longer] = [vec![0; 65_535], vec![0; 65_536]];
        let one: [u8; 32] = expander.public(Label::EXPORT_RAW, &[&long]);
        assert_ne!(one, expander.public(Label::EXPORT_RAW, &[&longer]));
        let mut theirs = [0; 32];
        hkdf_from_prk(
            suite,
            &vec![0; suite.hash_len()],
            &info_of(32, Label::EXPORT_RAW, &longer),
            &mut theirs,
        );
        assert_eq!(expander.public(Label::EXPORT_RAW, &[&longer]), theirs);
    }
}

#[test]
fn a_labelled_hash_is_the_hash_of_length_label_and_message() {
    for suite in Suite::all() {
        let label = Label::UNMEDIATED_ENROL;
        let by_hand = suite.hash().chain(b"\x0d").chain(b"skex u1 enrol").chain(b"message").finish();
        assert_eq!(suite.labelled_hash(label).chain(b"message").finish(), by_hand);
    }
}

#[test]
fn limits_are_those_of_rfc_9001() {
    for suite in Suite::all() {
        let expected = if is_aes(suite) { (1 << 23, 1 << 52) } else { (1 << 48, 1 << 36) };
        assert_eq!((suite.confidentiality_limit(), suite.integrity_limit()), expected);
    }
}

#[test]
fn keyed_states_show_nothing() {
    for suite in Suite::all() {
        let key = SecretBytes::copied_from(&[0xd7; 32]);
        let shown = format!(
            "{:?} {:?} {:?} {:?}",
            suite.mac_key(key.expose()),
            suite.mac(key.expose()),
            suite.hash().chain(key.expose()),
            Expander::from_key(suite, key.expose()),
        );
        assert!(!shown.contains("d7") && !shown.contains("215") && !shown.contains('['), "{shown}");
    }
}
