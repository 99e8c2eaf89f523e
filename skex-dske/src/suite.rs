//! How the shares of a key are protected on their way (docs/draft-skex-dske.md, "Suites").

use skex_core::{Aead, Assurance};
use skex_wire::dske::{DskeSuiteId, block_elements, share_elements};

/// How the shares of a key, and the messages that carry them, are protected between clients and hubs. Chosen by the
/// initiator, for both legs. Not the suite of a link's envelope, on which no key's secrecy rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeySuite {
    /// One-time pads and one-time tags: no computing power breaks the key. 176 octets of a table for a key of 32 octets,
    /// at each hub and leg.
    OneTime,
    /// AES-256-GCM under keys that are drawn from a table every 256 messages: 64 octets of a table each time. The key is
    /// as strong as AES-256 and the hash of the link's envelope suite.
    Aes256Gcm,
    /// The same with ChaCha20-Poly1305.
    ChaCha20Poly1305,
}

impl KeySuite {
    /// Every suite of this version.
    pub const ALL: [Self; 3] = [Self::OneTime, Self::Aes256Gcm, Self::ChaCha20Poly1305];

    /// The suite behind a code point. `None` if it is unknown, or its AEAD is not compiled in.
    #[must_use]
    pub fn from_id(id: DskeSuiteId) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.id() == id && suite.is_available())
    }

    /// The code point.
    #[must_use]
    pub const fn id(self) -> DskeSuiteId {
        match self {
            Self::OneTime => DskeSuiteId::ITS,
            Self::Aes256Gcm => DskeSuiteId::AES256GCM,
            Self::ChaCha20Poly1305 => DskeSuiteId::CHACHA20POLY1305,
        }
    }

    /// Whether it is compiled in.
    #[must_use]
    pub const fn is_available(self) -> bool {
        matches!(self, Self::OneTime) || self.aead().is_some()
    }

    /// What a key under this suite may claim at most.
    #[must_use]
    pub const fn assurance(self) -> Assurance {
        match self {
            Self::OneTime => Assurance::InformationTheoretic,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => Assurance::Computational,
        }
    }

    /// The AEAD; `None` for one-time pads, or if it is not compiled in.
    pub(crate) const fn aead(self) -> Option<Aead> {
        match self {
            Self::OneTime => None,
            Self::Aes256Gcm => Aead::aes256gcm(),
            Self::ChaCha20Poly1305 => Aead::chacha20poly1305(),
        }
    }
}

/// What one share of a key asks of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) suite: KeySuite,
    /// Octets of the key.
    pub(crate) key_len: u32,
}

impl Need {
    /// Elements of pad in the block that is to be allocated. An epoch's block has none: it is keys alone.
    pub(crate) fn pad_elements(self) -> Option<u32> {
        let share = share_elements(self.key_len)?;
        Some(if self.suite == KeySuite::OneTime { share } else { 0 })
    }

    /// Elements that one share costs, for budgets. Under an AEAD less than one: an epoch's four serve 256 messages.
    pub(crate) fn elements(self) -> Option<u32> {
        let block = block_elements(self.key_len)?;
        Some(if self.suite == KeySuite::OneTime { block } else { 1 })
    }
}
