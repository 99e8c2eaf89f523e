//! What tests see of a table.

use alloc::vec::Vec;

use skex_wire::unmediated::Pseudonym;

use super::PeerTable;
use super::lane::LaneId;

impl PeerTable {
    /// Routes and agenda say of every lane what looking at it says, and nothing else.
    pub(crate) fn check_invariants(&self) {
        let mut routes = 0_usize;
        let mut deadlines = Vec::new();
        for (id, place) in &self.names {
            let lane = self.lanes.get(*place).unwrap();
            assert_eq!(lane.id, *id);
            assert_eq!(lane.tags, lane.peer.tags());
            for tag in lane.tags.into_iter().flatten() {
                assert!(self.routes.find(tag).as_slice().contains(place));
                routes = routes.saturating_add(1);
            }
            deadlines.extend(lane.deadline);
        }
        assert_eq!(self.routes.len(), routes);
        assert_eq!(self.agenda.next_deadline(), deadlines.into_iter().min());
        assert!(self.awaiting.values().all(|place| self.lanes.get(*place).is_some()));
    }

    pub(crate) fn asked_for_tests(&self) -> usize {
        self.asked
    }

    /// Lets the peer of this lane be called by another's pseudonym.
    pub(crate) fn rename_peer_for_tests(&mut self, id: LaneId, pseudonym: Pseudonym) {
        let place = self.place(id).unwrap();
        self.lanes.get_mut(place).unwrap().peer.rename_peer_for_tests(pseudonym);
        self.touch(place);
    }
}
