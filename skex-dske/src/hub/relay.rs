//! A share on its way through the hub: from the upload to the responder's answer (docs/draft-skex-dske.md, "Hub").

use alloc::boxed::Box;
use core::time::Duration;

use skex_core::machine::Instant;
use skex_core::{KeyId, SecretBytes, SecretVec};
use skex_wire::dske::{
    AnswerStatus, Confirmation, DskeSuiteId, OutcomeStatus, ShareMessage, Terms, bitmap_len,
};
use skex_wire::limits::MAX_HUBS;
use skex_wire::{EncodeError, Reader, Writer};

use crate::backoff::Backoff;
use crate::few::Few;
use crate::id::ClientId;
use crate::journal::Journal;
use crate::key::Origin;
use crate::link::{AnswerKey, PlainAnswer, SentShare, Slot};
use crate::onetime::Tag;
use crate::state::{Name, RestoreError, whole_seconds};
use crate::suite::{KeySuite, Need};

/// Which share: the initiator and its key id.
pub(super) type RelayId = (ClientId, KeyId);

/// A share that the hub has accepted.
pub(super) struct Relay {
    pub(super) responder: ClientId,
    pub(super) suite: DskeSuiteId,
    pub(super) threshold: u8,
    pub(super) key_len: u32,
    pub(super) lifetime: u16,
    pub(super) coordinates: Few<{ MAX_HUBS as usize }>,
    pub(super) origins: Bitmap,
    pub(super) secret_tag: Tag,
    /// Until the responder has answered.
    pub(super) share: Option<SecretVec>,
    /// The responder's confirmation, to be passed on.
    pub(super) confirmation: Option<StoredConfirmation>,
    /// When it may be passed on again, once it was: each time only when asked, and ever less often; not durable.
    pub(super) confirmation_due: Option<Backoff>,
    /// What the initiator was told, or would be, once the share was dropped before the responder answered.
    pub(super) withdrawn: Option<OutcomeStatus>,
    /// Of the tables by which the share leaves for the responder: those of one origin, from the first time on, so that what the
    /// responder claims of this hub is true of every copy of the share. Durable before it leaves.
    pub(super) origin: Origin,
    /// Whether the share may have left; not durable: after a start, it may.
    pub(super) was_sent: bool,
    pub(super) expires: Instant,
    /// The slot of the upload and its answer; not durable: slots end with the session.
    pub(super) answer: Option<GivenAnswer>,
    /// The delivery in its slot; not durable, as above.
    pub(super) delivery: Option<Box<Delivery>>,
    /// What depends on this relay waits for this checkpoint.
    pub(super) after: u64,
}

/// A share that is on its way to its responder.
pub(super) struct Delivery {
    pub(super) sent: SentShare,
    pub(super) backoff: Backoff,
}

/// An answer as it was given: the same message gets the same answer again.
pub(super) struct GivenAnswer {
    pub(super) slot: Slot,
    pub(super) inner: PlainAnswer,
    /// It leaves behind this checkpoint.
    pub(super) after: u64,
}

/// What a responder confirmed.
#[derive(Clone)]
pub(super) struct StoredConfirmation {
    origins: Bitmap,
    lying: Bitmap,
    tag: [u8; 16],
}

/// One bit for each hub of a key.
type Bitmap = Few<{ bitmap_len(MAX_HUBS) }>;

impl StoredConfirmation {
    pub(super) fn of(confirmation: &Confirmation<'_>) -> Self {
        let &Confirmation { origins, lying, tag, .. } = confirmation;
        Self { origins: Few::of(&[origins]), lying: Few::of(&[lying]), tag }
    }

    /// As it travels. `None`: it is none.
    pub(super) fn wire(&self) -> Option<Confirmation<'_>> {
        Confirmation::new(&self.origins, &self.lying, self.tag).ok()
    }
}

impl Relay {
    pub(super) fn new(
        responder: ClientId,
        message: &ShareMessage<'_>,
        share: SecretVec,
        expires: Instant,
        origin: Origin,
        after: u64,
    ) -> Self {
        let terms = &message.terms;
        Self {
            responder,
            suite: terms.suite,
            threshold: terms.threshold,
            key_len: terms.key_len,
            lifetime: terms.lifetime,
            coordinates: Few::of(&[terms.coordinates]),
            origins: Few::of(&[terms.origins]),
            secret_tag: Tag::from_bytes(message.secret_tag),
            share: Some(share),
            confirmation: None,
            confirmation_due: None,
            withdrawn: None,
            origin,
            was_sent: false,
            expires,
            answer: None,
            delivery: None,
            after,
        }
    }

    /// What its share asks of a table. `None` for a suite that is not compiled in any more.
    pub(super) fn need(&self) -> Option<Need> {
        Some(Need { suite: KeySuite::from_id(self.suite)?, key_len: self.key_len })
    }

    pub(super) fn terms(&self) -> Option<Terms<'_>> {
        let Self { suite, threshold, key_len, lifetime, coordinates, origins, .. } = self;
        Terms::new(*suite, *threshold, *key_len, *lifetime, coordinates, origins).ok()
    }

    /// Whether an upload says the same as the one that was accepted.
    pub(super) fn repeats(&self, asked: &Self) -> bool {
        let same_share = self.share.as_ref().is_none_or(|own| Some(own) == asked.share.as_ref());
        self.responder == asked.responder
            && self.terms().is_some_and(|terms| Some(terms) == asked.terms())
            && self.secret_tag == asked.secret_tag
            && same_share
    }

    /// Stores it, from the next checkpoint on.
    pub(super) fn store(&self, now: Instant, id: RelayId, journal: &mut Journal) {
        journal.set_written(storage_key(id), self.encoded_len(), |out| self.write(now, out));
    }

    pub(super) fn encode(&self, now: Instant) -> SecretVec {
        SecretVec::from_fn(self.encoded_len(), |octets| {
            let written = self.write(now, &mut Writer::new(octets));
            debug_assert!(written.is_ok());
        })
    }

    fn encoded_len(&self) -> usize {
        let confirmation =
            self.confirmation.as_ref().map_or(0, |c| c.origins.len().saturating_mul(2).saturating_add(16));
        let fixed = 34_usize.saturating_add(self.coordinates.len()).saturating_add(self.origins.len());
        let share = self.share.as_ref().map_or(0, SecretVec::len);
        fixed.saturating_add(confirmation).saturating_add(share)
    }

    /// responder 4, seconds left 4, suite 1, threshold 1, n 1, key length 4, lifetime 2, coordinates, origins,
    /// secret tag 16, confirmation (length of a bitmap 1, and if not 0 origins, lying, tag 16; or 128 and the status of a
    /// withdrawal 1; and 64 if the share leaves by refilled tables), share (to the end; none once it was answered)
    fn write(&self, now: Instant, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.u32(self.responder.number())?;
        out.u32(whole_seconds(self.expires.saturating_since(now)))?;
        out.bytes(&[self.suite.value(), self.threshold])?;
        out.u8(u8::try_from(self.coordinates.len()).unwrap_or(u8::MAX))?;
        out.u32(self.key_len)?;
        out.u16(self.lifetime)?;
        out.bytes(&self.coordinates)?;
        out.bytes(&self.origins)?;
        out.bytes(self.secret_tag.as_bytes())?;
        let refilled = if self.origin == Origin::Refill { REFILLED } else { 0 };
        match &self.confirmation {
            None => {
                out.u8(refilled | self.withdrawn.map_or(0, |status| WITHDRAWN | status.value()))?;
            }
            Some(confirmation) => {
                out.u8(refilled | u8::try_from(confirmation.origins.len()).unwrap_or(REFILLED - 1))?;
                out.bytes(&confirmation.origins)?;
                out.bytes(&confirmation.lying)?;
                out.bytes(&confirmation.tag)?;
            }
        }
        out.bytes(self.share.as_ref().map_or(&[][..], SecretVec::expose))
    }

    pub(super) fn decode(value: &[u8], now: Instant) -> Result<Self, RestoreError> {
        let mut reader = Reader::new(value);
        let responder = ClientId::new(reader.u32()?);
        let expires = now.saturating_add(Duration::from_secs(reader.u32()?.into()));
        let suite = DskeSuiteId::new(reader.u8()?);
        let threshold = reader.u8()?;
        let count = reader.u8()?;
        let key_len = reader.u32()?;
        let lifetime = reader.u16()?;
        if count > MAX_HUBS {
            return Err(RestoreError::Content);
        }
        let coordinates = Few::of(&[reader.take(usize::from(count))?]);
        let origins = Few::of(&[reader.take(bitmap_len(count))?]);
        let secret_tag = Tag::from_bytes(reader.array()?);
        let head = reader.u8()?;
        let origin = if head & REFILLED == 0 { Origin::OutOfBand } else { Origin::Refill };
        let head = head & !REFILLED;
        let withdrawn = (head & WITHDRAWN != 0).then(|| OutcomeStatus::new(head & !WITHDRAWN));
        let confirmation = match usize::from(head) {
            _ if withdrawn.is_some() => None,
            0 => None,
            len if len > bitmap_len(MAX_HUBS) => return Err(RestoreError::Content),
            len => Some(StoredConfirmation {
                origins: Few::of(&[reader.take(len)?]),
                lying: Few::of(&[reader.take(len)?]),
                tag: reader.array()?,
            }),
        };
        let share = reader.rest();
        let share = (!share.is_empty()).then(|| SecretVec::copied_from(share));
        let relay = Self {
            responder,
            suite,
            threshold,
            key_len,
            lifetime,
            coordinates,
            origins,
            secret_tag,
            share,
            confirmation,
            confirmation_due: None,
            withdrawn,
            origin,
            was_sent: true,
            expires,
            answer: None,
            delivery: None,
            after: skex_core::machine::Barrier::OPEN,
        };
        if relay.terms().is_none() {
            return Err(RestoreError::Content);
        }
        Ok(relay)
    }
}

/// In the place of a bitmap's length, which is at most 4: the share was withdrawn, and this status told.
const WITHDRAWN: u8 = 0x80;

/// Beside either: the share leaves by refilled tables.
const REFILLED: u8 = 0x40;

/// What an upload is answered with, and the key for it.
pub(super) struct Verdict {
    pub(super) answer_key: AnswerKey,
    pub(super) status: AnswerStatus,
}

/// The key of a relay in the stored state.
pub(super) fn storage_key(id: RelayId) -> Name {
    key(STORED_RELAY, id)
}

/// The key of something of this kind in the stored state.
pub(super) fn key(kind: u8, (initiator, key_id): RelayId) -> Name {
    Name::of(&[&[kind], &initiator.number().to_be_bytes(), key_id.as_bytes()])
}

/// Whose it is, without the kind.
pub(super) fn id_of(key: &[u8]) -> Result<RelayId, RestoreError> {
    let mut reader = Reader::new(key);
    let id = (ClientId::new(reader.u32()?), KeyId::new(reader.array()?));
    reader.finish()?;
    Ok(id)
}

pub(super) const STORED_RELAY: u8 = 2;

/// The salt that a hub makes for a hello: a function of what the client sent and of how many sessions there were, under
/// a key of this start. So a hello costs no state, and a replayed one brings back no keys.
pub(super) fn hub_salt(
    boot_key: &SecretBytes<32>,
    client: ClientId,
    client_salt: &[u8; 16],
    generation: u32,
) -> Option<[u8; 16]> {
    let suite = skex_core::Suite::from_id(skex_wire::SuiteId::SHA256_AES256GCM)?;
    let expander = skex_core::Expander::from_key(suite, boot_key.expose());
    let context: [&[u8]; 3] = [&client.number().to_be_bytes(), client_salt, &generation.to_be_bytes()];
    Some(expander.public(skex_core::Label::DSKE_SALT, &context))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use skex_testvectors::records;

    use super::*;

    #[test]
    fn relays_are_read_and_written_as_the_vectors_say() {
        let mut tested = 0;
        let now = Instant::from_millis(1000);
        for group in records::load().unwrap().test_groups {
            let records::TestGroup::Relay(group) = group else { continue };
            for test in group.tests {
                tested += 1;
                let relay = Relay::decode(test.value.as_bytes(), now).unwrap();
                assert_eq!(relay.encode(now).expose(), test.value.as_bytes(), "{}", test.name);
                for (later, less) in [(1, 0), (999, 0), (1000, 1)] {
                    let written = relay.encode(now.saturating_add(Duration::from_millis(later)));
                    assert_eq!(written.expose()[4..8], (test.left - less).to_be_bytes(), "{}", test.name);
                }
                let terms = (relay.responder.number(), relay.suite.value(), relay.threshold, relay.key_len);
                assert_eq!(terms, (test.responder, test.suite, test.threshold, test.key_length));
                let times = (relay.expires.saturating_since(now).as_secs(), relay.lifetime);
                assert_eq!(times, (test.left.into(), test.lifetime));
                assert_eq!(&*relay.coordinates, test.coordinates.as_bytes());
                assert_eq!(&*relay.origins, test.origins.as_bytes());
                assert_eq!(relay.secret_tag.as_bytes(), test.secret_tag.as_bytes());
                assert_eq!(relay.origin == Origin::Refill, test.refilled, "{}", test.name);
                assert_eq!(relay.withdrawn.map(OutcomeStatus::value), test.withdrawn, "{}", test.name);
                let said = relay.confirmation.as_ref();
                let said = said.map(|said| (&said.origins[..], &said.lying[..], &said.tag[..]));
                let stated = test.confirmed_origins.as_ref().map(|origins| {
                    let (lying, tag) = (test.confirmed_lying.as_ref(), test.confirmed_tag.as_ref());
                    (origins.as_bytes(), lying.unwrap().as_bytes(), tag.unwrap().as_bytes())
                });
                assert_eq!(said, stated, "{}", test.name);
                let share = relay.share.as_ref().map_or(&[][..], SecretVec::expose);
                assert_eq!(share, test.share.as_bytes(), "{}", test.name);
            }
        }
        assert!(tested > 5, "{tested}");
    }
}
