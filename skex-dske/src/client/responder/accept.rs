//! The key among the shares that came: found, stored, given to the application, confirmed to every hub
//! (docs/draft-skex-dske.md, "Responder").

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use skex_core::machine::{Instant, TransmitClass};
use skex_core::{KeyBytes, KeyId, OutputKey, SecretVec};
use skex_wire::dske::{AnswerStatus, Confirmation};

use super::judgement::{Effort, Judgement, work_limit};
use super::stored::{encode, storage_key};
use super::{Accepted, Arrived, Id, Inbound, Stage};
use crate::client::Client;
use crate::client::event::{ClientError, ClientEvent, Established, Role};
use crate::id::{ClientTag, HubId};
use crate::key::{Context, Origin, SecretBlock, bitmap, claimed, origin_bitmap};
use crate::link::AnswerKey;
use crate::onetime::Tag;
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

impl<P: Pad> Client<P> {
    /// Says that the key `key_id` of `peer` is in safe hands: its bytes are wiped here, it is not given
    /// again, and the records that hold it are replaced by a snapshot within a minute.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoSuchKey`] if no such key waits to be taken.
    pub fn taken(&mut self, peer: ClientTag, key_id: KeyId) -> Result<(), ClientError> {
        let now = self.clock.now();
        let value = self.inbound.change(&(peer, key_id), |inbound| {
            let Stage::Accepted(accepted) = &mut inbound.stage else { return None };
            accepted.key.take()?;
            Some(encode(accepted, inbound.expires.saturating_since(now)))
        });
        let value = value.flatten().ok_or(ClientError::NoSuchKey)?;
        self.journal.set(storage_key(peer, key_id), value);
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
        let Some(Inbound { stage: Stage::Collecting(arrived), .. }) = self.inbound.get(&id) else { return };
        let newest = arrived.len().saturating_sub(1);
        if self.try_group(now, id, newest, Effort::Brief) == Tried::Briefly {
            let search_at = Some(now.saturating_add(self.limits.settle));
            let _ = self.inbound.change(&id, |inbound| inbound.search_at = search_at);
        }
    }

    /// Looks for the key in each group of shares that agree, as long as the limits allow.
    pub(super) fn search(&mut self, now: Instant, id: Id) {
        let Some(Inbound { stage: Stage::Collecting(arrived), .. }) = self.inbound.get(&id) else { return };
        let leads = arrived.iter().enumerate().filter(|(i, share)| {
            let first = arrived.iter().position(|other| other.agrees_with(share));
            first == Some(*i)
        });
        let leads: Vec<usize> = leads.map(|(i, _)| i).collect();
        let _ = leads.into_iter().any(|lead| self.try_group(now, id, lead, Effort::Thorough) == Tried::Found);
    }

    /// Looks for the key among the shares that agree with the one at `lead`.
    fn try_group(&mut self, now: Instant, id: Id, lead: usize, effort: Effort) -> Tried {
        let Some(Inbound { stage: Stage::Collecting(arrived), .. }) = self.inbound.get(&id) else {
            return Tried::InVain;
        };
        let Some(lead) = arrived.get(lead) else { return Tried::InVain };
        let (context, secret_tag, expires) = (&lead.context, lead.secret_tag, lead.expires);
        let alike = |share: &&Arrived| share.agrees_with(lead) && now < share.expires;
        let group: Vec<&Arrived> = arrived.iter().filter(alike).collect();
        if group.len() < usize::from(context.threshold) {
            return Tried::InVain;
        }
        // Another share may come by a better table than the one that is feared of its hub now.
        let origins = self.downlink_origins(context, arrived);
        let assurance = context.assurance().weakest(claimed(&origins, context.count()));
        if assurance < self.policy.minimum_assurance {
            return Tried::InVain;
        }
        let (Some(encoded), Ok(key_len)) = (context.encode(), usize::try_from(context.key_len)) else {
            return Tried::InVain;
        };
        let shares: Vec<(Coordinate, &[u8])> =
            group.iter().map(|share| (share.coordinate, share.share.expose())).collect();
        let verify = |candidate: &[u8]| SecretBlock::tag_of(candidate, &encoded) == secret_tag;
        let all_came = group.len() == usize::from(context.count());
        let effort = if all_came { Effort::Thorough } else { effort };
        let work_limit = work_limit(self.limits.work_limit, &shares, effort);
        let Ok(decoded) = decode(context.threshold, &shares, work_limit, verify) else {
            return if effort == Effort::Brief { Tried::Briefly } else { Tried::InVain };
        };
        let culprits = decoded.culprits().to_vec();
        let block = SecretBlock::from_shares(decoded.into_secret(), key_len);
        let Some(block) = block else { return Tried::InVain };
        let Some(key) = block.key() else { return Tried::InVain };

        // What is said to the initiator is fixed here: our tables' origins, and who seems to lie by now.
        let known = |x: Coordinate| group.iter().any(|share| share.coordinate == x);
        let strangers =
            arrived.iter().map(|share| share.coordinate).filter(|&x| !known(x)).collect::<Vec<_>>();
        let lies = |x: Coordinate| culprits.contains(&x) || strangers.contains(&x);
        let lying = bitmap(context.hubs().map(|(_, x)| lies(x)));
        let Some(confirm) = block.confirm(&encoded, &origins, &lying) else { return Tried::InVain };
        let kept = |share: &&Arrived| (share.coordinate, SecretVec::copied_from(share.share.expose()));
        let shares = group.iter().map(kept).collect();
        let count = context.count();
        let settle_at = now.saturating_add(self.limits.settle);
        let context = context.clone();
        let judgement = Judgement { context, secret_tag, encoded, shares, strangers, settle_at };
        let silent = |link: &usize| !arrived.iter().any(|share| share.link == *link);
        let awaited = (0..self.links.len()).filter(silent).filter_map(|link| {
            let hub = self.links.get(link)?;
            let of_key = judgement.context.hubs().any(|(id, _)| id == hub.link.keys.hub());
            let claimed = hub.link.unseen_origin() == Origin::OutOfBand;
            (of_key && claimed).then_some(hub.coordinate.get())
        });
        let awaited: Vec<u8> = awaited.collect();
        let lifetime = Duration::from_secs(u64::from(judgement.context.lifetime));
        let kept_until = if awaited.is_empty() { expires } else { expires.saturating_add(lifetime) };
        let (key, after, judgement) = (Some(key), self.journal.after(), Some(judgement));
        let over = expires;
        let accepted =
            Accepted { key, assurance, count, origins, lying, confirm, awaited, over, after, judgement };
        self.accept(now, id, kept_until, accepted);
        Tried::Found
    }

    /// Stores the key; behind that, gives it to the application and answers every hub.
    fn accept(&mut self, now: Instant, id: Id, expires: Instant, accepted: Accepted) {
        self.journal.set(storage_key(id.0, id.1), encode(&accepted, expires.saturating_since(now)));
        let pad_octets = match self.inbound.get(&id) {
            Some(Inbound { stage: Stage::Collecting(arrived), .. }) => {
                let elements = arrived.iter().map(|share| share.elements).fold(0, u32::saturating_add);
                u64::from(elements).saturating_mul(ELEMENT_LEN as u64)
            }
            _ => 0,
        };
        self.tell_key(id, &accepted, pad_octets);
        let before = self.inbound.change(&id, |inbound| {
            // By the accepted terms: what liars said of the lifetime is over with them.
            inbound.expires = expires;
            core::mem::replace(&mut inbound.stage, Stage::Accepted(Box::new(accepted)))
        });
        if let Some(Stage::Collecting(arrived)) = before {
            for share in arrived {
                self.answer_accepted(id, share.link, share.answer_key);
            }
        }
    }

    pub(super) fn tell_key(&mut self, id: Id, accepted: &Accepted, pad_octets: u64) {
        let secret = accepted.key.as_ref().and_then(|key| KeyBytes::on_heap(key.expose()));
        if let Some(secret) = secret {
            self.tell(
                accepted.after,
                ClientEvent::KeyEstablished(Established {
                    key: OutputKey::new(id.1, 0, accepted.assurance, secret).confirmed(),
                    peer: id.0,
                    role: Role::Responder,
                    confirmed: true,
                    pad_octets,
                }),
            );
        }
    }

    /// Accepted, with the confirmation, behind the checkpoint that holds the key.
    fn answer_accepted(&mut self, id: Id, link: usize, answer_key: AnswerKey) {
        let Some(Inbound { stage: Stage::Accepted(accepted), .. }) = self.inbound.get(&id) else { return };
        let after = accepted.after;
        let Ok(confirmation) =
            Confirmation::new(&accepted.origins, &accepted.lying, *accepted.confirm.as_bytes())
        else {
            return;
        };
        let Some(hub) = self.links.get(link) else { return };
        let slot = answer_key.slot();
        let Some(inner) = hub.link.answer(answer_key, AnswerStatus::ACCEPTED, Some(confirmation)) else {
            return;
        };
        let coordinate = hub.coordinate.get();
        let answer = (link, slot, inner.clone());
        let _ = self.inbound.change(&id, |inbound| {
            inbound.answers.retain(|(to, ..)| *to != link);
            inbound.answers.push(answer);
            if let Stage::Accepted(accepted) = &mut inbound.stage {
                accepted.awaited.retain(|&awaited| awaited != coordinate);
                if accepted.awaited.is_empty() {
                    inbound.expires = inbound.expires.min(accepted.over);
                }
            }
        });
        self.send(link, &inner, after, TransmitClass::Reply);
    }

    /// A share for a key that is there already: judged, answered like the others.
    pub(super) fn on_late_share(
        &mut self,
        id: Id,
        link: usize,
        coordinate: Coordinate,
        answer_key: AnswerKey,
        share: &SecretVec,
        claim: (&Context, Tag),
    ) {
        let _ = self.inbound.change(&id, |inbound| {
            if let Stage::Accepted(accepted) = &mut inbound.stage
                && let Some(judgement) = &mut accepted.judgement
            {
                judgement.hear(coordinate, share, claim);
            }
        });
        self.answer_accepted(id, link, answer_key);
    }

    /// Of each hub, in the order of the context: see [`Self::downlink_origin`].
    pub(super) fn downlink_origins(&self, context: &Context, arrived: &[Arrived]) -> Vec<u8> {
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
