//! Hashes, HMACs and AEADs of a suite, and HKDF made of them.

use skex_core::{SecretBytes, Suite};

/// HKDF-Extract (RFC 5869).
pub(crate) fn extract(suite: Suite, salt: &[u8], ikm: &[u8]) -> Vec<u8> {
    mac(suite, salt, ikm)
}

/// HKDF-Expand (RFC 5869).
pub(crate) fn expand(suite: Suite, prk: &[u8], info: &[u8], length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut block = Vec::new();
    for counter in 1..=255 {
        if out.len() >= length {
            break;
        }
        block = mac(suite, prk, &[&block[..], info, &[counter]].concat());
        out.extend(&block);
    }
    out.truncate(length);
    assert_eq!(out.len(), length, "more than HKDF gives");
    out
}

/// The info of Expand in the specification.
pub(crate) fn info(label: &str, context: &[u8], length: usize) -> Vec<u8> {
    let mut info = (length as u16).to_be_bytes().to_vec();
    info.push(label.len() as u8);
    info.extend(label.as_bytes());
    info.extend((context.len() as u16).to_be_bytes());
    info.extend(context);
    info
}

/// Expand of the specification.
pub(crate) fn expand_label(suite: Suite, prk: &[u8], label: &str, context: &[u8], length: usize) -> Vec<u8> {
    expand(suite, prk, &info(label, context, length), length)
}

pub(crate) fn hash(suite: Suite, message: &[u8]) -> Vec<u8> {
    suite.hash().chain(message).finish().as_bytes().to_vec()
}

pub(crate) fn mac(suite: Suite, key: &[u8], message: &[u8]) -> Vec<u8> {
    suite.mac(key).chain(message).finish().expose().to_vec()
}

/// Ciphertext and tag.
pub(crate) fn seal(
    suite: Suite,
    key: &[u8],
    nonce: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> (Vec<u8>, Vec<u8>) {
    let key = SecretBytes::try_copied_from(key).expect("a key of 32 octets");
    let mut ciphertext = plaintext.to_vec();
    let tag = suite.seal(&key, nonce.try_into().expect("a nonce of 12 octets"), aad, &mut ciphertext);
    (ciphertext, tag.expect("short enough").to_vec())
}

/// A suite as the names of groups say it.
pub(crate) fn suite_name(suite: Suite) -> String {
    suite.id().name().expect("a registered suite").to_ascii_lowercase().replace('_', "-")
}
