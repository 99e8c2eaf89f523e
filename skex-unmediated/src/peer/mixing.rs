//! Fresh secret material: what the application provides, what is offered, chosen and needed.

use skex_core::SecretBytes;
use skex_core::machine::DiscardReason;
use skex_wire::unmediated::{FirstMessage, MIX_OFFER_LEN, MIX_REFERENCE_LEN, NONCE_LEN};

use super::initiator::equal;
use super::output::Events;
use super::{Attempt, Exchange, Peer};
use crate::config::Side;
use crate::error::MixError;
use crate::mix::{MixBlock, MixPolicy};
use crate::record::Choice;
use crate::rules::{Rule, holds};
use crate::schedule::{self, MIX_LEN};

/// The extension block of a first message.
pub(super) fn extension(offer: Option<&[u8; MIX_OFFER_LEN]>) -> &[u8] {
    offer.map_or(&[], |offer| &offer[..])
}

impl Peer {
    /// Takes a block of fresh secret material in, to be mixed into the next handshake for which both ends hold it. At most
    /// two are held. It is durable with [`Event::MixStored`](crate::Event::MixStored); a block that is held already
    /// changes nothing, so after a crash before that event provide it again.
    ///
    /// It is erased at each end with the move to the epoch that it helped to make, and not before, except by an
    /// enrolment. Never provide a block again once it was used: it is not fresh.
    ///
    /// # Errors
    /// [`MixError`]; nothing changed.
    pub fn provide_mix(&mut self, block: &MixBlock) -> Result<(), MixError> {
        if self.settings.mix == MixPolicy::Never {
            return Err(MixError::Policy);
        }
        let needed = if holds(Rule::KeepBlock) { self.mix_needed | self.offered_slots() } else { 0 };
        let is_new = self.state.blocks.add(block, needed)?;
        if is_new && holds(Rule::StoreBlock) {
            self.commit(Rule::StoreBlock);
        }
        self.due.events.insert(Events::MIX_STORED);
        Ok(())
    }

    /// Neither offers nor chooses the blocks any more that are held: the peer never got them, for instance. They are erased
    /// with the next move, because the peer may have moved with one already. A new block takes the place of one with which
    /// it cannot have: which came after the last start, and was not chosen since. Provided again, a block counts again.
    pub fn withdraw_mixes(&mut self) {
        if self.state.blocks.withdraw() {
            self.commit(Rule::StoreBlock);
        }
    }

    /// How many blocks of fresh secret material are held and not withdrawn: at most two.
    #[must_use]
    pub fn mix_blocks(&self) -> usize {
        self.state.blocks.active().count()
    }

    /// Whether an attempt can come to anything under our own policy: to a session, or to room for another block.
    pub(super) fn may_start(&self) -> bool {
        self.settings.mix != MixPolicy::Require
            || self.state.blocks.active().next().is_some()
            || (self.state.blocks.are_all_withdrawn() && holds(Rule::AskForRoom))
            || !holds(Rule::RequireBlock)
    }

    /// The peer answers our attempt, without a block: it is in this epoch still, and its own attempts are over. So it
    /// never moves with what we chose before, and blocks that were withdrawn may give their places to others.
    pub(super) fn on_mix_refused(&mut self, attempt: &Attempt) {
        if holds(Rule::AskForRoom) {
            self.mix_needed = 0;
        }
        if attempt.mix_slots == 0 && self.settings.mix == MixPolicy::Require {
            // It asked for nothing else.
            self.forget_exchange();
            self.wanted = false;
        } else if let Exchange::Attempt(attempt) = &mut self.exchange {
            attempt.refused = true;
        }
        self.due.events.insert(Events::MIX_REFUSED);
    }

    /// The slots of the blocks that an attempt offers. They hold until the lane moves on, which ends the attempt.
    pub(super) fn mix_slots(&self) -> u8 {
        if self.settings.mix == MixPolicy::Never {
            return 0;
        }
        self.state.blocks.active().fold(0, |slots, (slot, _)| slots | (1 << slot))
    }

    /// The slots of what the running attempt offers.
    const fn offered_slots(&self) -> u8 {
        match &self.exchange {
            Exchange::Attempt(attempt) => attempt.mix_slots,
            Exchange::Answered(_) | Exchange::Idle => 0,
        }
    }

    /// The extension block of the first message of an attempt that offers the blocks in these slots.
    pub(super) fn mix_offer(&self, slots: u8, nonce: &[u8; NONCE_LEN]) -> Option<[u8; MIX_OFFER_LEN]> {
        if slots == 0 {
            return None;
        }
        let (side, epoch) = (self.state.side, self.state.epoch);
        let mut offer = schedule::empty_mix_offer(&self.chain_keys(), epoch, side, nonce);
        let offered = self.state.blocks.held().filter(|(slot, _)| slots & (1 << slot) != 0);
        for (place, (_, block)) in offer.chunks_exact_mut(MIX_REFERENCE_LEN).zip(offered) {
            place.copy_from_slice(&self.mix_reference(block, side, nonce));
        }
        Some(offer)
    }

    /// The slot that the peer's choice among the references of our attempt names.
    pub(super) fn chosen_of(
        &self,
        attempt: &Attempt,
        choice: Choice,
    ) -> Result<Option<usize>, DiscardReason> {
        let Some(place) = choice.place() else {
            return Ok(None);
        };
        let mut offered = self.state.blocks.held().filter(|(slot, _)| attempt.mix_slots & (1 << slot) != 0);
        offered.nth(place).map(|(slot, _)| Some(slot)).ok_or(DiscardReason::Policy)
    }

    /// What we choose of what a first message offers: the place of the reference, and the slot of the block.
    pub(super) fn choose_mix(&self, first: &FirstMessage<'_>) -> (Choice, Option<usize>) {
        let found = match <&[u8; MIX_OFFER_LEN]>::try_from(first.extension) {
            Ok(offer) if self.settings.mix != MixPolicy::Never => self.find_offered(offer, first.nonce),
            _ => None,
        };
        match found {
            Some((place, slot)) => (Choice::of(place), Some(slot)),
            None if self.settings.mix == MixPolicy::Require && holds(Rule::RequireBlock) => {
                (Choice::Refused, None)
            }
            None => (Choice::None, None),
        }
    }

    /// The first reference of the peer's that is one to a block that may be chosen.
    fn find_offered(&self, offer: &[u8; MIX_OFFER_LEN], nonce: &[u8; NONCE_LEN]) -> Option<(usize, usize)> {
        let peer = self.state.side.other();
        let mut references = offer.chunks_exact(MIX_REFERENCE_LEN).enumerate();
        references.find_map(|(place, reference)| {
            let mut active = self.state.blocks.active();
            let (slot, _) =
                active.find(|(_, block)| equal(&self.mix_reference(block, peer, nonce), reference))?;
            Some((place, slot))
        })
    }

    /// The slot of the block with which the peer moved on, by what its long third message says. It is authentic: the peer
    /// did move, and without the block we never follow.
    pub(super) fn block_needed(
        &mut self,
        first: &FirstMessage<'_>,
        choice: Choice,
    ) -> Result<Option<usize>, DiscardReason> {
        let Some(place) = choice.place() else { return Ok(None) };
        let mut offer = first.extension.chunks_exact(MIX_REFERENCE_LEN);
        let reference = offer.nth(place).ok_or(DiscardReason::Policy)?;
        let peer = self.state.side.other();
        let mut held = self.state.blocks.held();
        let found = held.find(|(_, block)| equal(&self.mix_reference(block, peer, first.nonce), reference));
        if let Some((slot, _)) = found {
            return Ok(Some(slot));
        }
        drop(held);
        // It moved with another one: none of those that are held is needed in this epoch.
        self.mix_needed = 0;
        if holds(Rule::TellLostBlock) {
            self.due.events.insert(Events::MIX_LOST);
        }
        Err(DiscardReason::Exhausted)
    }

    fn mix_reference(
        &self,
        block: &SecretBytes<MIX_LEN>,
        initiator: Side,
        nonce: &[u8; NONCE_LEN],
    ) -> [u8; MIX_REFERENCE_LEN] {
        schedule::mix_reference(self.state.suite, block, self.state.epoch, initiator, nonce)
    }
}
