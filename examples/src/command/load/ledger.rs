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
    responder: u32,
    asked: u64,
    /// Which of both ends lost power, and when: for whoever looks for what became of it.
    restarts: Vec<(u32, u64)>,
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
    pub(super) fn asked(&mut self, key: KeyId, initiator: u32, responder: u32, now: u64) {
        self.counts.asked += 1;
        let open =
            Open { initiator, responder, asked: now, restarts: Vec::new(), asked_at: Some(now), first: None };
        self.open.insert(key, open);
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
    pub(super) fn restarted(&mut self, client: u32, now: u64) {
        for open in self.open.values_mut().filter(|open| [open.initiator, open.responder].contains(&client)) {
            open.restarts.push((client, now));
        }
        let before = self.open.len();
        self.open.retain(|_, open| open.initiator != client || open.asked_at.is_none());
        let forgotten = before - self.open.len();
        self.counts.forgotten += forgotten as u64;
    }

    /// What is known of the keys that were asked for before `then` and are not settled.
    pub(super) fn open_since(&self, then: u64) -> Vec<String> {
        let describe = |(key, open): (&KeyId, &Open)| {
            let Open { initiator, responder, asked, restarts, asked_at, first } = open;
            let after = |at: u64| at.saturating_sub(*asked);
            let restarts = restarts.iter().map(|(client, at)| (client, after(*at))).collect::<Vec<_>>();
            let first = first.as_ref().map(|(role, _)| role);
            format!(
                "{key:?} of {initiator} for {responder}: first came to {first:?}, the initiator waits: {}, restarts of clients \
                 (who, how long after the request): {restarts:?}",
                asked_at.is_some(),
            )
        };
        self.open.iter().filter(|(_, open)| open.asked < then).map(describe).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_for_too_long_is_named_with_the_restarts_of_its_ends() {
        let mut ledger = Ledger::default();
        ledger.asked(KeyId::new([1; 16]), 7, 8, 100);
        ledger.asked(KeyId::new([2; 16]), 7, 9, 200);
        ledger.restarted(8, 150);
        let overdue = ledger.open_since(200);
        assert_eq!(overdue.len(), 1);
        assert!(overdue[0].contains("of 7 for 8") && overdue[0].ends_with("[(8, 50)]"), "{overdue:?}");
        ledger.restarted(7, 160);
        assert!(
            ledger.open_since(1000).is_empty(),
            "an initiator that lost power knows nothing of its requests"
        );
        assert_eq!(ledger.counts().forgotten, 2);
    }
}
