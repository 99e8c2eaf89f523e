//! Lanes: what the table holds, and how the embedder calls it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use skex_core::machine::{Instant, PeerHandle};

use crate::bytes::Record;
use crate::config::RECOVERY_LANE;
use crate::peer::{MAX_TAGS, Peer, Tag};

/// Which machine of a table: the pair, as the embedder calls the device at its other end, and the lane.
///
/// It is what [`PeerConfig::peer_handle`](crate::PeerConfig::peer_handle) and
/// [`PeerConfig::lane`](crate::PeerConfig::lane) say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId {
    pair: PeerHandle,
    lane: u8,
}

impl LaneId {
    /// Lane `lane` of the pair that the embedder calls `pair`.
    #[must_use]
    pub const fn new(pair: PeerHandle, lane: u8) -> Self {
        Self { pair, lane }
    }

    /// The pair.
    #[must_use]
    pub const fn pair(self) -> PeerHandle {
        self.pair
    }

    /// The lane, as in the enrolment.
    #[must_use]
    pub const fn lane(self) -> u8 {
        self.lane
    }

    /// Whether it is the pair's [`RECOVERY_LANE`].
    #[must_use]
    pub const fn is_recovery(self) -> bool {
        self.lane == RECOVERY_LANE
    }
}

/// A record to store, and whose it is: each lane has two slots of its own.
#[derive(Debug)]
pub struct LaneRecord {
    lane: LaneId,
    record: Record,
}

impl LaneRecord {
    pub(super) const fn new(lane: LaneId, record: Record) -> Self {
        Self { lane, record }
    }

    /// Whose record it is.
    #[must_use]
    pub const fn lane(&self) -> LaneId {
        self.lane
    }

    /// Its octets, framed and with their checksum.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.record.as_bytes()
    }
}

impl AsRef<[u8]> for LaneRecord {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// One machine, and what the table remembers of it so that it need not ask.
pub(super) struct Lane {
    pub(super) id: LaneId,
    pub(super) peer: Peer,
    /// Under which it stands in the routes.
    pub(super) tags: [Option<Tag>; MAX_TAGS],
    /// Under which it stands in the agenda.
    pub(super) turn: Option<u64>,
    pub(super) deadline: Option<Instant>,
    /// The instance whose checkpoint is outstanding.
    pub(super) awaiting: Option<u64>,
    /// The epoch in which the peer was last seen to be behind, and whether that is still to be told.
    pub(super) behind: Option<u64>,
    pub(super) behind_untold: bool,
    /// By the session of which epoch of the recovery lane this lane was enrolled, since the last start. Of the recovery lane: of
    /// which epoch it was told that all others are.
    pub(super) recovered: Option<u64>,
    pub(super) recovered_untold: bool,
}

impl Lane {
    pub(super) const fn new(id: LaneId, peer: Peer) -> Self {
        Self {
            id,
            peer,
            tags: [None; MAX_TAGS],
            turn: None,
            deadline: None,
            awaiting: None,
            behind: None,
            behind_untold: false,
            recovered: None,
            recovered_untold: false,
        }
    }
}

impl Lane {
    /// As [`Peer::warm`], and what the table itself needs.
    pub(super) fn warm(&self) {
        let octets = self.tags.iter().flatten().filter_map(|tag| tag.octets.first());
        let near = octets.fold(0, |all, octet| all ^ octet);
        let _ = core::hint::black_box((near, self.turn, self.deadline, self.awaiting, self.behind));
        self.peer.warm();
    }

    /// It was enrolled anew from outside.
    pub(super) const fn forget_recovery(&mut self) {
        self.behind = None;
        self.behind_untold = false;
        self.recovered = None;
        self.recovered_untold = false;
    }
}

/// The machines, each in a box of its own, so that no growth of the table copies a secret. A place is used again.
pub(super) struct Lanes {
    places: Vec<Option<Box<Lane>>>,
    free: Vec<u32>,
}

impl Lanes {
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, lane: Lane) -> Option<u32> {
        let lane = Box::new(lane);
        if let Some(place) = self.free.pop() {
            *self.places.get_mut(place as usize)? = Some(lane);
            return Some(place);
        }
        let place = u32::try_from(self.places.len()).ok()?;
        self.places.push(Some(lane));
        Some(place)
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<Box<Lane>> {
        let lane = self.places.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(lane)
    }

    /// Takes a lane out for a moment: its place stays its own.
    pub(super) fn take(&mut self, place: u32) -> Option<Box<Lane>> {
        self.places.get_mut(place as usize)?.take()
    }

    pub(super) fn put_back(&mut self, place: u32, lane: Box<Lane>) {
        if let Some(slot) = self.places.get_mut(place as usize) {
            *slot = Some(lane);
        }
    }

    pub(super) fn get(&self, place: u32) -> Option<&Lane> {
        self.places.get(place as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Lane> {
        self.places.get_mut(place as usize)?.as_deref_mut()
    }
}
