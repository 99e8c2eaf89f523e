//! Two peers, and two tables of peers, under a script, over a network that is the adversary's.

use core::time::Duration;
use std::collections::BTreeMap;

use skex_core::machine::{Machine, PeerHandle};
use skex_core::{KeyId, Label, OutputKey, SecretBytes};
use skex_sim::{Batch, Boot, Layout, Link, NodeId, PowerLoss, Receipts, World};
use skex_unmediated::{
    Confirmation, Event, LaneId, MixBlock, Peer, PeerConfig, PeerTable, RecoveryCause, RestoreError, Side,
    TableConfig, TableError, TableEvent,
};

use crate::Input;

/// Operations of a script, at most.
const OPERATIONS: usize = 64;

const HANDLE: PeerHandle = PeerHandle::new(0);
const LANES: u8 = 2;

/// One `Peer` at each end. The first octet chooses what the ends are told.
pub fn play_pair(octets: &[u8]) {
    let mut input = Input::new(octets);
    let Some(kind) = input.octet() else { return };
    let (mut world, nodes) = two(Layout::Slots(2), Layout::Slots(2), |side| {
        move |boot: Boot<'_>| {
            let config = config(side, kind);
            let records: Vec<&[u8]> = boot.disk.records().map(|(_, record)| record).collect();
            match records.as_slice() {
                [] => Peer::enrol(&config, &[0x5e; 32], boot.now, boot.rng).unwrap(),
                [one] => Peer::restore(&config, [one, &[]], boot.now, boot.rng).unwrap(),
                [one, two, ..] => Peer::restore(&config, [one, two], boot.now, boot.rng).unwrap(),
            }
        }
    });
    let mut book = Book::default();
    for _ in 0..OPERATIONS {
        if step_pair(&mut world, nodes, &mut book, &mut input).is_none() {
            break;
        }
        book.read(&world, |event| match event {
            Event::KeyReady(key) => Some((0, key)),
            _ => None,
        });
    }
    one_session_an_epoch(&world);
    // The adversary stops: the pair lives.
    calm(&mut world);
    world.run_for(Duration::from_secs(60), 200_000);
    let epoch = |world: &World<Peer>| nodes.map(|node| world.machine(node).unwrap().epoch());
    let before = epoch(&world).into_iter().max().unwrap();
    for round in 0..8 {
        let sessions = nodes.map(|node| world.machine(node).unwrap().session());
        if let [Some(a), Some(b)] = sessions
            && a.id == b.id
            && a.epoch > before
        {
            break;
        }
        assert!(round < 7, "no new session after epoch {before}");
        world.call(nodes[round % 2], |peer, now, rng| peer.establish(now, rng).unwrap());
        world.run_for(Duration::from_secs(60), 200_000);
        confirm(&mut world, nodes);
    }
    assert!(world.failures().is_empty(), "{:?}", world.failures());
}

fn config(side: Side, kind: u8) -> PeerConfig<'static> {
    let (own, peer): (&[u8], &[u8]) = if side == Side::A { (b"alice", b"bob") } else { (b"bob", b"alice") };
    let consumer = kind & 1 == 1;
    let stateless = if side == Side::A { kind & 2 == 2 } else { kind & 4 == 4 };
    PeerConfig::new(side, own, peer).stateless(stateless).confirmation(if consumer {
        Confirmation::Consumer
    } else {
        Confirmation::FourthMessage
    })
}

/// The consumer heard from the other end under a key of the session.
fn confirm(world: &mut World<Peer>, nodes: [NodeId; 2]) {
    let sessions = nodes.map(|node| world.machine(node).and_then(Peer::session));
    if let [Some(a), Some(b)] = sessions
        && a.id == b.id
    {
        for node in nodes {
            let _ = world.call(node, |peer, _, _| peer.confirm(a.id));
        }
    }
}

fn step_pair(
    world: &mut World<Peer>,
    nodes: [NodeId; 2],
    book: &mut Book,
    input: &mut Input<'_>,
) -> Option<()> {
    let kind = input.below(16)?;
    let node = nodes[input.below(2)?];
    match kind {
        0..=2 => {
            let _ = world.call(node, |peer, now, rng| peer.establish(now, rng));
        }
        3 => {
            let demanded = input.octet()? & 1 == 1;
            world.call(node, |peer, _, _| peer.demand_cookies(demanded));
        }
        4 => {
            let exported = world.call(node, |peer, _, _| peer.export_next(Label::EXPORT_RAW, b"fuzz"));
            if let Some(Ok(key)) = exported {
                book.note(node, 0, &key);
            }
        }
        5 => {
            let Some((session, index)) = book.any(input)? else { return Some(()) };
            let _ = world.call(node, |peer, _, _| peer.export_at(session, index, Label::EXPORT_RAW, b"fuzz"));
        }
        6 => {
            let octet = input.octet()? % 4;
            let block = MixBlock::new(SecretBytes::copied_from(&[octet + 1; 32]));
            let _ = world.call(node, |peer, _, _| peer.provide_mix(&block));
        }
        7 => confirm(world, nodes),
        _ => step_world(world, node, kind - 8, input)?,
    }
    Some(())
}

/// What the network and the disk do to any machine.
fn step_world<M: Simulated>(
    world: &mut World<M>,
    node: NodeId,
    kind: usize,
    input: &mut Input<'_>,
) -> Option<()> {
    match kind {
        0 | 1 => {
            world.run_for(Duration::from_millis(1 << input.below(16)?), 10_000);
        }
        2 => {
            let how = [PowerLoss::Loses, PowerLoss::Lands, PowerLoss::Tears][input.below(3)?];
            world.crash(node, how);
            world.restart(node);
        }
        3 => {
            let wait = Duration::from_millis(u64::from(input.octet()?));
            world.set_receipts(node, Receipts::After(wait));
        }
        4 => {
            let (index, now) = (any_sent(world, input)?, world.now());
            if index < world.net().sent().len() {
                world.net_mut().replay(index, now);
            }
        }
        5 => {
            let index = any_sent(world, input)?;
            let (at, mask, cut) = (usize::from(input.octet()?), input.octet()?, input.octet()?);
            let Some(sent) = world.net().sent().get(index) else { return Some(()) };
            let (from, to, now, mut octets) = (sent.from, sent.to, world.now(), sent.bytes.clone());
            let len = octets.len();
            if let Some(octet) = octets.get_mut(at.checked_rem(len).unwrap_or(0)) {
                *octet ^= mask;
            }
            if cut & 0x80 == 0x80 {
                octets.truncate(usize::from(cut & 0x7f));
            }
            world.net_mut().inject(now, from, to, octets);
        }
        6 => {
            let (to, now) = (world.net().address(node), world.now());
            let from = skex_sim::Address::new(1000 + u64::from(input.octet()?));
            world.net_mut().inject(now, from, to, input.some()?);
        }
        _ => {
            let rates = [input.octet()?, input.octet()?, input.octet()?].map(|rate| u16::from(rate) * 3);
            let link = Link::ideal().latency(20).jitter(50).loss(rates[0]).duplicate(rates[1]);
            world.net_mut().set_default_link(link.reorder(rates[2], 2000).replay(rates[1]).corrupt(20));
        }
    }
    Some(())
}

/// What a world takes.
trait Simulated: Machine<Record: AsRef<[u8]>, Payload: AsRef<[u8]>, Event: core::fmt::Debug> {}

impl<M: Machine<Record: AsRef<[u8]>, Payload: AsRef<[u8]>, Event: core::fmt::Debug>> Simulated for M {}

/// Counted from the newest.
fn any_sent<M: Simulated>(world: &World<M>, input: &mut Input<'_>) -> Option<usize> {
    Some(world.net().sent().len().saturating_sub(usize::from(input.octet()?) + 1))
}

fn calm<M: Simulated>(world: &mut World<M>) {
    world.net_mut().set_default_link(Link::ideal().latency(20));
}

fn two<M: Simulated, B: FnMut(Boot<'_>) -> M + 'static>(
    layout_a: Layout,
    layout_b: Layout,
    boot: impl Fn(Side) -> B,
) -> (World<M>, [NodeId; 2]) {
    let mut world = World::new(1);
    calm(&mut world);
    let a = world.add_node(layout_a, boot(Side::A));
    let b = world.add_node(layout_b, boot(Side::B));
    world.route(a, HANDLE, b);
    world.route(b, HANDLE, a);
    (world, [a, b])
}

/// What was told of sessions: at most one is believed in an epoch.
fn one_session_an_epoch(world: &World<Peer>) {
    let mut believed: BTreeMap<(u64, NodeId), KeyId> = BTreeMap::new();
    for happened in world.events() {
        match &happened.event {
            Event::Established(session) | Event::Resumed(session) => {
                believed.insert((session.epoch, happened.node), session.id);
            }
            Event::Void(id) | Event::PeerVoid(id) => believed.retain(|_, known| known != id),
            _ => {}
        }
    }
    let mut by_epoch: BTreeMap<u64, KeyId> = BTreeMap::new();
    for ((epoch, _), id) in believed {
        assert_eq!(*by_epoch.entry(epoch).or_insert(id), id, "two sessions of epoch {epoch}");
    }
}

/// What is known of a key: by lane, session and index, its octets and the ends that gave it.
type Known = BTreeMap<(u8, [u8; 16], u64), (Vec<u8>, Vec<NodeId>)>;

/// Every key that an end has given: the same at both, and at each end once.
#[derive(Default)]
struct Book {
    keys: Known,
    read: usize,
}

impl Book {
    fn note(&mut self, node: NodeId, lane: u8, key: &OutputKey) {
        let name = (lane, *key.id().as_bytes(), key.index());
        let octets = key.secret().expose().to_vec();
        let (known, givers) = self.keys.entry(name).or_insert_with(|| (octets.clone(), Vec::new()));
        assert_eq!(*known, octets, "two keys of one name");
        assert!(!givers.contains(&node), "an end gave a key twice");
        givers.push(node);
    }

    /// Reads the events that it has not read yet.
    fn read<M: Simulated>(
        &mut self,
        world: &World<M>,
        ready: impl Fn(&M::Event) -> Option<(u8, &OutputKey)>,
    ) {
        for happened in &world.events()[self.read..] {
            if let Some((lane, key)) = ready(&happened.event) {
                self.note(happened.node, lane, key);
            }
        }
        self.read = world.events().len();
    }

    fn any(&self, input: &mut Input<'_>) -> Option<Option<(KeyId, u64)>> {
        let index = usize::from(input.octet()?).checked_rem(self.keys.len());
        let found = index.and_then(|index| self.keys.keys().nth(index));
        Some(found.map(|(_, session, index)| (KeyId::new(*session), *index)))
    }
}

/// A table at each end, with two lanes of one pair, a recovery lane, and little patience.
pub fn play_table(octets: &[u8]) {
    let layout = || Layout::Keyed(slots_by_machine);
    let (mut world, nodes) = two(layout(), layout(), boot_table);
    let mut input = Input::new(octets);
    let mut book = Book::default();
    for _ in 0..OPERATIONS {
        if step_table(&mut world, nodes, &mut book, &mut input).is_none() {
            break;
        }
        book.read(&world, |event| match event {
            TableEvent::Lane(lane, Event::KeyReady(key)) => Some((lane.lane(), key)),
            _ => None,
        });
    }
    calm(&mut world);
    world.run_for(Duration::from_secs(60), 200_000);
    end_recoveries(&mut world, nodes);
    for number in 0..LANES {
        let id = LaneId::new(HANDLE, number);
        let lane = |world: &World<PeerTable>, node| world.machine(node).unwrap().lane(id).unwrap().epoch();
        let before = nodes.map(|node| lane(&world, node)).into_iter().max().unwrap();
        for round in 0..8 {
            let sessions = nodes.map(|node| world.machine(node).unwrap().lane(id).unwrap().session());
            if let [Some(a), Some(b)] = sessions
                && a.id == b.id
                && a.epoch > before
            {
                break;
            }
            assert!(round < 7, "lane {number}: no new session after epoch {before}");
            world.call(nodes[round % 2], |table, now, rng| table.establish(id, now, rng).unwrap());
            world.run_for(Duration::from_secs(60), 200_000);
        }
    }
    assert!(world.failures().is_empty(), "{:?}", world.failures());
}

/// The applications do what a recovery leaves to them, until no lane waits for one.
fn end_recoveries(world: &mut World<PeerTable>, nodes: [NodeId; 2]) {
    let held = |world: &World<PeerTable>, node| {
        let table = world.machine(node).unwrap();
        (0..LANES).any(|lane| table.lane(LaneId::new(HANDLE, lane)).unwrap().is_held())
    };
    for _ in 0..8 {
        for node in nodes {
            // If one is wanted still. Where the peer never allows it nothing comes of it.
            let again = RecoveryCause::RolledBack;
            let _ = world.call(node, |table, now, rng| table.recover(HANDLE, again, now, rng));
        }
        world.run_for(Duration::from_secs(60), 200_000);
        for node in nodes {
            let _ = world.call(node, |table, _, _| table.conclude_recovery(HANDLE));
        }
        world.run_for(Duration::from_secs(1), 200_000);
    }
    assert!(!nodes.iter().any(|node| held(world, *node)), "a lane waits for a recovery for ever");
}

fn step_table(
    world: &mut World<PeerTable>,
    nodes: [NodeId; 2],
    book: &mut Book,
    input: &mut Input<'_>,
) -> Option<()> {
    let kind = input.below(16)?;
    let node = nodes[input.below(2)?];
    let number = u8::try_from(input.below(usize::from(LANES))?).ok()?;
    let lane = LaneId::new(HANDLE, number);
    match kind {
        0..=2 => {
            let _ = world.call(node, |table, now, rng| table.establish(lane, now, rng));
        }
        3 => {
            let _ = match input.below(3)? {
                0 => world
                    .call(node, |table, now, rng| table.recover(HANDLE, RecoveryCause::Operator, now, rng)),
                1 => world.call(node, |table, _, _| table.allow_recovery(HANDLE)),
                _ => world.call(node, |table, _, _| table.conclude_recovery(HANDLE)),
            };
        }
        4 => {
            let exported =
                world.call(node, |table, _, _| table.export_next(lane, Label::EXPORT_RAW, b"fuzz"));
            if let Some(Ok(key)) = exported {
                book.note(node, number, &key);
            }
        }
        5..=7 => {
            let Some((session, index)) = book.any(input)? else { return Some(()) };
            let _ = world
                .call(node, |table, _, _| table.export_at(lane, session, index, Label::EXPORT_RAW, b"fuzz"));
        }
        _ => step_world(world, node, kind - 8, input)?,
    }
    Some(())
}

/// Two slots for each machine: where a record goes, its own header says.
fn slots_by_machine(record: &[u8]) -> Batch {
    let machine = u64::from_be_bytes(record[6..14].try_into().unwrap()) & !1;
    let slot = u64::from(record[21] & 1);
    vec![(machine | slot, Some(record.to_vec())), (machine | (1 - slot), None)]
}

fn boot_table(side: Side) -> impl FnMut(Boot<'_>) -> PeerTable {
    move |boot| {
        let mut machines: BTreeMap<u64, Vec<&[u8]>> = BTreeMap::new();
        for (key, record) in boot.disk.records() {
            machines.entry(key & !1).or_default().push(record);
        }
        // Five first messages a second, then cookies.
        let bounds = TableConfig::new(8).load(5, Duration::from_secs(1)).source_buckets(16);
        let mut table = PeerTable::new(bounds, boot.now, boot.rng);
        for number in (0..LANES).chain([skex_unmediated::RECOVERY_LANE]) {
            let config = config(side, 0).peer_handle(HANDLE).lane(number);
            let restored = machines.values().find_map(|records| {
                let slots = [records[0], records.get(1).copied().unwrap_or_default()];
                match table.restore(&config, slots, boot.now, boot.rng) {
                    Err(TableError::Restore(RestoreError::Record(_))) => None,
                    other => Some(other.unwrap()),
                }
            });
            if restored.is_none() {
                table.enrol(&config, &[0x5e; 32], boot.now, boot.rng).unwrap();
            }
        }
        table
    }
}
