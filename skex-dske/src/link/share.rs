//! How a share travels on a link, and its answer: in a block of its own, or sealed in an epoch.

use alloc::boxed::Box;
use alloc::vec::Vec;

use skex_core::machine::DiscardReason;
use skex_core::{KeyId, SecretBytes, SecretVec};
use skex_wire::dske::{
    Answer, AnswerStatus, BlockPosition, Confirmation, InnerType, ShareMessage, Tagged, Terms, share_elements,
};
use skex_wire::{EncodeError, Writer};

use super::{Epochs, Link};
use crate::envelope::Side;
use crate::epoch::{EpochAnswerKey, EpochKeys, Standing};
use crate::few::Few;
use crate::id::ClientTag;
use crate::key::{Origin, Origins, encoded};
use crate::onetime::{MessageTagKey, MessageVerificationKey, Tag};
use crate::psrd::{AllocateError, Block, Half, OpenError, Outgoing, Pad, Place};
use crate::suite::{KeySuite, Need};

/// Which message: the block that protects it, and its number if that block opened an epoch. One message has one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) block: Place,
    pub(crate) number: Option<u8>,
}

impl Slot {
    pub(crate) const fn of(message: &ShareMessage<'_>) -> Self {
        let BlockPosition { table, index, number, .. } = message.position;
        Self { block: Place { table, index }, number }
    }

    pub(crate) const fn answered_by(answer: &Answer<'_>) -> Self {
        Self { block: Place { table: answer.table, index: answer.index }, number: answer.number }
    }
}

/// The suite of a share's terms, if it is one that we know and the one that protects this very message.
pub(crate) fn suite_of(message: &ShareMessage<'_>) -> Option<KeySuite> {
    let sealed = message.position.number.is_some();
    KeySuite::from_id(message.terms.suite).filter(|suite| (*suite != KeySuite::OneTime) == sealed)
}

/// An answer without a confirmation.
pub(crate) type PlainAnswer = Few<PLAIN_ANSWER>;

/// Octets of one in an epoch, which has one more than others.
const PLAIN_ANSWER: usize = Answer::PLAIN_LEN + 1;

/// For the one answer to the message in this slot.
pub(crate) struct AnswerKey {
    slot: Slot,
    key: Key,
}

enum Key {
    OneTime(SecretBytes<32>),
    InEpoch(EpochAnswerKey),
}

impl AnswerKey {
    pub(super) const fn one_time(block: Place, key: SecretBytes<32>) -> Self {
        Self { slot: Slot { block, number: None }, key: Key::OneTime(key) }
    }

    /// Of the message that it answers.
    pub(crate) const fn slot(&self) -> Slot {
        self.slot
    }

    fn answer<'a>(&self, status: AnswerStatus, confirmation: Option<Confirmation<'a>>) -> Option<Answer<'a>> {
        let Slot { block, number } = self.slot;
        Some(Answer::new(block.table, block.index, status, confirmation).ok()?.in_epoch(number))
    }

    /// The tag of the answer, once.
    pub(super) fn tag(self, prefix: &[u8], answer: &[u8]) -> Option<Tag> {
        match self.key {
            Key::OneTime(key) => Some(MessageTagKey::from_pad(key.expose()).ok()?.tag(&[prefix, answer])),
            Key::InEpoch(key) => key.tag(&[prefix, answer].concat()).map(Tag::from_bytes),
        }
    }

    /// Whether this is the answer. By reference: a forged answer must not spend the key that the true one needs.
    pub(super) fn verifies(&self, prefix: &[u8], answer: &[u8], tag: &[u8; 16]) -> bool {
        match &self.key {
            Key::OneTime(key) => MessageVerificationKey::from_pad(key.expose())
                .is_ok_and(|key| key.verify(&[prefix, answer], &Tag::from_bytes(*tag))),
            Key::InEpoch(key) => key.verifies(&[prefix, answer].concat(), tag),
        }
    }
}

/// What goes with a share.
#[derive(Clone, Copy)]
pub(crate) struct Content<'a> {
    pub(crate) key_id: KeyId,
    /// The other end: the responder in an upload, the initiator in a delivery.
    pub(crate) peer: ClientTag,
    pub(crate) terms: Terms<'a>,
    pub(crate) secret_tag: &'a Tag,
}

/// A share as it was sent: repeated to the letter until it is answered.
pub(crate) struct SentShare {
    /// The inner message.
    pub(crate) inner: Vec<u8>,
    pub(crate) answer_key: AnswerKey,
    /// What it waits for: the checkpoint of its lease.
    pub(crate) after: u64,
    /// Elements of the table that it took.
    pub(crate) elements: u32,
}

/// A share as it came in, its tag verified, its slot used.
pub(crate) struct ReceivedShare {
    pub(crate) share: SecretVec,
    pub(crate) answer_key: AnswerKey,
    /// Elements of the table that it took.
    pub(crate) elements: u32,
}

impl<P: Pad> Link<P> {
    /// Whether a share can be sent without another lease, by a table of `origins`.
    pub(crate) fn has_room(&self, need: Need, origins: Origins) -> bool {
        self.next_number(need.suite, origins).is_some()
            || need.pad_elements().is_some_and(|elements| self.outgoing.has_room(elements, origins))
    }

    /// Whether a share could ever be sent, given another lease.
    pub(crate) fn could_have_room(&self, need: Need, origins: Origins) -> bool {
        self.next_number(need.suite, origins).is_some()
            || need.pad_elements().is_some_and(|elements| self.outgoing.could_have_room(elements, origins))
    }

    /// The origin of the table by which a share leaves now.
    pub(crate) fn next_origin(&self, need: Need) -> Origin {
        let epoch = self.epochs.as_ref().and_then(|epochs| epochs.sending.origin(need.suite));
        epoch.unwrap_or_else(|| self.outgoing.origin(need.pad_elements().unwrap_or(u32::MAX)))
    }

    fn next_number(&self, suite: KeySuite, origins: Origins) -> Option<(Place, u8, u64)> {
        self.epochs.as_ref()?.sending.next(suite, origins)
    }

    /// The message that carries `share`, protected as its terms say, by a table of `origins`. Without room
    /// nothing is spent.
    pub(crate) fn send_share(
        &mut self,
        share: &SecretVec,
        content: &Content<'_>,
        origins: Origins,
    ) -> Result<SentShare, AllocateError> {
        let suite = KeySuite::from_id(content.terms.suite).ok_or(AllocateError::Message)?;
        if suite != KeySuite::OneTime {
            return self.send_sealed(suite, share, content, origins);
        }
        let (block, after) = self.allocate(content, origins)?;
        let Block { place, elements, answer_key, tag_key, pad } = block;
        let masked = pad.mask(share.expose());
        self.send_in_block((place, elements, after), answer_key, &tag_key, content, masked.expose())
    }

    /// The message of a direct share, and the share: the pad itself. One-time suite only.
    pub(crate) fn send_direct(
        &mut self,
        content: &Content<'_>,
        origins: Origins,
    ) -> Result<(SentShare, SecretVec), AllocateError> {
        let (block, after) = self.allocate(content, origins)?;
        let Block { place, elements, answer_key, tag_key, pad } = block;
        let sent = self.send_in_block((place, elements, after), answer_key, &tag_key, content, &[])?;
        Ok((sent, pad.into_share()))
    }

    fn allocate(&mut self, content: &Content<'_>, origins: Origins) -> Result<(Block, u64), AllocateError> {
        let elements = share_elements(content.terms.key_len).ok_or(AllocateError::Message)?;
        self.outgoing.allocate(elements, origins)
    }

    fn floor(&self, table: u16) -> u32 {
        self.outgoing.get(table).map_or(0, Outgoing::floor)
    }

    fn send_in_block(
        &mut self,
        (place, elements, after): (Place, u32, u64),
        answer_key: SecretBytes<32>,
        tag_key: &SecretBytes<32>,
        content: &Content<'_>,
        masked: &[u8],
    ) -> Result<SentShare, AllocateError> {
        let position = BlockPosition::new(place.table, place.index, self.floor(place.table));
        let inner_type = match self.side {
            Side::Client => InnerType::UPLOAD,
            Side::Hub => InnerType::DELIVERY,
        };
        let message = content.message(inner_type, position, masked);
        let inner = message.zip(MessageTagKey::from_pad(tag_key.expose()).ok()).and_then(|(message, key)| {
            let prefix = self.sending();
            encoded(message.encoded_len(), |out| {
                message.encode_untagged(out)?;
                let tag = key.tag(&[&prefix, out.written()]);
                out.bytes(tag.as_bytes())
            })
        });
        let Some(inner) = inner else {
            self.outgoing.settle(place);
            return Err(AllocateError::Message);
        };
        Ok(SentShare { inner, answer_key: AnswerKey::one_time(place, answer_key), after, elements })
    }

    fn send_sealed(
        &mut self,
        suite: KeySuite,
        share: &SecretVec,
        content: &Content<'_>,
        origins: Origins,
    ) -> Result<SentShare, AllocateError> {
        let ((id, number, after), elements) = match self.next_number(suite, origins) {
            Some(next) => (next, 0),
            None => self.begin_epoch(suite, origins)?,
        };
        let position = BlockPosition::in_epoch(id.table, id.index, number, self.floor(id.table));
        let inner_type = match self.side {
            Side::Client => InnerType::UPLOAD_SEALED,
            Side::Hub => InnerType::DELIVERY_SEALED,
        };
        let prefix = self.sending();
        // Written in clear, then sealed where it stands.
        let message = content.message(inner_type, position, share.expose()).ok_or(AllocateError::Message)?;
        let (head_len, len) = (message.head_len(), message.encoded_len());
        let mut answer_key = None;
        let inner = encoded(len, |out| message.encode_untagged(out).and_then(|()| out.bytes(&[0; 16])));
        let inner = inner.and_then(|mut inner| {
            let (head, rest) = inner.split_at_mut_checked(head_len)?;
            let (body, tag) = rest.split_last_chunk_mut::<16>()?;
            let aad = [&prefix, &*head].concat();
            let sealed = self.epochs.as_mut()?.sending.seal(id, number, &aad, body)?;
            *tag = sealed.tag;
            answer_key = Some(sealed.answer_key);
            Some(inner)
        });
        let (Some(inner), Some(key)) = (inner, answer_key) else { return Err(AllocateError::Message) };
        let slot = Slot { block: id, number: Some(number) };
        Ok(SentShare { inner, answer_key: AnswerKey { slot, key: Key::InEpoch(key) }, after, elements })
    }

    /// Opens an epoch in a block of its own. The first number, and the elements of the block.
    fn begin_epoch(
        &mut self,
        suite: KeySuite,
        origins: Origins,
    ) -> Result<((Place, u8, u64), u32), AllocateError> {
        let (block, after) = self.outgoing.allocate(0, origins)?;
        let id = block.place;
        let origin = self.outgoing.get(id.table).map_or(Origin::Refill, Half::origin);
        let keys = EpochKeys::new(
            self.keys.suite(),
            suite,
            &self.sending(),
            id,
            (&block.answer_key, &block.tag_key),
        );
        let keys = keys.ok_or(AllocateError::Message)?;
        let epochs = self.epochs.get_or_insert_with(|| Box::new(Epochs::default()));
        if let Some(given_up) = epochs.sending.begin(id, origin, keys, after) {
            self.outgoing.settle(given_up);
        }
        Ok(((id, 0, after), block.elements))
    }

    /// Whether a message can still be answered: the other end keeps the last few epochs only.
    pub(crate) fn is_void(&self, sent: &SentShare) -> bool {
        let Slot { block, number } = sent.answer_key.slot();
        number.is_some() && !self.epochs.as_ref().is_some_and(|epochs| epochs.sending.is_open(block))
    }

    /// The message will not be sent again.
    pub(crate) fn settle(&mut self, sent: &SentShare) {
        let Slot { block, number } = sent.answer_key.slot();
        // An epoch's block is needed until the other end has opened it: by another of its messages, perhaps.
        if number.is_none() {
            self.outgoing.settle(block);
        }
    }

    /// Verifies and opens a share. Its slot is used then; of a block of its own the bytes are erased.
    pub(crate) fn open_share(
        &mut self,
        message: &Tagged<'_, ShareMessage<'_>>,
    ) -> Result<ReceivedShare, DiscardReason> {
        let share = &message.message;
        let expected = match (self.side, share.position.number) {
            (Side::Client, None) => InnerType::DELIVERY,
            (Side::Client, Some(_)) => InnerType::DELIVERY_SEALED,
            (Side::Hub, None) => InnerType::UPLOAD,
            (Side::Hub, Some(_)) => InnerType::UPLOAD_SEALED,
        };
        if share.inner_type != expected {
            return Err(DiscardReason::Unexpected);
        }
        match share.position.number {
            None => self.open_in_block(message),
            Some(number) => self.open_sealed(message, number),
        }
    }

    fn open_in_block(
        &mut self,
        message: &Tagged<'_, ShareMessage<'_>>,
    ) -> Result<ReceivedShare, DiscardReason> {
        let share = &message.message;
        let elements = share_elements(share.terms.key_len).ok_or(DiscardReason::Malformed)?;
        let block = self.open_tagged(&share.position, elements, message.untagged, &message.tag)?;
        let Block { place, elements, answer_key, pad, .. } = block;
        let answer_key = AnswerKey::one_time(place, answer_key);
        let share = if share.is_direct() { pad.into_share() } else { pad.mask(share.share) };
        Ok(ReceivedShare { share, answer_key, elements })
    }

    /// Reads the block of a message and verifies its tag. The block is used then, and its bytes are erased.
    pub(super) fn open_tagged(
        &mut self,
        position: &BlockPosition,
        pad_elements: u32,
        untagged: &[u8],
        tag: &[u8; 16],
    ) -> Result<Block, DiscardReason> {
        let prefix = self.receiving();
        let table = self.incoming.get_mut(position.table).ok_or(DiscardReason::Unexpected)?;
        let keys = table.open(position.index, pad_elements).map_err(discarded)?;
        let key =
            MessageVerificationKey::from_pad(keys.tag_key.expose()).map_err(|_| DiscardReason::Stale)?;
        if !key.verify(&[&prefix, untagged], &Tag::from_bytes(*tag)) {
            table.failed();
            return Err(DiscardReason::Unauthentic);
        }
        let block = table.take(keys).map_err(discarded)?;
        table.erase_below(position.floor);
        Ok(block)
    }

    fn open_sealed(
        &mut self,
        message: &Tagged<'_, ShareMessage<'_>>,
        number: u8,
    ) -> Result<ReceivedShare, DiscardReason> {
        let wire = &message.message;
        let suite = KeySuite::from_id(wire.terms.suite).ok_or(DiscardReason::Unexpected)?;
        let slot = Slot::of(wire);
        let id = slot.block;
        let prefix = self.receiving();
        let head = message.untagged.get(..wire.head_len()).ok_or(DiscardReason::Malformed)?;
        let aad = [&prefix, head].concat();
        let mut share = SecretVec::copied_from(wire.share);
        let table = self.incoming.get_mut(id.table).ok_or(DiscardReason::Unexpected)?;
        let epochs = self.epochs.get_or_insert_with(|| Box::new(Epochs::default()));
        let elements = match epochs.receiving.standing(id, suite, number) {
            Standing::Seen => return Err(DiscardReason::Duplicate),
            Standing::Over => return Err(DiscardReason::Stale),
            Standing::OtherSuite => return Err(DiscardReason::Unauthentic),
            Standing::New(_) if table.is_flooded() => return Err(DiscardReason::Busy),
            Standing::New(keys) => {
                if !keys.open(number, &aad, share.expose_mut(), &message.tag) {
                    table.failed();
                    return Err(DiscardReason::Unauthentic);
                }
                0
            }
            Standing::Unknown => {
                let block = table.open(id.index, 0).map_err(discarded)?;
                let keys = EpochKeys::new(
                    self.keys.suite(),
                    suite,
                    &prefix,
                    id,
                    (&block.answer_key, &block.tag_key),
                );
                let keys = keys.ok_or(DiscardReason::Unexpected)?;
                if !keys.open(number, &aad, share.expose_mut(), &message.tag) {
                    table.failed();
                    return Err(DiscardReason::Unauthentic);
                }
                let block = table.take(block).map_err(discarded)?;
                epochs.receiving.begin(id, keys);
                block.elements
            }
        };
        let key = epochs.receiving.see(id, number).ok_or(DiscardReason::Stale)?;
        table.erase_below(wire.position.floor);
        Ok(ReceivedShare { share, answer_key: AnswerKey { slot, key: Key::InEpoch(key) }, elements })
    }

    /// The one answer to the message of this key.
    pub(crate) fn answer(
        &self,
        key: AnswerKey,
        status: AnswerStatus,
        confirmation: Option<Confirmation<'_>>,
    ) -> Option<Vec<u8>> {
        let answer = key.answer(status, confirmation)?;
        encoded(answer.encoded_len(), |out| self.write_answer(out, &answer, key))
    }

    /// The same where nothing was confirmed.
    pub(crate) fn plain_answer(&self, key: AnswerKey, status: AnswerStatus) -> Option<PlainAnswer> {
        let answer = key.answer(status, None)?;
        let mut octets = [0; PLAIN_ANSWER];
        let mut out = Writer::new(&mut octets);
        self.write_answer(&mut out, &answer, key).ok()?;
        PlainAnswer::copied_from(out.written())
    }

    fn write_answer(
        &self,
        out: &mut Writer<'_>,
        answer: &Answer<'_>,
        key: AnswerKey,
    ) -> Result<(), EncodeError> {
        answer.encode_untagged(out)?;
        let tag = key.tag(&self.sending(), out.written());
        out.bytes(tag.ok_or(EncodeError::BufferTooSmall)?.as_bytes())
    }

    /// Whether this is the answer to a share that was sent; it is settled then.
    #[must_use]
    pub(crate) fn take_answer(&mut self, sent: &SentShare, answer: &Tagged<'_, Answer<'_>>) -> bool {
        let slot = sent.answer_key.slot();
        if Slot::answered_by(&answer.message) != slot
            || !sent.answer_key.verifies(&self.receiving(), answer.untagged, &answer.tag)
        {
            return false;
        }
        // The first answer proves that the other end has opened the epoch.
        let heard = slot.number.is_none()
            || self.epochs.as_mut().is_some_and(|epochs| epochs.sending.hear(slot.block));
        if heard {
            self.outgoing.settle(slot.block);
        }
        true
    }
}

impl Content<'_> {
    fn message<'a>(
        &'a self,
        inner_type: InnerType,
        position: BlockPosition,
        share: &'a [u8],
    ) -> Option<ShareMessage<'a>> {
        let (key_id, peer) = (*self.key_id.as_bytes(), *self.peer.as_bytes());
        let secret_tag = *self.secret_tag.as_bytes();
        ShareMessage::new(inner_type, position, key_id, peer, self.terms, secret_tag, share).ok()
    }
}

const fn discarded(error: OpenError) -> DiscardReason {
    match error {
        OpenError::NotLeased => DiscardReason::Unexpected,
        OpenError::Stale => DiscardReason::Stale,
        OpenError::Used => DiscardReason::Duplicate,
        OpenError::Flooded | OpenError::Full => DiscardReason::Busy,
        OpenError::Pad => DiscardReason::Exhausted,
    }
}
