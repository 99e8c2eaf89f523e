//! What became of every key that was asked for.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use skex_core::{KeyId, OutputKey};
use skex_dske::Role;

use super::measure::Quantiles;

/// Keys that were asked for and are not at both ends yet, and counts of the others.
#[derive(Default)]
pub(super) struct Ledger {
    open: HashMap<KeyId, Open>,
    counts: Keys,
    /// From the request to the key at the initiator, in the unit of the clock.
    latencies: Vec<u64>,
}

struct Open {
    initiator: u32,
    /// When it was asked for, until the initiator knows how that went.
    asked_at: Option<u64>,
    /// The key of the end that has it.
    first: Option<(Role, OutputKey)>,
}

/// Keys by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Keys {
    pub(super) asked: u64,
    /// Both ends have it, and it is the same.
    pub(super) equal: u64,
    /// Both ends have it, and it differs: never.
    pub(super) unequal: u64,
    /// The initiator was told that it did not come about.
    pub(super) failed: u64,
    /// The initiator was restarted meanwhile and does not know of it any more.
    pub(super) forgotten: u64,
    /// One end has it and the other was told nothing, at the end of the run: never.
    pub(super) lost: u64,
}

impl Ledger {
    pub(super) fn asked(&mut self, key: KeyId, initiator: u32, now: u64) {
        self.counts.asked += 1;
        self.open.insert(key, Open { initiator, asked_at: Some(now), first: None });
    }

    pub(super) fn established(&mut self, role: Role, key: OutputKey, now: u64) {
        let id = key.id();
        // A key of before a restart is told again; it was counted.
        let Some(open) = self.open.get_mut(&id) else { return };
        if role == Role::Initiator
            && let Some(asked_at) = open.asked_at.take()
        {
            self.latencies.push(now.saturating_sub(asked_at));
        }
        match &open.first {
            Some((other, first)) if *other != role => {
                let equal = first.secret().expose() == key.secret().expose();
                self.counts.equal += u64::from(equal);
                self.counts.unequal += u64::from(!equal);
                self.open.remove(&id);
            }
            Some(_) => {}
            None => open.first = Some((role, key)),
        }
    }

    pub(super) fn failed(&mut self, role: Role, key: KeyId) {
        if role == Role::Initiator && self.open.remove(&key).is_some_and(|open| open.asked_at.is_some()) {
            self.counts.failed += 1;
        }
    }

    /// A client lost power: the requests that it had under way are no more.
    pub(super) fn restarted(&mut self, client: u32) {
        let before = self.open.len();
        self.open.retain(|_, open| open.initiator != client || open.asked_at.is_none());
        let forgotten = before - self.open.len();
        self.counts.forgotten += forgotten as u64;
    }

    /// Keys that are not settled at both ends.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// How many latencies there are.
    pub(super) const fn latencies(&self) -> usize {
        self.latencies.len()
    }

    /// Those beyond the first `seen`, which are all of them then.
    pub(super) fn latencies_since(&self, seen: &mut usize) -> &[u64] {
        let new = self.latencies.get(*seen..).unwrap_or_default();
        *seen = self.latencies.len();
        new
    }

    /// The latencies since the last call.
    pub(super) fn take_latencies(&mut self) -> Quantiles {
        Quantiles::of(core::mem::take(&mut self.latencies))
    }

    /// The counts, at any time.
    pub(super) const fn counts(&self) -> Keys {
        self.counts
    }

    /// The counts at the end, when what is still open is lost.
    pub(super) fn close(&mut self) -> Keys {
        self.counts.lost += self.open.len() as u64;
        self.open.clear();
        self.counts
    }
}
