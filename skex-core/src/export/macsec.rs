//! MACsec: keys for MKA (IEEE 802.1X-2020), and keys that are installed without it (IEEE 802.1AE).

use super::cmac::{aes128_cmac, aes256_cmac};
use super::{Consumer, Direction, ExportError, Exporter, KeyName};
use crate::SecretBytes;

/// Octets of a CKN here. The standard allows 1 to 32; some implementations take exactly 32.
pub const CKN_LEN: usize = 32;

/// How long a key of MACsec is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "AES has these two lengths here")]
pub enum MacsecKeyLen {
    /// 16 octets: GCM-AES-128.
    Octets16,
    /// 32 octets: GCM-AES-256.
    Octets32,
}

/// A key of 16 or 32 octets.
#[derive(Debug, PartialEq, Eq)]
enum AesKey {
    Octets16(SecretBytes<16>),
    Octets32(SecretBytes<32>),
}

impl AesKey {
    fn expose(&self) -> &[u8] {
        match self {
            Self::Octets16(key) => key.expose(),
            Self::Octets32(key) => key.expose(),
        }
    }
}

/// A connectivity association key with its name, for MKA. The ends find each other by the name, which every MKPDU
/// carries in the clear.
#[derive(Debug, PartialEq, Eq)]
pub struct MacsecCak {
    ckn: [u8; CKN_LEN],
    cak: AesKey,
}

impl MacsecCak {
    /// The name, 32 octets. All of it is unique, so its first 16 octets, which enter the derivations, are too.
    #[must_use]
    pub const fn ckn(&self) -> &[u8; CKN_LEN] {
        &self.ckn
    }

    /// The key, 16 or 32 octets: the single exit.
    #[must_use]
    pub fn expose_cak(&self) -> &[u8] {
        self.cak.expose()
    }

    /// Whether `kek` is the key-encrypting key that MKA derives, to hold an implementation against this one.
    #[must_use]
    pub fn is_kek(&self, kek: &[u8]) -> bool {
        self.derives(b"IEEE8021 KEK", kek)
    }

    /// Whether `ick` is the integrity-check key that MKA derives, to hold an implementation against this one.
    #[must_use]
    pub fn is_ick(&self, ick: &[u8]) -> bool {
        self.derives(b"IEEE8021 ICK", ick)
    }

    fn derives(&self, label: &[u8; 12], key: &[u8]) -> bool {
        let derived = mka_kdf(&self.cak, label, &self.ckn);
        subtle::ConstantTimeEq::ct_eq(derived.expose(), key).into()
    }
}

/// KDF of IEEE 802.1X-2020, section 6.2.1: as long as the key.
///
/// AES-CMAC(key, i | label | 0 | context | length in bits), i = 1, 2; the context is the first 16 octets of the CKN,
/// zeros behind a shorter one.
fn mka_kdf(key: &AesKey, label: &[u8; 12], ckn: &[u8]) -> AesKey {
    let mut context = [0; 16];
    for (to, from) in context.iter_mut().zip(ckn) {
        *to = *from;
    }
    match key {
        AesKey::Octets16(key) => AesKey::Octets16(aes128_cmac(
            key.expose(),
            &[&[1], label, &[0], &context, &128_u16.to_be_bytes()],
        )),
        AesKey::Octets32(key) => {
            let block = |counter: u8| {
                aes256_cmac(key.expose(), &[&[counter], label, &[0], &context, &256_u16.to_be_bytes()])
            };
            AesKey::Octets32(SecretBytes::from_fn(|out| {
                for (half, counter) in out.chunks_mut(16).zip(1..) {
                    half.copy_from_slice(block(counter).expose());
                }
            }))
        }
    }
}

/// One secure association key, to be installed without MKA, for one direction.
#[derive(Debug, PartialEq, Eq)]
pub struct MacsecSak {
    ki: KeyName,
    sak: AesKey,
}

impl MacsecSak {
    /// The key identifier, 16 octets.
    #[must_use]
    pub const fn ki(&self) -> KeyName {
        self.ki
    }

    /// The key, 16 or 32 octets: the single exit.
    #[must_use]
    pub fn expose_sak(&self) -> &[u8] {
        self.sak.expose()
    }
}

/// The two secure association keys of one generation, one a direction, and the association number under which both
/// ends install them.
///
/// Whoever installs keys without MKA answers for the packet numbers: begin at 1, and **never install a key a second
/// time**, not after a restart either: nonces would repeat. That is why there is one key a direction.
#[derive(Debug, PartialEq, Eq)]
pub struct MacsecSaks {
    an: u8,
    transmit: MacsecSak,
    receive: MacsecSak,
}

impl MacsecSaks {
    /// The association number, 0 to 3: the generation modulo 4.
    #[must_use]
    pub const fn an(&self) -> u8 {
        self.an
    }

    /// The key that this end transmits with.
    #[must_use]
    pub const fn transmit(&self) -> &MacsecSak {
        &self.transmit
    }

    /// The key that this end receives with.
    #[must_use]
    pub const fn receive(&self) -> &MacsecSak {
        &self.receive
    }
}

impl Exporter {
    /// A CAK with its CKN, for MKA. Parameters: one octet, the length in octets.
    ///
    /// # Errors
    /// [`ExportError::Used`].
    pub fn macsec_cak(&mut self, number: u32, len: MacsecKeyLen) -> Result<MacsecCak, ExportError> {
        let parameters = [len.octets()];
        let claim = self.claim(Consumer::MacsecCak, Direction::Both, number, &parameters)?;
        Ok(MacsecCak { ckn: self.name(&claim), cak: self.aes_key(&claim, len) })
    }

    /// Two SAKs of one generation, for a link without MKA. Parameters: one octet, the length in octets; the
    /// generation, eight octets.
    ///
    /// # Errors
    /// [`ExportError::Used`].
    pub fn macsec_saks(
        &mut self,
        number: u32,
        generation: u64,
        len: MacsecKeyLen,
    ) -> Result<MacsecSaks, ExportError> {
        let mut parameters = [len.octets(); 9];
        if let Some(place) = parameters.last_chunk_mut() {
            *place = generation.to_be_bytes();
        }
        let end = self.end();
        let mut sak = |from| -> Result<MacsecSak, ExportError> {
            let claim = self.claim(Consumer::MacsecSak, Direction::from(from), number, &parameters)?;
            Ok(MacsecSak { ki: KeyName::new(self.name(&claim)), sak: self.aes_key(&claim, len) })
        };
        let an = generation.to_be_bytes()[7] & 3;
        Ok(MacsecSaks { an, transmit: sak(end)?, receive: sak(end.other())? })
    }

    fn aes_key(&self, claim: &super::Claim<'_>, len: MacsecKeyLen) -> AesKey {
        match len {
            MacsecKeyLen::Octets16 => AesKey::Octets16(self.secret(claim)),
            MacsecKeyLen::Octets32 => AesKey::Octets32(self.secret(claim)),
        }
    }
}

impl MacsecKeyLen {
    const fn octets(self) -> u8 {
        match self {
            Self::Octets16 => 16,
            Self::Octets32 => 32,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::export::{End, tests::exporter, tests::hex};
    use std::vec::Vec;

    /// Made with OpenSSL's CMAC, and equal to what wpa_supplicant 2.10 logs for these CAKs and CKNs.
    #[test]
    fn kek_and_ick_are_those_of_other_implementations() {
        let (short, long) = (&b"SKEX-00000001"[..], (0x20..0x40).collect::<Vec<u8>>());
        for (len, ckn, kek, ick) in [
            (16, short, "dcdcdb743439b5c2a180ea1b3ea9b23c", "fc2912ce7f00a3af3bad818d30874692"),
            (16, &long, "a2fcd8b1dbe2686db787ea0427f59954", "5d974fc6d1d9541bdcb6fd0561b27de1"),
            (
                32,
                short,
                "67faa91866ec97013d80bc67be690f8682c631ca1df95e0066370381ae918051",
                "d483f07e9558bec8fce000959123d05eb8840829d31f213499dc6bcf5bdec070",
            ),
            (
                32,
                &long,
                "b60b3f5e6149c3bde026cd8335a35163005e2fe1f9465c2451e36487dedfa395",
                "e2cdf56560fecdb651e463ca462aa2ba3888d80f859ee3085ee9b1d7b534aea1",
            ),
        ] {
            let octets: Vec<u8> = (0..len).collect();
            let cak = match len {
                16 => AesKey::Octets16(SecretBytes::try_copied_from(&octets).unwrap()),
                _ => AesKey::Octets32(SecretBytes::try_copied_from(&octets).unwrap()),
            };
            assert_eq!(mka_kdf(&cak, b"IEEE8021 KEK", ckn).expose(), hex(kek));
            assert_eq!(mka_kdf(&cak, b"IEEE8021 ICK", ckn).expose(), hex(ick));
        }
    }

    #[test]
    fn a_cak_tells_its_own_kek_and_ick_from_others() {
        for len in [MacsecKeyLen::Octets16, MacsecKeyLen::Octets32] {
            let cak = exporter(End::A).macsec_cak(0, len).unwrap();
            let kek = mka_kdf(&cak.cak, b"IEEE8021 KEK", &cak.ckn);
            let ick = mka_kdf(&cak.cak, b"IEEE8021 ICK", &cak.ckn);
            assert!(cak.is_kek(kek.expose()) && cak.is_ick(ick.expose()));
            assert!(!cak.is_kek(ick.expose()) && !cak.is_ick(kek.expose()) && !cak.is_kek(&[]));
        }
    }

    #[test]
    fn what_one_end_transmits_with_the_other_receives_with_under_the_same_number() {
        let (mut here, mut there) = (exporter(End::A), exporter(End::B));
        for generation in [0, 1, 5, u64::MAX] {
            let number = u32::try_from(generation & 0xff).unwrap();
            let ours = here.macsec_saks(number, generation, MacsecKeyLen::Octets32).unwrap();
            let theirs = there.macsec_saks(number, generation, MacsecKeyLen::Octets32).unwrap();
            assert_eq!(ours.transmit(), theirs.receive());
            assert_eq!(ours.receive(), theirs.transmit());
            assert_ne!(ours.transmit(), ours.receive());
            assert_eq!((ours.an(), theirs.an()), ((generation & 3) as u8, (generation & 3) as u8));
        }
    }
}
