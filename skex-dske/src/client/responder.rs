//! The responder: gathers shares, finds the key among liars, keeps it until the application has it, confirms
//! (docs/draft-skex-dske.md, "Responder").

mod accept;
mod judgement;
mod stored;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use skex_core::machine::{Barrier, DiscardReason, Disposition, Instant, TransmitClass};
use skex_core::{Assurance, KeyBytes, KeyId, SecretVec};
use skex_wire::dske::{AnswerStatus, DskeSuiteId, ShareMessage, Tagged, bitmap_bit};

use super::Client;
use super::config::RECENT;
use super::event::{ClientEvent, KeyError, Role};
use crate::id::ClientTag;
use crate::key::{Agreement, Context, ContextHub, Origin, claimed};
use crate::link::ReceivedShare;
use crate::onetime::Tag;
use crate::psrd::{AnswerKey, Pad};
use crate::share::Coordinate;
use judgement::Judgement;
pub(super) use stored::STORED_KEY;

/// A key that somebody sends us, or sent us before: by initiator and key id.
pub(super) struct Inbound {
    /// The link whose share came first: each may begin so many.
    begun_by: usize,
    expires: Instant,
    stage: Stage,
    /// Answers that were given: link, block, message. The same block gets the same answer again.
    answers: Vec<(usize, u32, Vec<u8>)>,
}

enum Stage {
    /// Shares as they came, each hub's once.
    Collecting(Vec<Arrived>),
    /// The key was found; what is still to be said about it.
    Accepted(Box<Accepted>),
}

/// A share that waits for others.
struct Arrived {
    link: usize,
    coordinate: Coordinate,
    index: u32,
    answer_key: AnswerKey,
    share: SecretVec,
    /// By what this hub said, from when it said it: a liar's haste must not end the others.
    expires: Instant,
    /// What the hub says the initiator said. Shares count together only where all of it agrees.
    context: Context,
    secret_tag: Tag,
}

struct Accepted {
    /// Until the application has taken it.
    key: Option<KeyBytes>,
    assurance: Assurance,
    /// Number of hubs.
    count: u8,
    /// The confirmation, fixed once and for all.
    origins: Vec<u8>,
    lying: Vec<u8>,
    confirm: Tag,
    /// What depends on the key waits for this checkpoint.
    after: u64,
    /// To judge shares that come later; not durable.
    judgement: Option<Judgement>,
}

impl Inbound {
    pub(super) fn deadline(&self) -> Instant {
        let settle = match &self.stage {
            Stage::Accepted(accepted) => {
                accepted.judgement.as_ref().map_or(self.expires, |judgement| judgement.settle_at)
            }
            Stage::Collecting(_) => self.expires,
        };
        settle.min(self.expires)
    }
}

impl<P: Pad> Client<P> {
    /// A share that came in by `link`.
    pub(super) fn on_delivery(
        &mut self,
        now: Instant,
        link: usize,
        message: &Tagged<'_, ShareMessage<'_>>,
    ) -> Disposition {
        let wire = &message.message;
        let id = (ClientTag::new(wire.peer), KeyId::new(wire.key_id));
        // A new key needs room before its block is used: a full table must not burn what it cannot keep.
        if !self.inbound.contains_key(&id) && !self.has_room_for_inbound(link, id.0) {
            return self.discards.discard(DiscardReason::Busy);
        }
        let Some(hub) = self.links.get_mut(link) else {
            return self.discards.discard(DiscardReason::UnknownPeer);
        };
        let coordinate = hub.coordinate;
        let ReceivedShare { share, answer_key } = match hub.link.open_share(message) {
            Ok(received) => received,
            Err(DiscardReason::Duplicate) => return self.on_repeated_delivery(link, id, wire.position.index),
            Err(reason) => return self.discards.discard(reason),
        };
        let index = wire.position.index;
        let context = match self.admit(wire) {
            Ok(context) if context.hubs().any(|(_, x)| x == coordinate) => context,
            Ok(_) => return self.refuse(link, index, answer_key, AnswerStatus::MALFORMED_CONTEXT),
            Err(status) => return self.refuse(link, index, answer_key, status),
        };
        if self.remembered.contains(&id) {
            return self.refuse(link, index, answer_key, AnswerStatus::EXPIRED);
        }
        let secret_tag = Tag::from_bytes(wire.secret_tag);
        let expires = now.saturating_add(Duration::from_secs(u64::from(context.lifetime)));
        let inbound = self.inbound.entry(id).or_insert_with(|| Inbound {
            begun_by: link,
            expires,
            stage: Stage::Collecting(Vec::new()),
            answers: Vec::new(),
        });
        match &mut inbound.stage {
            Stage::Accepted(_) => {
                self.on_late_share(id, link, coordinate, (index, answer_key), &share, (&context, secret_tag));
            }
            Stage::Collecting(arrived) => {
                // One hub never counts twice: what it says anew replaces nothing, and is not answered.
                if let Some(earlier) = arrived.iter_mut().find(|arrived| arrived.link == link) {
                    let same = earlier.share == share
                        && earlier.context == context
                        && earlier.secret_tag == secret_tag;
                    if !same {
                        return self.refuse(link, index, answer_key, AnswerStatus::KEY_ID_IN_USE);
                    }
                    // The same share in a new block, after a new session: the answer goes there.
                    (earlier.index, earlier.answer_key) = (index, answer_key);
                    return Disposition::Accepted;
                }
                inbound.expires = inbound.expires.max(expires);
                arrived.push(Arrived {
                    link,
                    coordinate,
                    index,
                    answer_key,
                    share,
                    expires,
                    context,
                    secret_tag,
                });
                self.try_accept(now, id);
            }
        }
        Disposition::Accepted
    }

    /// The full context of what a hub delivered, from our own roster; or why we do not want it.
    fn admit(&self, wire: &ShareMessage<'_>) -> Result<Context, AnswerStatus> {
        let terms = &wire.terms;
        let initiator = ClientTag::new(wire.peer);
        if !self.peers.contains(&initiator) {
            return Err(AnswerStatus::NOT_AUTHORISED);
        }
        if terms.suite != DskeSuiteId::ITS
            || terms.threshold < self.policy.minimum_threshold
            || terms.lifetime > self.policy.maximum_lifetime
            || claimed(terms.origins, terms.hubs()).weakest(self.policy.minimum_assurance)
                != self.policy.minimum_assurance
        {
            return Err(AnswerStatus::POLICY);
        }
        let hubs = (0..=u8::MAX).zip(terms.coordinates).map(|(i, &x)| {
            let hub = self.links.iter().find(|hub| hub.coordinate.get() == x)?;
            let origin = if bitmap_bit(terms.origins, i) { Origin::Refill } else { Origin::OutOfBand };
            Some(ContextHub { id: hub.link.keys.hub(), coordinate: hub.coordinate, origin })
        });
        let hubs: Option<Vec<ContextHub>> = hubs.collect();
        let agreement = Agreement {
            key_id: KeyId::new(wire.key_id),
            initiator,
            responder: self.tag,
            threshold: terms.threshold,
            key_len: terms.key_len,
            lifetime: terms.lifetime,
        };
        // A hub beside our roster: we could not tell its shares from those of a hub that is counted twice.
        Ok(Context::new(agreement, hubs.ok_or(AnswerStatus::POLICY)?))
    }

    /// Whether `link` may begin another key of `initiator`. Neither one lying hub nor one initiator must fill the table
    /// for all.
    fn has_room_for_inbound(&self, link: usize, initiator: ClientTag) -> bool {
        let (mut begun, mut waiting, mut recent) = (0_usize, 0_usize, 0_usize);
        for (_, inbound) in self.inbound.iter().filter(|((from, _), _)| *from == initiator) {
            match &inbound.stage {
                Stage::Collecting(_) if inbound.begun_by == link => begun = begun.saturating_add(1),
                Stage::Collecting(_) => {}
                Stage::Accepted(accepted) if accepted.key.is_some() => waiting = waiting.saturating_add(1),
                Stage::Accepted(_) => recent = recent.saturating_add(1),
            }
        }
        let of_initiator = self.limits.inbound_of_each(self.peers.len());
        let of_link = of_initiator.checked_div(self.links.len()).unwrap_or(0).max(1);
        begun < of_link && waiting < of_initiator && recent < of_initiator.saturating_mul(RECENT)
    }

    fn refuse(
        &mut self,
        link: usize,
        index: u32,
        answer_key: AnswerKey,
        status: AnswerStatus,
    ) -> Disposition {
        let answer = self.links.get(link).and_then(|hub| hub.link.answer(index, answer_key, status, None));
        if let Some(inner) = answer {
            self.send(link, &inner, Barrier::OPEN, TransmitClass::Reply);
            self.refusals.truncate(REFUSALS.saturating_sub(1));
            self.refusals.push_front((link, index, inner));
        }
        self.discards.discard(DiscardReason::Policy)
    }

    /// The same block again: the same answer again, if there was one.
    fn on_repeated_delivery(&mut self, link: usize, id: (ClientTag, KeyId), index: u32) -> Disposition {
        let inbound = self.inbound.get(&id);
        let after = inbound.map_or(Barrier::OPEN, |inbound| match &inbound.stage {
            Stage::Accepted(accepted) => accepted.after,
            Stage::Collecting(_) => Barrier::OPEN,
        });
        let mut given = inbound.map(|inbound| &inbound.answers).into_iter().flatten().chain(&self.refusals);
        let given =
            given.find(|(to, block, _)| (*to, *block) == (link, index)).map(|(_, _, inner)| inner.clone());
        if let Some(inner) = given {
            self.send(link, &inner, after, TransmitClass::Reply);
        }
        self.discards.discard(DiscardReason::Duplicate)
    }

    /// Reports that are due, and keys whose time is over.
    pub(super) fn expire_inbound(&mut self, now: Instant) {
        let due: Vec<(ClientTag, KeyId)> =
            self.inbound.iter().filter(|(_, inbound)| inbound.deadline() <= now).map(|(id, _)| *id).collect();
        for id in due {
            let Some(inbound) = self.inbound.get_mut(&id) else { continue };
            if let Stage::Accepted(accepted) = &mut inbound.stage
                && let Some(judgement) = accepted.judgement.take_if(|judgement| judgement.settle_at <= now)
            {
                let (peer, key_id) = id;
                let (hubs, blame_is_certain) = judgement.report(self.limits.work_limit);
                let after = accepted.after;
                self.tell(
                    after,
                    ClientEvent::Settled { key_id, peer, role: Role::Responder, hubs, blame_is_certain },
                );
            }
            let Some(inbound) = self.inbound.get(&id).filter(|inbound| inbound.expires <= now) else {
                continue;
            };
            match &inbound.stage {
                // A key that nobody has taken is not lost: it goes when the application has it.
                Stage::Accepted(accepted) if accepted.key.is_some() => {
                    if let Some(inbound) = self.inbound.get_mut(&id) {
                        inbound.expires = now.saturating_add(UNTAKEN_CHECK);
                    }
                }
                Stage::Accepted(_) => {
                    self.inbound.remove(&id);
                    self.remember(id);
                }
                Stage::Collecting(arrived) => {
                    let error = failure(arrived);
                    self.inbound.remove(&id);
                    let (peer, key_id) = id;
                    self.tell(
                        Barrier::OPEN,
                        ClientEvent::KeyFailed { key_id, peer, role: Role::Responder, error },
                    );
                }
            }
        }
    }
}

/// Refusals that are remembered, for their repetition.
const REFUSALS: usize = 64;

/// How often the table looks after a key that nobody takes, beyond its lifetime.
const UNTAKEN_CHECK: Duration = Duration::from_secs(60);

/// Why no key came of these shares: enough of one kind were there, or not.
fn failure(arrived: &[Arrived]) -> KeyError {
    let alike = |share: &Arrived| {
        arrived
            .iter()
            .filter(|other| other.context == share.context && other.secret_tag == share.secret_tag)
            .count()
    };
    let enough = arrived.iter().any(|share| alike(share) >= usize::from(share.context.threshold));
    if enough { KeyError::Undecodable } else { KeyError::TooFewHubs }
}
