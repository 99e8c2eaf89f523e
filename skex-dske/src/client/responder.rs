//! The responder: gathers shares, finds the key among liars, keeps it until the application has it, confirms
//! (docs/draft-skex-dske.md, "Responder").

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use skex_core::machine::{Barrier, DiscardReason, Disposition, Instant, TransmitClass};
use skex_core::{Assurance, KeyBytes, KeyId, OutputKey, SecretVec};
use skex_wire::Reader;
use skex_wire::dske::{
    AnswerStatus, Confirmation, DskeSuiteId, ShareMessage, TAG_LEN, Tagged, bitmap_bit, bitmap_len,
    block_elements,
};

use super::Client;
use super::config::RECENT;
use super::event::{ClientError, ClientEvent, Conduct, Established, HubReport, KeyError, Role};
use crate::id::{ClientTag, HubId};
use crate::key::{Agreement, Context, ContextHub, Origin, SecretBlock, bitmap, claimed, origin_bitmap};
use crate::link::ReceivedShare;
use crate::onetime::Tag;
use crate::psrd::{AnswerKey, ELEMENT_LEN, Pad};
use crate::share::{Coordinate, decode};
use crate::state::RestoreError;

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

/// Every share of the accepted key, to be judged together once the last of them had its time.
struct Judgement {
    context: Context,
    secret_tag: Tag,
    encoded: Vec<u8>,
    shares: Vec<(Coordinate, SecretVec)>,
    /// Hubs that told another story than those that made the key.
    strangers: Vec<Coordinate>,
    settle_at: Instant,
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
    /// Says that the key `key_id` of `peer` is in safe hands: its bytes are wiped here, it is not given
    /// again, and the records that hold it are replaced by a snapshot within a minute.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoSuchKey`] if no such key waits to be taken.
    pub fn taken(&mut self, peer: ClientTag, key_id: KeyId) -> Result<(), ClientError> {
        let now = self.clock.now();
        let Some(inbound) = self.inbound.get_mut(&(peer, key_id)) else { return Err(ClientError::NoSuchKey) };
        let Stage::Accepted(accepted) = &mut inbound.stage else { return Err(ClientError::NoSuchKey) };
        if accepted.key.take().is_none() {
            return Err(ClientError::NoSuchKey);
        }
        let value = encode(accepted, inbound.expires.saturating_since(now));
        self.changes.set(&storage_key(peer, key_id), value);
        // The key still stands in an earlier record: a snapshot lets the store drop that. It costs as much as there is to
        // write, so where there is much, several keys share one.
        self.taken_since_snapshot = self.taken_since_snapshot.saturating_add(1);
        let state = self.inbound.len().saturating_add(self.remembered.len());
        if self.taken_since_snapshot >= state / 8 {
            self.snapshot_due = true;
        } else {
            let _ = self.wipe_at.get_or_insert_with(|| now.saturating_add(UNTAKEN_CHECK));
        }
        Ok(())
    }

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

    /// Looks for the key among the shares that agree with the newest one.
    fn try_accept(&mut self, now: Instant, id: (ClientTag, KeyId)) {
        let Some(Inbound { stage: Stage::Collecting(arrived), .. }) = self.inbound.get(&id) else { return };
        let Some(newest) = arrived.last() else { return };
        let (context, secret_tag, expires) = (newest.context.clone(), newest.secret_tag, newest.expires);
        let alike = |share: &&Arrived| {
            share.context == context && share.secret_tag == secret_tag && now < share.expires
        };
        let group: Vec<&Arrived> = arrived.iter().filter(alike).collect();
        if group.len() < usize::from(context.threshold) {
            return;
        }
        let (Some(encoded), Ok(key_len)) = (context.encode(), usize::try_from(context.key_len)) else {
            return;
        };
        let shares: Vec<(Coordinate, &[u8])> =
            group.iter().map(|share| (share.coordinate, share.share.expose())).collect();
        let verify = |candidate: &[u8]| SecretBlock::tag_of(candidate, &encoded) == secret_tag;
        let work_limit = work_limit(self.limits.work_limit, &shares);
        let Ok(decoded) = decode(context.threshold, &shares, work_limit, verify) else { return };
        let culprits = decoded.culprits().to_vec();
        let block = SecretBlock::from_shares(decoded.into_secret(), key_len);
        let Some(block) = block else { return };
        let Some(key) = block.key() else { return };

        // What is said to the initiator is fixed here: our tables' origins, and who seems to lie by now.
        let known = |x: Coordinate| group.iter().any(|share| share.coordinate == x);
        let strangers =
            arrived.iter().map(|share| share.coordinate).filter(|&x| !known(x)).collect::<Vec<_>>();
        let lies = |x: Coordinate| culprits.contains(&x) || strangers.contains(&x);
        let lying = bitmap(context.hubs().map(|(_, x)| lies(x)));
        let origins = origin_bitmap(context.hubs().map(|(hub, _)| self.downlink_origin(hub)));
        let Some(confirm) = block.confirm(&encoded, &origins, &lying) else { return };
        let kept = |share: &&Arrived| (share.coordinate, SecretVec::copied_from(share.share.expose()));
        let shares = group.iter().map(kept).collect();
        let count = context.count();
        let settle_at = now.saturating_add(self.limits.settle);
        let judgement = Judgement { context, secret_tag, encoded, shares, strangers, settle_at };
        let assurance = judgement.context.assurance().weakest(claimed(&origins, count));
        let (key, after, judgement) = (Some(key), self.barrier.after(), Some(judgement));
        let accepted = Accepted { key, assurance, count, origins, lying, confirm, after, judgement };
        self.accept(now, id, expires, accepted);
    }

    /// Stores the key; behind that, gives it to the application and answers every hub.
    fn accept(&mut self, now: Instant, id: (ClientTag, KeyId), expires: Instant, accepted: Accepted) {
        self.changes.set(&storage_key(id.0, id.1), encode(&accepted, expires.saturating_since(now)));
        let pad = accepted.judgement.as_ref().and_then(|judgement| block_elements(judgement.context.key_len));
        let hubs = accepted.judgement.as_ref().map_or(0, |judgement| judgement.heard() as u64);
        let pad_octets = u64::from(pad.unwrap_or(0)).saturating_mul(ELEMENT_LEN as u64).saturating_mul(hubs);
        self.tell_key(id, &accepted, pad_octets);
        let Some(inbound) = self.inbound.get_mut(&id) else { return };
        // By the accepted terms: what liars said of the lifetime is over with them.
        inbound.expires = expires;
        if let Stage::Collecting(arrived) =
            core::mem::replace(&mut inbound.stage, Stage::Accepted(Box::new(accepted)))
        {
            for share in arrived {
                self.answer_accepted(id, share.link, share.index, share.answer_key);
            }
        }
    }

    fn tell_key(&mut self, id: (ClientTag, KeyId), accepted: &Accepted, pad_octets: u64) {
        let secret = accepted.key.as_ref().and_then(|key| KeyBytes::copied_from(key.expose()));
        if let Some(secret) = secret {
            self.tell(
                accepted.after,
                ClientEvent::KeyEstablished(Established {
                    key: OutputKey::new(id.1, 0, accepted.assurance, secret),
                    peer: id.0,
                    role: Role::Responder,
                    confirmed: true,
                    pad_octets,
                }),
            );
        }
    }

    /// Accepted, with the confirmation, behind the checkpoint that holds the key.
    fn answer_accepted(&mut self, id: (ClientTag, KeyId), link: usize, index: u32, answer_key: AnswerKey) {
        let Some(Inbound { stage: Stage::Accepted(accepted), answers, .. }) = self.inbound.get_mut(&id)
        else {
            return;
        };
        let after = accepted.after;
        let Ok(confirmation) =
            Confirmation::new(&accepted.origins, &accepted.lying, *accepted.confirm.as_bytes())
        else {
            return;
        };
        let Some(hub) = self.links.get(link) else { return };
        let Some(inner) = hub.link.answer(index, answer_key, AnswerStatus::ACCEPTED, Some(confirmation))
        else {
            return;
        };
        answers.retain(|(to, ..)| *to != link);
        answers.push((link, index, inner.clone()));
        self.send(link, &inner, after, TransmitClass::Reply);
    }

    /// A share for a key that is there already: judged, answered like the others.
    fn on_late_share(
        &mut self,
        id: (ClientTag, KeyId),
        link: usize,
        coordinate: Coordinate,
        block: (u32, AnswerKey),
        share: &SecretVec,
        claim: (&Context, Tag),
    ) {
        if let Some(Inbound { stage: Stage::Accepted(accepted), .. }) = self.inbound.get_mut(&id)
            && let Some(judgement) = &mut accepted.judgement
        {
            judgement.hear(coordinate, share, claim);
        }
        self.answer_accepted(id, link, block.0, block.1);
    }

    fn downlink_origin(&self, hub: HubId) -> Origin {
        let link = self.links.iter().find(|link| link.link.keys.hub() == hub);
        link.map_or(Origin::Refill, |link| link.link.incoming.origin())
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

    /// Keeps the id of a key whose lifetime is over. A hub may still hold a share of it, and hubs that wait long enough must
    /// not deliver the key once more. Each id cost a block of every table that carried it, so tables bound their number;
    /// beyond the configured bound the smallest ids go.
    fn remember(&mut self, id: (ClientTag, KeyId)) {
        self.changes.set(&storage_key(id.0, id.1), SecretVec::zeroed(0));
        self.remembered.insert(id);
        while self.remembered.len() > self.limits.remembered {
            let Some((peer, key_id)) = self.remembered.pop_first() else { return };
            self.changes.remove(&storage_key(peer, key_id));
        }
    }

    /// The stored keys, after a start: those that the application has not taken are given again.
    pub(super) fn restore_inbound(
        &mut self,
        now: Instant,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), RestoreError> {
        let mut reader = Reader::new(key);
        let id = (ClientTag::new(reader.array()?), KeyId::new(reader.array()?));
        reader.finish()?;
        if value.is_empty() {
            self.remembered.insert(id);
            return Ok(());
        }
        let (accepted, lifetime) = decode_stored(value)?;
        self.tell_key(id, &accepted, 0);
        let expires = now.saturating_add(lifetime);
        let inbound =
            Inbound { begun_by: 0, expires, stage: Stage::Accepted(Box::new(accepted)), answers: Vec::new() };
        self.inbound.insert(id, inbound);
        Ok(())
    }

    /// What a snapshot has to hold of the keys.
    pub(super) fn store_inbound(&mut self) {
        let now = self.clock.now();
        self.taken_since_snapshot = 0;
        self.wipe_at = None;
        for (peer, key_id) in &self.remembered {
            self.changes.append(&storage_key(*peer, *key_id), SecretVec::zeroed(0));
        }
        for ((peer, key_id), inbound) in &self.inbound {
            if let Stage::Accepted(accepted) = &inbound.stage {
                let value = encode(accepted, inbound.expires.saturating_since(now));
                self.changes.set(&storage_key(*peer, *key_id), value);
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

impl Judgement {
    /// Takes down a share that came after the key was found.
    fn hear(&mut self, coordinate: Coordinate, share: &SecretVec, (context, secret_tag): (&Context, Tag)) {
        let heard = self.shares.iter().map(|(x, _)| x).chain(&self.strangers).any(|&x| x == coordinate);
        if heard || !self.context.hubs().any(|(_, x)| x == coordinate) {
            return;
        }
        if *context == self.context && secret_tag == self.secret_tag {
            self.shares.push((coordinate, SecretVec::copied_from(share.expose())));
        } else {
            self.strangers.push(coordinate);
        }
    }

    fn heard(&self) -> usize {
        self.shares.len().saturating_add(self.strangers.len())
    }

    /// How each hub behaved, from all shares together: the first of them may have looked right by another polynomial.
    fn report(&self, limit: u64) -> (Vec<HubReport>, bool) {
        let shares: Vec<(Coordinate, &[u8])> =
            self.shares.iter().map(|(x, share)| (*x, share.expose())).collect();
        let verify = |candidate: &[u8]| SecretBlock::tag_of(candidate, &self.encoded) == self.secret_tag;
        let decoded = decode(self.context.threshold, &shares, work_limit(limit, &shares), verify);
        let found = decoded.is_ok();
        let culprits = decoded.map_or_else(|_| Vec::new(), |decoded| decoded.culprits().to_vec());
        // Another polynomial with the same key agrees with ours at k - 2 of the right shares at the most. If so few are
        // accused that under any such polynomial k hubs or more would lie, ours is the true one.
        let (accused, heard) = (culprits.len(), self.shares.len());
        let twice = usize::from(self.context.threshold).saturating_mul(2);
        let certain = found && (accused == 0 || accused.saturating_add(twice) <= heard.saturating_add(2));
        let conduct = |x: Coordinate| {
            if culprits.contains(&x) || self.strangers.contains(&x) {
                Conduct::Lying
            } else if self.shares.iter().any(|(heard, _)| *heard == x) {
                Conduct::Good
            } else {
                Conduct::Silent
            }
        };
        let hubs = self.context.hubs().map(|(hub, x)| HubReport::new(hub, conduct(x))).collect();
        (hubs, certain)
    }
}

/// The limit of subsets for shares of this length: long ones are tried less often, so that no sender of long keys can
/// make this end work for minutes.
fn work_limit(subsets: u64, shares: &[(Coordinate, &[u8])]) -> u64 {
    let len = shares.first().map_or(1, |(_, share)| share.len().max(1));
    subsets.min(DECODED_OCTETS.checked_div(len as u64).unwrap_or(0))
}

/// Octets that decoding one key may touch.
const DECODED_OCTETS: u64 = 1 << 28;

pub(super) const STORED_KEY: u8 = 2;

fn storage_key(peer: ClientTag, key_id: KeyId) -> Vec<u8> {
    [&[STORED_KEY], peer.as_bytes().as_slice(), key_id.as_bytes()].concat()
}

/// lifetime left 4 (s), number of hubs 1, assurance 1, origins, lying, confirm tag 16, key (to the end; none if taken)
fn encode(accepted: &Accepted, left: Duration) -> SecretVec {
    let key = accepted.key.as_ref().map_or(&[][..], KeyBytes::expose);
    let bitmaps = accepted.origins.len().saturating_add(accepted.lying.len());
    let len = 6_usize.saturating_add(bitmaps).saturating_add(TAG_LEN).saturating_add(key.len());
    SecretVec::from_fn(len, |octets| {
        let mut out = skex_wire::Writer::new(octets);
        let seconds = u32::try_from(left.as_secs()).unwrap_or(u32::MAX);
        let assurance = u8::from(accepted.assurance == Assurance::Computational);
        let written = out
            .u32(seconds)
            .and_then(|()| out.bytes(&[accepted.count, assurance]))
            .and_then(|()| out.bytes(&accepted.origins))
            .and_then(|()| out.bytes(&accepted.lying))
            .and_then(|()| out.bytes(accepted.confirm.as_bytes()))
            .and_then(|()| out.bytes(key));
        debug_assert!(written.is_ok());
    })
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
    let origins = reader.take(bitmap_len(count))?.to_vec();
    let lying = reader.take(bitmap_len(count))?.to_vec();
    let confirm = Tag::from_bytes(reader.array()?);
    let key = reader.rest();
    let key =
        if key.is_empty() { None } else { Some(KeyBytes::copied_from(key).ok_or(RestoreError::Content)?) };
    Ok((
        Accepted { key, assurance, count, origins, lying, confirm, after: Barrier::OPEN, judgement: None },
        lifetime,
    ))
}
