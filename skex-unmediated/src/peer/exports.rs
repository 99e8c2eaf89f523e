//! Keys for consumers, and what consumers report.

use skex_core::{KeyId, Label, OutputKey};

use super::Peer;
use super::output::{Events, output_key};
use super::timers::Timer;
use crate::error::{Error, ExportError};
use crate::exporter::{derive, index_owner, key_bytes, number_of};
use crate::record::Status;
use crate::rules::{Rule, holds};

impl Peer {
    /// The next output that this end names, for one use by the consumer that `label` is for. Its id and index tell the
    /// peer which it is ([`export_at`](Self::export_at)); `context` binds it to more, the same at both ends. It is as long
    /// as the suite's hash: 32 octets, or 64.
    ///
    /// At once and without a write: the record of the handshake has reserved the whole chain, so after a start
    /// none of it is left to name.
    ///
    /// # Errors
    /// [`ExportError`]; nothing changed.
    pub fn export_next(&mut self, label: Label, context: &[u8]) -> Result<OutputKey, ExportError> {
        self.check_session(self.state.session.id)?;
        check_context(context)?;
        if self.dirty || self.is_gated() {
            return Err(ExportError::Busy);
        }
        self.check_confirmed()?;
        let (index, output) = self.naming.name(self.state.suite, self.state.side)?;
        let secret = derive(self.state.suite, &output, index, label, context);
        Ok(self.confirmed_if_live(output_key(self.state.session.id, index, key_bytes(&secret)?)))
    }

    /// Takes the output that the peer named. It comes as [`Event::KeyReady`](crate::Event::KeyReady) once its erasure is
    /// durable; an index gives one output, whatever the label.
    ///
    /// The index must come from the peer **itself**: from a message that is authentic already. Where it comes in the first
    /// message of the consumer's own protocol, use [`peek_at`](Self::peek_at).
    ///
    /// # Errors
    /// [`ExportError`]; nothing changed.
    pub fn export_at(
        &mut self,
        session: KeyId,
        index: u64,
        label: Label,
        context: &[u8],
    ) -> Result<(), ExportError> {
        self.check_answer(session, index)?;
        check_context(context)?;
        self.check_idle()?;
        let output = self.state.answering.take(self.state.suite, index)?;
        let secret = derive(self.state.suite, &output, index, label, context);
        let number = number_of(index)?;
        self.state.answering.put_released(number, &secret);
        self.released_number = u16::try_from(number).ok();
        self.commit(Rule::EraseBeforeKey);
        Ok(())
    }

    /// Derives the output that somebody says the peer named, and changes nothing: for consumers that verify the peer
    /// under the key, and mix fresh values of their own into what they use. Then [`commit_at`](Self::commit_at).
    ///
    /// Never use it for a key that is used as it is: until the commit the same index gives the same key again. So the
    /// key is not confirmed, and an exporter refuses it.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn peek_at(
        &self,
        session: KeyId,
        index: u64,
        label: Label,
        context: &[u8],
    ) -> Result<OutputKey, ExportError> {
        self.check_answer(session, index)?;
        check_context(context)?;
        if self.dirty || self.is_gated() {
            return Err(ExportError::Busy);
        }
        let output = self.state.answering.peek(self.state.suite, index)?;
        let secret = derive(self.state.suite, &output, index, label, context);
        Ok(output_key(session, index, key_bytes(&secret)?))
    }

    /// Erases an output after the consumer has verified the peer under it.
    ///
    /// # Errors
    /// [`ExportError`]; nothing changed.
    pub fn commit_at(&mut self, session: KeyId, index: u64) -> Result<(), ExportError> {
        self.check_answer(session, index)?;
        self.check_idle()?;
        self.state.answering.take(self.state.suite, index)?;
        self.commit(Rule::EraseBeforeKey);
        Ok(())
    }

    /// The peer answered under an output that this end named: as many more may be named as the window holds.
    ///
    /// # Errors
    /// [`ExportError::UnknownSession`], [`ExportError::TooFar`] for an index that was not named.
    pub fn note_answer(&mut self, session: KeyId, index: u64) -> Result<(), ExportError> {
        self.check_session(session)?;
        if index_owner(index) != self.state.side {
            return Err(ExportError::TooFar);
        }
        self.naming.note_answer(index)
    }

    /// The consumer verified a message of the peer under a key of this session: the session is good. It ends the wait
    /// for the fourth message, and is the session that was wanted, if one was; where the consumer confirms, no event says so. It
    /// does not end the duty to heal, for the consumer may have been deceived by its own message sent back.
    ///
    /// # Errors
    /// [`Error::UnknownSession`].
    pub fn confirm(&mut self, session: KeyId) -> Result<(), Error> {
        self.check_session(session).map_err(|_| Error::UnknownSession)?;
        if self.state.session.status == Status::Live {
            return Ok(());
        }
        self.state.session.status = Status::Live;
        self.unsaved = true;
        self.arm_session_life();
        self.fulfil_wish();
        if !self.settings.consumer_confirms {
            self.due.events.insert(Events::ESTABLISHED);
        }
        if holds(Rule::HealAfterConfirmation) {
            self.consumer_confirmed = true;
            self.arm_heal();
        } else {
            self.state.link = crate::record::Link::None;
            self.timers.stop(Timer::Heal);
        }
        Ok(())
    }

    fn check_session(&self, session: KeyId) -> Result<(), ExportError> {
        let is_live = self.state.session.status.has_keys() && self.state.session.id == session;
        // What the recovery lane gives, it gives to the other lanes alone.
        if is_live && !self.settings.is_recovery { Ok(()) } else { Err(ExportError::UnknownSession) }
    }

    fn check_answer(&self, session: KeyId, index: u64) -> Result<(), ExportError> {
        self.check_session(session)?;
        self.check_confirmed()?;
        if index_owner(index) == self.state.side { Err(ExportError::OwnIndex) } else { Ok(()) }
    }

    /// An initiator gives no keys before its session is live, except where the consumer confirms.
    fn check_confirmed(&self) -> Result<(), ExportError> {
        if self.state.session.status == Status::Unconfirmed && !self.settings.consumer_confirms {
            return Err(ExportError::Unconfirmed);
        }
        Ok(())
    }

    /// One durable change, and one key to hand over, at a time.
    const fn check_idle(&self) -> Result<(), ExportError> {
        if self.dirty || self.barrier.is_pending() || self.released_number.is_some() {
            return Err(ExportError::Busy);
        }
        Ok(())
    }
}

const fn check_context(context: &[u8]) -> Result<(), ExportError> {
    // The index stands before it in the same field.
    if context.len() > (u16::MAX as usize).saturating_sub(8) { Err(ExportError::LongContext) } else { Ok(()) }
}
