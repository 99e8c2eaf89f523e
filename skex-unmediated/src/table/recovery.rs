//! Recovery: a lane that is touched only to heal gives the secret with which all others are enrolled anew.
//!
//! Specification: section "Recovery".

use rand_core::CryptoRng;
use skex_core::machine::{Instant, PeerHandle};
use skex_core::{Label, OutputKey};

use super::PeerTable;
use super::event::{RecoveryCause, TableError, TableEvent};
use super::lane::{Lane, LaneId, RECOVERY_LANE};
use crate::event::{Event, Role, Session};
use crate::exporter::index_of;

impl PeerTable {
    /// Starts a recovery of the pair, after this end was rolled back or on the operator's wish: a handshake on the
    /// recovery lane. Its answer is [`TableEvent::Recovered`] at both ends.
    ///
    /// The other end answers only if a lane of the pair has shown it that this end is behind, or after
    /// [`allow_recovery`](Self::allow_recovery).
    ///
    /// # Errors
    /// [`TableError::NoRecoveryLane`], [`TableError::NotRolledBack`], [`TableError::Peer`].
    pub fn recover(
        &mut self,
        pair: PeerHandle,
        cause: RecoveryCause,
        now: Instant,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), TableError> {
        let place = self.recovery_place(pair)?;
        if cause == RecoveryCause::RolledBack
            && !self.lanes_of(pair).any(|lane| self.lane(lane).is_some_and(|peer| peer.is_rolled_back()))
        {
            return Err(TableError::NotRolledBack);
        }
        let lane = self.lanes.get_mut(place).ok_or(TableError::NoRecoveryLane)?;
        let done = lane.peer.establish(now, rng);
        lane.open |= done.is_ok();
        self.touch(place);
        Ok(done?)
    }

    /// Lets the recovery lane of the pair answer the peer, on the operator's wish, until a recovery has gone through.
    ///
    /// # Errors
    /// [`TableError::NoRecoveryLane`].
    pub fn allow_recovery(&mut self, pair: PeerHandle) -> Result<(), TableError> {
        let place = self.recovery_place(pair)?;
        self.lanes.get_mut(place).ok_or(TableError::NoRecoveryLane)?.open = true;
        Ok(())
    }

    fn recovery_place(&self, pair: PeerHandle) -> Result<u32, TableError> {
        self.names.get(&LaneId::new(pair, RECOVERY_LANE)).copied().ok_or(TableError::NoRecoveryLane)
    }

    /// A lane of the pair has sent a stale notice: the recovery lane may be needed.
    pub(super) fn note_behind(&mut self, place: u32) {
        let Some(lane) = self.lanes.get_mut(place) else { return };
        let epoch = Some(lane.peer.epoch());
        if lane.id.is_recovery() || lane.behind == epoch {
            return;
        }
        lane.behind = epoch;
        lane.behind_untold = true;
        let pair = lane.id.pair();
        // Where the pair has no recovery lane here, the application hears of it all the same.
        let _ = self.allow_recovery(pair);
    }

    /// A recovery lane that comes into the table after the others answers at once if one of them has shown the need.
    pub(super) fn is_recovery_due(&self, pair: PeerHandle) -> bool {
        self.names.range(lanes_of(pair)).any(|(_, place)| {
            self.lanes.get(*place).is_some_and(|lane| lane.behind == Some(lane.peer.epoch()))
        })
    }
}

/// All lanes that a pair can have.
pub(super) fn lanes_of(pair: PeerHandle) -> core::ops::RangeInclusive<LaneId> {
    LaneId::new(pair, 0)..=LaneId::new(pair, u8::MAX)
}

/// What the event of a recovery lane means for the pair. `None`: the secret follows once its erasure is durable.
pub(super) fn on_event(lane: &mut Lane, event: Event) -> Option<TableEvent> {
    let pair = lane.id.pair();
    match event {
        Event::Established(session) | Event::Resumed(session) if session.role == Role::Responder => {
            // An index that was taken before is refused: then the recovery went through before the start.
            let index = index_of(lane.peer.side().other(), 0);
            let _ = lane.peer.export_at(session.id, index, Label::EXPORT_LANE, &[]);
            None
        }
        Event::Established(session) => Some(name_secret(lane, &session)),
        Event::KeyReady(secret) => Some(recovered(lane, secret)),
        event @ Event::Resumed(_) => Some(TableEvent::Lane(LaneId::new(pair, RECOVERY_LANE), event)),
        event => Some(TableEvent::Lane(lane.id, event)),
    }
}

fn name_secret(lane: &mut Lane, session: &Session) -> TableEvent {
    if !session.may_name {
        return TableEvent::RecoveryLost(lane.id.pair());
    }
    match lane.peer.export_next(Label::EXPORT_LANE, &[]) {
        Ok(secret) => recovered(lane, secret),
        Err(_) => TableEvent::RecoveryLost(lane.id.pair()),
    }
}

fn recovered(lane: &mut Lane, secret: OutputKey) -> TableEvent {
    lane.open = false;
    TableEvent::Recovered { pair: lane.id.pair(), secret }
}
