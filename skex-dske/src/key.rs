//! The key and what it is bound to (docs/draft-skex-dske.md, "Key").

use alloc::vec::Vec;
use core::time::Duration;

use rand_core::CryptoRng;
use skex_core::{Assurance, KeyBytes, KeyId, SecretBytes, SecretVec};
use skex_wire::Writer;
use skex_wire::dske::{MAX_HUBS, TableOrigin, Terms, bitmap_bit, bitmap_len, context_len, encode_context};

use crate::few::Few;
use crate::id::{ClientTag, HubId};
use crate::onetime::{MessageTagKey, MessageVerificationKey, SecretTagKey, Tag};
use crate::psrd::ELEMENT_LEN;
use crate::share::Coordinate;
use crate::suite::{KeySuite, Need};

/// Of any key, whatever limits are now.
pub(crate) const LONGEST_LIFETIME: Duration = Duration::from_secs(u16::MAX as u64);

/// How a table came to both ends of its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// Carried by hand, over a channel as good as the key must be.
    OutOfBand,
    /// Sent over an encrypted channel: as strong as that encryption, for good.
    Refill,
}

impl Origin {
    /// What a key made with such a table may claim at most.
    #[must_use]
    pub const fn assurance(self) -> Assurance {
        match self {
            Self::OutOfBand => Assurance::InformationTheoretic,
            Self::Refill => Assurance::Computational,
        }
    }

    /// Whether it is at least as good as `worst`.
    pub(crate) const fn is_as_good_as(self, worst: Self) -> bool {
        matches!((self, worst), (Self::OutOfBand, _) | (_, Self::Refill))
    }

    /// The octet that stands for it.
    pub(crate) const fn code(self) -> TableOrigin {
        match self {
            Self::OutOfBand => TableOrigin::OUT_OF_BAND,
            Self::Refill => TableOrigin::REFILL,
        }
    }

    const fn bit(self) -> bool {
        matches!(self, Self::Refill)
    }

    const fn from_bit(bit: bool) -> Self {
        if bit { Self::Refill } else { Self::OutOfBand }
    }
}

/// Which tables a message may be sent by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origins {
    /// All: it claims no more than the worst of them.
    Any,
    /// Those of one origin.
    Only(Origin),
}

impl Origins {
    /// Those that are at least as good as `worst`.
    pub(crate) const fn up_to(worst: Origin) -> Self {
        match worst {
            Origin::OutOfBand => Self::Only(worst),
            Origin::Refill => Self::Any,
        }
    }

    /// Those that a key of at least this assurance may be sent by.
    pub(crate) fn for_at_least(minimum: Assurance) -> Self {
        if Origin::Refill.assurance() < minimum { Self::Only(Origin::OutOfBand) } else { Self::Any }
    }

    pub(crate) fn include(self, origin: Origin) -> bool {
        self == Self::Any || self == Self::Only(origin)
    }
}

/// Everything that a key is bound to: under the secret tag, so that no hub can change any of it.
pub(crate) struct Context {
    pub(crate) key_id: KeyId,
    pub(crate) initiator: ClientTag,
    pub(crate) responder: ClientTag,
    pub(crate) suite: KeySuite,
    pub(crate) threshold: u8,
    /// Octets of the key.
    pub(crate) key_len: u32,
    /// Seconds.
    pub(crate) lifetime: u16,
    /// The hubs, ascending by coordinate, from our own roster: never from a message.
    hubs: Vec<ContextHub>,
    /// Their coordinates, as they travel.
    coordinates: Few<{ MAX_HUBS as usize }>,
    /// Of the initiator's uplink tables.
    origins: Bitmap,
}

/// One bit for each hub of a key.
pub(crate) type Bitmap = Few<{ bitmap_len(MAX_HUBS) }>;

/// A hub that carries a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContextHub {
    pub(crate) id: HubId,
    pub(crate) coordinate: Coordinate,
    /// Of the initiator's uplink table there.
    pub(crate) origin: Origin,
}

/// Who agrees on what, before the hubs are named.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agreement {
    pub(crate) key_id: KeyId,
    pub(crate) initiator: ClientTag,
    pub(crate) responder: ClientTag,
    pub(crate) suite: KeySuite,
    pub(crate) threshold: u8,
    pub(crate) key_len: u32,
    pub(crate) lifetime: u16,
}

impl Context {
    /// The context of an agreement through these hubs, in any order: at most as many as a key may have.
    pub(crate) fn new(agreement: Agreement, mut hubs: Vec<ContextHub>) -> Self {
        hubs.sort_unstable_by_key(|hub| hub.coordinate);
        let mut coordinates = [0; MAX_HUBS as usize];
        coordinates.iter_mut().zip(&hubs).for_each(|(x, hub)| *x = hub.coordinate.get());
        let Agreement { key_id, initiator, responder, suite, threshold, key_len, lifetime } = agreement;
        Self {
            key_id,
            initiator,
            responder,
            suite,
            threshold,
            key_len,
            lifetime,
            coordinates: Few::of(&[coordinates.get(..hubs.len()).unwrap_or_default()]),
            origins: origin_bitmap(hubs.iter().map(|hub| hub.origin)),
            hubs,
        }
    }

    /// The part that travels. `None` if it is outside the protocol's limits.
    pub(crate) fn terms(&self) -> Option<Terms<'_>> {
        let Self { suite, threshold, key_len, lifetime, coordinates, origins, .. } = self;
        Terms::new(suite.id(), *threshold, *key_len, *lifetime, coordinates, origins).ok()
    }

    /// Whether these are its terms.
    pub(crate) fn has(&self, terms: &Terms<'_>) -> bool {
        terms.suite == self.suite.id()
            && (terms.threshold, terms.key_len, terms.lifetime)
                == (self.threshold, self.key_len, self.lifetime)
            && *terms.coordinates == *self.coordinates
            && *terms.origins == *self.origins
    }

    /// The octets under the tags.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let terms = self.terms()?;
        let hubs = self.hubs.iter().map(|hub| hub.id.as_bytes());
        encoded(context_len(self.count()), |out| {
            let parties = (self.initiator.as_bytes(), self.responder.as_bytes());
            encode_context(out, self.key_id.as_bytes(), parties.0, parties.1, &terms, hubs)
        })
    }

    /// n.
    pub(crate) fn count(&self) -> u8 {
        u8::try_from(self.hubs.len()).unwrap_or(u8::MAX)
    }

    /// The hubs in the order of the context, with their coordinates.
    pub(crate) fn hubs(&self) -> impl Iterator<Item = (HubId, Coordinate)> + '_ {
        self.hubs.iter().map(|hub| (hub.id, hub.coordinate))
    }

    /// What is claimed of the initiator's table at this hub.
    pub(crate) fn origin_of(&self, coordinate: Coordinate) -> Origin {
        let hub = self.hubs.iter().find(|hub| hub.coordinate == coordinate);
        hub.map_or(Origin::Refill, |hub| hub.origin)
    }

    /// What each share asks of a table.
    pub(crate) const fn need(&self) -> Need {
        Need { suite: self.suite, key_len: self.key_len }
    }

    /// What the suite and the initiator's tables allow to claim.
    pub(crate) fn assurance(&self) -> Assurance {
        claimed(&self.origins, self.count()).weakest(self.suite.assurance())
    }
}

/// Bits in order, least significant first.
pub(crate) fn bitmap(bits: impl Iterator<Item = bool>) -> Bitmap {
    let mut octets = [0; bitmap_len(MAX_HUBS)];
    let mut count = 0;
    for (i, bit) in (0..MAX_HUBS).zip(bits) {
        if let Some(octet) = octets.get_mut(usize::from(i >> 3)) {
            *octet |= u8::from(bit) << (i & 7);
        }
        count = i.saturating_add(1);
    }
    Bitmap::of(&[octets.get(..bitmap_len(count)).unwrap_or_default()])
}

/// The bitmap of table origins.
pub(crate) fn origin_bitmap(origins: impl Iterator<Item = Origin>) -> Bitmap {
    bitmap(origins.map(Origin::bit))
}

/// What tables of these origins allow to claim.
pub(crate) fn claimed(origins: &[u8], count: u8) -> Assurance {
    let origins = (0..count).map(|i| Origin::from_bit(bitmap_bit(origins, i)).assurance());
    origins.fold(Assurance::InformationTheoretic, Assurance::weakest)
}

/// `len` octets, written by `write`. `None` if it does not write exactly as many.
pub(crate) fn encoded(
    len: usize,
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), skex_wire::EncodeError>,
) -> Option<Vec<u8>> {
    // Of a few octets, as messages are, allocators are slower to give zeros than we are to write them.
    let mut octets = Vec::with_capacity(len);
    append(&mut octets, len, write)?;
    Some(octets)
}

/// The same behind others. On `None` what is behind them is of no use.
pub(crate) fn append(
    octets: &mut Vec<u8>,
    len: usize,
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), skex_wire::EncodeError>,
) -> Option<()> {
    let mut out = Writer::new(room_behind(octets, len)?);
    write(&mut out).ok()?;
    (out.remaining() == 0).then_some(())
}

/// Not inlined: it is the same for all that is written.
#[inline(never)]
fn room_behind(octets: &mut Vec<u8>, len: usize) -> Option<&mut [u8]> {
    let start = octets.len();
    octets.resize(start.saturating_add(len), 0);
    octets.get_mut(start..)
}

const TAG_KEY_LEN: usize = 48;
const CONFIRM_KEY_LEN: usize = 32;

/// What is shared among the hubs: the tag's key, the key, the confirmation's key.
pub(crate) struct SecretBlock {
    octets: SecretVec,
    key_len: usize,
}

impl SecretBlock {
    /// A fresh key of `key_len` octets with its one-time keys. Draws 48, then `key_len`, then 32 octets.
    pub(crate) fn generate(key_len: usize, rng: &mut dyn CryptoRng) -> Self {
        let octets = SecretVec::from_fn(Self::len(key_len), |octets| {
            let (tag_key, rest) = octets.split_at_mut(TAG_KEY_LEN.min(octets.len()));
            rng.fill_bytes(tag_key);
            let (key, rest) = rest.split_at_mut(key_len.min(rest.len()));
            rng.fill_bytes(key);
            let padding = rest.len().saturating_sub(CONFIRM_KEY_LEN);
            if let Some(confirm_key) = rest.get_mut(padding..) {
                rng.fill_bytes(confirm_key);
            }
        });
        Self { octets, key_len }
    }

    /// A block as the shares gave it. `None` if its length does not fit the key's.
    pub(crate) fn from_shares(octets: SecretVec, key_len: usize) -> Option<Self> {
        (octets.len() == Self::len(key_len)).then_some(Self { octets, key_len })
    }

    const fn len(key_len: usize) -> usize {
        let key = key_len.div_ceil(ELEMENT_LEN).saturating_mul(ELEMENT_LEN);
        key.saturating_add(TAG_KEY_LEN).saturating_add(CONFIRM_KEY_LEN)
    }

    pub(crate) const fn octets(&self) -> &SecretVec {
        &self.octets
    }

    fn payload(&self) -> &[u8] {
        self.octets.expose().get(TAG_KEY_LEN..).unwrap_or_default()
    }

    /// The secret tag of this block.
    pub(crate) fn tag(&self, context: &[u8]) -> Tag {
        Self::tag_of(self.octets.expose(), context)
    }

    /// The secret tag that a block of these octets has: the responder compares it for each candidate.
    pub(crate) fn tag_of(octets: &[u8], context: &[u8]) -> Tag {
        let (key, payload) = octets.split_first_chunk::<TAG_KEY_LEN>().unwrap_or((&[0; TAG_KEY_LEN], octets));
        SecretTagKey::from_secret(key).tag(payload, context)
    }

    fn confirm_key(&self) -> SecretBytes<CONFIRM_KEY_LEN> {
        self.octets.expose().last_chunk().map_or_else(SecretBytes::zeroed, SecretBytes::copied_from)
    }

    /// The key for the application, taken out of the block. It will be moved.
    pub(crate) fn key(&self) -> Option<KeyBytes> {
        KeyBytes::on_heap(self.payload().get(..self.key_len)?)
    }

    /// The responder's confirmation: once, over what it fixed when it accepted.
    pub(crate) fn confirm(&self, context: &[u8], origins: &[u8], lying: &[u8]) -> Option<Tag> {
        let key = MessageTagKey::from_pad(self.confirm_key().expose()).ok()?;
        Some(key.tag(&[context, origins, lying]))
    }

    /// What the initiator keeps to know the confirmation.
    pub(crate) fn confirmation_key(&self) -> Option<MessageVerificationKey> {
        MessageVerificationKey::from_pad(self.confirm_key().expose()).ok()
    }
}
