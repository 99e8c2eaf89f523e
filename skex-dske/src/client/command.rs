//! What a client asks of its hubs beside relaying: look-ups of names, offers, withdrawals, authorisations
//! (docs/draft-skex-dske.md, "Commands").

mod lookup;

use alloc::vec::Vec;

use rand_core::CryptoRng;
use skex_core::machine::{Barrier, DiscardReason, Disposition, Instant, TransmitClass};
use skex_core::{Assurance, KeyId};
use skex_wire::dske::{CommandBody, MAX_NAME_LEN, Offer, Outcome, OutcomeStatus, Tagged};

pub(super) use lookup::FOUND;

use super::Client;
use super::event::{ClientError, ClientEvent, CommandReport, HubCommand};
use super::initiator::Request;
use crate::backoff::Backoff;
use crate::id::ClientTag;
use crate::key::{Origin, Origins, encoded};
use crate::link::SentCommand;
use crate::list::ToList as _;
use crate::psrd::{AllocateError, Pad};
use crate::suite::KeySuite;

/// Commands under way at once: fewer than a hub remembers outcomes of.
pub(super) const COMMANDS: usize = 8;

/// A command on its way to all hubs.
pub(super) struct Task {
    what: What,
    expires: Instant,
    /// Of a look-up: when the slow ones have had their time, once enough hubs agree.
    settle_at: Option<Instant>,
    /// By link.
    asked: Vec<Asked>,
}

enum What {
    Lookup(Vec<u8>),
    /// The offer, encoded.
    Publish(Vec<u8>),
    Withdraw(KeyId),
    Authorise(ClientTag, bool),
}

#[derive(Default)]
struct Asked {
    sent: Option<(SentCommand, Backoff)>,
    told: Option<Told>,
    /// Its table gave no usable block.
    broken: bool,
}

/// What one hub said.
struct Told {
    status: OutcomeStatus,
    found: Option<(ClientTag, Vec<u8>)>,
    /// Of the table that authenticated it.
    origin: Origin,
}

impl What {
    fn body(&self) -> CommandBody<'_> {
        match self {
            Self::Lookup(name) => CommandBody::Lookup(name),
            Self::Publish(offer) => CommandBody::Publish(Offer::decode(offer).ok()),
            Self::Withdraw(key_id) => CommandBody::Withdraw(*key_id.as_bytes()),
            Self::Authorise(client, allowed) => {
                CommandBody::Authorise { client: *client.as_bytes(), allowed: *allowed }
            }
        }
    }

    /// Whether it changes at a hub what a later one changes again.
    fn is_a_state(&self) -> bool {
        self.undoes(self)
    }

    /// Whether of these two what is carried out last is what holds.
    fn undoes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Publish(_), Self::Publish(_)) => true,
            (Self::Authorise(peer, _), Self::Authorise(other, _)) => peer == other,
            _ => false,
        }
    }
}

impl Task {
    pub(super) fn deadline(&self) -> Instant {
        let open = self.asked.iter().filter(|asked| asked.told.is_none());
        let retries = open.filter_map(|asked| asked.sent.as_ref().map(|(_, backoff)| backoff.due()));
        retries.chain(self.settle_at).chain([self.expires]).min().unwrap_or(self.expires)
    }

    fn is_answered(&self) -> bool {
        self.asked.iter().all(|asked| asked.told.is_some() || asked.broken)
    }
}

impl<P: Pad> Client<P> {
    /// Asks all hubs who has this name, of 1 to 64 octets. [`ClientEvent::LookupEnded`] tells. A tag is believed when as many
    /// hubs as the policy's minimum threshold say the same.
    ///
    /// # Errors
    ///
    /// [`ClientError::Name`], [`Exhausted`](ClientError::Exhausted), [`Busy`](ClientError::Busy). Nothing was spent.
    pub fn look_up(&mut self, now: Instant, rng: &mut dyn CryptoRng, name: &[u8]) -> Result<(), ClientError> {
        if name.is_empty() || name.len() > MAX_NAME_LEN {
            return Err(ClientError::Name);
        }
        let enough = usize::from(self.policy.minimum_threshold);
        self.begin(now, rng, What::Lookup(name.to_vec()), enough)
    }

    /// Publishes at all hubs what this client accepts: its policy, its suites, its hubs. Whoever looks its name up is told.
    /// It binds nobody: what comes is judged by the policy here. [`ClientEvent::CommandEnded`] tells how it went.
    ///
    /// # Errors
    ///
    /// [`ClientError::Exhausted`], [`Busy`](ClientError::Busy). Nothing was spent.
    pub fn publish(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Result<(), ClientError> {
        let policy = &self.policy;
        let information_theoretic = policy.minimum_assurance == Assurance::InformationTheoretic;
        let weakest = |suite: &KeySuite| suite.assurance().weakest(policy.minimum_assurance);
        let acceptable =
            |suite: &KeySuite| suite.is_available() && weakest(suite) == policy.minimum_assurance;
        let suites = KeySuite::ALL.into_iter().filter(acceptable).map(|suite| suite.id().value());
        let mut suites: Vec<u8> = suites.list();
        suites.sort_unstable();
        let mut coordinates: Vec<u8> = self.links.iter().map(|hub| hub.coordinate.get()).list();
        coordinates.sort_unstable();
        let (threshold, lifetime) = (policy.minimum_threshold, policy.maximum_lifetime.max(1));
        let offer = Offer::new(threshold, information_theoretic, lifetime, &suites, &coordinates).ok();
        let offer = offer.and_then(|offer| encoded(offer.encoded_len(), |out| offer.encode(out)));
        self.begin(now, rng, What::Publish(offer.unwrap_or_default()), 1)
    }

    /// Takes back what [`publish`](Self::publish) published.
    ///
    /// # Errors
    ///
    /// [`ClientError::Exhausted`], [`Busy`](ClientError::Busy). Nothing was spent.
    pub fn unpublish(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Result<(), ClientError> {
        self.begin(now, rng, What::Publish(Vec::new()), 1)
    }

    /// Takes back the key `key_id` that this client asked for, also before its last start. A request that is under way ends
    /// here and now, without an event of its own; shares that wait at hubs are dropped there, and
    /// [`ClientEvent::CommandEnded`] tells which hubs had sent theirs before. The responder has no key if more than n - k
    /// hubs had not, and said so truly.
    ///
    /// A hub forgets a key when its lifetime ends, and knows nothing of it then, whatever it did. For a request that is under way hubs therefore
    /// have until then to answer, if that is sooner than for any command. Of a key of which this client knows no more (its request has
    /// ended, or this client has started since) **an answer is to be believed only before the end of the key's lifetime**.
    ///
    /// # Errors
    ///
    /// [`ClientError::Exhausted`], [`Busy`](ClientError::Busy). Nothing was spent, and the request goes on.
    pub fn withdraw(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        key_id: KeyId,
    ) -> Result<(), ClientError> {
        self.may_begin(1)?;
        let ends = self.requests.get(key_id).map(Request::expires);
        self.forget_request(key_id);
        self.begin_until(now, rng, What::Withdraw(key_id), 1, ends)
    }

    /// Tells all hubs that `peer` may have keys made with this client, or may not any more: what waits there of such keys is
    /// dropped. It lasts until said otherwise. [`ClientEvent::CommandEnded`] tells how it went. The peers of this client's own
    /// configuration, by which it judges what comes, stay as they are.
    ///
    /// # Errors
    ///
    /// [`ClientError::Exhausted`], [`Busy`](ClientError::Busy). Nothing was spent.
    pub fn authorise(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        peer: ClientTag,
        allowed: bool,
    ) -> Result<(), ClientError> {
        self.begin(now, rng, What::Authorise(peer, allowed), 1)
    }

    fn may_begin(&self, hubs: usize) -> Result<(), ClientError> {
        let able = self.links.iter().filter(|hub| hub.link.outgoing.could_have_room(0, Origins::Any));
        if able.count() < hubs {
            return Err(ClientError::Exhausted);
        }
        if self.tasks.len() >= COMMANDS {
            return Err(ClientError::Busy);
        }
        Ok(())
    }

    fn begin(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        what: What,
        hubs: usize,
    ) -> Result<(), ClientError> {
        self.begin_until(now, rng, what, hubs, None)
    }

    /// With less time for the hubs than they have by the limits, if that ends later.
    fn begin_until(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        what: What,
        hubs: usize,
        ends: Option<Instant>,
    ) -> Result<(), ClientError> {
        self.may_begin(hubs)?;
        let now = self.clock.observe(now);
        let expires = now.saturating_add(self.limits.commands);
        let expires = ends.map_or(expires, |ends| ends.min(expires));
        let asked = self.links.iter().map(|_| Asked::default()).list();
        self.tasks.push(Task { what, expires, settle_at: None, asked });
        let pace = self.limits.pace();
        for hub in self.links.iter_mut() {
            hub.hurry(now, pace);
        }
        self.say_hello(now);
        self.advance_tasks(now, rng);
        Ok(())
    }

    /// Does for every command what has become possible or due.
    pub(super) fn advance_tasks(&mut self, now: Instant, rng: &mut dyn CryptoRng) {
        let tasks = core::mem::take(&mut self.tasks);
        for mut task in tasks {
            for link in 0..self.links.len() {
                self.ask(now, rng, link, &mut task);
            }
            if self.is_over(now, &mut task) {
                self.end(task);
            } else {
                self.tasks.push(task);
            }
        }
    }

    fn ask(&mut self, now: Instant, rng: &mut dyn CryptoRng, link: usize, task: &mut Task) {
        let pace = self.limits.pace();
        let Some(asked) = task.asked.get_mut(link).filter(|asked| asked.told.is_none() && !asked.broken)
        else {
            return;
        };
        if let Some((sent, backoff)) = &mut asked.sent {
            if backoff.take_due(now, pace) {
                self.send(link, &sent.inner, sent.after, TransmitClass::Retransmission);
            }
            return;
        }
        // A hub does what comes last: whoever holds datagrams back must not choose which of two that is.
        let is_under_way = |earlier: &Task| {
            let asked = earlier.asked.get(link).filter(|asked| asked.told.is_none() && !asked.broken);
            asked.is_some() && task.what.undoes(&earlier.what)
        };
        if self.tasks.iter().any(is_under_way) {
            return;
        }
        let Some(hub) = self.links.get_mut(link) else { return };
        if hub.is_open() && hub.unanswered && task.what.is_a_state() {
            // What was given up may still be on its way, and ends with the session.
            hub.restart(now, pace, rng);
            return self.say_hello(now);
        }
        if !hub.is_open() || !hub.link.outgoing.has_room(0, Origins::Any) {
            if hub.link.outgoing.could_have_room(0, Origins::Any) {
                self.request_lease(now, rng, link, 0, Origins::Any);
            }
            return;
        }
        match hub.link.send_command(task.what.body()) {
            Ok(sent) => {
                self.send(link, &sent.inner, sent.after, TransmitClass::Request);
                asked.sent = Some((sent, Backoff::new(now, pace)));
            }
            Err(AllocateError::Pad(_) | AllocateError::Message) => asked.broken = true,
            Err(_) => {}
        }
    }

    fn is_over(&self, now: Instant, task: &mut Task) -> bool {
        if now >= task.expires || task.is_answered() {
            return true;
        }
        if matches!(task.what, What::Lookup(_)) && task.is_settled(self.policy.minimum_threshold) {
            let settle_at = now.saturating_add(self.limits.grace);
            return *task.settle_at.get_or_insert(settle_at) <= now;
        }
        // Also where it was to end soon: somebody has told an offer since.
        task.settle_at = None;
        false
    }

    fn end(&mut self, task: Task) {
        for (hub, asked) in self.links.iter_mut().zip(&task.asked) {
            if let (None, Some((sent, _))) = (&asked.told, &asked.sent) {
                hub.link.settle_command(sent);
                hub.unanswered |= task.what.is_a_state();
            }
        }
        let hubs = self.links.iter().zip(&task.asked).map(|(hub, asked)| {
            CommandReport::new(hub.link.keys.hub(), asked.told.as_ref().map(|told| told.status))
        });
        let command = match task.what {
            What::Lookup(_) => return self.end_lookup(task),
            What::Publish(offer) => HubCommand::Publish { withdrawn: offer.is_empty() },
            What::Withdraw(key_id) => HubCommand::Withdraw(key_id),
            What::Authorise(peer, allowed) => HubCommand::Authorise { peer, allowed },
        };
        let hubs = hubs.list();
        self.tell(Barrier::OPEN, ClientEvent::CommandEnded { command, hubs });
    }

    /// A new session with a hub: blocks of the old one are void.
    pub(super) fn forget_commands_to(&mut self, link: usize) {
        let asked = self.tasks.iter_mut().filter_map(|task| task.asked.get_mut(link));
        asked.filter(|asked| asked.told.is_none()).for_each(|asked| asked.sent = None);
    }

    /// A hub's answer to a command.
    pub(super) fn on_outcome(&mut self, link: usize, outcome: &Tagged<'_, Outcome<'_>>) -> Disposition {
        let Some(hub) = self.links.get_mut(link) else {
            return self.discards.discard(DiscardReason::UnknownPeer);
        };
        let block = (outcome.message.table, outcome.message.index);
        // After its time a hub may know nothing any more of what it did.
        let now = self.clock.now();
        let tasks = self.tasks.iter_mut().filter(|task| now < task.expires);
        let asked = tasks.filter_map(|task| task.asked.get_mut(link));
        let asked = asked.filter_map(|asked| Some((asked.sent.as_ref()?, &mut asked.told)));
        let mut of_block = asked.filter(|((sent, _), _)| {
            let place = sent.answer_key.slot().block;
            (place.table, place.index) == block
        });
        let Some(((sent, _), told)) = of_block.next() else {
            return self.discards.discard(DiscardReason::Stale);
        };
        if told.is_some() {
            return self.discards.discard(DiscardReason::Duplicate);
        }
        if !hub.link.take_outcome(sent, outcome) {
            return self.discards.discard(DiscardReason::Unauthentic);
        }
        let found = outcome.message.found.map(|found| {
            let offer = found.offer.and_then(|offer| encoded(offer.encoded_len(), |out| offer.encode(out)));
            (ClientTag::new(found.client), offer.unwrap_or_default())
        });
        *told = Some(Told { status: outcome.message.status, found, origin: sent.origin });
        Disposition::Accepted
    }
}
