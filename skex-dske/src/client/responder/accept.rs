//! The key among the shares that came: found, stored, given to the application, confirmed to every hub
//! (docs/draft-skex-dske.md, "Responder").

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use skex_core::machine::{Instant, TransmitClass};
use skex_core::{KeyBytes, KeyId, OutputKey, SecretVec};
use skex_wire::dske::{AnswerStatus, Confirmation};

use super::judgement::{Effort, Judgement, work_limit};
use super::stored::store;
use super::{Accepted, Arrived, Collecting, Id, Inbound, Stage, Story};
use crate::client::Client;
use crate::client::event::{ClientError, ClientEvent, Established, Role};
use crate::client::hub_link::Connection;
use crate::client::outlet::Outlet;
use crate::id::{ClientTag, HubId};
use crate::key::{Bitmap, Context, Origin, SecretBlock, bitmap, claimed, origin_bitmap};
use crate::link::AnswerKey;
use crate::list::ToList as _;
use crate::psrd::{ELEMENT_LEN, Pad};
use crate::share::{Coordinate, decode};

/// What came of looking for a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    Found,
    /// Not found in a brief search.
    Briefly,
    /// Not to be found among these shares.
    InVain,
}

/// A key that was found.
struct Found {
    accepted: Box<Accepted>,
    /// The place of its story.
    story: usize,
    /// The context of that.
    encoded: Vec<u8>,
    /// Hubs with another story, or that came too late.
    strangers: Vec<Coordinate>,
}

/// A key that was accepted, for the application.
pub(super) fn established(id: Id, accepted: &Accepted, pad_octets: u64) -> Option<ClientEvent> {
    let secret = KeyBytes::on_heap(accepted.key.as_ref()?.expose())?;
    Some(ClientEvent::KeyEstablished(Established {
        key: OutputKey::new(id.1, 0, accepted.assurance, secret).confirmed(),
        peer: id.0,
        role: Role::Responder,
        confirmed: true,
        pad_octets,
    }))
}

impl Arrived {
    /// Whether it counts for the story in this place.
    fn counts(&self, story: usize, now: Instant) -> bool {
        self.story == story && now < self.expires
    }
}

impl Inbound {
    fn judgement(&mut self) -> Option<&mut Judgement> {
        match &mut self.stage {
            Stage::Accepted(accepted) => accepted.judgement.as_mut(),
            Stage::Collecting(_) => None,
        }
    }

    /// Answers that the key was accepted, with the confirmation, behind the checkpoint that holds the key.
    fn answer<P: Pad>(
        &mut self,
        link: usize,
        hub: &Connection<P>,
        answer_key: AnswerKey,
        outlet: &mut Outlet,
    ) {
        let Stage::Accepted(accepted) = &mut self.stage else { return };
        let confirm = *accepted.confirm.as_bytes();
        let Ok(confirmation) = Confirmation::new(&accepted.origins, &accepted.lying, confirm) else { return };
        let slot = answer_key.slot();
        let Some(inner) = hub.link.answer(answer_key, AnswerStatus::ACCEPTED, Some(confirmation)) else {
            return;
        };
        accepted.awaited.retain(|&awaited| awaited != hub.coordinate.get());
        if accepted.awaited.is_empty() {
            self.expires = self.expires.min(accepted.over);
        }
        outlet.send((link, hub), &inner, accepted.after, TransmitClass::Reply);
        self.answers.retain(|(to, ..)| *to != link);
        self.answers.push((link, slot, inner));
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
        let (id, journal) = ((peer, key_id), &mut self.journal);
        let taken = self.inbound.change(&id, |inbound| {
            let Stage::Accepted(accepted) = &mut inbound.stage else { return None };
            accepted.key.take()?;
            store(id, accepted, inbound.expires.saturating_since(now), journal);
            Some(())
        });
        taken.flatten().ok_or(ClientError::NoSuchKey)?;
        // The key still stands in an earlier record: a snapshot lets the store drop that. It costs as much as there is to
        // write, so where there is much, several keys share one.
        self.taken_since_snapshot = self.taken_since_snapshot.saturating_add(1);
        let state = self.inbound.len().saturating_add(self.remembered.len());
        if self.taken_since_snapshot >= state / 8 {
            self.journal.compact();
        } else {
            self.journal.wipe_soon(now);
        }
        Ok(())
    }

    /// Looks for the key among the shares that agree with the newest one. Another share may make it easy: a long search waits
    /// until none comes any more.
    pub(super) fn try_accept(&mut self, now: Instant, id: Id) {
        let Some(collecting) = self.collecting(&id) else { return };
        let newest = collecting.arrived.len().saturating_sub(1);
        if self.try_group(now, id, newest, Effort::Brief) == Tried::Briefly {
            let search_at = Some(now.saturating_add(self.limits.settle));
            let _ = self.inbound.change(&id, |inbound| inbound.search_at = search_at);
        }
    }

    /// Looks for the key in each group of shares that agree, as long as the limits allow.
    pub(super) fn search(&mut self, now: Instant, id: Id) {
        let Some(collecting) = self.collecting(&id) else { return };
        let first = |story| collecting.arrived.iter().position(|share| share.story == story);
        let leads: Vec<usize> = (0..collecting.stories.len()).filter_map(first).list();
        let _ = leads.into_iter().any(|lead| self.try_group(now, id, lead, Effort::Thorough) == Tried::Found);
    }

    fn collecting(&self, id: &Id) -> Option<&Collecting> {
        match &self.inbound.get(id)?.stage {
            Stage::Collecting(collecting) => Some(collecting),
            Stage::Accepted(_) => None,
        }
    }

    /// Looks for the key among the shares that agree with the one at `lead`.
    fn try_group(&mut self, now: Instant, id: Id, lead: usize, effort: Effort) -> Tried {
        match self.find_key(now, &id, lead, effort) {
            Ok(found) => {
                self.accept(now, id, found);
                Tried::Found
            }
            Err(tried) => tried,
        }
    }

    /// The key among the shares that agree with the one at `lead`.
    fn find_key(&self, now: Instant, id: &Id, lead: usize, effort: Effort) -> Result<Found, Tried> {
        let collecting = self.collecting(id).ok_or(Tried::InVain)?;
        let arrived = &collecting.arrived;
        let lead = arrived.get(lead).ok_or(Tried::InVain)?;
        let Story { context, secret_tag } = collecting.story_of(lead).ok_or(Tried::InVain)?;
        let group = || arrived.iter().filter(|share| share.counts(lead.story, now));
        if group().count() < usize::from(context.threshold) {
            return Err(Tried::InVain);
        }
        // Another share may come by a better table than the one that is feared of its hub now.
        let origins = self.downlink_origins(context, arrived);
        let assurance = context.assurance().weakest(claimed(&origins, context.count()));
        if assurance < self.policy.minimum_assurance {
            return Err(Tried::InVain);
        }
        let encoded = context.encode().ok_or(Tried::InVain)?;
        let key_len = usize::try_from(context.key_len).map_err(|_| Tried::InVain)?;
        let shares: Vec<(Coordinate, &[u8])> =
            group().map(|share| (share.coordinate, share.share.expose())).list();
        let verify = |candidate: &[u8]| SecretBlock::tag_of(candidate, &encoded) == *secret_tag;
        let all_came = shares.len() == usize::from(context.count());
        let effort = if all_came { Effort::Thorough } else { effort };
        let work_limit = work_limit(self.limits.work_limit, &shares, effort);
        let Ok(decoded) = decode(context.threshold, &shares, work_limit, verify) else {
            return Err(if effort == Effort::Brief { Tried::Briefly } else { Tried::InVain });
        };

        // What is said to the initiator is fixed here: our tables' origins, and who seems to lie by now.
        let strangers = arrived.iter().filter(|share| !share.counts(lead.story, now));
        let strangers: Vec<Coordinate> = strangers.map(|share| share.coordinate).list();
        let lies = |x: Coordinate| decoded.culprits().contains(&x) || strangers.contains(&x);
        let lying = bitmap(context.hubs().map(|(_, x)| lies(x)));
        let block = SecretBlock::from_shares(decoded.into_secret(), key_len).ok_or(Tried::InVain)?;
        let key = block.key().ok_or(Tried::InVain)?;
        let confirm = block.confirm(&encoded, &origins, &lying).ok_or(Tried::InVain)?;
        let silent = |link: &usize| !arrived.iter().any(|share| share.link == *link);
        let awaited = (0..self.links.len()).filter(silent).filter_map(|link| {
            let hub = self.links.get(link)?;
            let of_key = context.hubs().any(|(id, _)| id == hub.link.keys.hub());
            let claimed = hub.link.unseen_origin() == Origin::OutOfBand;
            (of_key && claimed).then_some(hub.coordinate.get())
        });
        let accepted = Box::new(Accepted {
            key: Some(key),
            assurance,
            count: context.count(),
            origins,
            lying,
            confirm,
            awaited: awaited.list(),
            over: lead.expires,
            after: self.journal.after(),
            judgement: None,
        });
        Ok(Found { accepted, story: lead.story, encoded, strangers })
    }

    /// Stores the key; behind that, gives it to the application and answers every hub.
    fn accept(&mut self, now: Instant, id: Id, found: Found) {
        let Found { mut accepted, story: place, encoded, strangers } = found;
        let Self { inbound, journal, links, outlet, limits, .. } = self;
        let settle_at = now.saturating_add(limits.settle);
        let _ = inbound.change(&id, |inbound| {
            let Stage::Collecting(Collecting { arrived, stories }) = &mut inbound.stage else { return };
            let (arrived, stories) = (core::mem::take(arrived), core::mem::take(stories));
            let Some(story) = stories.into_iter().nth(place) else { return };
            let lifetime = Duration::from_secs(u64::from(story.context.lifetime));
            let over = accepted.over;
            // By the accepted terms: what liars said of the lifetime is over with them.
            inbound.expires = if accepted.awaited.is_empty() { over } else { over.saturating_add(lifetime) };
            let left = inbound.expires.saturating_since(now);
            store(id, &accepted, left, journal);
            let elements = arrived.iter().map(|share| share.elements).fold(0, u32::saturating_add);
            let pad_octets = u64::from(elements).saturating_mul(ELEMENT_LEN as u64);
            if let Some(event) = established(id, &accepted, pad_octets) {
                outlet.tell(accepted.after, event);
            }
            let count = usize::from(accepted.count);
            let shares = Vec::with_capacity(count);
            accepted.judgement = Some(Judgement { story, encoded, shares, strangers, settle_at });
            inbound.stage = Stage::Accepted(accepted);
            inbound.answers.reserve_exact(count);
            for share in arrived {
                let counts = share.counts(place, now);
                if let Some(hub) = links.get_mut(share.link) {
                    inbound.answer(share.link, hub, share.answer_key, outlet);
                }
                if let Some(judgement) = inbound.judgement().filter(|_| counts) {
                    judgement.shares.push((share.coordinate, share.share));
                }
            }
        });
    }

    /// A share for a key that is there already: judged, answered like the others. `is_same`: its story is that of the key.
    pub(super) fn on_late_share(
        &mut self,
        id: Id,
        link: usize,
        answer_key: AnswerKey,
        share: SecretVec,
        is_same: bool,
    ) {
        let Self { inbound, links, outlet, .. } = self;
        let Some(hub) = links.get_mut(link) else { return };
        let _ = inbound.change(&id, |inbound| {
            if let Some(judgement) = inbound.judgement() {
                judgement.hear(hub.coordinate, share, is_same);
            }
            inbound.answer(link, hub, answer_key, outlet);
        });
    }

    /// Of each hub, in the order of the context: see [`Self::downlink_origin`].
    pub(super) fn downlink_origins(&self, context: &Context, arrived: &[Arrived]) -> Bitmap {
        origin_bitmap(context.hubs().map(|(hub, _)| self.downlink_origin(hub, arrived)))
    }

    /// The worst origin of the tables by which `hub` delivered its share, or else of the one by which it will.
    fn downlink_origin(&self, hub: HubId, arrived: &[Arrived]) -> Origin {
        let Some((at, link)) = self.links.iter().enumerate().find(|(_, link)| link.link.keys.hub() == hub)
        else {
            return Origin::Refill;
        };
        let share = arrived.iter().find(|share| share.link == at);
        share.map_or_else(|| link.link.unseen_origin(), |share| share.origin)
    }
}
