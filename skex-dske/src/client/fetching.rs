//! When a client asks a hub for what waits: FETCH, a question like any other, repeated until FETCHED comes
//! (docs/draft-skex-dske.md, "Timers").

use skex_core::machine::Instant;

use super::config::ClientLimits;
use crate::backoff::{Backoff, later, millis};

/// Of so many fetches one is left to a client that hears the hub all the time: by it comes what the hub could not deliver.
const FETCHES_SPARED: u32 = 4;

/// When to fetch from one hub.
#[derive(Debug)]
pub(super) struct Fetching {
    /// The next one, unless one is unanswered.
    at: Instant,
    /// When a client has to that hears the hub all the time.
    by: Instant,
    /// Milliseconds between what is heard of the hub and the next one.
    interval: u32,
    /// While one is unanswered.
    retry: Option<Backoff>,
    /// Answers that may be on their way still to fetches of before the envelope was known to be open.
    early: u8,
    /// Of 256 parts of the interval, how many are the first one of this session.
    spread: Option<u8>,
}

impl Fetching {
    /// The first is due at `now`, and the next, once that is answered, after a part of the interval that `spread` says: a random one. Clients that
    /// were started together would else ask together, for good.
    pub(super) const fn new(now: Instant, spread: u8) -> Self {
        Self { at: now, by: now, interval: 0, retry: None, early: 0, spread: Some(spread) }
    }

    pub(super) fn due(&self) -> Instant {
        self.retry.as_ref().map_or(self.at, Backoff::due)
    }

    /// One leaves.
    pub(super) fn sent(&mut self, now: Instant, limits: &ClientLimits) {
        let pace = limits.pace();
        match &mut self.retry {
            Some(retry) => {
                let _ = retry.take_due(now, pace);
            }
            None => self.retry = Some(Backoff::new(now, pace)),
        }
    }

    /// The envelope is known to be open, after so many fetches under it: the next tells the hub that it was heard, and no answer to one of those before is
    /// an answer to that.
    pub(super) const fn opened(&mut self, fetches: u8) {
        self.retry = None;
        self.early = fetches;
    }

    /// FETCHED has come. Where nothing was asked it says no more than anything else does: an answer that came twice, or a hub that wants to be left
    /// alone.
    pub(super) fn answered(&mut self, now: Instant, limits: &ClientLimits) {
        if let Some(fewer) = self.early.checked_sub(1) {
            self.early = fewer;
            return;
        }
        if self.retry.take().is_none() {
            return;
        }
        // Not again at once, whatever the limits say.
        let interval = millis(limits.fetch).max(limits.pace().first);
        self.interval = self.spread.take().map_or(interval, |spread| part(interval, spread));
        self.at = later(now, self.interval);
        self.by = later(now, self.interval.saturating_mul(FETCHES_SPARED));
    }

    /// Something of the hub has come under the open envelope: it knows where the client is, and has delivered what waits. A question that is open
    /// is repeated all the same.
    pub(super) fn heard(&mut self, now: Instant) {
        if self.retry.is_none() {
            self.at = later(now, self.interval).min(self.by).max(self.at);
        }
    }
}

/// So many of 256 parts of it.
fn part(interval: u32, spread: u8) -> u32 {
    u32::try_from(u64::from(interval).saturating_mul(spread.into()) >> 8).unwrap_or(interval)
}
