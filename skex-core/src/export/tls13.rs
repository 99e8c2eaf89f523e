//! TLS 1.3 and DTLS 1.3: external preshared keys (RFC 8446, section 4.2.11; RFC 9257), imported ones (RFC 9258), and
//! either beside certificates (RFC 9973).
//!
//! A preshared key is known to exactly one client and one server role (RFC 9257, against the selfie attack), so it is
//! derived for a client; where both ends connect, export one for each.

use skex_wire::{EncodeError, Writer};

use super::{Consumer, Direction, End, ExportError, Exporter, KeyName, TextName};
use crate::suite::sha256_mac_key;
use crate::{KeyBytes, SecretBytes};

/// The hash that a preshared key is bound to. A key serves one hash only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsHash {
    /// SHA-256. HKDF_SHA256 of RFC 9258.
    Sha256,
    /// SHA-384. HKDF_SHA384 of RFC 9258.
    Sha384,
}

impl TlsHash {
    /// Octets.
    #[must_use]
    pub const fn output_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }

    /// The code point of the KDF identifier in RFC 9258, section 10.
    #[must_use]
    pub const fn kdf_id(self) -> u16 {
        match self {
            Self::Sha256 => 1,
            Self::Sha384 => 2,
        }
    }
}

/// What authenticates beside the key. A key that serves one must not serve the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsUse {
    /// Nothing: the key authenticates both ends.
    KeyAlone,
    /// Certificates, by the extension tls_cert_with_extern_psk, 33 (RFC 9973).
    WithCertificates,
}

impl TlsUse {
    const fn octet(self) -> u8 {
        match self {
            Self::KeyAlone => 1,
            Self::WithCertificates => 2,
        }
    }
}

/// An external preshared key that is used as it is, under the binder label `ext binder`.
#[derive(Debug, PartialEq, Eq)]
pub struct TlsPsk {
    identity: TextName,
    client: End,
    hash: TlsHash,
    psk: SecretBytes<32>,
}

impl TlsPsk {
    /// The PskIdentity.identity, sent in the clear: `skex-` and 32 hex digits. obfuscated_ticket_age is 0.
    #[must_use]
    pub const fn identity(&self) -> TextName {
        self.identity
    }

    /// Which end is the client.
    #[must_use]
    pub const fn client(&self) -> End {
        self.client
    }

    /// The hash it is bound to.
    #[must_use]
    pub const fn hash(&self) -> TlsHash {
        self.hash
    }

    /// The key.
    #[must_use]
    pub const fn psk(&self) -> &SecretBytes<32> {
        &self.psk
    }
}

/// A protocol version that an imported key serves (RFC 9258, section 5.1: target_protocol).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsProtocol {
    /// TLS 1.3, 0x0304.
    Tls13,
    /// DTLS 1.3, 0xfefc.
    Dtls13,
}

impl TlsProtocol {
    /// The code point.
    #[must_use]
    pub const fn version(self) -> u16 {
        match self {
            Self::Tls13 => 0x0304,
            Self::Dtls13 => 0xfefc,
        }
    }

    /// What HKDF-Expand-Label puts before a label: RFC 8446, section 7.1; RFC 9147, section 5.9.
    const fn label_prefix(self) -> &'static [u8; 6] {
        match self {
            Self::Tls13 => b"tls13 ",
            Self::Dtls13 => b"dtls13",
        }
    }
}

/// An external preshared key to be imported, with SHA-256 as its hash. A stack that has the importer takes this one;
/// for others [`Self::import`] does the importer's work.
#[derive(Debug, PartialEq, Eq)]
pub struct TlsImportablePsk {
    external_identity: TextName,
    client: End,
    epsk: SecretBytes<32>,
}

impl TlsImportablePsk {
    /// The external_identity: `skex-` and 32 hex digits.
    #[must_use]
    pub const fn external_identity(&self) -> TextName {
        self.external_identity
    }

    /// Which end is the client.
    #[must_use]
    pub const fn client(&self) -> End {
        self.client
    }

    /// The EPSK.
    #[must_use]
    pub const fn epsk(&self) -> &SecretBytes<32> {
        &self.epsk
    }

    /// The importer of RFC 9258, section 5, for one protocol and one KDF; both ends take the same context (sent in the
    /// clear; at most 45 octets less than the 2^16 - 1 of an identity). The binder label of what comes out is `imp binder`:
    /// a stack that knows it only as an external key would compute another binder.
    ///
    /// # Errors
    /// [`ExportError::Length`] for a longer context.
    pub fn import<'a>(
        &'a self,
        context: &'a [u8],
        protocol: TlsProtocol,
        kdf: TlsHash,
    ) -> Result<ImportedPsk<'a>, ExportError> {
        let external_identity = self.external_identity.as_bytes();
        let identity = ImportedIdentity::new(external_identity, context, protocol, kdf)?;
        Ok(ImportedPsk { identity, ipsk: imported_key(self.epsk.expose(), &identity) })
    }
}

/// `ImportedIdentity` of RFC 9258, section 5.1; its encoding is the PskIdentity.identity on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportedIdentity<'a> {
    external_identity: &'a [u8],
    context: &'a [u8],
    protocol: TlsProtocol,
    kdf: TlsHash,
}

impl<'a> ImportedIdentity<'a> {
    fn new(
        external_identity: &'a [u8],
        context: &'a [u8],
        protocol: TlsProtocol,
        kdf: TlsHash,
    ) -> Result<Self, ExportError> {
        let identity = Self { external_identity, context, protocol, kdf };
        // PskIdentity.identity has a length of two octets.
        u16::try_from(identity.encoded_len()).map(|_| identity).map_err(|_| ExportError::Length)
    }

    /// Octets of the encoding.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.external_identity.len().saturating_add(self.context.len()).saturating_add(8)
    }

    /// Writes the encoding to the front of `out` and gives it back.
    ///
    /// # Errors
    /// [`ExportError::Length`] where `out` is shorter than [`Self::encoded_len`].
    pub fn encode<'o>(&self, out: &'o mut [u8]) -> Result<&'o [u8], ExportError> {
        let mut writer = Writer::new(out);
        let parts = self.parts();
        let written: Result<(), EncodeError> =
            parts.each().into_iter().try_for_each(|part| writer.bytes(part));
        written.map_err(|_| ExportError::Length)?;
        Ok(writer.into_written())
    }

    fn parts(&self) -> Parts<'a> {
        let length = |octets: &[u8]| u16::try_from(octets.len()).unwrap_or(u16::MAX).to_be_bytes();
        Parts {
            lengths: [length(self.external_identity), length(self.context)],
            octets: [self.external_identity, self.context],
            targets: [self.protocol.version().to_be_bytes(), self.kdf.kdf_id().to_be_bytes()],
        }
    }
}

/// The encoding of an identity in parts, so that it is hashed without being copied together.
struct Parts<'a> {
    lengths: [[u8; 2]; 2],
    octets: [&'a [u8]; 2],
    targets: [[u8; 2]; 2],
}

impl Parts<'_> {
    const fn each(&self) -> [&[u8]; 5] {
        let [first, second] = &self.lengths;
        let [external_identity, context] = self.octets;
        [first, external_identity, second, context, self.targets.as_flattened()]
    }
}

/// An imported key: what goes on the wire as its identity, and the key.
#[derive(Debug, PartialEq, Eq)]
pub struct ImportedPsk<'a> {
    identity: ImportedIdentity<'a>,
    ipsk: KeyBytes,
}

impl<'a> ImportedPsk<'a> {
    /// The identity, to be encoded.
    #[must_use]
    pub const fn identity(&self) -> ImportedIdentity<'a> {
        self.identity
    }

    /// The key, as long as the target's hash: 32 or 48 octets.
    #[must_use]
    pub const fn ipsk(&self) -> &KeyBytes {
        &self.ipsk
    }
}

/// ```text
///   epskx = HKDF-Extract(0, epsk)
///   ipskx = HKDF-Expand-Label(epskx, "derived psk", Hash(ImportedIdentity), L)
/// ```
/// with the hash of the EPSK, SHA-256; L is the length of the target's hash.
fn imported_key(epsk: &[u8], identity: &ImportedIdentity<'_>) -> KeyBytes {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    for part in identity.parts().each() {
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let epskx = sha256_mac_key(&[0; 32]).begin().chain(epsk).finish();
    let key = sha256_mac_key(epskx.expose());
    let length = identity.kdf.output_len();
    let label = b"derived psk";
    let fill = |out: &mut [u8]| {
        let mut block = None;
        for (chunk, counter) in out.chunks_mut(32).zip(1_u8..) {
            let mut mac = key.begin();
            if let Some(block) = &block {
                mac.update(crate::HashSecret::expose(block));
            }
            // HkdfLabel: uint16 length, then label and hash behind lengths of one octet.
            mac.update(&[0, length.to_le_bytes()[0]]);
            mac.update(&[17]);
            mac.update(identity.protocol.label_prefix());
            mac.update(label);
            mac.update(&[32]);
            mac.update(&hash);
            mac.update(&[counter]);
            let next = mac.finish();
            for (to, from) in chunk.iter_mut().zip(next.expose()) {
                *to = *from;
            }
            block = Some(next);
        }
    };
    match identity.kdf {
        TlsHash::Sha256 => KeyBytes::from(&SecretBytes::<32>::from_fn(|out| fill(out))),
        TlsHash::Sha384 => KeyBytes::from(&SecretBytes::<48>::from_fn(|out| fill(out))),
    }
}

impl Exporter {
    /// A preshared key that is used as it is, for handshakes that `client` begins. Parameters: one octet, 1 for a key
    /// alone or 2 with certificates; the KDF identifier of the hash, two octets.
    ///
    /// # Errors
    /// [`ExportError::Used`].
    pub fn tls13_psk(
        &mut self,
        number: u32,
        client: End,
        hash: TlsHash,
        usage: TlsUse,
    ) -> Result<TlsPsk, ExportError> {
        let [high, low] = hash.kdf_id().to_be_bytes();
        let parameters = [usage.octet(), high, low];
        let claim = self.claim(Consumer::Tls13, Direction::from(client), number, &parameters)?;
        let identity = TextName::new(KeyName::new(self.name(&claim)), b"");
        Ok(TlsPsk { identity, client, hash, psk: self.secret(&claim) })
    }

    /// A preshared key to be imported, for handshakes that `client` begins. Parameters: one octet, 1 for a key alone or
    /// 2 with certificates.
    ///
    /// # Errors
    /// [`ExportError::Used`].
    pub fn tls13_importable_psk(
        &mut self,
        number: u32,
        client: End,
        usage: TlsUse,
    ) -> Result<TlsImportablePsk, ExportError> {
        let parameters = [usage.octet()];
        let claim = self.claim(Consumer::Tls13Importable, Direction::from(client), number, &parameters)?;
        let external_identity = TextName::new(KeyName::new(self.name(&claim)), b"");
        Ok(TlsImportablePsk { external_identity, client, epsk: self.secret(&claim) })
    }
}

#[cfg(test)]
mod tests;
