//! Recovery: the lane that is touched only to heal, and how the others are enrolled anew from it.
//!
//! The secret stays in the recovery lane's record until every other lane's new record is durable, and those lanes are silent
//! until it is gone. So after a crash at any point all of it can be done again, and comes to the same.
//!
//! Specification: section "Recovery".

use skex_core::{HashSecret, Label};

use super::Peer;
use super::output::Due;
use super::timers::Timer;
use crate::config::Side;
use crate::error::Error;
use crate::event::Role;
use crate::exporter::{derive, index_of};
use crate::record::{Recovery, State, Status};
use crate::rules::{Rule, holds};
use crate::schedule;

impl Peer {
    /// Lets this recovery lane answer the peer, until a recovery has gone through: another lane of the pair sent the peer a
    /// stale notice, or the operator wishes it. On any other lane it does nothing.
    pub fn allow_recovery(&mut self) {
        if self.settings.is_recovery && self.state.recovery == Recovery::None {
            self.state.recovery = Recovery::Allowed;
            self.commit(Rule::RecoveryIsDurable);
        }
    }

    /// A handshake is wanted on this recovery lane, and goes on being wanted over a restart.
    pub(super) fn want_recovery(&mut self) {
        if self.settings.is_recovery && self.state.recovery != Recovery::Wanted {
            self.state.recovery = Recovery::Wanted;
            self.commit(Rule::RecoveryIsDurable);
        }
    }

    /// Whether this recovery lane wants a recovery, so that it needs no further reason.
    #[cfg(feature = "alloc")]
    pub(crate) fn wants_recovery(&self) -> bool {
        self.state.recovery == Recovery::Wanted
    }

    /// Whether this recovery lane has a secret with which all other lanes of the pair are to be enrolled anew
    /// ([`enrol_by_recovery`](Self::enrol_by_recovery)). The other end has the same, or will have it.
    #[must_use]
    pub fn has_recovered(&self) -> bool {
        self.is_settled() && self.recovery_output().is_some()
    }

    /// Whether this lane was enrolled by a recovery that is not concluded at this end: it is silent until then.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.state.recovery == Recovery::Held
    }

    /// Whether all that was changed is durable.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.dirty && !self.barrier.is_pending()
    }

    /// Enrols this lane anew, in epoch 0, with the secret that the recovery lane of the same pair has. Its sessions are over. It
    /// is [held](Self::is_held). Doing it again changes nothing, whatever crashed between, not even blocks provided since.
    ///
    /// # Errors
    /// [`Error::NotRecovered`]; nothing changed.
    pub fn enrol_by_recovery(&mut self, recovery: &Self) -> Result<(), Error> {
        if self.settings.is_recovery || !recovery.has_recovered() {
            return Err(Error::NotRecovered);
        }
        let secret = recovery.recovery_secret().ok_or(Error::NotRecovered)?;
        self.enrol_held(&secret);
        Ok(())
    }

    /// All lanes of the pair are enrolled anew, and durably so: erases the secret here.
    ///
    /// # Errors
    /// [`Error::NotRecovered`]; nothing changed.
    pub fn conclude_recovery(&mut self) -> Result<(), Error> {
        if !self.has_recovered() {
            return Err(Error::NotRecovered);
        }
        let index = index_of(self.initiator_of_session(), 0);
        self.state.answering.take(self.state.suite, index).map_err(|_| Error::NotRecovered)?;
        self.commit(Rule::RecoveryIsDurable);
        Ok(())
    }

    /// Lets a held lane speak again, once the recovery lane of the pair has no secret any more.
    ///
    /// # Errors
    /// [`Error::Held`]: it still has, or is no recovery lane; nothing changed.
    pub fn release(&mut self, recovery: &Self) -> Result<(), Error> {
        if !recovery.settings.is_recovery
            || !recovery.is_settled()
            || recovery.recovery_output().is_some()
            || recovery.awaits_confirmation()
        {
            return Err(Error::Held);
        }
        if self.is_held() {
            self.state.recovery = Recovery::None;
            self.commit(Rule::RecoveryIsDurable);
        }
        Ok(())
    }

    /// The recovery lane moved, and does not know yet whether its peer has followed.
    fn awaits_confirmation(&self) -> bool {
        self.state.session.status == Status::Unconfirmed
    }

    fn initiator_of_session(&self) -> Side {
        let side = self.state.side;
        if self.state.session.role == Role::Initiator { side } else { side.other() }
    }

    /// Output 0 of the initiator's chain, if this is a recovery lane that has it.
    fn recovery_output(&self) -> Option<HashSecret> {
        if !self.settings.is_recovery || self.state.session.status != Status::Live {
            return None;
        }
        let index = index_of(self.initiator_of_session(), 0);
        self.state.answering.peek(self.state.suite, index).ok()
    }

    /// The new enrolment secret of the pair.
    fn recovery_secret(&self) -> Option<HashSecret> {
        let index = index_of(self.initiator_of_session(), 0);
        Some(derive(self.state.suite, &self.recovery_output()?, index, Label::EXPORT_LANE, &[]))
    }

    fn enrol_held(&mut self, secret: &HashSecret) {
        let suite = self.settings.initial_suite;
        let chain = schedule::first_chain_key(suite, &self.binding, secret.expose());
        if self.is_held() && self.state.chain == chain {
            return;
        }
        self.forget_exchange();
        self.end_session();
        self.state = State::enrolled(self.state.side, suite, self.settings.offer);
        self.state.chain.overwrite(&chain);
        self.state.recovery = Recovery::Held;
        self.state.answering.set_window(self.settings.window);
        self.timers.stop(Timer::Heal);
        self.due = Due::nothing(suite);
        self.consumer_confirmed = false;
        self.wanted = false;
        self.rolled_back = false;
        self.begin_rounds();
        self.mix_needed = 0;
        self.enter_epoch();
        self.forget_firsts();
        self.commit(Rule::RecoveryIsDurable);
    }

    /// What a move on the recovery lane means: it has gone through, or is due still.
    pub(super) fn after_move(&mut self, role: Role, status: Status) {
        if !self.settings.is_recovery {
            return;
        }
        self.state.recovery = match (role, status) {
            (Role::Initiator, _) => Recovery::Wanted,
            (Role::Responder, Status::Void) if holds(Rule::VoidIsNoRecovery) => Recovery::Allowed,
            (Role::Responder, _) => Recovery::None,
        };
    }
}
