//! EDHOC with preshared keys (draft-ietf-lake-edhoc-psk-08), method 4.

use skex_wire::{EncodeError, Writer};

use super::{Consumer, Direction, End, ExportError, Exporter};
use crate::SecretBytes;

/// Octets of a kid here.
pub const EDHOC_KID_LEN: usize = 8;

/// A preshared key of 32 octets for exchanges that one end begins, with what EDHOC names it by. It serves any hash, but
/// one only.
#[derive(Debug, PartialEq, Eq)]
pub struct EdhocPsk {
    kid: [u8; EDHOC_KID_LEN],
    initiator: End,
    psk: SecretBytes<32>,
}

impl EdhocPsk {
    /// The kid, the same at both ends.
    #[must_use]
    pub const fn kid(&self) -> &[u8; EDHOC_KID_LEN] {
        &self.kid
    }

    /// Which end begins.
    #[must_use]
    pub const fn initiator(&self) -> End {
        self.initiator
    }

    /// The key.
    #[must_use]
    pub const fn psk(&self) -> &SecretBytes<32> {
        &self.psk
    }

    /// ID_CRED_PSK, the header map `{ 4 : kid }`. By the draft's text the transcript and the additional data take this
    /// form; its vectors hash the compact one.
    #[must_use]
    pub fn id_cred(&self) -> [u8; 3 + EDHOC_KID_LEN] {
        let mut map = [0; 3 + EDHOC_KID_LEN];
        // A map of one pair, the label `kid`, a byte string of 8.
        let octets = [0xa1, 4, 0x48].iter().chain(&self.kid);
        map.iter_mut().zip(octets).for_each(|(to, from)| *to = *from);
        map
    }

    /// ID_CRED_PSK in the compact encoding of PLAINTEXT_3A (RFC 9528, section 3.5.3.2): the kid as a byte string.
    #[must_use]
    pub fn id_cred_compact(&self) -> [u8; 1 + EDHOC_KID_LEN] {
        let mut string = [0x48; 1 + EDHOC_KID_LEN];
        string.iter_mut().skip(1).zip(&self.kid).for_each(|(to, from)| *to = *from);
        string
    }

    /// CRED_I or CRED_R: the claims set `{ 2 : subject, 8 : { 1 : { 1 : 4, 2 : kid } } }` in deterministic CBOR, written
    /// to the front of `out` and given back. It holds no secret. Both ends name the same two subjects, which differ: the
    /// initiator's in CRED_I, the responder's in CRED_R.
    ///
    /// # Errors
    /// [`ExportError::Length`] where the subject is empty or longer than 255 octets, or `out` has fewer than 19 octets
    /// beside the subject.
    pub fn credential<'o>(&self, subject: &str, out: &'o mut [u8]) -> Result<&'o [u8], ExportError> {
        let mut writer = Writer::new(out);
        claims(&mut writer, subject, &self.kid, None).map_err(|_| ExportError::Length)?;
        if subject.is_empty() {
            return Err(ExportError::Length);
        }
        Ok(writer.into_written())
    }
}

/// With a key inside, as in the vectors of the draft, in the tests only: a credential is public.
fn claims(writer: &mut Writer<'_>, subject: &str, kid: &[u8], key: Option<&[u8]>) -> Result<(), EncodeError> {
    const TEXT: u8 = 0x60;
    const BYTES: u8 = 0x40;
    writer.bytes(&[0xa2, 2])?;
    string(writer, TEXT, subject.as_bytes())?;
    writer.bytes(&[8, 0xa1, 1, if key.is_some() { 0xa3 } else { 0xa2 }, 1, 4, 2])?;
    string(writer, BYTES, kid)?;
    match key {
        // -1: k.
        Some(key) => writer.u8(0x20).and_then(|()| string(writer, BYTES, key)),
        None => Ok(()),
    }
}

/// A string of CBOR, of at most 255 octets.
fn string(writer: &mut Writer<'_>, major: u8, octets: &[u8]) -> Result<(), EncodeError> {
    match u8::try_from(octets.len()) {
        Ok(short) if short < 24 => {
            writer.u8(major | short)?;
            writer.bytes(octets)
        }
        _ => {
            writer.u8(major | 24)?;
            writer.prefixed_u8(octets)
        }
    }
}

impl Exporter {
    /// A preshared key for exchanges that `initiator` begins. Parameters: none.
    ///
    /// # Errors
    /// [`ExportError::Used`].
    pub fn edhoc_psk(&mut self, number: u32, initiator: End) -> Result<EdhocPsk, ExportError> {
        let claim = self.claim(Consumer::Edhoc, Direction::from(initiator), number, &[])?;
        Ok(EdhocPsk { kid: self.name(&claim), initiator, psk: self.secret(&claim) })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::export::tests::{exporter, hex};
    use crate::suite::sha256_mac_key;
    use sha2::{Digest as _, Sha256};
    use std::vec::Vec;

    // draft-ietf-lake-edhoc-psk-08, appendix "Test Vectors".
    const PSK: &str = "50930ff462a77a3540cf546325dea214";
    const CRED_I: &str = "a20269696e69746961746f7208a101a3010402420010205050930ff462a77a3540cf546325dea214";
    const CRED_R: &str = "a20269726573706f6e64657208a101a3010402420010205050930ff462a77a3540cf546325dea214";

    #[test]
    fn credentials_are_encoded_as_in_the_vectors_of_the_draft() {
        for (subject, expected) in [("initiator", CRED_I), ("responder", CRED_R)] {
            let mut out = [0; 64];
            let mut writer = Writer::new(&mut out);
            claims(&mut writer, subject, &[0, 0x10], Some(&hex(PSK))).unwrap();
            assert_eq!(writer.written(), hex(expected));
        }
    }

    #[test]
    fn a_kid_of_the_vectors_is_encoded_compactly_as_there() {
        let mut out = [0; 3];
        let mut writer = Writer::new(&mut out);
        string(&mut writer, 0x40, &[0, 0x10]).unwrap();
        // The front of PLAINTEXT_3A.
        assert_eq!(writer.written(), hex("420010"));
    }

    /// What the exporter hands over enters EDHOC as in the vectors: PRK_4e3m = EDHOC_Extract(SALT_4e3m, PSK) and
    /// TH_4 = H(TH_3, ID_CRED_PSK, CRED_I, CRED_R).
    #[test]
    fn the_key_and_the_credentials_give_the_values_of_the_vectors() {
        let salt = hex("ede07612148319eb725952712a542c2097610a139c4a141c8ec57a5f62e5e9dd");
        let prk = sha256_mac_key(&salt).begin().chain(&hex(PSK)).finish();
        assert_eq!(prk.expose(), hex("c62cc04f55d008cfeb8a681e8463fddda2ff6ca84b9ed6116c865cd81e062460"));
        let th_3 = hex("5820386a9d052b255992eee5ffb594347d327418a2ea5183486c0c9e20426e0bca2f");
        let th_4 = "bf4429c19bc6097c406b35705a285a16d033c0fcb3eda6552a2676bb5213c965";
        let transcript = |id_cred: &str| {
            let parts: Vec<u8> = [th_3.clone(), hex(id_cred), hex(CRED_I), hex(CRED_R)].concat();
            Sha256::digest(parts).to_vec()
        };
        // The draft's text wants the map in hashes; its vectors hash the compact form, and show neither ("00 10").
        let found: Vec<&str> = ["a104420010", "420010", "0010"]
            .into_iter()
            .filter(|id_cred| transcript(id_cred) == hex(th_4))
            .collect();
        assert_eq!(found, ["420010"]);
    }

    #[test]
    fn the_identifier_of_an_exported_key_is_a_map_and_compactly_a_string() {
        let psk = exporter(End::A).edhoc_psk(0, End::A).unwrap();
        assert_eq!(psk.id_cred()[..3], [0xa1, 4, 0x48]);
        assert_eq!(psk.id_cred()[3..], psk.kid()[..]);
        assert_eq!(psk.id_cred()[2..], psk.id_cred_compact());
    }

    #[test]
    fn a_credential_names_its_subject_and_no_key() {
        let psk = exporter(End::A).edhoc_psk(0, End::B).unwrap();
        let mut out = [0; 300];
        let credential = psk.credential("pump 7", &mut out).unwrap();
        let expected = [&hex("a20266")[..], b"pump 7", &hex("08a101a201040248"), psk.kid()].concat();
        assert_eq!(credential, expected);
        let long = "x".repeat(255);
        assert_eq!(psk.credential(&long, &mut out).unwrap().len(), 3 + 1 + 255 + 8 + 8);
        assert_eq!(psk.credential(&"x".repeat(256), &mut out), Err(ExportError::Length));
        assert_eq!(psk.credential("", &mut out), Err(ExportError::Length));
        assert_eq!(psk.credential("x", &mut [0; 18]), Err(ExportError::Length));
    }
}
