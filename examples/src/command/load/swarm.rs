//! Many clients behind one loop: real machines, whatever carries their messages and stores their records.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow};
use rand_core::CryptoRng;
use skex_core::machine::{Checkpoint, Destination, Instant, Output, PathId, Receipt};
use skex_dske::{Client, ClientError, ClientEvent, ClientLimits, KeyRequest, Record, Role};
use skex_wire::dske::Outer;

use super::ledger::Ledger;
use super::pad::SeededPad;
use super::roster::Roster;

/// A client in its present life.
pub(super) type Life = (u32, u32);

/// All clients, and what they want sent and stored.
pub(super) struct Swarm {
    pub(super) roster: Roster,
    clients: Vec<Option<Client<SeededPad>>>,
    lives: Vec<u32>,
    /// Those that may want something. They are asked once all has happened that happened together: what one says to a hub then
    /// shares datagrams.
    touched: BTreeSet<u32>,
    deadlines: BTreeSet<(Instant, u32)>,
    due: Vec<Option<Instant>>,
    pub(super) ledger: Ledger,
    pub(super) request: KeyRequest,
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) checkpoints: Vec<(Life, Checkpoint<Record>)>,
    /// Requests that a client refused: its bounds, or its tables.
    pub(super) refused: u64,
    pub(super) pad_octets: u64,
}

/// A message of a client for a hub.
pub(super) struct Outgoing {
    pub(super) client: u32,
    pub(super) hub: u8,
    pub(super) octets: Vec<u8>,
}

/// The time, for the machines and for latencies.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    /// In whatever unit latencies are told.
    pub(super) fine: u64,
}

impl Swarm {
    pub(super) fn new(roster: Roster, request: KeyRequest) -> Self {
        Self {
            roster,
            clients: (0..roster.clients).map(|_| None).collect(),
            lives: vec![0; roster.clients as usize],
            touched: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            due: vec![None; roster.clients as usize],
            ledger: Ledger::default(),
            request,
            outgoing: Vec::new(),
            checkpoints: Vec::new(),
            refused: 0,
            pad_octets: 0,
        }
    }

    /// Starts a client from its records.
    pub(super) fn boot(
        &mut self,
        client: u32,
        records: impl IntoIterator<Item = impl AsRef<[u8]>>,
        limits: ClientLimits,
        now: Now,
        rng: &mut dyn CryptoRng,
    ) -> Result<()> {
        let config = self.roster.client_config(client)?.with_limits(limits);
        let machine = Client::restore(config, records, now.instant, rng)
            .with_context(|| format!("client {client} cannot be started"))?;
        self.clients[client as usize] = Some(machine);
        self.lives[client as usize] += 1;
        self.drain(client, now)
    }

    /// A client loses power.
    pub(super) fn kill(&mut self, client: u32, now: Now) {
        self.clients[client as usize] = None;
        self.schedule(client, None);
        self.ledger.restarted(client, now.fine);
    }

    /// How many clients have a hub that has not answered.
    pub(super) fn unconnected(&self) -> usize {
        let connected = |client: &Client<SeededPad>| client.status().all(|link| link.connected);
        self.clients.iter().filter(|client| !client.as_ref().is_some_and(connected)).count()
    }

    /// How many tables of clients hold more than their bound.
    pub(super) fn overfull(&self) -> u64 {
        let fills = self.clients.iter().flatten().flat_map(Client::fill);
        fills.filter(|fill| fill.held > fill.bound).count() as u64
    }

    /// A message of a hub.
    pub(super) fn receive(
        &mut self,
        hub: u8,
        octets: &[u8],
        now: Now,
        rng: &mut dyn CryptoRng,
    ) -> Result<()> {
        let Ok(outer) = Outer::decode(octets) else { return Ok(()) };
        let client = outer.client_id();
        let Some(Some(machine)) = self.clients.get_mut(client as usize) else { return Ok(()) };
        let _ = machine.handle_message(now.instant, rng, PathId::new(hub.into()), octets)?;
        self.touched.insert(client);
        Ok(())
    }

    /// A checkpoint of a client is durable. One of an earlier life concerns nobody.
    pub(super) fn stored(&mut self, (client, life): Life, receipt: Receipt, now: Now) -> Result<()> {
        if self.lives[client as usize] != life {
            return Ok(());
        }
        let Some(machine) = &mut self.clients[client as usize] else { return Ok(()) };
        machine.handle_persisted(receipt)?;
        self.drain(client, now)
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Now, rng: &mut dyn CryptoRng) -> Result<()> {
        while let Some((due, client)) = self.deadlines.first().copied().filter(|(due, _)| *due <= now.instant)
        {
            self.deadlines.remove(&(due, client));
            self.due[client as usize] = None;
            if let Some(machine) = &mut self.clients[client as usize] {
                machine.handle_timeout(now.instant, rng)?;
                self.touched.insert(client);
            }
        }
        Ok(())
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(due, _)| *due)
    }

    /// Asks for a key. `false`: the client cannot now.
    pub(super) fn ask(
        &mut self,
        initiator: u32,
        responder: u32,
        now: Now,
        rng: &mut dyn CryptoRng,
    ) -> Result<bool> {
        let Some(machine) = &mut self.clients[initiator as usize] else { return Ok(false) };
        match machine.request_key(now.instant, rng, Roster::tag(responder), self.request) {
            Ok(key) => {
                self.ledger.asked(key, initiator, responder, now.fine);
                self.touched.insert(initiator);
                Ok(true)
            }
            Err(error @ (ClientError::UnknownPeer | ClientError::Threshold)) => Err(error.into()),
            Err(_) => {
                self.refused += 1;
                // It may have asked for more of its tables.
                self.touched.insert(initiator);
                Ok(false)
            }
        }
    }

    /// Asks everybody to whom something has happened what it wants.
    pub(super) fn gather(&mut self, now: Now) -> Result<()> {
        while let Some(client) = self.touched.pop_first() {
            self.drain(client, now)?;
        }
        Ok(())
    }

    fn drain(&mut self, client: u32, now: Now) -> Result<()> {
        loop {
            let Some(machine) = &mut self.clients[client as usize] else { return Ok(()) };
            match machine.poll_output() {
                Output::Persist(checkpoint) => {
                    self.checkpoints.push(((client, self.lives[client as usize]), checkpoint));
                }
                Output::Transmit(transmit) => {
                    let number = match transmit.to {
                        Destination::Peer(handle) => u64::from(handle.number()),
                        Destination::Path(path) => path.number(),
                        _ => return Err(anyhow!("a destination that this program does not know")),
                    };
                    let (hub, octets) = (u8::try_from(number)?, transmit.payload);
                    self.outgoing.push(Outgoing { client, hub, octets });
                }
                Output::Event(event) => self.take(client, event, now)?,
                Output::Wait(deadline) => {
                    self.schedule(client, deadline);
                    return Ok(());
                }
            }
        }
    }

    fn take(&mut self, client: u32, event: ClientEvent, now: Now) -> Result<()> {
        match event {
            ClientEvent::KeyEstablished(established) => {
                let (role, peer, id) = (established.role, established.peer, established.key.id());
                self.pad_octets += established.pad_octets;
                self.ledger.established(role, established.key, now.fine);
                if role == Role::Responder
                    && let Some(machine) = &mut self.clients[client as usize]
                {
                    machine.taken(peer, id)?;
                }
            }
            ClientEvent::KeyFailed { key_id, role, .. } => self.ledger.failed(role, key_id),
            _ => {}
        }
        Ok(())
    }

    fn schedule(&mut self, client: u32, deadline: Option<Instant>) {
        let due = &mut self.due[client as usize];
        if *due == deadline {
            return;
        }
        if let Some(old) = due.take() {
            self.deadlines.remove(&(old, client));
        }
        *due = deadline;
        self.deadlines.extend(deadline.map(|deadline| (deadline, client)));
    }
}
