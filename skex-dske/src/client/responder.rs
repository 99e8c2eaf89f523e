//! The responder: gathers shares, finds the key among liars, keeps it until the application has it, confirms
//! (docs/draft-skex-dske.md, "Responder").

mod accept;
mod judgement;
mod remembered;
mod stored;
mod table;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use skex_core::machine::{Barrier, DiscardReason, Disposition, Instant, TransmitClass};
use skex_core::{Assurance, KeyBytes, KeyId, SecretVec};
use skex_wire::dske::{AnswerStatus, ShareMessage, Tagged, Terms, bitmap_bit};

use super::Client;
use super::config::RECENT;
use super::event::{ClientEvent, KeyError, Role};
use crate::id::ClientTag;
use crate::key::{Agreement, Bitmap, Context, ContextHub, Origin, claimed};
use crate::link::{AnswerKey, ReceivedShare, Slot, suite_of};
use crate::onetime::Tag;
use crate::psrd::Pad;
use crate::share::Coordinate;
use crate::suite::KeySuite;
use judgement::Judgement;
pub(super) use remembered::Remembered;
pub(super) use stored::STORED_KEY;
pub(super) use table::InboundTable;

/// The initiator of a key and its id.
pub(super) type Id = (ClientTag, KeyId);

/// A key that somebody sends us, or sent us before.
pub(super) struct Inbound {
    /// The link whose share came first: each may begin so many.
    begun_by: usize,
    expires: Instant,
    /// When to search all shares thoroughly, should no other come before.
    search_at: Option<Instant>,
    stage: Stage,
    /// Answers that were given: link, slot, message. The same message gets the same answer again.
    answers: Vec<(usize, Slot, Vec<u8>)>,
}

enum Stage {
    Collecting(Collecting),
    /// The key was found; what is still to be said about it.
    Accepted(Box<Accepted>),
}

#[derive(Default)]
struct Collecting {
    /// Shares as they came, each hub's once.
    arrived: Vec<Arrived>,
    /// What came with them, each once, in the order in which it came.
    stories: Vec<Story>,
}

/// What hubs say that the initiator said. Shares count together only where all of it agrees.
struct Story {
    context: Context,
    secret_tag: Tag,
}

/// A share that waits for others.
struct Arrived {
    link: usize,
    coordinate: Coordinate,
    answer_key: AnswerKey,
    share: SecretVec,
    /// The worst of the tables by which it came.
    origin: Origin,
    /// Elements of the table that it took.
    elements: u32,
    /// By what this hub said, from when it said it: a liar's haste must not end the others.
    expires: Instant,
    /// The place of its story among those that came.
    story: usize,
}

struct Accepted {
    /// Until the application has taken it.
    key: Option<KeyBytes>,
    assurance: Assurance,
    /// Number of hubs.
    count: u8,
    /// The confirmation, fixed once and for all.
    origins: Bitmap,
    lying: Bitmap,
    confirm: Tag,
    /// Coordinates of hubs whose share had not come, and of which an out-of-band table was claimed. Durable as it was when the key
    /// was accepted.
    awaited: Vec<u8>,
    /// When its lifetime is over. As long as shares are awaited it is kept for another: a hub may have heard of it so much later than we have.
    over: Instant,
    /// What depends on the key waits for this checkpoint.
    after: u64,
    /// To judge shares that come later; not durable.
    judgement: Option<Judgement>,
}

impl Story {
    /// Whether it is this one, told of the same key.
    fn is(&self, terms: &Terms<'_>, secret_tag: Tag) -> bool {
        self.context.has(terms) && self.secret_tag == secret_tag
    }
}

impl Collecting {
    fn story_of(&self, share: &Arrived) -> Option<&Story> {
        self.stories.get(share.story)
    }
}

impl Inbound {
    pub(super) fn deadline(&self) -> Instant {
        let settle = match &self.stage {
            Stage::Accepted(accepted) => {
                accepted.judgement.as_ref().map_or(self.expires, |judgement| judgement.settle_at)
            }
            Stage::Collecting(_) => self.search_at.unwrap_or(self.expires),
        };
        settle.min(self.expires)
    }

    /// Octets of the share from this hub that waits for others.
    fn waiting_from(&self, link: usize) -> Option<usize> {
        let Stage::Collecting(Collecting { arrived, .. }) = &self.stage else { return None };
        arrived.iter().find(|share| share.link == link).map(|share| share.share.len())
    }

    const fn is_accepted(&self) -> bool {
        matches!(self.stage, Stage::Accepted(_))
    }

    /// The place of this story among those that came; of the accepted key there is but one. `Err`: it would be a new one, in this place.
    fn place_of(&self, terms: &Terms<'_>, secret_tag: Tag) -> Result<usize, usize> {
        let (stories, accepted) = match &self.stage {
            Stage::Collecting(collecting) => (collecting.stories.as_slice(), None),
            Stage::Accepted(accepted) => (&[][..], accepted.judgement.as_ref()),
        };
        let mut all = stories.iter().chain(accepted.map(|judgement| &judgement.story));
        all.position(|story| story.is(terms, secret_tag)).ok_or(stories.len())
    }

    /// Takes a share in, with its story if that is a new one. One hub never counts twice: what it says anew replaces nothing, and is not
    /// answered.
    fn collect(&mut self, share: Arrived, new: Option<Story>) -> Collected {
        let Stage::Collecting(Collecting { arrived, stories }) = &mut self.stage else {
            return Collected::Again;
        };
        let Some(earlier) = arrived.iter_mut().find(|earlier| earlier.link == share.link) else {
            self.expires = self.expires.max(share.expires);
            if let Some(new) = new {
                // Few keys have more than one.
                stories.reserve_exact(1);
                stories.push(new);
            }
            arrived.push(share);
            return Collected::New;
        };
        if earlier.share != share.share || earlier.story != share.story {
            return Collected::OtherThanBefore(share.answer_key);
        }
        // The same share in a new slot, after a new session: the answer goes there.
        earlier.elements = earlier.elements.saturating_add(share.elements);
        if earlier.origin.is_as_good_as(share.origin) {
            earlier.origin = share.origin;
        }
        earlier.answer_key = share.answer_key;
        Collected::Again
    }
}

/// What a share was to those that are there.
enum Collected {
    New,
    Again,
    /// Of a hub that said something else before. The key is for the answer.
    OtherThanBefore(AnswerKey),
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
        let secret_tag = Tag::from_bytes(wire.secret_tag);
        let inbound = self.inbound.get(&id);
        let (is_new, is_accepted) = (inbound.is_none(), inbound.is_some_and(Inbound::is_accepted));
        let place = inbound.map_or(Err(0), |inbound| inbound.place_of(&wire.terms, secret_tag));
        // Before its block is used: a full table must not burn what it cannot keep.
        if is_new && !self.has_room_for_inbound(link, id.0)
            || !is_accepted && !self.has_room_for_share(link, id, wire.share.len())
        {
            return self.discards.discard(DiscardReason::Busy);
        }
        let Some(hub) = self.links.get_mut(link) else {
            return self.discards.discard(DiscardReason::UnknownPeer);
        };
        let coordinate = hub.coordinate;
        let ReceivedShare { share, answer_key, elements } = match hub.link.open_share(message) {
            Ok(received) => received,
            Err(DiscardReason::Duplicate) => return self.on_repeated_delivery(link, id, Slot::of(wire)),
            Err(reason) => return self.discards.discard(reason),
        };
        // Now: when the session ends, the table may go.
        let table = hub.link.incoming.get(answer_key.slot().block.table);
        let origin = table.map_or(Origin::Refill, crate::psrd::Half::origin);
        let new = match self.admit(wire, origin).and_then(|suite| match place {
            Ok(_) => Ok(None),
            Err(_) => self.context(wire, suite).map(|context| Some(Story { context, secret_tag })),
        }) {
            Ok(_) if !wire.terms.coordinates.contains(&coordinate.get()) => {
                return self.refuse(link, answer_key, AnswerStatus::MALFORMED_CONTEXT);
            }
            Ok(new) => new,
            Err(status) => return self.refuse(link, answer_key, status),
        };
        if self.remembered.contains(&id) {
            return self.refuse(link, answer_key, AnswerStatus::EXPIRED);
        }
        if is_accepted {
            self.on_late_share(id, link, answer_key, share, new.is_none());
            return Disposition::Accepted;
        }
        let expires = now.saturating_add(Duration::from_secs(u64::from(wire.terms.lifetime)));
        let (Ok(story) | Err(story)) = place;
        let arrived = Arrived { link, coordinate, answer_key, share, origin, elements, expires, story };
        if is_new {
            let stage = Stage::Collecting(Collecting::default());
            let mut inbound =
                Inbound { begun_by: link, expires, search_at: None, stage, answers: Vec::new() };
            let _ = inbound.collect(arrived, new);
            self.inbound.insert(id, inbound);
            self.try_accept(now, id);
            return Disposition::Accepted;
        }
        match self.inbound.change(&id, |inbound| inbound.collect(arrived, new)) {
            Some(Collected::New) => self.try_accept(now, id),
            Some(Collected::OtherThanBefore(answer_key)) => {
                return self.refuse(link, answer_key, AnswerStatus::KEY_ID_IN_USE);
            }
            Some(Collected::Again) | None => {}
        }
        Disposition::Accepted
    }

    /// Whether a key was accepted with the claim that this hub's share comes by a table out of band, and the share has not
    /// come. Until it has, or its time is over, no refilled table may carry it.
    pub(super) fn awaits_out_of_band(&self, link: usize) -> bool {
        let Some(coordinate) = self.links.get(link).map(|hub| hub.coordinate.get()) else { return false };
        self.inbound.iter().any(|(_, inbound)| match &inbound.stage {
            Stage::Accepted(accepted) => accepted.awaited.contains(&coordinate),
            Stage::Collecting(_) => false,
        })
    }

    /// The suite of what a hub delivered by a table of `origin`; or why we do not want it.
    fn admit(&self, wire: &ShareMessage<'_>, origin: Origin) -> Result<KeySuite, AnswerStatus> {
        let terms = &wire.terms;
        if !self.peers.contains(&ClientTag::new(wire.peer)) {
            return Err(AnswerStatus::NOT_AUTHORISED);
        }
        let suite = suite_of(wire).ok_or(AnswerStatus::POLICY)?;
        let assurance = claimed(terms.origins, terms.hubs()).weakest(suite.assurance());
        let assurance = assurance.weakest(origin.assurance());
        if terms.threshold < self.policy.minimum_threshold
            || terms.lifetime > self.policy.maximum_lifetime
            || assurance < self.policy.minimum_assurance
        {
            return Err(AnswerStatus::POLICY);
        }
        Ok(suite)
    }

    /// The full context of what a hub delivered, from our own roster.
    fn context(&self, wire: &ShareMessage<'_>, suite: KeySuite) -> Result<Context, AnswerStatus> {
        let terms = &wire.terms;
        let mut hubs = Vec::with_capacity(terms.coordinates.len());
        for (i, &x) in (0..=u8::MAX).zip(terms.coordinates) {
            // A hub beside our roster: we could not tell its shares from those of a hub that is counted twice.
            let hub = self.links.iter().find(|hub| hub.coordinate.get() == x).ok_or(AnswerStatus::POLICY)?;
            let origin = if bitmap_bit(terms.origins, i) { Origin::Refill } else { Origin::OutOfBand };
            hubs.push(ContextHub { id: hub.link.keys.hub(), coordinate: hub.coordinate, origin });
        }
        let agreement = Agreement {
            key_id: KeyId::new(wire.key_id),
            initiator: ClientTag::new(wire.peer),
            responder: self.tag,
            suite,
            threshold: terms.threshold,
            key_len: terms.key_len,
            lifetime: terms.lifetime,
        };
        Ok(Context::new(agreement, hubs))
    }

    /// Whether `link` may begin another key of `initiator`. Neither one lying hub nor one initiator must fill the table
    /// for all.
    fn has_room_for_inbound(&self, link: usize, initiator: ClientTag) -> bool {
        let Some(held) = self.inbound.held(initiator) else { return true };
        let of_initiator = self.limits.inbound_of_each(self.peers.len());
        let of_link = self.limits.begun_of_each(self.peers.len(), self.links.len());
        held.begun_by(link) < of_link
            && held.waiting < of_initiator
            && held.recent < of_initiator.saturating_mul(RECENT)
    }

    /// Whether a share of so many octets can wait for others of its key: there is room for it, or no other of its initiator waits, who must not pay
    /// for what others leave.
    fn has_room_for_share(&self, link: usize, id: Id, octets: usize) -> bool {
        if octets <= SHORT {
            return true;
        }
        let (mut waiting, mut of_initiator) = (0_usize, 0_usize);
        for (other, inbound) in self.inbound.iter().filter(|(other, _)| **other != id) {
            let octets = inbound.waiting_from(link).filter(|octets| *octets > SHORT).unwrap_or(0);
            waiting = waiting.saturating_add(octets);
            if other.0 == id.0 {
                of_initiator = of_initiator.saturating_add(octets);
            }
        }
        of_initiator == 0 || waiting.saturating_add(octets) <= self.limits.incomplete_octets
    }

    fn refuse(&mut self, link: usize, answer_key: AnswerKey, status: AnswerStatus) -> Disposition {
        let slot = answer_key.slot();
        let answer = self.links.get(link).and_then(|hub| hub.link.answer(answer_key, status, None));
        if let Some(inner) = answer {
            self.send(link, &inner, Barrier::OPEN, TransmitClass::Reply);
            self.refusals.truncate(REFUSALS.saturating_sub(1));
            self.refusals.insert(0, (link, slot, inner));
        }
        self.discards.discard(DiscardReason::Policy)
    }

    /// The same message again: the same answer again, if there was one.
    fn on_repeated_delivery(&mut self, link: usize, id: Id, slot: Slot) -> Disposition {
        let inbound = self.inbound.get(&id);
        let after = inbound.map_or(Barrier::OPEN, |inbound| match &inbound.stage {
            Stage::Accepted(accepted) => accepted.after,
            Stage::Collecting(_) => Barrier::OPEN,
        });
        let mut given = inbound.map(|inbound| &inbound.answers).into_iter().flatten().chain(&self.refusals);
        let given = given.find(|(to, of, _)| (*to, *of) == (link, slot)).map(|(_, _, inner)| inner.clone());
        if let Some(inner) = given {
            self.send(link, &inner, after, TransmitClass::Reply);
        }
        self.discards.discard(DiscardReason::Duplicate)
    }

    /// Searches and reports that are due, and keys whose time is over.
    pub(super) fn expire_inbound(&mut self, now: Instant) {
        while let Some(id) = self.inbound.due(now) {
            let searched =
                self.inbound.change(&id, |inbound| inbound.search_at.take_if(|at| *at <= now).is_some());
            if searched == Some(true) {
                self.search(now, id);
                continue;
            }
            let (peer, key_id) = id;
            let judged = self.inbound.change(&id, |inbound| match &mut inbound.stage {
                Stage::Accepted(accepted) => {
                    // With the lifetime everybody's time is over.
                    let over = inbound.expires <= now;
                    let due = accepted.judgement.take_if(|judgement| over || judgement.settle_at <= now);
                    due.map(|judgement| (accepted.after, judgement))
                }
                Stage::Collecting(_) => None,
            });
            if let Some((after, judgement)) = judged.flatten() {
                let (hubs, blame_is_certain) = judgement.report(self.limits.work_limit);
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
                    let again = now.saturating_add(UNTAKEN_CHECK);
                    let _ = self.inbound.change(&id, |inbound| {
                        inbound.expires = again;
                        if let Stage::Accepted(accepted) = &mut inbound.stage {
                            accepted.awaited.clear();
                        }
                    });
                }
                Stage::Accepted(_) => {
                    let _ = self.inbound.remove(&id);
                    self.remember(id);
                }
                Stage::Collecting(collecting) => {
                    let error = self.failure(collecting);
                    let _ = self.inbound.remove(&id);
                    self.tell(
                        Barrier::OPEN,
                        ClientEvent::KeyFailed { key_id, peer, role: Role::Responder, error },
                    );
                }
            }
        }
    }

    /// Why no key came of these shares: not enough of one kind were there, or they were worth too little, or wrong.
    fn failure(&self, collecting: &Collecting) -> KeyError {
        let contexts = collecting.stories.iter().map(|story| &story.context).enumerate();
        let alike = |place: usize| collecting.arrived.iter().filter(|share| share.story == place).count();
        let mut enough =
            contexts.filter(|(place, context)| alike(*place) >= usize::from(context.threshold)).peekable();
        if enough.peek().is_none() {
            return KeyError::TooFewHubs;
        }
        let falls_short = |(_, context): (usize, &Context)| {
            let origins = self.downlink_origins(context, &collecting.arrived);
            claimed(&origins, context.count()) < self.policy.minimum_assurance
        };
        if enough.all(falls_short) { KeyError::Assurance } else { KeyError::Undecodable }
    }
}

/// Octets of a share whose memory the number of keys bounds.
const SHORT: usize = 1024;

/// Refusals that are remembered, for their repetition.
pub(super) const REFUSALS: usize = 64;

/// How often the table looks after a key that nobody takes, beyond its lifetime.
const UNTAKEN_CHECK: Duration = Duration::from_secs(60);
