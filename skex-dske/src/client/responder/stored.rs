//! What is durable of keys that came in (docs/draft-skex-dske.md, "Records").

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use skex_core::machine::{Barrier, Instant};
use skex_core::{Assurance, KeyBytes, KeyId};
use skex_wire::Reader;
use skex_wire::dske::{TAG_LEN, bitmap_len};

use super::accept::established;
use super::{Accepted, Id, Inbound, Stage};
use crate::client::Client;
use crate::id::ClientTag;
use crate::journal::Journal;
use crate::key::Bitmap;
use crate::onetime::Tag;
use crate::psrd::Pad;
use crate::state::{Name, RestoreError, whole_seconds};

impl<P: Pad> Client<P> {
    /// Keeps the id of a key whose lifetime is over. Each id cost a block of every table that carried it, so tables bound
    /// their number; beyond the configured bound the oldest go.
    pub(super) fn remember(&mut self, id: Id) {
        let place = self.remembered.insert(id);
        self.journal.set(storage_key(id.0, id.1), &place.to_be_bytes());
        while let Some((peer, key_id)) = self.remembered.evict(self.limits.remembered) {
            self.journal.remove(storage_key(peer, key_id));
        }
    }

    /// The stored keys, after a start: those that the application has not taken are given again.
    pub(in crate::client) fn restore_inbound(
        &mut self,
        now: Instant,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), RestoreError> {
        let mut reader = Reader::new(key);
        let id = (ClientTag::new(reader.array()?), KeyId::new(reader.array()?));
        reader.finish()?;
        if let Ok(place) = value.try_into() {
            self.remembered.restore(id, u64::from_be_bytes(place));
            return Ok(());
        }
        let (mut accepted, lifetime) = decode_stored(value)?;
        if let Some(event) = established(id, &accepted, 0) {
            self.tell(Barrier::OPEN, event);
        }
        let expires = now.saturating_add(lifetime);
        accepted.over = expires;
        let stage = Stage::Accepted(Box::new(accepted));
        let inbound = Inbound { begun_by: 0, expires, search_at: None, stage, answers: Vec::new() };
        self.inbound.insert(id, inbound);
        Ok(())
    }

    /// What a snapshot has to hold of the keys.
    pub(in crate::client) fn store_inbound(&mut self) {
        let now = self.clock.now();
        self.taken_since_snapshot = 0;
        for ((peer, key_id), place) in self.remembered.iter() {
            self.journal.set(storage_key(peer, key_id), &place.to_be_bytes());
        }
        for ((peer, key_id), inbound) in self.inbound.iter() {
            if let Stage::Accepted(accepted) = &inbound.stage {
                store((*peer, *key_id), accepted, inbound.expires.saturating_since(now), &mut self.journal);
            }
        }
    }
}

pub(in crate::client) const STORED_KEY: u8 = 2;

fn storage_key(peer: ClientTag, key_id: KeyId) -> Name {
    Name::of(&[&[STORED_KEY], peer.as_bytes(), key_id.as_bytes()])
}

/// Stores a key, from the next checkpoint on; of one whose lifetime is over, its place in the order of those, 8: no other value is as
/// short.
///
/// lifetime left 4 (s), number of hubs 1, assurance 1, origins, lying, confirm tag 16, number of awaited hubs 1, their
/// coordinates, key (to the end; none if taken)
pub(super) fn store((peer, key_id): Id, accepted: &Accepted, left: Duration, journal: &mut Journal) {
    let key = accepted.key.as_ref().map_or(&[][..], KeyBytes::expose);
    let bitmaps = accepted.origins.len().saturating_add(accepted.lying.len());
    let fixed = 7_usize.saturating_add(TAG_LEN).saturating_add(accepted.awaited.len());
    let len = fixed.saturating_add(bitmaps).saturating_add(key.len());
    journal.set_written(storage_key(peer, key_id), len, |out| {
        out.u32(whole_seconds(left))?;
        out.bytes(&[accepted.count, u8::from(accepted.assurance == Assurance::Computational)])?;
        out.bytes(&accepted.origins)?;
        out.bytes(&accepted.lying)?;
        out.bytes(accepted.confirm.as_bytes())?;
        out.prefixed_u8(&accepted.awaited)?;
        out.bytes(key)
    });
}

fn decode_stored(value: &[u8]) -> Result<(Accepted, Duration), RestoreError> {
    let mut reader = Reader::new(value);
    let lifetime = Duration::from_secs(u64::from(reader.u32()?));
    let count = reader.u8()?;
    let assurance = match reader.u8()? {
        0 => Assurance::InformationTheoretic,
        1 => Assurance::Computational,
        _ => return Err(RestoreError::Content),
    };
    let mut bitmap = || {
        let bitmap = reader.take(bitmap_len(count))?;
        Bitmap::copied_from(bitmap).ok_or(RestoreError::Content)
    };
    let (origins, lying) = (bitmap()?, bitmap()?);
    let confirm = Tag::from_bytes(reader.array()?);
    let awaited = reader.prefixed_u8()?.to_vec();
    let key = reader.rest();
    let key = if key.is_empty() { None } else { Some(KeyBytes::on_heap(key).ok_or(RestoreError::Content)?) };
    let (over, after, judgement) = (Instant::ZERO, Barrier::OPEN, None);
    let accepted =
        Accepted { key, assurance, count, origins, lying, confirm, awaited, over, after, judgement };
    Ok((accepted, lifetime))
}
