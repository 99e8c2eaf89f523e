//! A client and a hub: their envelope, and tables each way. Both machines are made of these.

mod tables;

use alloc::vec::Vec;

use rand_core::CryptoRng;
use skex_core::machine::DiscardReason;
use skex_core::{KeyId, SecretBytes, SecretVec};
use skex_wire::dske::{
    Answer, AnswerStatus, BlockPosition, Confirmation, Direction, InnerType, LeaseDenied, LeaseGrant,
    LeaseRequest, Sealed, ShareMessage, TAG_PREFIX_LEN, Tagged, Terms, share_elements, tag_prefix,
};
use skex_wire::{EncodeError, Writer};

use crate::envelope::{EnvelopeKeys, Session, Side};
use crate::id::ClientTag;
use crate::key::{Origin, encoded};
use crate::onetime::{MessageTagKey, MessageVerificationKey, Tag};
use crate::psrd::{
    AllocateError, AnswerKey, Block, GrantError, Granted, OpenError, Pad, Place, Receiving, Sending,
};

pub use tables::{TableError, TableStatus};

/// One end of a link.
#[derive(Debug)]
pub(crate) struct Link<P> {
    side: Side,
    pub(crate) keys: EnvelopeKeys,
    pub(crate) session: Option<Session>,
    pub(crate) outgoing: Sending<P>,
    pub(crate) incoming: Receiving<P>,
    /// The highest number of a table that was used up and taken away: of the uplink, and of the downlink.
    gone: [Option<u16>; 2],
}

/// A share as it was sent: repeated to the letter until it is answered.
pub(crate) struct SentShare {
    /// Its block.
    pub(crate) place: Place,
    /// The inner message.
    pub(crate) inner: Vec<u8>,
    pub(crate) answer_key: AnswerKey,
    /// What it waits for: the checkpoint of its lease.
    pub(crate) after: u64,
}

/// A share as it came in, its tag verified, its block used.
pub(crate) struct ReceivedShare {
    pub(crate) share: SecretVec,
    pub(crate) answer_key: AnswerKey,
}

/// The answer to a request for a lease.
pub(crate) enum LeaseAnswer {
    /// The grant, which waits for this checkpoint; the marks have to be stored if it is a new one.
    Granted { inner: Vec<u8>, after: u64 },
    /// Nothing is left.
    Denied { inner: Vec<u8> },
}

impl<P: Pad> Link<P> {
    pub(crate) const fn new(side: Side, keys: EnvelopeKeys) -> Self {
        Self {
            side,
            keys,
            session: None,
            outgoing: Sending::new(),
            incoming: Receiving::new(),
            gone: [None; 2],
        }
    }

    /// Goes on with a new envelope. Leases end with the session in which they were granted.
    pub(crate) fn begin(&mut self, session: Session) {
        self.end();
        self.session = Some(session);
    }

    /// Drops the envelope and the leases granted under it.
    pub(crate) fn end(&mut self) {
        self.session = None;
        let (sending, receiving) = self.directions();
        let spent = [(sending, self.outgoing.end_session()), (receiving, self.incoming.end_session())];
        for (direction, number) in spent {
            if let Some(slot) = self.gone.get_mut(usize::from(direction.value())) {
                *slot = (*slot).max(number);
            }
        }
    }

    /// Whether the envelope has sealed as much as it should: a new hello is due.
    pub(crate) fn is_worn_out(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_worn_out)
    }

    /// `inner` as a datagram. `None` without an envelope.
    pub(crate) fn seal(&mut self, inner: &[u8], fresh: bool) -> Option<Vec<u8>> {
        self.session.as_mut()?.seal(&self.keys, inner, fresh)
    }

    /// The inner message of a datagram.
    pub(crate) fn open(&mut self, sealed: &Sealed<'_>) -> Result<Vec<u8>, DiscardReason> {
        self.session.as_mut().ok_or(DiscardReason::Stale)?.open(&self.keys, sealed)
    }

    const fn directions(&self) -> (Direction, Direction) {
        match self.side {
            Side::Client => (Direction::UPLINK, Direction::DOWNLINK),
            Side::Hub => (Direction::DOWNLINK, Direction::UPLINK),
        }
    }

    fn prefix(&self, direction: Direction) -> [u8; TAG_PREFIX_LEN] {
        tag_prefix(direction, self.keys.client().number(), self.keys.hub().as_bytes())
    }

    /// Before what this end sends, under a tag.
    fn sending(&self) -> [u8; TAG_PREFIX_LEN] {
        self.prefix(self.directions().0)
    }

    /// Before what this end receives, under a tag.
    fn receiving(&self) -> [u8; TAG_PREFIX_LEN] {
        self.prefix(self.directions().1)
    }

    /// The request for a lease with room for blocks of `pad_elements`: a new one, or the one that is on its way; with the
    /// checkpoint that it waits for. A new one waits for `after`, which has to carry the marks.
    pub(crate) fn lease_request(
        &mut self,
        pad_elements: u32,
        worst: Origin,
        after: u64,
        rng: &mut dyn CryptoRng,
    ) -> Option<(Vec<u8>, u64)> {
        // One request at a time, whichever table it is for.
        let table = match self.outgoing.asking() {
            Some(_) => self.outgoing.asking(),
            None => self.outgoing.wanting(pad_elements, worst),
        }?;
        let want = table.usual_lease(pad_elements);
        let asked = table.ask(want, after, rng);
        let request = LeaseRequest::new(table.number(), asked.nonce, asked.mark, asked.want);
        Some((encoded(LeaseRequest::LEN, |out| request.encode(out))?, asked.after))
    }

    /// Answers the peer's request. `after` is the checkpoint that will carry the marks.
    pub(crate) fn answer_lease_request(
        &mut self,
        request: &LeaseRequest,
        after: u64,
    ) -> Result<LeaseAnswer, DiscardReason> {
        let none = || DiscardReason::Exhausted;
        let prefix = self.sending();
        let Some(table) = self.incoming.get_mut(request.table) else {
            // It was used up and is gone, or did not come here yet: the sender goes on with another.
            let denied = LeaseDenied::new(request.table, request.nonce, 0);
            let inner = encoded(LeaseDenied::LEN, |out| denied.encode(out)).ok_or_else(none)?;
            return Ok(LeaseAnswer::Denied { inner });
        };
        let Some(grant) = table.grant(&request.nonce, request.mark, request.want, after) else {
            let denied = LeaseDenied::new(request.table, request.nonce, table.high_water());
            let inner = encoded(LeaseDenied::LEN, |out| denied.encode(out)).ok_or_else(none)?;
            return Ok(LeaseAnswer::Denied { inner });
        };
        let message = LeaseGrant::new(request.table, grant.nonce, grant.start, grant.end);
        let inner = encoded(LeaseGrant::LEN, |out| {
            message.encode_untagged(out)?;
            let tag = table.grant_tag(&grant, &[&prefix, out.written()]);
            out.bytes(tag.ok_or(EncodeError::BufferTooSmall)?.as_bytes())
        });
        Ok(LeaseAnswer::Granted { inner: inner.ok_or_else(none)?, after: grant.after })
    }

    /// Takes the peer's grant; what is sent under it waits for checkpoint `after`, which must carry the marks.
    pub(crate) fn lease_granted(
        &mut self,
        grant: &Tagged<'_, LeaseGrant>,
        after: u64,
    ) -> Result<Granted, DiscardReason> {
        let prefix = self.receiving();
        let table = self.outgoing.get_mut(grant.message.table).ok_or(DiscardReason::Unexpected)?;
        table.granted(grant, &prefix, after).map_err(|error| match error {
            GrantError::NotAsked => DiscardReason::Stale,
            GrantError::Refused => DiscardReason::Policy,
            GrantError::Unauthentic => DiscardReason::Unauthentic,
            GrantError::Pad => DiscardReason::Exhausted,
        })
    }

    /// The peer grants nothing of this table. `false`: it answers no request that is on its way.
    #[must_use]
    pub(crate) fn lease_denied(&mut self, denied: &LeaseDenied) -> bool {
        self.outgoing.get_mut(denied.table).is_some_and(|table| table.deny(&denied.nonce))
    }

    /// A block for a share of a key of `key_len` octets, from a table of an origin as good as `worst`.
    pub(crate) fn allocate(&mut self, key_len: u32, worst: Origin) -> Result<(Block, u64), AllocateError> {
        self.outgoing.allocate(share_elements(key_len).ok_or(AllocateError::Exhausted)?, worst)
    }

    /// The message that carries a share. `share` is what travels: the masked share, or nothing for a direct one.
    pub(crate) fn share_message(
        &self,
        block: (Place, SecretBytes<32>),
        key_id: KeyId,
        peer: ClientTag,
        terms: Terms<'_>,
        secret_tag: &Tag,
        share: &[u8],
    ) -> Option<Vec<u8>> {
        let (Place { table, index }, tag_key) = block;
        let inner_type = match self.side {
            Side::Client => InnerType::UPLOAD,
            Side::Hub => InnerType::DELIVERY,
        };
        let position = BlockPosition::new(table, index, self.outgoing.get(table)?.floor());
        let (key_id, peer, secret_tag) = (*key_id.as_bytes(), *peer.as_bytes(), *secret_tag.as_bytes());
        let message = ShareMessage::new(inner_type, position, key_id, peer, terms, secret_tag, share).ok()?;
        let tag_key = MessageTagKey::from_pad(tag_key.expose()).ok()?;
        let prefix = self.sending();
        encoded(message.encoded_len(), |out| {
            message.encode_untagged(out)?;
            let tag = tag_key.tag(&[&prefix, out.written()]);
            out.bytes(tag.as_bytes())
        })
    }

    /// Verifies and opens a share. Its block is used then, and erased.
    pub(crate) fn open_share(
        &mut self,
        message: &Tagged<'_, ShareMessage<'_>>,
    ) -> Result<ReceivedShare, DiscardReason> {
        let share = &message.message;
        let expected = match self.side {
            Side::Client => InnerType::DELIVERY,
            Side::Hub => InnerType::UPLOAD,
        };
        if share.inner_type != expected {
            return Err(DiscardReason::Unexpected);
        }
        let prefix = self.receiving();
        let table = self.incoming.get_mut(share.position.table).ok_or(DiscardReason::Unexpected)?;
        let elements = share_elements(share.terms.key_len).ok_or(DiscardReason::Malformed)?;
        let block = table.open(share.position.index, elements).map_err(|error| match error {
            OpenError::NotLeased => DiscardReason::Policy,
            OpenError::Stale => DiscardReason::Stale,
            OpenError::Used => DiscardReason::Duplicate,
            OpenError::Flooded => DiscardReason::Busy,
            OpenError::Pad => DiscardReason::Exhausted,
        })?;
        let key =
            MessageVerificationKey::from_pad(block.tag_key.expose()).map_err(|_| DiscardReason::Stale)?;
        if !key.verify(&[&prefix, message.untagged], &Tag::from_bytes(message.tag)) {
            table.failed();
            return Err(DiscardReason::Unauthentic);
        }
        if !table.used(&block) {
            return Err(DiscardReason::Busy);
        }
        table.erase_below(share.position.floor);
        let Block { answer_key, pad, .. } = block;
        let share = if share.is_direct() { pad.into_share() } else { pad.unmask(share.share) };
        Ok(ReceivedShare { share, answer_key })
    }

    /// The one answer to the share in the block at `place`.
    pub(crate) fn answer(
        &self,
        place: Place,
        answer_key: AnswerKey,
        status: AnswerStatus,
        confirmation: Option<Confirmation<'_>>,
    ) -> Option<Vec<u8>> {
        let answer = Answer::new(place.table, place.index, status, confirmation).ok()?;
        let prefix = self.sending();
        encoded(answer.encoded_len(), |out: &mut Writer<'_>| {
            answer.encode_untagged(out)?;
            let tag = answer_key.tag(&[&prefix, out.written()]);
            out.bytes(tag.ok_or(EncodeError::BufferTooSmall)?.as_bytes())
        })
    }

    /// Whether this is the answer to a share that was sent in the block of `answer_key`.
    pub(crate) fn verifies_answer(&self, answer_key: &AnswerKey, answer: &Tagged<'_, Answer<'_>>) -> bool {
        answer_key.verifies(&[&self.receiving(), answer.untagged], &Tag::from_bytes(answer.tag))
    }
}
