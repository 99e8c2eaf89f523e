//! Datagrams between numbered nodes, with everything that can happen to them on the way.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use skex_core::machine::{Instant, PathId};

use crate::dice::Dice;
use crate::link::Link;
use crate::world::NodeId;

/// Where datagrams come from and go to. A node sees the sender's address as its [`PathId`] of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(u64);

impl Address {
    /// The address of this number. A node begins at the address of its own number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The address behind a path.
    #[must_use]
    pub const fn of_path(path: PathId) -> Self {
        Self(path.number())
    }

    /// The path on which messages from this address arrive.
    #[must_use]
    pub const fn path(self) -> PathId {
        PathId::new(self.0)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Something that was sent, by a node or by the adversary. The net never forgets one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// When, in the world's time.
    pub at: Instant,
    /// The node that sent it; `None`: the adversary.
    pub node: Option<NodeId>,
    /// The sender's address, which the adversary can forge.
    pub from: Address,
    /// The addressee.
    pub to: Address,
    /// The datagram as it was sent.
    pub bytes: Vec<u8>,
    /// How many copies were put on the way; 0 if it was lost.
    pub copies: usize,
}

/// What an interceptor makes of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The link decides as usual.
    Pass,
    /// It is lost.
    Drop,
    /// It arrives so much later than otherwise.
    Delay(Duration),
    /// These bytes arrive in its place.
    Replace(Vec<u8>),
}

/// A datagram on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) from: Address,
    pub(crate) to: NodeId,
    pub(crate) bytes: Vec<u8>,
}

type Interceptor = Box<dyn FnMut(&Sent) -> Verdict>;

/// The network: who is where, how good the links are, what is on the way, and everything ever sent.
pub struct Net {
    dice: Dice,
    default_link: Link,
    links: BTreeMap<(NodeId, NodeId), Link>,
    cuts: BTreeSet<(NodeId, NodeId)>,
    hosts: BTreeMap<Address, NodeId>,
    addresses: BTreeMap<NodeId, Address>,
    interceptor: Option<Interceptor>,
    // The counter keeps datagrams of one instant in the order in which they were sent.
    on_the_way: BTreeMap<(Instant, u64), (Address, Address, Vec<u8>)>,
    counter: u64,
    sent: Vec<Sent>,
}

impl Net {
    pub(crate) fn new(dice: Dice) -> Self {
        Self {
            dice,
            default_link: Link::ideal(),
            links: BTreeMap::new(),
            cuts: BTreeSet::new(),
            hosts: BTreeMap::new(),
            addresses: BTreeMap::new(),
            interceptor: None,
            on_the_way: BTreeMap::new(),
            counter: 0,
            sent: Vec::new(),
        }
    }

    /// The quality of every link that has none of its own.
    pub const fn set_default_link(&mut self, link: Link) {
        self.default_link = link;
    }

    /// The quality of the way from `from` to `to`, in this direction.
    pub fn set_link(&mut self, from: NodeId, to: NodeId, link: Link) {
        self.links.insert((from, to), link);
    }

    /// Loses whatever `from` sends to `to`, until [`heal`](Self::heal).
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.insert((from, to));
    }

    /// Parts the nodes of `here` from those of `there`, in both directions.
    pub fn partition(&mut self, here: &[NodeId], there: &[NodeId]) {
        for &left in here {
            for &right in there {
                self.cut(left, right);
                self.cut(right, left);
            }
        }
    }

    /// Ends all cuts and partitions.
    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    /// The address of `node` now.
    #[must_use]
    pub fn address(&self, node: NodeId) -> Address {
        self.addresses.get(&node).copied().unwrap_or_else(|| Address::new(node.number()))
    }

    /// The node at `address` now.
    #[must_use]
    pub fn host(&self, address: Address) -> Option<NodeId> {
        self.hosts.get(&address).copied()
    }

    /// Moves `node` to `address`, as a device does that changes its network. Nobody is at the old address any more.
    pub fn move_node(&mut self, node: NodeId, address: Address) {
        if let Some(old) = self.addresses.insert(node, address) {
            self.hosts.remove(&old);
        }
        self.hosts.insert(address, node);
    }

    /// Asks `interceptor` about every datagram of a node from now on. It may look, drop, delay and replace.
    pub fn intercept(&mut self, interceptor: impl FnMut(&Sent) -> Verdict + 'static) {
        self.interceptor = Some(Box::new(interceptor));
    }

    /// Ends the interception.
    pub fn stop_intercepting(&mut self) {
        self.interceptor = None;
    }

    /// Everything ever sent, in order.
    #[must_use]
    pub fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// Everything that `node` ever sent, in order.
    pub fn sent_by(&self, node: NodeId) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(move |sent| sent.node == Some(node))
    }

    /// How many datagrams are on their way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.on_the_way.len()
    }

    /// Loses everything that is on its way.
    pub fn lose_in_flight(&mut self) {
        self.on_the_way.clear();
    }

    /// The adversary sends `bytes` in the name of `from`; they arrive at `at` (the world's time).
    pub fn inject(&mut self, at: Instant, from: Address, to: Address, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.sent.push(Sent { at, node: None, from, to, bytes: bytes.clone(), copies: 1 });
        self.schedule(at, from, to, bytes);
    }

    /// The adversary sends entry `index` of [`sent`](Self::sent) again, unchanged; it arrives at `at`.
    ///
    /// Nothing happens if there is no such entry.
    pub fn replay(&mut self, index: usize, at: Instant) {
        if let Some(old) = self.sent.get(index).cloned() {
            self.inject(at, old.from, old.to, old.bytes);
        }
    }

    /// The adversary sends anything ever sent again, from anywhere it came from to anywhere it went.
    pub fn replay_any(&mut self, at: Instant) {
        let index = self.dice.index(self.sent.len());
        self.replay(index, at);
    }

    /// Takes what `node` sends at `now`.
    pub(crate) fn send(&mut self, now: Instant, node: NodeId, to: Address, bytes: Vec<u8>) {
        let mut sent = Sent { at: now, node: Some(node), from: self.address(node), to, bytes, copies: 0 };
        let verdict = self.interceptor.as_mut().map_or(Verdict::Pass, |judge| judge(&sent));
        let (delay, replacement) = match verdict {
            Verdict::Pass => (Duration::ZERO, None),
            Verdict::Drop => {
                self.sent.push(sent);
                return;
            }
            Verdict::Delay(delay) => (delay, None),
            Verdict::Replace(bytes) => (Duration::ZERO, Some(bytes)),
        };
        let addressee = self.host(to);
        let link = addressee.and_then(|to| self.links.get(&(node, to)).copied()).unwrap_or(self.default_link);
        let is_cut = addressee.is_none_or(|to| self.cuts.contains(&(node, to)));
        if !is_cut {
            for _ in 0..link.copies(&mut self.dice) {
                let mut bytes = replacement.clone().unwrap_or_else(|| sent.bytes.clone());
                link.damage(&mut self.dice, &mut bytes);
                let at = now.saturating_add(delay).saturating_add(link.delay(&mut self.dice));
                self.schedule(at, sent.from, to, bytes);
                sent.copies = sent.copies.saturating_add(1);
            }
        }
        self.sent.push(sent);
        if link.replays(&mut self.dice) {
            let at = now.saturating_add(link.delay(&mut self.dice));
            self.replay_any(at);
        }
    }

    /// When the next datagram arrives.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.on_the_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next datagram; `None` also if nobody is there to take it.
    pub(crate) fn take_next(&mut self) -> Option<Delivery> {
        let (_, (from, to, bytes)) = self.on_the_way.pop_first()?;
        Some(Delivery { from, to: self.host(to)?, bytes })
    }

    fn schedule(&mut self, at: Instant, from: Address, to: Address, bytes: Vec<u8>) {
        self.counter = self.counter.saturating_add(1);
        self.on_the_way.insert((at, self.counter), (from, to, bytes));
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net")
            .field("sent", &self.sent.len())
            .field("in_flight", &self.on_the_way.len())
            .field("cuts", &self.cuts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId::new(0);
    const B: NodeId = NodeId::new(1);

    fn net(link: Link) -> Net {
        let mut net = Net::new(Dice::new(1));
        net.set_default_link(link);
        for node in [A, B] {
            net.move_node(node, Address::new(node.number()));
        }
        net
    }

    fn arrivals(net: &mut Net) -> Vec<(u64, Vec<u8>)> {
        let mut arrivals = Vec::new();
        while let Some(at) = net.next_at() {
            if let Some(delivery) = net.take_next() {
                arrivals.push((at.as_millis(), delivery.bytes));
            }
        }
        arrivals
    }

    fn send_hundred(net: &mut Net) {
        for number in 0..100 {
            let now = Instant::from_millis(u64::from(number));
            net.send(now, A, Address::new(1), vec![number; 4]);
        }
    }

    #[test]
    fn an_ideal_link_keeps_order_and_bytes() {
        let mut net = net(Link::ideal());
        send_hundred(&mut net);
        let expected: Vec<_> = (0..100_u8).map(|number| (u64::from(number), vec![number; 4])).collect();
        assert_eq!(arrivals(&mut net), expected);
    }

    #[test]
    fn a_bad_link_does_each_of_its_faults() {
        let count = |link| {
            let mut net = net(link);
            send_hundred(&mut net);
            arrivals(&mut net)
        };
        assert!(count(Link::ideal().loss(300)).len() < 90);
        assert!(count(Link::ideal().duplicate(300)).len() > 110);
        assert!(count(Link::ideal().replay(300)).len() > 110);
        let is_damaged = |bytes: &Vec<u8>| bytes.len() != 4 || bytes.iter().any(|byte| *byte != bytes[0]);
        assert!(count(Link::ideal().corrupt(300)).iter().any(|(_, bytes)| is_damaged(bytes)));
        let late = count(Link::ideal().latency(20).jitter(5));
        assert!(late.iter().all(|(at, bytes)| (20..=25).contains(&(at - u64::from(bytes[0])))));
        let held_back = count(Link::ideal().reorder(300, 50));
        assert!(held_back.windows(2).any(|pair| pair[0].1 > pair[1].1));
    }

    #[test]
    fn a_partition_loses_both_directions_until_it_heals() {
        let mut net = net(Link::ideal());
        net.partition(&[A], &[B]);
        net.send(Instant::ZERO, A, Address::new(1), vec![1]);
        net.send(Instant::ZERO, B, Address::new(0), vec![2]);
        net.heal();
        net.send(Instant::ZERO, A, Address::new(1), vec![3]);
        assert_eq!(arrivals(&mut net), [(0, vec![3])]);
        assert_eq!(net.sent().iter().map(|sent| sent.copies).collect::<Vec<_>>(), [0, 0, 1]);
    }

    #[test]
    fn the_adversary_drops_replaces_injects_and_replays() {
        let mut net = net(Link::ideal());
        net.intercept(|sent| match sent.bytes.first() {
            Some(1) => Verdict::Drop,
            Some(2) => Verdict::Replace(vec![9]),
            _ => Verdict::Pass,
        });
        for number in 1..=3 {
            net.send(Instant::ZERO, A, Address::new(1), vec![number]);
        }
        net.inject(Instant::from_millis(5), Address::new(77), Address::new(1), vec![4]);
        net.replay(0, Instant::from_millis(6));
        assert_eq!(arrivals(&mut net), [(0, vec![9]), (0, vec![3]), (5, vec![4]), (6, vec![1])]);
    }

    #[test]
    fn who_has_moved_is_reached_at_the_new_address_only() {
        let mut net = net(Link::ideal());
        net.move_node(B, Address::new(40));
        net.send(Instant::ZERO, A, Address::new(1), vec![1]);
        net.send(Instant::ZERO, A, Address::new(40), vec![2]);
        net.send(Instant::ZERO, B, Address::new(0), vec![3]);
        assert_eq!(arrivals(&mut net), [(0, vec![2]), (0, vec![3])]);
        assert_eq!(net.sent()[2].from, Address::new(40));
    }
}
