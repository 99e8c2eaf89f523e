//! Keys for consumers: what IPsec, TLS, MACsec, TCP-AO, WireGuard or EDHOC take, from a key that a protocol established.
//!
//! An [`Exporter`] takes an [`OutputKey`] by value and gives each consumer a key of its own, with the identifier that
//! the consumer's protocol wants. Both ends get the same, with no message between them.
//!
//! ```text
//!   PRK  = HMAC-SHA-256("skex x1 salt", secret)                                    HKDF-Extract
//!   key  = Expand(PRK, label of the consumer, context)                             HKDF-Expand, SHA-256
//!   name = Expand(PRK, "skex x1 name", uint8 length of the label | label | context)
//!
//!   context = key id (16) | index (8) | direction (1) | number (4) | parameters of the consumer
//! ```
//!
//! `Expand` is that of the key schedule ([`crate::expand`]). The direction is 0 where a key serves both, 1 where end A
//! speaks first or transmits, 2 where end B does. The number tells keys of one consumer apart, of two tunnels say.
//!
//! # What holds
//!
//! - A key that is not confirmed cannot be exported: [`Exporter::new`] hands it back.
//! - No two exports share octets, and none tells anything of another. Names are public: they tell nothing of keys, of
//!   each other, or of the id of the exchange, so an observer of two consumers cannot tell that they belong together.
//! - An exporter gives a key once: numbers rise, for each consumer and direction.
//! - Both ends must call with the same parameters. Where they do not, keys differ **and so do names**, and the consumer
//!   finds no key instead of failing on a wrong one.
//! - Whatever the assurance of the key was, an exported key is computationally secure: it went through HMAC-SHA-256. For
//!   a one-time pad take the octets as they are ([`OutputKey::into_secret`]).
//!
//! | consumer | method | feature |
//! |---|---|---|
//! | IKEv2 (RFC 8784, RFC 9867) | `ikev2_ppk` | `export-ikev2` |
//! | TLS 1.3 (RFC 8446, RFC 9258, RFC 9973) | `tls13_psk`, `tls13_importable_psk` | `export-tls13` |
//! | MACsec (IEEE 802.1X, IEEE 802.1AE) | `macsec_cak`, `macsec_saks` | `export-macsec` |
//! | TCP-AO (RFC 5925, RFC 5926) | `tcp_ao` | `export-tcp-ao` |
//! | WireGuard | `wireguard` | `export-wireguard` |
//! | EDHOC (draft-ietf-lake-edhoc-psk) | `edhoc_psk` | `export-edhoc` |
//! | anything else | [`Exporter::raw`] | |

#[cfg(any(feature = "export-macsec", feature = "export-tcp-ao"))]
mod cmac;
#[cfg(feature = "export-edhoc")]
mod edhoc;
#[cfg(feature = "export-ikev2")]
mod ikev2;
#[cfg(feature = "export-macsec")]
mod macsec;
mod name;
mod raw;
#[cfg(feature = "export-tcp-ao")]
mod tcp_ao;
#[cfg(feature = "export-tls13")]
mod tls13;
#[cfg(feature = "export-wireguard")]
mod wireguard;

#[cfg(feature = "export-edhoc")]
#[cfg_attr(docsrs, doc(cfg(feature = "export-edhoc")))]
pub use edhoc::{EDHOC_KID_LEN, EdhocPsk};
#[cfg(feature = "export-ikev2")]
#[cfg_attr(docsrs, doc(cfg(feature = "export-ikev2")))]
pub use ikev2::{IkePpk, PPK_ID_FIXED};
#[cfg(feature = "export-macsec")]
#[cfg_attr(docsrs, doc(cfg(feature = "export-macsec")))]
pub use macsec::{CKN_LEN, MacsecCak, MacsecKeyLen, MacsecSak, MacsecSaks};
pub use name::{KEY_NAME_LEN, KeyName, TextName};
pub use raw::RawKey;
#[cfg(feature = "export-tcp-ao")]
#[cfg_attr(docsrs, doc(cfg(feature = "export-tcp-ao")))]
pub use tcp_ao::{TCP_AO_MAC_LEN, TcpAoAlgorithm, TcpAoConnection, TcpAoMkt};
#[cfg(feature = "export-tls13")]
#[cfg_attr(docsrs, doc(cfg(feature = "export-tls13")))]
pub use tls13::{ImportedIdentity, ImportedPsk, TlsHash, TlsImportablePsk, TlsProtocol, TlsPsk, TlsUse};
#[cfg(feature = "export-wireguard")]
#[cfg_attr(docsrs, doc(cfg(feature = "export-wireguard")))]
pub use wireguard::WireguardPsk;

use core::fmt;

use crate::suite::sha256_mac_key;
use crate::{Expander, Label, OutputKey, SecretBytes};

/// The fewest octets of a key that can be exported: every consumer's key is to have 256 bits of entropy.
pub const MIN_EXPORTABLE_LEN: usize = 32;

/// One end of a pair, the same for every key of the pair: what tells the two ends apart where a consumer needs that.
///
/// Between unmediated peers it is the side of the enrolment. Clients of hubs compare their names, octet by octet: the
/// lesser one is A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a pair has two ends")]
pub enum End {
    /// Side a of an enrolment, or the lesser name.
    A,
    /// Side b of an enrolment, or the greater name.
    B,
}

impl End {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Why a key cannot be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The peer has not shown that it holds the key.
    #[error("the key is not confirmed: wait for the protocol's confirmation")]
    Unconfirmed,
    /// It has fewer than [`MIN_EXPORTABLE_LEN`] octets.
    #[error("the key has fewer than 32 octets: ask the protocol for a longer one")]
    Short,
}

/// A key that cannot be exported, handed back.
#[derive(Debug, thiserror::Error)]
#[error("{refusal}")]
pub struct NotExportable {
    refusal: Refusal,
    key: OutputKey,
}

impl NotExportable {
    /// Why.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        self.refusal
    }

    /// The key.
    #[must_use]
    pub fn into_key(self) -> OutputKey {
        self.key
    }
}

/// An export is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// This number, or a higher one, was given out for this consumer and direction.
    #[error("this exporter has given that number: take a higher number, or a new key")]
    Used,
    /// A length that the consumer does not take, or that HKDF does not give.
    #[error("a length outside what the consumer takes")]
    Length,
}

/// Gives keys to consumers, from one key of a protocol. It lives in memory only, and is wiped on drop.
///
/// ```
/// use skex_core::export::{End, Exporter};
/// use skex_core::{Assurance, KeyBytes, KeyId, OutputKey};
/// # let secret = || KeyBytes::copied_from(&[7; 32]).unwrap();
/// # let key = || OutputKey::new(KeyId::new([1; 16]), 0, Assurance::Computational, secret()).confirmed();
/// let mut here = Exporter::new(key(), End::A)?;
/// let mut there = Exporter::new(key(), End::B)?;
/// let (ours, theirs) = (here.raw(0, b"backup", 32)?, there.raw(0, b"backup", 32)?);
/// assert_eq!(ours, theirs);
/// assert!(here.raw(0, b"backup", 32).is_err(), "a number is given once");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The key is used up:
///
/// ```compile_fail,E0382
/// # use skex_core::export::{End, Exporter};
/// # fn twice(key: skex_core::OutputKey) {
/// let one = Exporter::new(key, End::A);
/// let two = Exporter::new(key, End::A);
/// # }
/// ```
pub struct Exporter {
    keys: Expander,
    /// Key id | index.
    origin: [u8; 24],
    end: End,
    /// By consumer and direction: the lowest number that may still be given.
    next: [[u64; DIRECTIONS]; CONSUMERS],
}

impl Exporter {
    /// Takes the key over. `end` is which end of the pair this is; the other one says the opposite.
    ///
    /// # Errors
    /// [`NotExportable`], with the key: it is not confirmed, or too short.
    pub fn new(key: OutputKey, end: End) -> Result<Self, NotExportable> {
        if !key.is_confirmed() {
            return Err(NotExportable { refusal: Refusal::Unconfirmed, key });
        }
        if key.secret().len() < MIN_EXPORTABLE_LEN {
            return Err(NotExportable { refusal: Refusal::Short, key });
        }
        let mut origin = [0; 24];
        let (id, index) = origin.split_at_mut(16);
        id.copy_from_slice(key.id().as_bytes());
        index.copy_from_slice(&key.index().to_be_bytes());
        let prk = sha256_mac_key(Label::EXPORT_SALT.as_bytes()).begin().chain(key.secret().expose()).finish();
        let keys = Expander::from_sha256(sha256_mac_key(prk.expose()));
        Ok(Self { keys, origin, end, next: [[0; DIRECTIONS]; CONSUMERS] })
    }

    /// Which end of the pair this is.
    #[must_use]
    pub const fn end(&self) -> End {
        self.end
    }

    /// Takes a number for good: neither it nor a lower one is given again for this consumer and direction.
    fn claim<'a>(
        &mut self,
        consumer: Consumer,
        direction: Direction,
        number: u32,
        parameters: &'a [u8],
    ) -> Result<Claim<'a>, ExportError> {
        let next = self.next.get_mut(consumer as usize).and_then(|next| next.get_mut(direction as usize));
        let next = next.filter(|next| u64::from(number) >= **next).ok_or(ExportError::Used)?;
        *next = u64::from(number).saturating_add(1);
        Ok(Claim {
            label: consumer.label(),
            direction: [direction as u8],
            number: number.to_be_bytes(),
            parameters,
        })
    }

    #[cfg_attr(not(feature = "all-exports"), allow(dead_code, reason = "not every consumer is compiled in"))]
    fn secret<const N: usize>(&self, claim: &Claim<'_>) -> SecretBytes<N> {
        self.keys.secret(claim.label, &claim.context(&self.origin))
    }

    fn name<const N: usize>(&self, claim: &Claim<'_>) -> [u8; N] {
        let [origin, direction, number, parameters] = claim.context(&self.origin);
        let label = [&[claim.label.len_octet()][..], claim.label.as_bytes()];
        let [length, label] = label;
        self.keys.public(Label::EXPORT_NAME, &[length, label, origin, direction, number, parameters])
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("end", &self.end).finish_non_exhaustive()
    }
}

/// A number that was taken: what one key, and its name, are derived from.
struct Claim<'a> {
    label: Label,
    direction: [u8; 1],
    number: [u8; 4],
    parameters: &'a [u8],
}

impl<'a> Claim<'a> {
    const fn context(&'a self, origin: &'a [u8; 24]) -> [&'a [u8]; 4] {
        [origin, &self.direction, &self.number, self.parameters]
    }
}

const CONSUMERS: usize = 9;
const DIRECTIONS: usize = 3;

/// Who takes a key.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "all-exports"), allow(dead_code, reason = "not every consumer is compiled in"))]
enum Consumer {
    Raw,
    Ikev2,
    Tls13,
    Tls13Importable,
    MacsecCak,
    MacsecSak,
    TcpAo,
    WireGuard,
    Edhoc,
}

impl Consumer {
    const fn label(self) -> Label {
        match self {
            Self::Raw => Label::EXPORT_RAW,
            Self::Ikev2 => Label::EXPORT_IKEV2_PPK,
            Self::Tls13 => Label::EXPORT_TLS13_PSK,
            Self::Tls13Importable => Label::EXPORT_TLS13_EPSK,
            Self::MacsecCak => Label::EXPORT_MACSEC_CAK,
            Self::MacsecSak => Label::EXPORT_MACSEC_SAK,
            Self::TcpAo => Label::EXPORT_TCP_AO,
            Self::WireGuard => Label::EXPORT_WIREGUARD,
            Self::Edhoc => Label::EXPORT_EDHOC,
        }
    }
}

/// Which way a key serves.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "all-exports"), allow(dead_code, reason = "not every consumer is compiled in"))]
enum Direction {
    Both,
    FromA,
    FromB,
}

impl Direction {
    /// From this end to the other.
    #[cfg_attr(not(feature = "all-exports"), allow(dead_code, reason = "not every consumer is compiled in"))]
    const fn from(from: End) -> Self {
        match from {
            End::A => Self::FromA,
            End::B => Self::FromB,
        }
    }
}

#[cfg(test)]
mod tests;
