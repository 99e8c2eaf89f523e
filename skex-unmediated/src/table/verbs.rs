//! The verbs of a [`Peer`], by lane.

use rand_core::CryptoRng;
use skex_core::machine::Instant;
use skex_core::{KeyId, Label, OutputKey};

use super::PeerTable;
use super::event::TableError;
use super::lane::LaneId;
use crate::mix::MixBlock;
use crate::peer::Peer;

impl PeerTable {
    /// [`Peer::establish`] on a lane.
    ///
    /// # Errors
    /// [`TableError`]; nothing changed.
    pub fn establish(
        &mut self,
        lane: LaneId,
        now: Instant,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), TableError> {
        let now = self.clock.observe(now);
        self.act(lane, |peer| peer.establish(now, rng))
    }

    /// [`Peer::export_next`] on a lane.
    ///
    /// # Errors
    /// [`TableError`]; nothing changed.
    pub fn export_next(
        &mut self,
        lane: LaneId,
        label: Label,
        context: &[u8],
    ) -> Result<OutputKey, TableError> {
        self.act(lane, |peer| peer.export_next(label, context))
    }

    /// [`Peer::export_at`] on a lane.
    ///
    /// # Errors
    /// [`TableError`]; nothing changed.
    pub fn export_at(
        &mut self,
        lane: LaneId,
        session: KeyId,
        index: u64,
        label: Label,
        context: &[u8],
    ) -> Result<(), TableError> {
        self.act(lane, |peer| peer.export_at(session, index, label, context))
    }

    /// [`Peer::peek_at`] on a lane.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn peek_at(
        &self,
        lane: LaneId,
        session: KeyId,
        index: u64,
        label: Label,
        context: &[u8],
    ) -> Result<OutputKey, TableError> {
        if lane.is_recovery() {
            return Err(TableError::RecoveryOnly);
        }
        let peer = self.lane(lane).ok_or(TableError::UnknownLane)?;
        Ok(peer.peek_at(session, index, label, context)?)
    }

    /// [`Peer::commit_at`] on a lane.
    ///
    /// # Errors
    /// [`TableError`]; nothing changed.
    pub fn commit_at(&mut self, lane: LaneId, session: KeyId, index: u64) -> Result<(), TableError> {
        self.act(lane, |peer| peer.commit_at(session, index))
    }

    /// [`Peer::note_answer`] on a lane.
    ///
    /// # Errors
    /// [`TableError`]; nothing changed.
    pub fn note_answer(&mut self, lane: LaneId, session: KeyId, index: u64) -> Result<(), TableError> {
        self.act(lane, |peer| peer.note_answer(session, index))
    }

    /// [`Peer::confirm`] on a lane.
    ///
    /// # Errors
    /// [`TableError`]; nothing changed.
    pub fn confirm(&mut self, lane: LaneId, session: KeyId) -> Result<(), TableError> {
        self.act(lane, |peer| peer.confirm(session))
    }

    /// [`Peer::provide_mix`] on a lane. A block is for one lane: each lane of a pair needs its own, the recovery lane too
    /// where fresh secret material is required.
    ///
    /// # Errors
    /// [`TableError`]; nothing changed.
    pub fn provide_mix(&mut self, lane: LaneId, block: &MixBlock) -> Result<(), TableError> {
        self.act_on_any(lane, |peer| peer.provide_mix(block))
    }

    /// [`Peer::withdraw_mixes`] on a lane.
    ///
    /// # Errors
    /// [`TableError`]; nothing changed.
    pub fn withdraw_mixes(&mut self, lane: LaneId) -> Result<(), TableError> {
        self.act_on_any(lane, |peer| {
            peer.withdraw_mixes();
            Ok::<(), TableError>(())
        })
    }

    fn act<T, E>(&mut self, id: LaneId, verb: impl FnOnce(&mut Peer) -> Result<T, E>) -> Result<T, TableError>
    where
        TableError: From<E>,
    {
        if id.is_recovery() {
            return Err(TableError::RecoveryOnly);
        }
        self.act_on_any(id, verb)
    }

    fn act_on_any<T, E>(
        &mut self,
        id: LaneId,
        verb: impl FnOnce(&mut Peer) -> Result<T, E>,
    ) -> Result<T, TableError>
    where
        TableError: From<E>,
    {
        let place = self.place(id)?;
        let lane = self.lanes.get_mut(place).ok_or(TableError::UnknownLane)?;
        let done = verb(&mut lane.peer)?;
        self.touch(place);
        Ok(done)
    }
}
