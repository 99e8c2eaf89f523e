//! What a shard of a hub tells another, and what the shard of a responder makes of it (docs/draft-skex-dske.md, "Sharded
//! hubs").

use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;
use skex_core::machine::{Barrier, DiscardReason, Disposition, Instant};
use skex_core::{KeyId, SecretVec};
use skex_wire::dske::{AnswerStatus, OutcomeStatus};

use super::asked::{taken_back_key, until};
use super::relay::{Relay, RelayId, StoredConfirmation};
use super::shard::Shard;
use super::upload::QUEUE_RESERVE;
use super::{Hub, Timer};
use crate::id::{ClientId, ClientTag, HubId};
use crate::link::Slot;
use crate::psrd::Pad;
use crate::suite::KeySuite;

/// Something that one shard of a hub has for another. It may hold a share, in a type that erases it, and is meant to stay in the
/// memory of one process; all shards have the same clock.
pub struct HandOver {
    hub: HubId,
    to: Shard,
    /// The client by whose upload, command or question it came about.
    initiator: ClientId,
    body: Body,
}

/// To the shard of the responder, or of the owner of a name: `Upload`, `Fetch`, `Command`. Back: the others.
pub(super) enum Body {
    /// A share, as a relay that the other shard is to accept.
    Upload { key_id: KeyId, slot: Slot, expires: Instant, relay: SecretVec },
    /// What the upload in this slot is answered with.
    Verdict { key_id: KeyId, slot: Slot, status: AnswerStatus },
    /// The initiator asks for confirmations: of one key, or of all.
    Fetch { key_id: Option<KeyId> },
    /// What the responder confirmed.
    Confirmation { key_id: KeyId, peer: ClientTag, confirmation: StoredConfirmation },
    /// The command in this slot.
    Command { slot: Slot, command: Crossing },
    /// What the command in this slot is answered with, and what an owner of a name published.
    Outcome { slot: Slot, status: OutcomeStatus, offer: Vec<u8> },
}

/// A command that another shard has to carry out.
#[derive(Clone, Copy)]
pub(super) enum Crossing {
    /// The initiator takes a key back, whose lifetime ends then.
    Withdraw { key_id: KeyId, expires: Instant },
    /// What did the owner of the name publish?
    LookUp { owner: ClientId },
}

impl HandOver {
    /// The index of the shard that has to be given it.
    #[must_use]
    pub const fn to(&self) -> u16 {
        self.to.index()
    }

    /// Octets that it takes, so that what waits for another shard can be bounded.
    #[must_use]
    pub fn octets(&self) -> usize {
        let carried = match &self.body {
            Body::Upload { relay, .. } => relay.len(),
            Body::Outcome { offer, .. } => offer.len(),
            Body::Verdict { .. } | Body::Fetch { .. } | Body::Confirmation { .. } | Body::Command { .. } => 0,
        };
        size_of::<Self>().saturating_add(carried)
    }
}

impl fmt::Debug for HandOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandOver").field("to", &self.to).finish_non_exhaustive()
    }
}

impl<P: Pad> Hub<P> {
    /// Tells another shard something behind checkpoint `after`. With a full queue it is as good as lost on the way.
    pub(super) fn hand_over(&mut self, to: Shard, initiator: ClientId, body: Body, after: u64) {
        let _ = self.hand_overs.push(after, HandOver { hub: self.id, to, initiator, body });
    }

    /// Takes what another shard of this hub has for this one. By reference: it may come twice.
    pub fn handed_over(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        hand_over: &HandOver,
    ) -> Disposition {
        let now = self.clock.observe(now);
        let HandOver { hub, to, initiator, body } = hand_over;
        let back = matches!(body, Body::Verdict { .. } | Body::Confirmation { .. } | Body::Outcome { .. });
        let handled = if *hub != self.id || *to != self.shard || self.shard.owns(*initiator) != back {
            Err(DiscardReason::Unexpected)
        } else if self.roster.tag(*initiator).is_none() {
            Err(DiscardReason::UnknownPeer)
        } else {
            self.on_body(now, rng, *initiator, body)
        };
        handled.map_or_else(|reason| self.discards.discard(reason), |()| Disposition::Accepted)
    }

    fn on_body(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        initiator: ClientId,
        body: &Body,
    ) -> Result<(), DiscardReason> {
        match body {
            Body::Upload { key_id, slot, expires, relay } => {
                self.on_handed_upload(now, rng, (initiator, *key_id), *slot, *expires, relay)
            }
            Body::Verdict { key_id, slot, status } => self.on_verdict((initiator, *key_id), *slot, *status),
            Body::Fetch { key_id: Some(key_id) } => {
                self.pass_on_confirmation(now, (initiator, *key_id));
                Ok(())
            }
            Body::Fetch { key_id: None } => {
                self.pass_on_confirmations(now, initiator);
                Ok(())
            }
            Body::Confirmation { key_id, peer, confirmation } => {
                self.on_handed_confirmation((initiator, *key_id), *peer, confirmation)
            }
            Body::Command { slot, command } => self.on_handed_command(now, initiator, *slot, *command),
            Body::Outcome { slot, status, offer } => self.on_handed_outcome(initiator, *slot, *status, offer),
        }
    }

    /// A share that an initiator of another shard has uploaded. The verdict leaves once it is durable; a copy of the share brings
    /// about the same verdict, and no other relay.
    fn on_handed_upload(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        id: RelayId,
        slot: Slot,
        expires: Instant,
        relay: &SecretVec,
    ) -> Result<(), DiscardReason> {
        self.check_hand_over(now, expires)?;
        let mut asked = Relay::decode(relay.expose(), now).map_err(|_| DiscardReason::Malformed)?;
        (asked.expires, asked.was_sent) = (expires, false);
        self.keep_until(now, id, expires);
        let suite = KeySuite::from_id(asked.suite);
        let known = self.relays.get(&id).map(|relay| &**relay);
        // Test switch: what is handed over twice is taken twice, and tests of shards must then fail.
        let known_after = known.map(|relay| relay.after).filter(|_| !cfg!(skex_without = "idempotence"));
        let (status, after) = match self.judge(id, known, &asked, suite) {
            Ok(()) => (AnswerStatus::ACCEPTED, known_after.unwrap_or_else(|| self.accept(now, id, asked))),
            Err(status) => (status, self.refused_behind(id)),
        };
        // Test switch: the answer does not wait for the store, and tests of shards must then fail.
        let after = if cfg!(skex_without = "verdict") { Barrier::OPEN } else { after };
        let verdict = Body::Verdict { key_id: id.1, slot, status };
        self.hand_over(self.shard.of(id.0), id.0, verdict, after);
        if status == AnswerStatus::ACCEPTED {
            self.pass_on_confirmation(now, id);
            self.deliver(now, rng, id);
        }
        Ok(())
    }

    /// Whether something that was handed over may still be done. Once its key is forgotten here, it comes too late; and without
    /// room it is as good as lost.
    fn check_hand_over(&mut self, now: Instant, expires: Instant) -> Result<(), DiscardReason> {
        // Test switch: what was handed over is taken however late, and tests of shards must then fail.
        if expires <= now && !cfg!(skex_without = "lifetime") {
            return Err(DiscardReason::Stale);
        }
        let full = self.journal.has_waiting(self.limits.changes)
            || self.outbox.free() < QUEUE_RESERVE
            || self.hand_overs.free() < QUEUE_RESERVE;
        if full { Err(DiscardReason::Busy) } else { Ok(()) }
    }

    /// A copy of what was handed over may come as late as that: until then the key is known here.
    fn keep_until(&mut self, now: Instant, id: RelayId, expires: Instant) {
        if let Some(relay) = self.relays.get_mut(&id).filter(|relay| relay.expires < expires) {
            (relay.expires, relay.after) = (expires, self.journal.after());
            relay.store(now, id, &mut self.journal);
        }
        if self.taken_back.get(&id).is_some_and(|end| *end < expires) {
            self.take_back(now, id, expires);
        }
    }

    /// No share of this key is taken until then: it may still be on its way here.
    fn take_back(&mut self, now: Instant, id: RelayId, expires: Instant) {
        self.taken_back.insert(id, expires);
        self.journal.set(taken_back_key(id), &until(now, expires));
        self.timers.insert((expires, Timer::Expiry(id)));
    }

    /// What the refusal of an upload waits for: that its share was dropped is said once that is durable.
    pub(super) fn refused_behind(&self, id: RelayId) -> u64 {
        let taken_back = self.taken_back.get(&id).map(|_| self.journal.carrying());
        let known = self.relays.get(&id).map(|relay| relay.after);
        known.or(taken_back).unwrap_or(Barrier::OPEN)
    }

    fn on_handed_command(
        &mut self,
        now: Instant,
        initiator: ClientId,
        slot: Slot,
        command: Crossing,
    ) -> Result<(), DiscardReason> {
        let mut offer = Vec::new();
        let status = match command {
            Crossing::Withdraw { key_id, expires } => {
                let id = (initiator, key_id);
                self.check_hand_over(now, expires)?;
                self.keep_until(now, id, expires);
                if self.relays.contains_key(&id) {
                    self.withdraw(now, id)
                } else {
                    if !self.taken_back.contains_key(&id) {
                        self.take_back(now, id, expires);
                    }
                    OutcomeStatus::DONE
                }
            }
            Crossing::LookUp { owner } if self.client(owner).is_some() => {
                offer = self.offers.get(&owner).cloned().unwrap_or_default();
                OutcomeStatus::DONE
            }
            Crossing::LookUp { .. } => OutcomeStatus::UNKNOWN,
        };
        let outcome = Body::Outcome { slot, status, offer };
        // Whatever it says is durable, also where an earlier message brought it about.
        self.hand_over(self.shard.of(initiator), initiator, outcome, self.journal.carrying());
        Ok(())
    }
}
