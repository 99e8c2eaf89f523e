//! A hub of the world: in one piece, or in shards that hand over to each other, as one node with one disk.
//!
//! What is between shards can be as bad as the network: hand-overs are lost, come twice, late, and much too late. And a shard can
//! crash alone, at every point where it stores, sends or hands over; it starts again from its own records.

use core::time::Duration;
use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::rc::Rc;

use rand_core::CryptoRng;
use skex_core::SecretBytes;
use skex_core::machine::{DiscardReason, Disposition, Instant, Machine, Output, PathId, Receipt};
use skex_dske::{
    ClientId, ClientStatus, Fill, HandOver, Hub, HubClient, HubConfig, HubError, HubEvent, Record,
    RestoreError, Table, TableError, shard_of,
};
use skex_sim::Dice;
use skex_wire::dske::Direction;

use crate::world::{SharedPad, from_last_snapshot};

/// How many shards the hubs of every world have, unless it says otherwise: one, or what the environment variable `SKEX_SHARDS` says.
pub fn usual_shards() -> u16 {
    std::env::var("SKEX_SHARDS").ok().and_then(|shards| shards.parse().ok()).unwrap_or(1)
}

/// How bad it is between the shards. In a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Between {
    pub lost: u16,
    pub twice: u16,
    /// A copy comes up to a minute later.
    pub late: u16,
    /// Hand-overs take up to so long.
    pub delay: Duration,
    /// A shard crashes at a point.
    pub crash: u16,
    /// What a shard that crashes alone was storing is lost: no receipt for it had come.
    pub torn: u16,
}

impl Between {
    /// Everything goes wrong.
    pub const TERRIBLE: Self =
        Self { lost: 150, twice: 200, late: 100, delay: Duration::from_millis(60), crash: 3, torn: 500 };
}

/// A hub in one piece, where a test is about that.
#[allow(dead_code, reason = "not every user of this world has such a test")]
pub const WHOLE: (u16, Between) =
    (1, Between { lost: 0, twice: 0, late: 0, delay: Duration::ZERO, crash: 0, torn: 0 });

struct Shard {
    /// None: it has crashed.
    hub: Option<Hub<SharedPad>>,
    /// Its records since the last snapshot.
    log: Vec<Vec<u8>>,
    /// The same without the record for which no receipt has come, if there is one.
    durable: Option<Vec<Vec<u8>>>,
    /// Which checkpoints are its own; none before the first.
    instance: Option<u64>,
    /// Passed points: before and after it stores, sends, hands over.
    points: u64,
}

pub struct ShardedHub {
    config: Box<dyn Fn() -> HubConfig<SharedPad>>,
    shards: Vec<Shard>,
    on_the_way: BTreeMap<(Instant, u64), Rc<HandOver>>,
    handed_over: u64,
    dice: Dice,
    between: Between,
    crash_at: Option<(usize, u64)>,
    /// Whether it was a hand-over's turn.
    hands_over: bool,
    /// What the shards wait for.
    timer: Option<Instant>,
    /// The shard that has just done something.
    acted: Option<usize>,
    pub crashes: u64,
    now: Instant,
    /// Which shards have revoked a client, and whether they have erased its tables.
    revoked: BTreeMap<ClientId, BTreeMap<usize, bool>>,
}

impl ShardedHub {
    pub fn restore(
        config: impl Fn() -> HubConfig<SharedPad> + 'static,
        (shards, between, seed): (u16, Between, u64),
        records: &[Vec<u8>],
        now: Instant,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, RestoreError> {
        let shards = NonZeroU16::new(shards).expect("at least one shard");
        let mut hub = Self {
            config: Box::new(config),
            shards: Vec::new(),
            on_the_way: BTreeMap::new(),
            handed_over: 0,
            dice: Dice::new(seed ^ now.as_millis()),
            between,
            crash_at: None,
            hands_over: false,
            timer: None,
            acted: None,
            crashes: 0,
            now,
            revoked: BTreeMap::new(),
        };
        let configs =
            if shards.get() == 1 { vec![(hub.config)()] } else { (hub.config)().into_shards(shards) };
        for (index, config) in configs.into_iter().enumerate() {
            let log =
                if shards.get() == 1 { records.to_vec() } else { own_records(records, config_mark(index)) };
            let restored = Hub::restore(config, &log, now, rng)?;
            hub.shards.push(Shard { hub: Some(restored), log, durable: None, instance: None, points: 0 });
        }
        Ok(hub)
    }

    fn is_whole(&self) -> bool {
        self.shards.len() == 1
    }

    /// A shard loses its memory at the point of this number.
    pub fn crash_at(&mut self, shard: usize, point: u64) {
        self.crash_at = Some((shard, point));
    }

    /// What a shard has stored.
    pub fn log(&self, shard: usize) -> Vec<Vec<u8>> {
        self.shards[shard].log.clone()
    }

    /// A shard ends, and starts again from what it had stored before.
    pub fn roll_back(&mut self, shard: usize, log: Vec<Vec<u8>>) {
        self.crash(shard);
        self.shards[shard].log = log;
    }

    /// The points that each shard has passed.
    pub fn points(&self) -> Vec<u64> {
        self.shards.iter().map(|shard| shard.points).collect()
    }

    /// Hand-overs that were made.
    pub const fn handed_over(&self) -> u64 {
        self.handed_over
    }

    pub const fn set_between(&mut self, between: Between) {
        self.between = between;
    }

    fn crash(&mut self, index: usize) {
        let shard = &mut self.shards[index];
        (shard.hub, shard.instance) = (None, None);
        if let Some(durable) = shard.durable.take()
            && self.dice.chance(self.between.torn)
        {
            shard.log = durable;
        }
        self.acted = None;
        self.crashes += 1;
    }

    /// Passes a point of a shard; true if it crashes there.
    fn passes(&mut self, index: usize) -> bool {
        if self.is_whole() {
            return false;
        }
        let shard = &mut self.shards[index];
        let point = shard.points;
        shard.points += 1;
        let crashes = self.crash_at == Some((index, point))
            || self.between.crash > 0 && self.dice.chance(self.between.crash);
        if crashes {
            self.crash(index);
        }
        crashes
    }

    /// Whatever has crashed starts again, from what it has stored.
    fn revive(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> bool {
        let Some(count) = NonZeroU16::new(self.shards.len() as u16) else { return false };
        let mut any = false;
        for index in 0..self.shards.len() {
            if self.shards[index].hub.is_none() {
                let config = (self.config)().into_shards(count).swap_remove(index);
                let hub = Hub::restore(config, &self.shards[index].log, now, rng).unwrap();
                self.shards[index].hub = Some(hub);
                any = true;
            }
        }
        any
    }

    /// Puts on its way what the shards have for each other.
    fn collect(&mut self) -> bool {
        let mut any = false;
        for index in 0..self.shards.len() {
            while let Some(hand_over) = self.shards[index].hub.as_mut().and_then(Hub::poll_hand_over) {
                any = true;
                if self.passes(index) {
                    break;
                }
                let hand_over = Rc::new(hand_over);
                let between = self.between;
                if !self.dice.chance(between.lost) {
                    self.send(&hand_over, Duration::ZERO);
                }
                if self.dice.chance(between.twice) {
                    self.send(&hand_over, Duration::ZERO);
                }
                if self.dice.chance(between.late) {
                    let later = Duration::from_millis(self.dice.below(60_000));
                    self.send(&hand_over, later);
                }
                if self.passes(index) {
                    break;
                }
            }
        }
        any
    }

    fn send(&mut self, hand_over: &Rc<HandOver>, later: Duration) {
        let longest = self.between.delay.as_millis() as u64;
        let delay = if longest == 0 { 1 } else { 1 + self.dice.below(longest) };
        let due = self.now.saturating_add(later + Duration::from_millis(delay));
        self.handed_over += 1;
        self.on_the_way.insert((due, self.handed_over), Rc::clone(hand_over));
    }

    fn of(&mut self, client: ClientId) -> Option<&mut Hub<SharedPad>> {
        let index = client.number() as usize % self.shards.len();
        self.shards[index].hub.as_mut()
    }

    /// Whether the shard of this client is up. Only scripts of fuzzing do not know.
    #[allow(dead_code, reason = "for fuzzing")]
    pub fn is_up(&mut self, client: ClientId) -> bool {
        self.of(client).is_some()
    }

    /// Whether all shards are up.
    #[allow(dead_code, reason = "for fuzzing")]
    pub fn are_up(&self) -> bool {
        self.shards.iter().all(|shard| shard.hub.is_some())
    }

    fn hubs(&self) -> impl Iterator<Item = &Hub<SharedPad>> {
        self.shards.iter().filter_map(|shard| shard.hub.as_ref())
    }

    pub fn add_table(
        &mut self,
        client: ClientId,
        direction: Direction,
        table: Table<SharedPad>,
    ) -> Result<(), TableError> {
        self.of(client).ok_or(TableError::UnknownLink)?.add_table(client, direction, table)
    }

    pub fn retire_table(
        &mut self,
        client: ClientId,
        direction: Direction,
        number: u16,
    ) -> Result<(), TableError> {
        self.of(client).ok_or(TableError::UnknownLink)?.retire_table(client, direction, number)
    }

    pub fn refill(
        &mut self,
        now: Instant,
        client: ClientId,
        direction: Direction,
        table: Table<SharedPad>,
    ) -> Result<(), TableError> {
        self.of(client).ok_or(TableError::UnknownLink)?.refill(now, client, direction, table)
    }

    pub fn replace_initial_key(&mut self, client: ClientId, key: SecretBytes<32>) -> Result<(), HubError> {
        self.of(client).ok_or(HubError::UnknownClient)?.replace_initial_key(client, key)
    }

    pub fn revoke(&mut self, now: Instant, client: ClientId) -> Result<(), HubError> {
        let hubs = self.shards.iter_mut().filter_map(|shard| shard.hub.as_mut());
        let answers: Vec<_> = hubs.map(|hub| hub.revoke(now, client)).collect();
        answers.into_iter().fold(Err(HubError::UnknownClient), Result::or)
    }

    pub fn enrol(&mut self, client: HubClient<SharedPad>, names: &[&[u8]]) -> Result<(), HubError> {
        let owner = client.client.number() as usize % self.shards.len();
        let hub = self.shards[owner].hub.as_mut().ok_or(HubError::Busy)?;
        hub.enrol(client, names)?;
        let roster = hub.roster();
        let others = self.shards.iter_mut().enumerate().filter(|(index, _)| *index != owner);
        others.filter_map(|(_, shard)| shard.hub.as_mut()).try_for_each(|hub| hub.enrolled_elsewhere(&roster))
    }

    pub fn status(&self) -> impl Iterator<Item = ClientStatus> {
        let mut all: Vec<_> = self.hubs().flat_map(Hub::status).collect();
        all.sort_by_key(|client| client.tag);
        all.into_iter()
    }

    #[allow(dead_code, reason = "the laws are about it")]
    pub fn fill(&self) -> Vec<Fill> {
        self.hubs().flat_map(Hub::fill).collect()
    }

    pub fn discards(&self, reason: DiscardReason) -> u32 {
        self.hubs().map(|hub| hub.discards().count(reason)).sum()
    }

    /// A client is revoked when every shard has said so.
    fn tell(&mut self, index: usize, event: HubEvent) -> Option<HubEvent> {
        let HubEvent::ClientRevoked { client, tag, erased } = event else { return Some(event) };
        let told = self.revoked.entry(client).or_default();
        told.insert(index, erased);
        let erased = told.values().all(|erased| *erased);
        (told.len() == self.shards.len()).then_some(HubEvent::ClientRevoked { client, tag, erased })
    }
}

/// What distinguishes the records of a shard of any hub: the last octet of the machine's id, of which all are the same here.
const fn config_mark(index: usize) -> u8 {
    index as u8 + 1
}

/// The records of one shard of the disk that all share, from the last snapshot on.
fn own_records(records: &[Vec<u8>], mark: u8) -> Vec<Vec<u8>> {
    let is_own = |record: &&Vec<u8>| {
        skex_core::record::decode(record)
            .is_ok_and(|(header, _)| header.machine[7] ^ header.machine[0] == mark)
    };
    let mut own: Vec<Vec<u8>> = records.iter().filter(is_own).cloned().collect();
    from_last_snapshot(&mut own);
    own
}

impl Machine for ShardedHub {
    type Record = Record;
    type Payload = Vec<u8>;
    type Event = HubEvent;
    type Error = HubError;

    fn handle_message(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: PathId,
        message: &[u8],
    ) -> Result<Disposition, HubError> {
        self.now = self.now.max(now);
        let index = shard_of(message, self.shards.len() as u16).unwrap_or(0);
        match &mut self.shards[usize::from(index)].hub {
            Some(hub) => hub.handle_message(now, rng, from, message),
            None => Ok(Disposition::Discarded(DiscardReason::Busy)),
        }
    }

    fn handle_timeout(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Result<(), HubError> {
        self.now = self.now.max(now);
        if self.revive(now, rng) {
            return Ok(());
        }
        // A machine is drained between two inputs; in turn, where timers are due as well.
        self.hands_over = !self.hands_over || self.timer.is_none_or(|timer| timer > now);
        let due = self.on_the_way.first_entry().filter(|entry| entry.key().0 <= now);
        if let Some(hand_over) = due.filter(|_| self.hands_over).map(|entry| entry.remove()) {
            if let Some(hub) = &mut self.shards[usize::from(hand_over.to())].hub {
                let _ = hub.handed_over(now, rng, &hand_over);
            }
            return Ok(());
        }
        self.shards
            .iter_mut()
            .filter_map(|shard| shard.hub.as_mut())
            .try_for_each(|hub| hub.handle_timeout(now, rng))
    }

    fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), HubError> {
        if self.is_whole() {
            return self.shards[0].hub.as_mut().map_or(Ok(()), |hub| hub.handle_persisted(receipt));
        }
        let instance = Some(receipt.instance());
        let shard = self.shards.iter_mut().find(|shard| shard.instance == instance);
        // One that crashed meanwhile has no use for it.
        let Some(shard) = shard else { return Ok(()) };
        shard.durable = None;
        shard.hub.as_mut().map_or(Ok(()), |hub| hub.handle_persisted(receipt))
    }

    fn poll_output(&mut self) -> Output<Record, Vec<u8>, HubEvent> {
        if let Some(index) = self.acted.take() {
            self.passes(index);
        }
        let mut wait = None;
        loop {
            for index in 0..self.shards.len() {
                while let Some(output) = self.shards[index].hub.as_mut().map(Hub::poll_output) {
                    let output = match output {
                        Output::Wait(deadline) => {
                            wait = wait.into_iter().chain(deadline).min();
                            break;
                        }
                        _ if self.passes(index) => break,
                        Output::Event(event) => match self.tell(index, event) {
                            Some(event) => Output::Event(event),
                            None => continue,
                        },
                        output => output,
                    };
                    self.acted = Some(index);
                    if let Output::Persist(checkpoint) = &output
                        && !self.is_whole()
                    {
                        let shard = &mut self.shards[index];
                        shard.instance = Some(checkpoint.instance());
                        shard.durable = Some(shard.log.clone());
                        shard.log.push(checkpoint.record().as_ref().to_vec());
                        from_last_snapshot(&mut shard.log);
                    }
                    return output;
                }
            }
            if !self.collect() {
                break;
            }
        }
        self.timer = wait;
        // One a millisecond.
        let next = self.now.saturating_add(Duration::from_millis(1));
        let due = self.on_the_way.keys().next().map(|(due, _)| (*due).max(next));
        // A shard that has crashed starts again a little later.
        let crashed = self.shards.iter().any(|shard| shard.hub.is_none());
        let again = crashed.then(|| self.now.saturating_add(Duration::from_millis(5)));
        Output::Wait(wait.into_iter().chain(due).chain(again).min())
    }
}
