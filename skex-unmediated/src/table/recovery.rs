//! Recovery: a lane that is touched only to heal gives the secret with which all others are enrolled anew.
//!
//! Whatever crashes, the same is done again: as long as the recovery lane holds the secret the others are enrolled with it, and
//! are silent; once it is erased they are released.
//!
//! Specification: section "Recovery".

use alloc::vec::Vec;

use rand_core::CryptoRng;
use skex_core::machine::{Instant, PeerHandle};

use super::PeerTable;
use super::event::{RecoveryCause, TableError};
use super::lane::{Lane, LaneId};
use crate::config::RECOVERY_LANE;
use crate::peer::Peer;

impl PeerTable {
    /// Starts a recovery of the pair, after this end was rolled back or on the operator's wish: a handshake on the recovery
    /// lane. It is wanted from then on, over every restart, until it has gone through. Its answer is
    /// [`TableEvent::Recovered`](crate::TableEvent::Recovered) at both ends. After
    /// [`Event::Unanswered`](crate::Event::Unanswered) on the recovery lane, call it again.
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
        let now = self.clock.observe(now);
        let place = self.recovery_place(pair)?;
        let is_rolled_back = |lane| self.lane(lane).is_some_and(Peer::is_rolled_back);
        let is_wanted = self.lanes.get(place).is_some_and(|lane| lane.peer.wants_recovery());
        if cause == RecoveryCause::RolledBack && !is_wanted && !self.lanes_of(pair).any(is_rolled_back) {
            return Err(TableError::NotRolledBack);
        }
        let lane = self.lanes.get_mut(place).ok_or(TableError::NoRecoveryLane)?;
        let done = lane.peer.establish(now, rng);
        self.touch(place);
        Ok(done?)
    }

    /// Lets the recovery lane of the pair answer the peer, on the operator's wish, until a recovery has gone through.
    ///
    /// # Errors
    /// [`TableError::NoRecoveryLane`].
    pub fn allow_recovery(&mut self, pair: PeerHandle) -> Result<(), TableError> {
        let place = self.recovery_place(pair)?;
        self.lanes.get_mut(place).ok_or(TableError::NoRecoveryLane)?.peer.allow_recovery();
        self.touch(place);
        Ok(())
    }

    /// Ends a recovery at this end: every lane of the pair is in the table, and was enrolled anew. The secret is erased, and
    /// then the lanes speak again. A lane that comes into the table later was left out, and is lost.
    ///
    /// # Errors
    /// [`TableError::NoRecoveryLane`], [`TableError::RecoveryUnderWay`]; nothing changed.
    pub fn conclude_recovery(&mut self, pair: PeerHandle) -> Result<(), TableError> {
        let place = self.recovery_place(pair)?;
        // None at all: they come into the table later, and the secret is still needed.
        let others = self.others(pair);
        if others.is_empty() || !others.iter().all(|place| self.is_enrolled(*place)) {
            return Err(TableError::RecoveryUnderWay);
        }
        let lane = self.lanes.get_mut(place).ok_or(TableError::NoRecoveryLane)?;
        lane.peer.conclude_recovery().map_err(|_| TableError::RecoveryUnderWay)?;
        self.touch(place);
        Ok(())
    }

    /// Whether the secret of a recovery is there.
    pub(super) fn has_recovered(&self, pair: PeerHandle) -> bool {
        let place = self.recovery_place(pair).ok();
        place.and_then(|place| self.lanes.get(place)).is_some_and(|lane| lane.peer.has_recovered())
    }

    fn recovery_place(&self, pair: PeerHandle) -> Result<u32, TableError> {
        self.names.get(&LaneId::new(pair, RECOVERY_LANE)).copied().ok_or(TableError::NoRecoveryLane)
    }

    /// The lanes of the pair but for the recovery lane.
    fn others(&self, pair: PeerHandle) -> Vec<u32> {
        let others = LaneId::new(pair, 0)..LaneId::new(pair, RECOVERY_LANE);
        self.names.range(others).map(|(_, place)| *place).collect()
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

    /// Brings the lanes of a pair in line with what its recovery lane holds.
    pub(super) fn tend_recovery(&mut self, pair: PeerHandle) {
        let Ok(place) = self.recovery_place(pair) else { return };
        if self.has_recovered(pair) {
            self.enrol_others(pair, place);
        } else {
            self.release_others(pair, place);
        }
    }

    fn enrol_others(&mut self, pair: PeerHandle, recovery: u32) {
        let others = self.others(pair);
        let epoch = self.lanes.get(recovery).map(|lane| lane.peer.epoch());
        for place in &others {
            let done = self.with_recovery(*place, recovery, |lane, recovery| {
                if lane.recovered != epoch && lane.peer.enrol_by_recovery(recovery).is_ok() {
                    lane.forget_recovery();
                    lane.recovered = epoch;
                    return true;
                }
                false
            });
            if done {
                self.touch(*place);
            }
        }
        let all = !others.is_empty() && others.iter().all(|place| self.is_enrolled(*place));
        let Some(lane) = self.lanes.get_mut(recovery) else { return };
        if !all {
            lane.recovered = None;
        } else if lane.recovered != epoch {
            lane.recovered = epoch;
            lane.recovered_untold = true;
            self.touch(recovery);
        }
    }

    fn release_others(&mut self, pair: PeerHandle, recovery: u32) {
        for place in self.others(pair) {
            let released = self.with_recovery(place, recovery, |lane, recovery| {
                // The recovery lane may be enrolled anew, and come to the same epoch again.
                lane.recovered = None;
                lane.peer.is_held() && lane.peer.release(recovery).is_ok()
            });
            if released {
                self.touch(place);
            }
        }
    }

    /// Whether a recovery enrolled this lane since the last start, durably.
    fn is_enrolled(&self, place: u32) -> bool {
        self.lanes
            .get(place)
            .is_some_and(|lane| lane.recovered.is_some() && lane.peer.is_held() && lane.peer.is_settled())
    }

    /// Runs `with` with a lane and the recovery lane of its pair.
    fn with_recovery(
        &mut self,
        place: u32,
        recovery: u32,
        with: impl FnOnce(&mut Lane, &Peer) -> bool,
    ) -> bool {
        let Some(mut lane) = self.lanes.take(place) else { return false };
        let done = self.lanes.get(recovery).is_some_and(|recovery| with(&mut lane, &recovery.peer));
        self.lanes.put_back(place, lane);
        done
    }
}

/// All lanes that a pair can have.
pub(super) fn lanes_of(pair: PeerHandle) -> core::ops::RangeInclusive<LaneId> {
    LaneId::new(pair, 0)..=LaneId::new(pair, u8::MAX)
}
