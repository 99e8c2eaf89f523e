//! AES-CMAC (RFC 4493, SP 800-38B), for the key derivations of MKA and TCP-AO.

use aes::Aes128;
#[cfg(feature = "export-macsec")]
use aes::Aes256;
use cmac::{Cmac, KeyInit, Mac, digest::FixedOutput};

use crate::SecretBytes;

/// AES-128-CMAC over a message in parts.
pub(super) fn aes128_cmac(key: &[u8; 16], message: &[&[u8]]) -> SecretBytes<16> {
    feed(Cmac::<Aes128>::new(key.into()), message, |mac, out| mac.finalize_into(out.into()))
}

/// AES-256-CMAC over a message in parts.
#[cfg(feature = "export-macsec")]
pub(super) fn aes256_cmac(key: &[u8; 32], message: &[&[u8]]) -> SecretBytes<16> {
    feed(Cmac::<Aes256>::new(key.into()), message, |mac, out| mac.finalize_into(out.into()))
}

fn feed<M: Mac>(mut mac: M, message: &[&[u8]], finish: impl FnOnce(M, &mut [u8; 16])) -> SecretBytes<16> {
    for part in message {
        mac.update(part);
    }
    SecretBytes::from_fn(|out| finish(mac, out))
}
