//! The relays whose share waits for its responder.

use alloc::collections::BTreeSet;

use skex_core::KeyId;

use super::relay::RelayId;
use crate::id::ClientId;

/// The relays by responder, all in one set: mostly very few wait for one, and one allocation serves several responders.
#[derive(Default)]
pub(super) struct Waiting(BTreeSet<(ClientId, RelayId)>);

impl Waiting {
    /// All that wait, whoever for.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Those that wait for this responder.
    pub(super) fn of(&self, responder: ClientId) -> impl Iterator<Item = RelayId> + '_ {
        let first = (responder, (ClientId::new(0), KeyId::new([0; 16])));
        self.0.range(first..).take_while(move |(to, _)| *to == responder).map(|(_, id)| *id)
    }

    pub(super) fn insert(&mut self, responder: ClientId, id: RelayId) {
        self.0.insert((responder, id));
    }

    pub(super) fn remove(&mut self, responder: ClientId, id: RelayId) {
        self.0.remove(&(responder, id));
    }
}
