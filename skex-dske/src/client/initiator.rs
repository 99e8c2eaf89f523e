//! The initiator: makes a key, shares it among the hubs, waits for acceptance and confirmation
//! (docs/draft-skex-dske.md, "Initiator").

mod table;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use rand_core::CryptoRng;
use skex_core::machine::{Barrier, DiscardReason, Disposition, Instant, TransmitClass};
use skex_core::{Assurance, KeyId, OutputKey, SecretVec};
use skex_wire::dske::{
    Answer, AnswerStatus, Confirm, MAX_DSKE_KEY_LEN, MAX_HUBS, MIN_DSKE_KEY_LEN, Tagged, bitmap_bit,
    bitmap_fits,
};

use super::Client;
use super::event::{ClientError, ClientEvent, Conduct, Established, HubReport, KeyError, Role};
use super::hub_link::Connection;
use super::negotiation::HubSet;
use crate::backoff::{Backoff, later, millis};
use crate::id::ClientTag;
use crate::key::{Agreement, Bitmap, Context, ContextHub, Origins, SecretBlock, bitmap, claimed};
use crate::link::{Content, SentShare, Slot};
use crate::list::ToList as _;
use crate::onetime::{MessageVerificationKey, Tag};
use crate::psrd::{AllocateError, ELEMENT_LEN, Pad};
use crate::share::{Coordinate, Splitter};
use crate::suite::{KeySuite, Need};
pub(super) use table::RequestTable;

/// When the initiator gets its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Release {
    /// When as many hubs as the threshold have stored their shares. The responder may still be unreachable.
    AtThreshold,
    /// When the responder has confirmed that it holds the same key.
    AtConfirmation,
}

/// What kind of key is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyRequest {
    /// How the shares are protected. The weakest of suite and tables is what the key may claim.
    pub suite: KeySuite,
    /// How many hubs must cooperate to break the key, and how many must deliver for it to arrive.
    pub threshold: u8,
    /// Octets of the key: 16 to 1 MiB.
    pub key_len: u32,
    /// Seconds that the shares wait at the hubs, and that this request waits.
    pub lifetime: u16,
    /// When this end gets the key.
    pub release: Release,
    /// The hubs that take part, of those that this client has.
    pub hubs: HubSet,
    /// The least assurance of the key, where the client's own policy does not demand more. A key that would have less is not made; one of
    /// which the responder confirms less is not given, unless it was given at the threshold, unconfirmed.
    pub minimum_assurance: Assurance,
}

impl KeyRequest {
    const fn need(self) -> Need {
        Need { suite: self.suite, key_len: self.key_len }
    }

    /// By which tables its shares may be sent.
    fn origins(self) -> Origins {
        Origins::for_at_least(self.minimum_assurance)
    }

    /// A 256-bit key of this threshold under one-time pads through all hubs, for 600 seconds, released at the confirmation, of any
    /// assurance that the client's policy allows.
    #[must_use]
    pub const fn new(threshold: u8) -> Self {
        Self {
            suite: KeySuite::OneTime,
            threshold,
            key_len: 32,
            lifetime: 600,
            release: Release::AtConfirmation,
            hubs: HubSet::ALL,
            minimum_assurance: Assurance::Computational,
        }
    }
}

/// False confirmations that one hub may bring for one key.
const CONFIRMATION_TRIES: u8 = 16;

/// A key that this client makes.
pub(super) struct Request {
    peer: ClientTag,
    wanted: KeyRequest,
    expires: Instant,
    stage: Stage,
}

enum Stage {
    /// Waits for leases: until all hubs are ready, or enough of them and this time has come.
    Gathering { patience: Instant },
    /// Shares are under way.
    Sharing(Box<Sharing>),
}

struct Sharing {
    context: Context,
    encoded: Vec<u8>,
    secret_tag: Tag,
    /// Until it is released.
    key: Option<OutputKey>,
    /// Confirmations whose tag did not verify, by link: each hub may try so often (draft-skex-dske, "Bounds").
    false_confirmations: [u8; MAX_HUBS as usize],
    /// Until the confirmation is there.
    confirmation_key: Option<MessageVerificationKey>,
    /// In the order of the context.
    shares: Vec<Outbound>,
    /// As the responder confirmed it, in the order of the context.
    lying: Bitmap,
    confirmed: bool,
    /// What the key may claim, where the confirmation came after the key was given: until that is told.
    confirmed_late: Option<Assurance>,
    /// Asks the hubs again for a confirmation that does not come.
    confirm_poll: Option<Backoff>,
    /// When the report on the hubs is due; set at the release.
    settle_at: Option<Instant>,
    settled: bool,
    pad_octets: u64,
}

/// One hub's share on its way.
struct Outbound {
    /// Position of the hub among our links.
    link: usize,
    /// Until the hub has answered.
    share: Option<SecretVec>,
    /// Once there was a lease for it.
    sent: Option<(SentShare, Backoff)>,
    answer: Option<AnswerStatus>,
    /// Its table gave no usable block: nothing more is tried for this key.
    broken: bool,
}

impl Outbound {
    const fn is_pending(&self) -> bool {
        self.answer.is_none() && !self.broken
    }
}

impl Request {
    pub(super) const fn expires(&self) -> Instant {
        self.expires
    }

    fn deadline(&self) -> Instant {
        let stage = match &self.stage {
            Stage::Gathering { patience } => *patience,
            Stage::Sharing(sharing) => sharing.deadline(),
        };
        stage.min(self.expires)
    }

    /// Whether it waits for room in a table.
    fn waits(&self) -> bool {
        match &self.stage {
            Stage::Gathering { .. } => true,
            Stage::Sharing(sharing) => {
                sharing.shares.iter().any(|share| share.is_pending() && share.sent.is_none())
            }
        }
    }
}

impl Sharing {
    fn deadline(&self) -> Instant {
        let retries = self.shares.iter().filter(|share| share.is_pending());
        let retries = retries.filter_map(|share| share.sent.as_ref().map(|(_, backoff)| backoff.due()));
        let settle = self.settle_at.filter(|_| !self.settled);
        let poll = self.confirm_poll.as_ref().filter(|_| !self.confirmed).map(Backoff::due);
        retries.chain(settle).chain(poll).min().unwrap_or(Instant::from_millis(u64::MAX))
    }

    fn accepted(&self) -> usize {
        self.shares.iter().filter(|share| share.answer == Some(AnswerStatus::ACCEPTED)).count()
    }

    fn is_over(&self) -> bool {
        // A hub that is still silent has had its time: the key is there, at both ends.
        self.settled && self.confirmed
    }

    fn reports(&self) -> Vec<HubReport> {
        let conduct = |i: u8, share: &Outbound| {
            if bitmap_bit(&self.lying, i) {
                return Conduct::Lying;
            }
            match share.answer {
                None if share.broken => Conduct::TableFailed,
                None => Conduct::Silent,
                Some(AnswerStatus::ACCEPTED) => Conduct::Good,
                Some(status) => Conduct::Refused(status),
            }
        };
        let hubs = self.context.hubs().zip(&self.shares);
        (0..=u8::MAX).zip(hubs).map(|(i, ((hub, _), share))| HubReport::new(hub, conduct(i, share))).list()
    }
}

impl<P: Pad> Client<P> {
    /// Asks for a key with `peer`. Its id names it from now on, at both ends.
    ///
    /// The key comes as an event, or [`ClientEvent::KeyFailed`] does. A request is not durable: after a restart it is
    /// forgotten, and whatever the responder may have accepted under its id is known to the responder alone.
    ///
    /// # Errors
    ///
    /// [`ClientError::UnknownPeer`], [`Threshold`](ClientError::Threshold), [`KeyLength`](ClientError::KeyLength),
    /// [`Suite`](ClientError::Suite), [`Lifetime`](ClientError::Lifetime), [`Assurance`](ClientError::Assurance),
    /// [`Exhausted`](ClientError::Exhausted), [`Busy`](ClientError::Busy). Nothing was spent.
    pub fn request_key(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        peer: ClientTag,
        mut wanted: KeyRequest,
    ) -> Result<KeyId, ClientError> {
        let now = self.clock.observe(now);
        wanted.minimum_assurance = wanted.minimum_assurance.max(self.policy.minimum_assurance);
        if !self.peers.contains(&peer) && !self.found.contains(&peer) {
            return Err(ClientError::UnknownPeer);
        }
        if wanted.threshold < 2 || usize::from(wanted.threshold) > self.links_of(wanted.hubs).count() {
            return Err(ClientError::Threshold);
        }
        if wanted.key_len < MIN_DSKE_KEY_LEN || wanted.key_len > MAX_DSKE_KEY_LEN {
            return Err(ClientError::KeyLength);
        }
        if !wanted.suite.is_available() {
            return Err(ClientError::Suite);
        }
        if wanted.lifetime == 0 {
            return Err(ClientError::Lifetime);
        }
        if wanted.suite.assurance() < wanted.minimum_assurance {
            return Err(ClientError::Assurance);
        }
        if self.requests.len() >= self.limits.requests {
            return Err(ClientError::Busy);
        }
        if self.able(wanted, wanted.origins()) < usize::from(wanted.threshold) {
            let lacks = self.lacks_assurance(wanted);
            return Err(if lacks { ClientError::Assurance } else { ClientError::Exhausted });
        }
        let mut key_id = [0; 16];
        rng.fill_bytes(&mut key_id);
        let key_id = KeyId::new(key_id);
        let expires = now.saturating_add(Duration::from_secs(u64::from(wanted.lifetime)));
        let patience = now.saturating_add(self.limits.grace);
        let request = Request { peer, wanted, expires, stage: Stage::Gathering { patience } };
        self.requests.insert(key_id, request);
        let pace = self.limits.pace();
        for hub in self.links.iter_mut() {
            hub.hurry(now, pace);
        }
        self.say_hello(now);
        self.advance_requests(now, rng);
        self.tell_failures(0..self.links.len());
        Ok(key_id)
    }

    /// Does for every request what has become possible or due. Whether something may have been sent, and so tables used.
    pub(super) fn advance_requests(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> bool {
        let (mut last, mut sent) = (None, false);
        while let Some((key_id, request)) = self.requests.take_next(last, now) {
            last = Some(key_id);
            sent |= request.waits() || request.deadline() <= now;
            self.look_after(now, rng, key_id, request);
        }
        sent
    }

    /// Does for a request what an earlier message of the same datagram has made possible: that one counts as if it had come alone.
    pub(super) fn advance_changed(&mut self, now: Instant, rng: &mut dyn CryptoRng, key_id: KeyId) {
        if let Some(request) = self.requests.take_changed(key_id) {
            self.look_after(now, rng, key_id, request);
        }
    }

    /// A request that was taken from the others goes back to them, unless it is over.
    fn look_after(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        key_id: KeyId,
        mut request: Box<Request>,
    ) {
        if self.advance_request(now, rng, key_id, &mut request) {
            self.requests.put_back(key_id, request);
        } else {
            self.requests.remove(key_id);
        }
    }

    /// `false`: the request is over.
    fn advance_request(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        key_id: KeyId,
        request: &mut Request,
    ) -> bool {
        if let Stage::Gathering { patience } = request.stage {
            let (ready, able) = self.gather(now, rng, request.wanted);
            let enough = ready >= usize::from(request.wanted.threshold);
            if enough && (ready == able || now >= patience) {
                match self.make_key(rng, key_id, request) {
                    Some(sharing) => request.stage = Stage::Sharing(Box::new(sharing)),
                    // A table's storage failed, or shrank meanwhile.
                    None => return self.fail(key_id, request, KeyError::Tables),
                }
            } else if now >= patience && self.lacks_assurance(request.wanted) {
                return self.fail(key_id, request, KeyError::Assurance);
            } else if now >= request.expires {
                return self.fail(key_id, request, self.too_few_hubs(request.wanted));
            } else {
                // Who waits for no slow hub waits for two all the same, and not by looking all the time.
                let again = millis(self.limits.grace).max(self.limits.pace().first);
                let patience = if now >= patience { later(now, again) } else { patience };
                request.stage = Stage::Gathering { patience };
                return true;
            }
        }
        let Stage::Sharing(sharing) = &mut request.stage else { return true };
        self.send_shares(now, rng, key_id, request.peer, sharing);
        let pending = sharing.shares.iter().filter(|share| share.is_pending()).count();
        let reachable = sharing.accepted().saturating_add(pending);
        if sharing.key.is_some() && reachable < usize::from(request.wanted.threshold) {
            let refused = sharing.shares.iter().filter_map(|share| share.answer);
            let refused = refused.into_iter().find(|&status| status != AnswerStatus::ACCEPTED);
            // Without a refusal, the others have no share by a fault of ours.
            let error = refused.map_or(KeyError::Tables, KeyError::Refused);
            return self.fail(key_id, request, error);
        }
        let threshold_reached = sharing.accepted() >= usize::from(request.wanted.threshold);
        if threshold_reached && !sharing.confirmed {
            let pace = self.limits.pace();
            let poll = sharing.confirm_poll.get_or_insert_with(|| Backoff::new(now, pace));
            if poll.take_due(now, pace) {
                for share in
                    sharing.shares.iter().filter(|share| share.answer == Some(AnswerStatus::ACCEPTED))
                {
                    // A fresh envelope asks by itself, and counts how often.
                    if self.links.get(share.link).is_some_and(Connection::is_confirmed) {
                        self.fetch(now, share.link);
                    }
                }
            }
        }
        if let Some(assurance) = sharing.confirmed_late.take() {
            let peer = request.peer;
            self.tell(Barrier::OPEN, ClientEvent::KeyConfirmed { key_id, peer, assurance });
        }
        let released =
            sharing.confirmed || request.wanted.release == Release::AtThreshold && threshold_reached;
        if released && let Some(key) = sharing.key.take() {
            // What the responder confirmed of its own tables may be worse than what is known here.
            if key.assurance() < request.wanted.minimum_assurance {
                return self.fail(key_id, request, KeyError::Assurance);
            }
            sharing.settle_at = Some(now.saturating_add(self.limits.settle));
            self.tell(
                Barrier::OPEN,
                ClientEvent::KeyEstablished(Established {
                    key,
                    peer: request.peer,
                    role: Role::Initiator,
                    confirmed: sharing.confirmed,
                    pad_octets: sharing.pad_octets,
                }),
            );
        }
        let all_answered = sharing.shares.iter().all(|share| !share.is_pending());
        // With the lifetime everybody's time is over.
        let over = now >= request.expires;
        let waited =
            sharing.settle_at.is_some_and(|at| all_answered && sharing.confirmed || over || now >= at);
        if waited && !sharing.settled {
            sharing.settled = true;
            let (peer, hubs) = (request.peer, sharing.reports());
            let role = Role::Initiator;
            // The responder knows; what it confirmed is hearsay here.
            let event = ClientEvent::Settled { key_id, peer, role, hubs, blame_is_certain: false };
            self.tell(Barrier::OPEN, event);
        }
        let Stage::Sharing(sharing) = &request.stage else { return true };
        if sharing.is_over() {
            return self.settle_blocks(request);
        }
        if now < request.expires {
            return true;
        }
        if sharing.key.is_none() {
            return self.settle_blocks(request);
        }
        let threshold = usize::from(request.wanted.threshold);
        let error = if sharing.accepted() < threshold {
            self.too_few_hubs(request.wanted)
        } else {
            KeyError::Unconfirmed
        };
        self.fail(key_id, request, error)
    }

    /// The request will send nothing any more. What was answered is settled.
    fn settle_blocks(&mut self, request: &Request) -> bool {
        if let Stage::Sharing(sharing) = &request.stage {
            for share in sharing.shares.iter().filter(|share| share.answer.is_none()) {
                if let (Some((sent, _)), Some(hub)) = (&share.sent, self.links.get_mut(share.link)) {
                    hub.link.settle(sent);
                }
            }
        }
        false
    }

    /// A request ends, and nothing is told.
    pub(super) fn forget_request(&mut self, key_id: KeyId) {
        if let Some(request) = self.requests.remove(key_id) {
            let _ = self.settle_blocks(&request);
        }
    }

    fn fail(&mut self, key_id: KeyId, request: &Request, error: KeyError) -> bool {
        let (peer, role) = (request.peer, Role::Initiator);
        self.tell(Barrier::OPEN, ClientEvent::KeyFailed { key_id, peer, role, error });
        self.settle_blocks(request)
    }

    /// On how many links a share could be sent by tables of `origins`, given leases.
    fn able(&self, wanted: KeyRequest, origins: Origins) -> usize {
        let of_key = self.links.iter().filter(|hub| wanted.hubs.contains(hub.coordinate));
        of_key.filter(|hub| hub.link.could_have_room(wanted.need(), origins)).count()
    }

    /// Why too few hubs have their shares: they did not answer, or our tables for them failed.
    fn too_few_hubs(&self, wanted: KeyRequest) -> KeyError {
        let of_key = self.links.iter().filter(|hub| wanted.hubs.contains(hub.coordinate));
        let sound = of_key.filter(|hub| !hub.link.cannot_send()).count();
        if sound < usize::from(wanted.threshold) { KeyError::Tables } else { KeyError::TooFewHubs }
    }

    /// Whether the key could be made, but for its assurance.
    fn lacks_assurance(&self, wanted: KeyRequest) -> bool {
        let threshold = usize::from(wanted.threshold);
        self.able(wanted, wanted.origins()) < threshold && self.able(wanted, Origins::Any) >= threshold
    }

    /// The links with these hubs.
    fn links_of(&self, hubs: HubSet) -> impl Iterator<Item = usize> {
        let links = self.links.iter().enumerate();
        links.filter(move |(_, hub)| hubs.contains(hub.coordinate)).map(|(link, _)| link)
    }

    /// Asks for leases where they are needed. On how many links a share can be sent at once, and on how many given leases.
    fn gather(&mut self, now: Instant, rng: &mut dyn CryptoRng, wanted: KeyRequest) -> (usize, usize) {
        let (need, origins) = (wanted.need(), wanted.origins());
        let (mut ready, mut able) = (0_usize, 0_usize);
        for link in 0..self.links.len() {
            let Some(hub) = self.links.get(link).filter(|hub| wanted.hubs.contains(hub.coordinate)) else {
                continue;
            };
            if hub.has_room(need, origins) {
                ready = ready.saturating_add(1);
                able = able.saturating_add(1);
            } else if hub.link.could_have_room(need, origins) {
                able = able.saturating_add(1);
                self.ask_for_lease(now, rng, link, need, origins);
            }
        }
        (ready, able)
    }

    /// Makes the key and its shares. Under one-time pads the first k - 1 ready hubs are direct: their pad bytes are their
    /// shares.
    fn make_key(&mut self, rng: &mut dyn CryptoRng, key_id: KeyId, request: &Request) -> Option<Sharing> {
        let KeyRequest { suite, threshold, key_len, lifetime, .. } = request.wanted;
        let (initiator, responder) = (self.tag, request.peer);
        let agreement = Agreement { key_id, initiator, responder, suite, threshold, key_len, lifetime };
        let need = request.wanted.need();
        // Where no share may go by a refilled table, none is claimed to: a hub without another gets no share.
        let origin = |hub: &Connection<P>| match request.wanted.origins() {
            Origins::Only(origin) => origin,
            Origins::Any => hub.link.next_origin(need),
        };
        let mut hubs = Vec::with_capacity(self.links.len());
        let of_key = self.links_of(request.wanted.hubs).filter_map(|link| self.links.get(link));
        for hub in of_key {
            hubs.push(ContextHub {
                id: hub.link.keys.hub(),
                coordinate: hub.coordinate,
                origin: origin(hub),
            });
        }
        let context = Context::new(agreement, hubs);
        let encoded = context.encode()?;
        let block = SecretBlock::generate(usize::try_from(key_len).ok()?, rng);
        let secret_tag = block.tag(&encoded);
        let key = OutputKey::new(key_id, 0, context.assurance(), block.key()?);

        // A block for each direct hub: what will carry the share is the share. A hub whose table gives no usable block (it
        // made the table, and may have made it badly) fails alone.
        let direct = usize::from(threshold.saturating_sub(1));
        let (now, pace) = (self.clock.now(), self.limits.pace());
        let mut shares: Vec<Outbound> = Vec::with_capacity(usize::from(context.count()));
        let mut broken = Vec::new();
        let mut spent = 0_u32;
        let content =
            Content { key_id, peer: request.peer, terms: context.terms()?, secret_tag: &secret_tag };
        for (link, hub) in self.links.iter_mut().enumerate().filter(|_| suite == KeySuite::OneTime) {
            if shares.len() == direct {
                break;
            }
            let is_ready = hub.has_room(need, request.wanted.origins());
            if !is_ready || !request.wanted.hubs.contains(hub.coordinate) {
                continue;
            }
            match hub.link.send_direct(&content, Origins::up_to(context.origin_of(hub.coordinate))) {
                Ok((sent, share)) => {
                    spent = spent.saturating_add(sent.elements);
                    let sent = Some((sent, Backoff::new(now, pace)));
                    shares.push(Outbound { link, share: Some(share), sent, answer: None, broken: false });
                }
                Err(_) => broken.push(link),
            }
        }
        // Where too few can be direct, and under an AEAD, shares of our own making stand in for pads. The others follow from these.
        let len = block.octets().len();
        for link in self.links_of(request.wanted.hubs) {
            if shares.iter().any(|made| made.link == link) {
                continue;
            }
            let stands_in = shares.len() < direct;
            let share = Some(if stands_in { SecretVec::generate(rng, len) } else { SecretVec::zeroed(len) });
            let broken = broken.contains(&link);
            shares.push(Outbound { link, share, sent: None, answer: None, broken });
        }
        {
            let coordinate = |share: &Outbound| Some(self.links.get(share.link)?.coordinate);
            let coordinates: Vec<Coordinate> = shares.iter().filter_map(coordinate).list();
            let (direct, following) = shares.split_at_mut_checked(direct)?;
            let pads = direct.iter().filter_map(|share| Some(share.share.as_ref()?.expose()));
            let pads: Vec<&[u8]> = pads.list();
            let out = following.iter_mut().filter_map(|share| Some(share.share.as_mut()?.expose_mut()));
            let mut out: Vec<&mut [u8]> = out.list();
            let splitter = Splitter::new(threshold, &coordinates).ok()?;
            splitter.split(block.octets().expose(), &pads, &mut out).ok()?;
        }
        shares.sort_unstable_by_key(|share| self.links.get(share.link).map(|hub| hub.coordinate));
        for share in &shares {
            if let Some((sent, _)) = &share.sent {
                self.send(share.link, &sent.inner, sent.after, TransmitClass::Request);
            }
        }
        Some(Sharing {
            confirmation_key: block.confirmation_key(),
            false_confirmations: [0; MAX_HUBS as usize],
            lying: bitmap(context.hubs().map(|_| false)),
            context,
            encoded,
            secret_tag,
            key: Some(key),
            shares,
            confirmed: false,
            confirmed_late: None,
            confirm_poll: None,
            settle_at: None,
            settled: false,
            pad_octets: u64::from(spent).saturating_mul(ELEMENT_LEN as u64),
        })
    }

    /// Sends shares that have not been sent, as leases allow, and repeats those that were not answered.
    fn send_shares(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        key_id: KeyId,
        peer: ClientTag,
        sharing: &mut Sharing,
    ) {
        let need = sharing.context.need();
        let pace = self.limits.pace();
        for outbound in &mut sharing.shares {
            if !outbound.is_pending() {
                continue;
            }
            if let Some((sent, backoff)) = &mut outbound.sent {
                if !backoff.take_due(now, pace) {
                    continue;
                }
                if !self.links.get(outbound.link).is_some_and(|hub| hub.link.is_void(sent)) {
                    self.send(outbound.link, &sent.inner, sent.after, TransmitClass::Retransmission);
                    continue;
                }
                outbound.sent = None;
            }
            let Some(coordinate) = self.links.get(outbound.link).map(|hub| hub.coordinate) else { continue };
            // What the context claims for this hub is fixed: no worse table carries the share.
            let origins = Origins::up_to(sharing.context.origin_of(coordinate));
            let Some(hub) = self.links.get_mut(outbound.link) else { continue };
            if !hub.has_room(need, origins) {
                self.ask_for_lease(now, rng, outbound.link, need, origins);
                continue;
            }
            let (Some(share), Some(terms)) = (&outbound.share, sharing.context.terms()) else { continue };
            let content = Content { key_id, peer, terms, secret_tag: &sharing.secret_tag };
            let sent = match hub.link.send_share(share, &content, origins) {
                Ok(sent) => sent,
                Err(AllocateError::Pad(_) | AllocateError::Message) => {
                    outbound.broken = true;
                    continue;
                }
                Err(_) => continue,
            };
            let spent = u64::from(sent.elements).saturating_mul(ELEMENT_LEN as u64);
            sharing.pad_octets = sharing.pad_octets.saturating_add(spent);
            self.send(outbound.link, &sent.inner, sent.after, TransmitClass::Request);
            outbound.sent = Some((sent, Backoff::new(now, pace)));
        }
    }

    /// A new session with a hub: blocks of the old one are void, unanswered shares go into new ones.
    pub(super) fn forget_sent_to(&mut self, link: usize) {
        for (request, due) in self.requests.iter_mut() {
            if let Stage::Sharing(sharing) = &mut request.stage {
                let unanswered = sharing.shares.iter_mut().filter(|share| share.answer.is_none());
                unanswered.filter(|share| share.link == link).for_each(|share| share.sent = None);
                *due = Instant::ZERO;
            }
        }
    }

    /// A hub's answer to an upload.
    pub(super) fn on_answer(&mut self, link: usize, answer: &Tagged<'_, Answer<'_>>) -> Disposition {
        let slot = Slot::answered_by(&answer.message);
        let is_it = |share: &&mut Outbound| {
            share.link == link && share.sent.as_ref().is_some_and(|(sent, _)| sent.answer_key.slot() == slot)
        };
        let found = self.requests.iter_mut().find_map(|(request, due)| match &mut request.stage {
            Stage::Sharing(sharing) => Some((sharing.shares.iter_mut().find(is_it)?, due)),
            Stage::Gathering { .. } => None,
        });
        let Some((outbound, due)) = found else { return self.discards.discard(DiscardReason::Stale) };
        let (Some((sent, _)), Some(hub)) = (&outbound.sent, self.links.get_mut(link)) else {
            return self.discards.discard(DiscardReason::Stale);
        };
        if outbound.answer.is_some() {
            return self.discards.discard(DiscardReason::Duplicate);
        }
        if answer.message.confirmation.is_some() || !hub.link.take_answer(sent, answer) {
            return self.discards.discard(DiscardReason::Unauthentic);
        }
        outbound.answer = Some(answer.message.status);
        outbound.share = None;
        *due = Instant::ZERO;
        Disposition::Accepted
    }

    /// The responder's confirmation, by way of a hub.
    pub(super) fn on_confirm(&mut self, link: usize, confirm: &Confirm<'_>) -> Disposition {
        let request = self.requests.get_mut(KeyId::new(confirm.key_id));
        let Some((request, due)) = request.filter(|(request, _)| request.peer.as_bytes() == &confirm.peer)
        else {
            return self.discards.discard(DiscardReason::Stale);
        };
        let Stage::Sharing(sharing) = &mut request.stage else {
            return self.discards.discard(DiscardReason::Unexpected);
        };
        let Some(key) = &sharing.confirmation_key else {
            return self.discards.discard(DiscardReason::Duplicate);
        };
        let confirmation = &confirm.confirmation;
        let count = sharing.context.count();
        if !bitmap_fits(confirmation.origins, count) || !bitmap_fits(confirmation.lying, count) {
            return self.discards.discard(DiscardReason::Malformed);
        }
        let Some(tries) =
            sharing.false_confirmations.get_mut(link).filter(|tries| **tries < CONFIRMATION_TRIES)
        else {
            return self.discards.discard(DiscardReason::Busy);
        };
        let parts: [&[u8]; 3] = [&sharing.encoded, confirmation.origins, confirmation.lying];
        if !key.verify(&parts, &Tag::from_bytes(confirmation.tag)) {
            *tries = tries.saturating_add(1);
            return self.discards.discard(DiscardReason::Unauthentic);
        }
        sharing.confirmation_key = None;
        sharing.confirmed = true;
        sharing.lying = Bitmap::of(&[confirmation.lying]);
        let assurance = claimed(confirmation.origins, count);
        if let Some(key) = sharing.key.take() {
            let assurance: Assurance = key.assurance().weakest(assurance);
            let key = OutputKey::new(key.id(), key.index(), assurance, key.into_secret());
            sharing.key = Some(key.confirmed());
        } else {
            sharing.confirmed_late = Some(sharing.context.assurance().weakest(assurance));
        }
        *due = Instant::ZERO;
        Disposition::Accepted
    }
}
