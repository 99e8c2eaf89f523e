//! Clients and hubs under a script, some of them in the hands of the adversary.

use core::time::Duration;
use std::collections::BTreeMap;

use skex_core::{Assurance, KeyId, SecretBytes};
use skex_dske::{
    ClientEvent, ClientId, Conduct, HubError, HubEvent, KeyRequest, KeySuite, MessageTagKey, Origin, Release,
    ResponderPolicy, Table, TableError, Tag,
};
use skex_sim::{Either, Link, NodeId, PowerLoss, Receipts};
use skex_wire::Writer;
use skex_wire::dske::{
    Answer, AnswerStatus, BlockPosition, Command, CommandBody, Confirmation, Direction, DskeSuiteId, Found,
    Inner, LeaseRequest, Offer, Outcome, OutcomeStatus, Refill, Refilled, ShareMessage, block_elements,
    tag_prefix,
};

use crate::Input;
use crate::liar::{Liar, Share, pass};
use crate::oracle::Oracle;
use crate::sharded::Between;
use crate::world::{Cast, Setup, cast};

/// Operations of a script, at most: a run stays short, whatever the input.
const OPERATIONS: usize = 48;

/// Who is in the hands of the adversary.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hostile {
    /// Only the network.
    Nobody,
    /// Client 0, at every hub.
    Client,
    /// Hub 2, towards every client.
    Hub,
}

/// Plays the script and holds the oracle against what came of it.
pub fn play(octets: &[u8], hostile: Hostile) {
    let mut setup = Setup::new(if hostile == Hostile::Client { 2 } else { 3 });
    setup.table_elements = 512;
    setup.clients = if hostile == Hostile::Client { 3 } else { 2 };
    setup.names = (0..setup.hubs).flat_map(|hub| [(hub, 0, "alice"), (hub, 1, "bob")]).collect();
    // The last octet says in what world the script is played.
    let (kind, octets) = octets.split_last().map_or((0, octets), |(last, rest)| (*last, rest));
    if kind & 1 == 1 {
        setup.shards = (2, if kind & 2 == 2 { Between::TERRIBLE } else { Between::default() });
    }
    if kind & 4 == 4 {
        let mut policy = ResponderPolicy::default();
        policy.maximum_lifetime = 300;
        policy.minimum_assurance =
            if kind & 8 == 8 { Assurance::InformationTheoretic } else { Assurance::Computational };
        setup.policy = Some(policy);
    }
    let mut cast = cast(1, &setup);
    let mut script = Script::new(&mut cast, hostile);
    script.is_sharded = setup.shards.0 > 1;
    let mut input = Input::new(octets);
    for _ in 0..OPERATIONS {
        if script.step(&mut cast, &mut input).is_none() {
            break;
        }
    }
    cast.world.net_mut().set_default_link(Link::ideal().latency(5));
    pass(&mut cast, 30_000);
    script.judge(&cast);
}

struct Script {
    hostile: Hostile,
    /// Whether hubs are in shards.
    is_sharded: bool,
    liars: Vec<(usize, usize, Liar)>,
    /// What each liar has heard, newest last.
    heard: Vec<Vec<Vec<u8>>>,
    /// Keys of honest initiators: who, and for whom.
    asked: Vec<(usize, usize, KeyId)>,
    /// Events of the world that were looked at for tables.
    read: usize,
    /// The last number of a table of each link and direction: hub, client, uplink.
    numbers: BTreeMap<(usize, usize, bool), u16>,
    /// The number of each client at a hub, once it was revoked there.
    revoked: BTreeMap<(usize, usize), u32>,
}

/// Tables that a direction of a link gets in a run.
const TABLES: u16 = 4;

impl Script {
    fn new(cast: &mut Cast, hostile: Hostile) -> Self {
        cast.world.net_mut().set_default_link(Link::ideal().latency(5));
        let pairs: Vec<(usize, usize)> = match hostile {
            Hostile::Nobody => Vec::new(),
            Hostile::Client => (0..cast.hubs.len()).map(|hub| (0, hub)).collect(),
            Hostile::Hub => (0..cast.clients.len()).map(|client| (client, 2)).collect(),
        };
        pass(cast, 50);
        let liars: Vec<_> = pairs
            .into_iter()
            .map(|(client, hub)| {
                let liar = match hostile {
                    Hostile::Hub => Liar::hub(cast, hub, client),
                    _ => Liar::client(cast, client, hub),
                };
                (client, hub, liar)
            })
            .collect();
        let heard = liars.iter().map(|_| Vec::new()).collect();
        Self {
            hostile,
            is_sharded: false,
            liars,
            heard,
            asked: Vec::new(),
            read: 0,
            numbers: BTreeMap::new(),
            revoked: BTreeMap::new(),
        }
    }

    fn step(&mut self, cast: &mut Cast, input: &mut Input<'_>) -> Option<()> {
        let kinds = if self.liars.is_empty() { 17 } else { 28 };
        // The oracle knows the initial keys and numbers of the beginning alone.
        let of_liars = if self.liars.is_empty() { 15 } else { 17 };
        match input.below(kinds)? {
            0 | 1 => pass(cast, 1 << input.below(15)?),
            2 => self.request(cast, input)?,
            3 => crash(cast, input)?,
            4 => {
                let node = any_node(cast, input)?;
                let wait = Duration::from_millis(u64::from(input.octet()?));
                cast.world.set_receipts(node, Receipts::After(wait));
            }
            5 => {
                let (index, now) = (any_sent(cast, input)?, cast.now());
                if index < cast.world.net().sent().len() {
                    cast.world.net_mut().replay(index, now);
                }
            }
            6 => inject_damaged(cast, input)?,
            7 => inject_raw(cast, input)?,
            8 => {
                let rates = [input.octet()?, input.octet()?, input.octet()?].map(|rate| u16::from(rate) * 2);
                let link = Link::ideal().latency(5).jitter(20).loss(rates[0]).duplicate(rates[1]);
                cast.world.net_mut().set_default_link(link.reorder(rates[2], 500).replay(rates[1]));
            }
            9 => self.take(cast, input)?,
            10 | 11 => self.command(cast, input)?,
            12 => self.refill(cast, input)?,
            13 => self.store_refills(cast),
            14 => self.provision(cast, input)?,
            kind if kind == of_liars => self.retire(cast, input)?,
            kind if kind == of_liars + 1 => self.negotiate(cast, input)?,
            15 => self.replace_initial_key(cast, input)?,
            16 => self.revoke_or_enrol(cast, input)?,
            _ => self.lie(cast, input)?,
        }
        Some(())
    }

    /// What a client asks of its hubs beside keys.
    fn command(&self, cast: &mut Cast, input: &mut Input<'_>) -> Option<()> {
        let (client, kind, what) = (input.below(cast.clients.len())?, input.below(5)?, input.octet()?);
        let peer = cast.tags[usize::from(what & 3) % cast.tags.len()];
        let key = self.asked.get(usize::from(what) % self.asked.len().max(1)).map(|(.., id)| *id);
        cast.world.call(cast.clients[client], |party, now, rng| {
            let own = party.left().unwrap();
            // It may have too many under way, or no such key.
            let _ = match kind {
                0 => own.look_up(now, rng, [&b"alice"[..], b"bob", b"x"][usize::from(what % 3)]),
                1 => own.publish(now, rng),
                2 => own.unpublish(now, rng),
                3 => own.authorise(now, rng, peer, what & 4 == 4),
                _ => key.map_or(Ok(()), |key| own.withdraw(now, rng, key)),
            };
        });
        Some(())
    }

    /// A link of honest ends that nobody revoked, and whose shard is not down while its hub is up: to that nothing can be said.
    fn link(&self, cast: &mut Cast, input: &mut Input<'_>) -> Option<(usize, usize)> {
        let link = (input.below(cast.hubs.len())?, input.below(cast.clients.len())?);
        let is_honest = !self.liars.iter().any(|(client, hub, _)| (*hub, *client) == link);
        let client = ClientId::new(u32::try_from(link.1).ok()?);
        let hub = cast.hubs[link.0];
        let is_up = cast.world.call(hub, |party, _, _| party.right().unwrap().is_up(client)) != Some(false);
        (is_honest && is_up && !self.revoked.contains_key(&link)).then_some(link)
    }

    /// The next table of a direction of a link.
    fn number(&mut self, (hub, client): (usize, usize), uplink: bool) -> Option<u16> {
        let last = self.numbers.entry((hub, client, uplink)).or_insert(0);
        (*last < TABLES).then(|| {
            *last += 1;
            *last
        })
    }

    /// One end of a link takes a table out of service, or both.
    fn retire(&self, cast: &mut Cast, input: &mut Input<'_>) -> Option<()> {
        let (kind, Some((hub, client))) = (input.octet()?, self.link(cast, input)) else { return Some(()) };
        let direction = if kind & 1 == 1 { Direction::UPLINK } else { Direction::DOWNLINK };
        let (number, id) = (u16::from(kind >> 4) % (TABLES + 1), cast.hub_ids[hub]);
        // That end may not have it.
        if kind & 2 == 0 {
            let _ = cast.world.call(cast.clients[client], |party, now, rng| {
                party.left().unwrap().retire_table(now, rng, id, direction, number)
            });
        }
        if kind & 4 == 0 {
            let _ = cast.world.call(cast.hubs[hub], |party, _, _| {
                let client = ClientId::new(u32::try_from(client).unwrap());
                party.right().unwrap().retire_table(client, direction, number)
            });
        }
        Some(())
    }

    /// A key by terms that follow from the offer which a client found last.
    fn negotiate(&mut self, cast: &mut Cast, input: &mut Input<'_>) -> Option<()> {
        let (client, kind) = (input.below(cast.clients.len())?, input.octet()?);
        let node = cast.clients[client];
        let found = cast.world.events().iter().rev().find_map(|happened| match &happened.event {
            Either::Left(ClientEvent::LookupEnded { result: Ok(found), .. }) if happened.node == node => {
                Some((found.tag, found.offer.clone()?))
            }
            _ => None,
        });
        let Some((tag, offer)) = found else { return Some(()) };
        let mut wish = KeyRequest::new(2 + (kind & 1));
        wish.suite = KeySuite::ALL[usize::from(kind >> 1) % KeySuite::ALL.len()];
        wish.lifetime = 600;
        if kind & 0x80 == 0x80 {
            wish.minimum_assurance = Assurance::InformationTheoretic;
        }
        let terms = cast.world.call(node, |party, _, _| party.left().unwrap().negotiate(&offer, wish).ok());
        let Some(Some(terms)) = terms else { return Some(()) };
        assert!(
            terms.threshold >= wish.threshold && terms.lifetime <= wish.lifetime,
            "{terms:?} for {wish:?}"
        );
        assert!(terms.minimum_assurance >= wish.minimum_assurance, "{terms:?} for {wish:?}");
        let to = cast.tags.iter().position(|known| *known == tag).expect("fewer hubs than the threshold lie");
        if let Some(Ok(id)) = cast.try_request_if_up(client, to, terms) {
            self.asked.push((client, to, id));
        }
        Some(())
    }

    fn refill(&mut self, cast: &mut Cast, input: &mut Input<'_>) -> Option<()> {
        let (kind, Some(link)) = (input.octet()?, self.link(cast, input)) else { return Some(()) };
        let uplink = kind & 1 == 1;
        if let Some(number) = self.number(link, uplink) {
            cast.refill(link, (uplink, number), 8 + usize::from(kind));
        }
        Some(())
    }

    fn provision(&mut self, cast: &mut Cast, input: &mut Input<'_>) -> Option<()> {
        let (kind, Some(link)) = (input.octet()?, self.link(cast, input)) else { return Some(()) };
        let uplink = kind & 1 == 1;
        if let Some(number) = self.number(link, uplink) {
            let elements = 8 + usize::from(kind);
            cast.provision(link, (uplink, number), Origin::OutOfBand, elements, kind & 2 == 2);
        }
        Some(())
    }

    /// Stores and adds the tables that came to clients from honest hubs, but those of links that are no more.
    fn store_refills(&mut self, cast: &mut Cast) {
        let from = core::mem::replace(&mut self.read, cast.world.events().len());
        let mut came = Vec::new();
        for happened in &cast.world.events()[from..] {
            let Either::Left(ClientEvent::Refill { hub, direction, number, octets }) = &happened.event else {
                continue;
            };
            let client = cast.clients.iter().position(|node| *node == happened.node).unwrap();
            let hub = cast.hub_ids.iter().position(|id| id == hub).unwrap();
            if self.hostile != Hostile::Hub || hub != 2 {
                came.push(((hub, client), *direction, *number, octets.expose().to_vec()));
            }
        }
        for ((hub, client), direction, number, octets) in came {
            let mut further = cast.further.borrow_mut();
            let own = further.iter_mut().find(|table| {
                let uplink = direction == Direction::UPLINK;
                (table.hub, table.client, table.uplink, table.number) == (hub, client, uplink, number)
            });
            let Some(table) = own.filter(|table| !table.stored) else { continue };
            assert!(table.octets == octets, "a table came as it is");
            table.at_client.set_octets(&octets);
            let came = Table::new(number, table.origin, table.at_client.clone());
            let id = cast.hub_ids[hub];
            let added = cast.world.call(cast.clients[client], |party, _, _| {
                party.left().unwrap().add_table(id, direction, came)
            });
            // It comes too late where a later one is used up, or out of service, already.
            let last = self.numbers.get(&(hub, client, direction == Direction::UPLINK));
            let is_late = last.is_some_and(|last| number < *last);
            assert!(added != Some(Err(TableError::Number(number))) || is_late, "a table that came is taken");
            assert!(matches!(added, None | Some(Ok(()) | Err(TableError::Number(_)))), "{added:?}");
            // A client that is down has it at its next start.
            table.stored = !matches!(added, Some(Err(_)));
        }
    }

    /// One end of a link is given another initial key, or both.
    fn replace_initial_key(&mut self, cast: &mut Cast, input: &mut Input<'_>) -> Option<()> {
        let (kind, Some((hub, client))) = (input.octet()?, self.link(cast, input)) else { return Some(()) };
        let (key, id) = ([kind | 1; 32], cast.hub_ids[hub]);
        if kind & 3 != 1 {
            cast.world.call(cast.clients[client], |party, now, rng| {
                let key = SecretBytes::copied_from(&key);
                party.left().unwrap().replace_initial_key(now, rng, id, key).unwrap();
            });
        }
        if kind & 3 != 2 {
            cast.world.call(cast.hubs[hub], |party, _, _| {
                let client = ClientId::new(u32::try_from(client).unwrap());
                party.right().unwrap().replace_initial_key(client, SecretBytes::copied_from(&key)).unwrap();
            });
        }
        Some(())
    }

    /// A client of a hub is revoked there; the next time it is enrolled anew, and starts under its new number.
    fn revoke_or_enrol(&mut self, cast: &mut Cast, input: &mut Input<'_>) -> Option<()> {
        let (hub, client) = (input.below(cast.hubs.len())?, input.below(cast.clients.len())?);
        if self.liars.iter().any(|(of, at, _)| (*at, *of) == (hub, client)) {
            return Some(());
        }
        // An operator waits until all shards run: each is told.
        let are_up = cast.world.call(cast.hubs[hub], |party, _, _| party.right().unwrap().are_up());
        if are_up == Some(false) {
            return Some(());
        }
        let is_enrolled_anew = |cast: &Cast| {
            cast.revision.borrow().anew.iter().any(|anew| (anew.hub, anew.client) == (hub, client))
        };
        let next = u32::try_from(cast.clients.len()).unwrap()
            + u32::try_from(cast.revision.borrow().anew.iter().filter(|anew| anew.hub == hub).count())
                .unwrap();
        if let Some(old) = self.revoked.get(&(hub, client)).copied() {
            if is_enrolled_anew(cast) {
                return Some(());
            }
            // Its operator waits until the hub says so: of this one, and, where hubs are in shards, of all. A shard at which a crash undid it
            // is told again.
            let revoked = |number: u32| {
                cast.world.events().iter().any(|happened| {
                    happened.node == cast.hubs[hub]
                        && matches!(&happened.event, Either::Right(HubEvent::ClientRevoked { client, .. }) if client.number() == number)
                })
            };
            let mut of_this_hub = self.revoked.iter().filter(|((at, _), _)| *at == hub);
            let untold = of_this_hub.find(|(_, number)| !revoked(**number)).map(|(_, number)| *number);
            if !revoked(old) || self.is_sharded && untold.is_some() {
                let again = ClientId::new(untold.unwrap_or(old));
                let _ = cast
                    .world
                    .call(cast.hubs[hub], |party, now, _| party.right().unwrap().revoke(now, again));
                return Some(());
            }
            let anew = cast.make_anew(hub, client, next);
            let enrolled = cast
                .world
                .call(cast.hubs[hub], |party, _, _| party.right().unwrap().enrol(anew.at_hub(), &[]));
            assert_ne!(enrolled, Some(Err(HubError::Enrolment)), "whoever was revoked can be enrolled anew");
            if enrolled == Some(Ok(())) {
                let mut revision = cast.revision.borrow_mut();
                revision.left_out.push((hub, old));
                revision.anew.push(anew);
                drop(revision);
                cast.further.borrow_mut().retain(|table| (table.hub, table.client) != (hub, client));
                cast.world.crash(cast.clients[client], PowerLoss::Loses);
                cast.world.restart(cast.clients[client]);
            }
            return Some(());
        }
        let id = u32::try_from(client).unwrap();
        let done = cast
            .world
            .call(cast.hubs[hub], |party, now, _| party.right().unwrap().revoke(now, ClientId::new(id)));
        if done == Some(Ok(())) {
            self.revoked.insert((hub, client), id);
        }
        Some(())
    }

    fn request(&mut self, cast: &mut Cast, input: &mut Input<'_>) -> Option<()> {
        let clients = cast.clients.len();
        let (from, to) = (input.below(clients)?, input.below(clients)?);
        let kind = input.octet()?;
        let mut request = KeyRequest::new(2);
        if self.hostile != Hostile::Client && kind & 1 == 1 {
            request.threshold = 3;
        }
        if kind & 2 == 2 {
            request.release = Release::AtThreshold;
        }
        request.suite = KeySuite::ALL[usize::from(kind >> 2) % KeySuite::ALL.len()];
        request.key_len = 16 + u32::from(kind >> 4) * 3;
        request.lifetime = if kind & 8 == 8 { 5 } else { 600 };
        if let Some(Ok(id)) = cast.try_request_if_up(from, to, request) {
            self.asked.push((from, to, id));
        }
        Some(())
    }

    fn take(&self, cast: &mut Cast, input: &mut Input<'_>) -> Option<()> {
        let which = input.below(self.asked.len())?;
        let (from, to, id) = self.asked[which];
        let peer = cast.tags[from];
        let _ = cast.world.call(cast.clients[to], |party, _, _| party.left().unwrap().taken(peer, id));
        Some(())
    }

    /// One of the adversary's own messages, under a right envelope.
    fn lie(&mut self, cast: &mut Cast, input: &mut Input<'_>) -> Option<()> {
        let which = input.below(self.liars.len())?;
        let new = self.liars[which].2.hear(cast);
        self.heard[which].extend(new);
        let heard = &self.heard[which];
        let (client, hub, liar) = &mut self.liars[which];
        let link = (*client, *hub);
        match input.below(11)? {
            0 => liar.say(cast, input.some()?),
            1 => {
                let last = heard.iter().nth_back(input.below(8)?).cloned().unwrap_or_default();
                let damaged = damaged(&last, input)?;
                liar.say(cast, &damaged);
            }
            2 => {
                let (mark, want) = (input.pair()?, input.pair()?);
                let nonce = [input.octet()?; 16];
                liar.ask(cast, nonce, u32::from(mark), u32::from(want));
            }
            3 => {
                let wanted = heard.iter().rev().find_map(|inner| match Inner::decode(inner) {
                    Ok(Inner::LeaseRequest(request)) => Some(request),
                    _ => None,
                });
                let kind = input.octet()?;
                if let Some(grant) = wanted.and_then(|request| grant(cast, liar, request, kind)) {
                    liar.say(cast, &grant);
                }
            }
            4 => {
                let share = self.share(cast, which, input)?;
                let liar = &mut self.liars[which].2;
                if liar.end.saturating_sub(liar.next()) < share.elements() {
                    let nonce = [input.octet()?; 16];
                    liar.ask(cast, nonce, liar.end, 60);
                }
                let liar = &mut self.liars[which].2;
                if liar.end.saturating_sub(liar.next()) >= share.elements() {
                    liar.share(cast, &share);
                }
            }
            5 => {
                let status = AnswerStatus::new(input.octet()? % 9);
                let nth = input.below(8)?;
                let with = input.octet()?;
                let is_hub = self.hostile == Hostile::Hub;
                if let Some(answer) = heard
                    .iter()
                    .filter_map(|inner| answer(cast, link, is_hub, inner, status, with))
                    .nth_back(nth)
                {
                    liar.say(cast, &answer);
                }
            }
            6 => liar.fetch(cast),
            7 => {
                let what = input.octet()?;
                let tag = [0xc0 | what & 3; 16];
                let body = match what >> 6 {
                    0 => CommandBody::Lookup([&b"alice"[..], b"bob", b"x"][usize::from(what % 3)]),
                    1 => CommandBody::Publish(None),
                    2 => CommandBody::Withdraw([what & 3; 16]),
                    _ => CommandBody::Authorise { client: tag, allowed: what & 4 == 4 },
                };
                if !liar.is_hub() {
                    if liar.end.saturating_sub(liar.next()) < 4 {
                        liar.ask(cast, [what; 16], liar.end, 60);
                    }
                    if liar.end.saturating_sub(liar.next()) >= 4 {
                        liar.command(cast, body);
                    }
                }
            }
            8 => {
                let (kind, number) = (input.octet()?, u16::from(input.octet()?));
                let direction = if kind & 1 == 1 { Direction::UPLINK } else { Direction::DOWNLINK };
                let (first, count) = (u32::from(kind >> 1) * 16, 1 + usize::from(number % 64));
                let pad = vec![kind | 1; 16 * count];
                let elements = first + u32::try_from(count).unwrap() + u32::from(kind & 4) * 1000;
                let mut octets = vec![0; 12 + pad.len()];
                let mut out = Writer::new(&mut octets);
                if liar.is_hub() {
                    Refill::new(direction, number % 4, elements, first, &pad).ok()?.encode(&mut out).ok()?;
                } else {
                    Refilled::new(direction, number % 4, first).encode(&mut out).ok()?;
                }
                let written = out.written().to_vec();
                liar.say(cast, &written);
            }
            9 => {
                let (nth, with) = (input.below(4)?, input.octet()?);
                let commands = heard.iter().filter_map(|inner| outcome(cast, link, inner, with));
                let found = commands.filter(|_| liar.is_hub()).nth_back(nth);
                if let Some(outcome) = found {
                    liar.say(cast, &outcome);
                }
            }
            _ => pass(cast, u64::from(input.octet()?)),
        }
        Some(())
    }

    /// A share of the adversary's own making, or one that it was given, passed on, changed or not.
    fn share(&self, cast: &Cast, which: usize, input: &mut Input<'_>) -> Option<Share> {
        let kind = input.octet()?;
        let ours = self.liars[which].0;
        let peer = cast.tags[usize::from(kind & 3) % cast.tags.len()];
        let mut share = Share::junk([kind >> 6; 16], peer);
        share.coordinates = (1..=u8::try_from(cast.hubs.len()).unwrap()).collect();
        share.threshold = 2;
        share.suite = [DskeSuiteId::ITS, DskeSuiteId::AES256GCM, DskeSuiteId::CHACHA20POLY1305]
            [usize::from(kind >> 2) % 3];
        share.lifetime = 1 + u16::from(kind) * 7;
        // One that came from another link.
        let nth = input.below(8)?;
        let given = self.heard.iter().enumerate().filter(|(other, _)| *other != which);
        let found = given
            .flat_map(|(other, heard)| heard.iter().map(move |inner| (other, inner)))
            .filter_map(|(other, inner)| match Inner::decode(inner) {
                Ok(Inner::Share(share)) => Some((other, share.message)),
                _ => None,
            })
            .nth_back(nth);
        if let Some((other, message)) = found {
            self.pass_on(cast, other, &message, &mut share);
        }
        let change = input.octet()?;
        if change & 1 == 1 {
            let at = usize::from(change >> 1) % share.share.len();
            share.share[at] ^= 1 << (change & 7);
        }
        if change & 0x10 == 0x10 {
            share.secret_tag[0] ^= change;
        }
        if ours == 0 && self.hostile == Hostile::Client && change & 2 == 2 {
            share.coordinates = vec![1 + (change >> 5), 9];
        }
        Some(share)
    }

    /// No element of a table served an honest end for two messages, whatever the adversary did to have it so.
    fn judge_what_was_heard(&mut self, cast: &Cast) {
        for ((.., liar), heard) in self.liars.iter_mut().zip(&mut self.heard) {
            heard.extend(liar.hear(cast));
            // By who sends from the table (true: we do), element, and number in an epoch.
            let mut uses = BTreeMap::new();
            for inner in heard.iter() {
                let (granted, elements, number) = match Inner::decode(inner)
                    .expect("a machine sealed what is not a message")
                {
                    Inner::LeaseGrant(grant) => (true, grant.message.start..grant.message.start + 2, None),
                    Inner::Answer(answer) => {
                        let Answer { index, number, .. } = answer.message;
                        (true, index..index + 2, number)
                    }
                    Inner::Share(share) => {
                        let BlockPosition { index, number, .. } = share.message.position;
                        let elements = match number {
                            None => block_elements(share.message.terms.key_len).unwrap(),
                            Some(_) => 4,
                        };
                        (false, index..index + elements, number)
                    }
                    Inner::Command(command) => {
                        let Command { index, .. } = command.message;
                        (false, index..index + 4, None)
                    }
                    Inner::Outcome(outcome) => {
                        let Outcome { index, .. } = outcome.message;
                        (true, index..index + 2, None)
                    }
                    _ => continue,
                };
                for element in elements {
                    let name = (granted, element, number);
                    let first = uses.entry(name).or_insert(inner);
                    assert_eq!(first, &inner, "{name:?} served two messages");
                }
            }
        }
    }

    fn pass_on(&self, cast: &Cast, from: usize, message: &ShareMessage<'_>, share: &mut Share) {
        let (client, hub, _) = &self.liars[from];
        if message.terms.suite != DskeSuiteId::ITS {
            return;
        }
        let enrolment = &cast.enrolments[*hub][*client];
        let table = if self.hostile == Hostile::Hub { &enrolment.uplink } else { &enrolment.downlink };
        let full = skex_wire::dske::share_elements(message.terms.key_len).unwrap() as usize * 16;
        let start = (message.position.index as usize + 4) * 16;
        let Some(pad) = table.get(start..start + full) else { return };
        share.share = pad.to_vec();
        for (octet, masked) in share.share.iter_mut().zip(message.share) {
            *octet ^= masked;
        }
        share.key_id = message.key_id;
        share.peer = cast.tags[*client];
        share.suite = message.terms.suite;
        share.threshold = message.terms.threshold;
        share.key_len = message.terms.key_len;
        share.lifetime = message.terms.lifetime;
        share.coordinates = message.terms.coordinates.to_vec();
        share.secret_tag = message.secret_tag;
    }

    fn judge(&mut self, cast: &Cast) {
        match self.hostile {
            Hostile::Nobody => drop(Oracle::acquit(cast)),
            _ => self.judge_what_was_heard(cast),
        }
        assert!(cast.world.failures().is_empty(), "{:?}", cast.world.failures());
        for node in cast.world.nodes() {
            assert!(!cast.world.is_runaway(node), "{node:?} never waits");
        }
        for (from, to, id) in &self.asked {
            if let (Some(ours), Some(theirs)) = (cast.key(*from, *id), cast.key(*to, *id)) {
                assert_eq!(ours, theirs, "two ends of one key");
            }
        }
        if self.hostile == Hostile::Client {
            return;
        }
        // Fewer hubs than the threshold lie: who is blamed with certainty, lied. And where nobody lies, nobody is blamed.
        for happened in cast.world.events() {
            let Either::Left(ClientEvent::Settled { hubs, blame_is_certain, .. }) = &happened.event else {
                continue;
            };
            for report in hubs.iter().filter(|report| report.conduct == Conduct::Lying) {
                let honest = self.hostile == Hostile::Nobody || report.hub != cast.hub_ids[2];
                assert!(!(honest && *blame_is_certain), "an honest hub is blamed: {hubs:?}");
            }
        }
    }
}

fn any_node(cast: &Cast, input: &mut Input<'_>) -> Option<NodeId> {
    let nodes: Vec<NodeId> = cast.world.nodes().collect();
    Some(nodes[input.below(nodes.len())?])
}

/// Counted from the newest.
fn any_sent(cast: &Cast, input: &mut Input<'_>) -> Option<usize> {
    let back = usize::from(input.octet()?);
    Some(cast.world.net().sent().len().saturating_sub(back + 1))
}

fn crash(cast: &mut Cast, input: &mut Input<'_>) -> Option<()> {
    let node = any_node(cast, input)?;
    let how = [PowerLoss::Loses, PowerLoss::Lands, PowerLoss::Any][input.below(3)?];
    // Whoever is the adversary's does not come back.
    if cast.world.is_running(node) {
        cast.world.crash(node, how);
        cast.world.restart(node);
    }
    Some(())
}

fn damaged(octets: &[u8], input: &mut Input<'_>) -> Option<Vec<u8>> {
    let (at, mask, cut) = (usize::from(input.octet()?), input.octet()?, input.octet()?);
    let mut octets = octets.to_vec();
    let len = octets.len();
    if let Some(octet) = octets.get_mut(at.checked_rem(len).unwrap_or(0)) {
        *octet ^= mask;
    }
    if cut & 0x80 == 0x80 {
        octets.truncate(usize::from(cut & 0x7f));
    }
    Some(octets)
}

fn inject_damaged(cast: &mut Cast, input: &mut Input<'_>) -> Option<()> {
    let index = any_sent(cast, input)?;
    let Some(sent) = cast.world.net().sent().get(index) else { return Some(()) };
    let (from, to) = (sent.from, sent.to);
    let octets = damaged(&sent.bytes, input)?;
    let now = cast.now();
    cast.world.net_mut().inject(now, from, to, octets);
    Some(())
}

fn inject_raw(cast: &mut Cast, input: &mut Input<'_>) -> Option<()> {
    let (from, to) = (any_node(cast, input)?, any_node(cast, input)?);
    let (from, to, now) = (cast.world.net().address(from), cast.world.net().address(to), cast.now());
    cast.world.net_mut().inject(now, from, to, input.some()?);
    Some(())
}

/// A grant with a right tag: what was asked for, or something else.
fn grant(cast: &Cast, liar: &Liar, request: LeaseRequest, kind: u8) -> Option<Vec<u8>> {
    let skip = u32::from(kind & 7) * 5;
    let start = request.mark.checked_add(skip)?;
    let length = if kind & 0x80 == 0 { request.want } else { u32::from(kind >> 3) };
    let end = start.checked_add(length)?;
    let room = 510;
    (start <= room).then(|| liar.grant_octets(cast, request.nonce, start, end, start))
}

/// The outcome of a command that was heard, with a right tag: who has a name, and what he offers.
fn outcome(cast: &Cast, (client, hub): (usize, usize), inner: &[u8], with: u8) -> Option<Vec<u8>> {
    let Ok(Inner::Command(command)) = Inner::decode(inner) else { return None };
    let Command { table: 0, index, .. } = command.message else { return None };
    let is_look_up = matches!(command.message.body, CommandBody::Lookup(_));
    let suites = [&[1][..], &[2, 3], &[1, 2, 3], &[2]][usize::from(with >> 2 & 3)];
    let coordinates = [&[1, 2][..], &[1, 2, 3], &[1, 3], &[3, 9]][usize::from(with >> 4 & 3)];
    let threshold = 2 + (with >> 6 & 1);
    let offer = Offer::new(threshold, with & 0x80 == 0x80, 1 + u16::from(with), suites, coordinates).ok();
    let found = Found::new(*cast.tags[usize::from(with & 1)].as_bytes(), offer.filter(|_| with & 2 == 0));
    let status = OutcomeStatus::new(if is_look_up { 0 } else { with % 5 });
    let outcome = Outcome::new(0, index, status, is_look_up.then_some(found)).ok()?;
    let mut octets = vec![0; outcome.encoded_len()];
    let mut out = Writer::new(&mut octets);
    outcome.encode_untagged(&mut out).ok()?;
    let prefix = tag_prefix(Direction::DOWNLINK, u32::try_from(client).ok()?, cast.hub_ids[hub].as_bytes());
    let (start, table) = (usize::try_from(index).ok()? * 16, &cast.enrolments[hub][client].uplink);
    let key = MessageTagKey::from_pad(table.get(start..start + 32)?.try_into().ok()?).ok()?;
    let tag: Tag = key.tag(&[&prefix, out.written()]);
    out.bytes(tag.as_bytes()).ok()?;
    Some(octets)
}

/// The answer to a share that was heard, with a right tag, under one-time protection.
fn answer(
    cast: &Cast,
    (client, hub): (usize, usize),
    is_hub: bool,
    inner: &[u8],
    status: AnswerStatus,
    with: u8,
) -> Option<Vec<u8>> {
    let Ok(Inner::Share(share)) = Inner::decode(inner) else { return None };
    let BlockPosition { table: 0, index, number: None, .. } = share.message.position else { return None };
    let enrolment = &cast.enrolments[hub][client];
    let (table, direction) = if is_hub {
        (&enrolment.uplink, Direction::DOWNLINK)
    } else {
        (&enrolment.downlink, Direction::UPLINK)
    };
    let (origins, lying) = ([with & 7], [with >> 4 & 7]);
    let confirmation = if !is_hub && status == AnswerStatus::ACCEPTED {
        Some(Confirmation::new(&origins, &lying, [with; 16]).ok()?)
    } else {
        None
    };
    let answer = Answer::new(0, index, status, confirmation).ok()?;
    let mut octets = vec![0; answer.encoded_len()];
    let mut out = Writer::new(&mut octets);
    answer.encode_untagged(&mut out).ok()?;
    let prefix = tag_prefix(direction, u32::try_from(client).ok()?, cast.hub_ids[hub].as_bytes());
    let start = usize::try_from(index).ok()? * 16;
    let key = MessageTagKey::from_pad(table.get(start..start + 32)?.try_into().ok()?).ok()?;
    let tag: Tag = key.tag(&[&prefix, out.written()]);
    out.bytes(tag.as_bytes()).ok()?;
    Some(octets)
}
