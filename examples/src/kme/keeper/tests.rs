use core::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use skex_core::{Assurance, KeyBytes};

use super::super::settings::tests::{OF_A, OF_B};
use super::*;

pub(in crate::kme) const ALICE: ClientTag = ClientTag::new([0xa; 16]);
pub(in crate::kme) const BOB: ClientTag = ClientTag::new([0xb; 16]);

/// Storage that a test looks into, and that fails when told.
#[derive(Clone, Default)]
pub(in crate::kme) struct Memory(Rc<RefCell<Disk>>);

#[derive(Default)]
struct Disk {
    keys: BTreeMap<Slot, Stored>,
    next: u32,
    fails: bool,
    /// After so many slots were written or erased, everything fails: a write may be half done.
    left: Option<u32>,
}

impl Disk {
    fn step(&mut self) -> Result<()> {
        if self.fails || self.left == Some(0) {
            bail!("no disk");
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(())
    }
}

impl Vault for Memory {
    fn put(&mut self, keys: &[Stored]) -> Result<Vec<Slot>> {
        let mut disk = self.0.borrow_mut();
        let put = |stored| {
            disk.step()?;
            disk.next = disk.next.checked_add(1).unwrap();
            let slot = Slot(disk.next);
            disk.keys.insert(slot, copied(stored));
            Ok(slot)
        };
        keys.iter().map(put).collect()
    }

    fn erase(&mut self, slots: &[Slot]) -> Result<()> {
        let mut disk = self.0.borrow_mut();
        for slot in slots {
            disk.step()?;
            disk.keys.remove(slot).unwrap();
        }
        Ok(())
    }
}

impl Memory {
    /// What a KME finds that starts again.
    pub(super) fn read(&self) -> Vec<(Slot, Stored)> {
        self.0.borrow().keys.iter().map(|(slot, stored)| (*slot, copied(stored))).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.borrow().keys.len()
    }

    pub(super) fn fail_after(&self, steps: Option<u32>) {
        self.0.borrow_mut().left = steps;
    }

    /// An old copy is brought back.
    pub(super) fn restore(&self, keys: Vec<(Slot, Stored)>) {
        self.0.borrow_mut().keys = keys.into_iter().collect();
    }
}

fn copied(stored: &Stored) -> Stored {
    match stored {
        Stored::Key(key) => Stored::Key(kept(key.key.id().as_bytes()[0], key.peer, key.part)),
        Stored::Relayed(relayed) => {
            Stored::Relayed(Relayed { delivery: relayed.copied().unwrap(), ..*relayed })
        }
    }
}

pub(super) fn kept(octet: u8, peer: ClientTag, part: Part) -> Kept {
    let secret = KeyBytes::copied_from(&[octet; KEY_LEN]).unwrap();
    let key = OutputKey::new(KeyId::new([octet; 16]), 0, Assurance::Computational, secret).confirmed();
    Kept { peer, part, key }
}

/// The KMEs at both ends, and what makes keys between them.
pub(in crate::kme) struct Two {
    pub(in crate::kme) a: Keeper<Memory>,
    pub(in crate::kme) b: Keeper<Memory>,
    disks: [Memory; 2],
    made: u8,
}

impl Two {
    /// With so many keys for SAEs that begin at A.
    pub(in crate::kme) fn with_keys(count: u8) -> Self {
        let disks = [Memory::default(), Memory::default()];
        let [a, b] = [(OF_A, BOB), (OF_B, ALICE)].map(|(text, tag)| (settings(text), tag));
        let mut two = Self {
            a: Keeper::new(a.0, vec![a.1], disks[0].clone(), Vec::new()),
            b: Keeper::new(b.0, vec![b.1], disks[1].clone(), Vec::new()),
            disks,
            made: 0,
        };
        (0..count).for_each(|_| two.make());
        two
    }

    pub(in crate::kme) fn make(&mut self) {
        self.made = self.made.checked_add(1).unwrap();
        let ends = [(&mut self.a, BOB, Part::Made), (&mut self.b, ALICE, Part::Received)];
        for (keeper, peer, part) in ends {
            let Arrival::Stored(slot) = keeper.take_in(kept(self.made, peer, part)).unwrap() else {
                panic!()
            };
            keeper.open(slot);
        }
    }

    /// Kills the KME at this end and starts it again.
    fn restart(&mut self, end: usize) {
        let (text, peer) = [(OF_A, BOB), (OF_B, ALICE)][end];
        let disk = self.disks[end].clone();
        let keeper = Keeper::new(settings(text), vec![peer], disk.clone(), disk.read());
        *[&mut self.a, &mut self.b][end] = keeper;
    }

    fn stored(&self, end: usize) -> usize {
        self.disks[end].len()
    }

    fn begin(&mut self, master: &str, slave: &str, number: u32) -> Result<Vec<Delivery>, Refusal> {
        self.a.begin(NOW, (&name(master), &name(slave)), number, 256)
    }

    fn follow(&mut self, slave: &str, master: &str, ids: &[DeliveryId]) -> Result<Vec<Delivery>, Refusal> {
        self.b.follow((&name(slave), &name(master)), ids)
    }
}

pub(super) fn settings(text: &str) -> Settings {
    Settings::parse(text.as_bytes(), Path::new("")).unwrap()
}

pub(in crate::kme) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(in crate::kme) const NOW: Instant = Instant::from_millis(1000);

pub(super) fn ids(deliveries: &[Delivery]) -> Vec<DeliveryId> {
    deliveries.iter().map(|delivery| delivery.id).collect()
}

#[test]
fn both_saes_get_the_same_keys_and_each_of_them_once() {
    let mut two = Two::with_keys(5);
    let at_a = two.begin("sae-a", "sae-b", 3).unwrap();
    assert_eq!((two.stored(0), two.stored(1)), (2, 5), "given: gone from storage");
    let mut wanted = ids(&at_a);
    wanted.reverse();
    let mut at_b = two.follow("sae-b", "sae-a", &wanted).unwrap();
    at_b.reverse();
    assert_eq!(at_a, at_b);
    assert_eq!(two.stored(1), 2);
    assert_eq!(two.follow("sae-b", "sae-a", &wanted), Err(Refusal::NotFound));
    assert_eq!(two.begin("sae-a", "sae-b", 3), Err(Refusal::NotReady), "all or nothing");
    assert_eq!(two.begin("sae-a", "sae-b", 2).unwrap().len(), 2);
}

#[test]
fn every_size_is_right_at_both_ends() {
    let mut two = Two::with_keys(4);
    for bits in [64, 128, 264, 1024] {
        let at_a = two.a.begin(NOW, (&name("sae-a"), &name("sae-b")), 1, bits).unwrap();
        assert_eq!(at_a[0].key.len(), bits as usize / 8);
        assert_eq!(two.follow("sae-b", "sae-a", &ids(&at_a)).unwrap(), at_a);
    }
}

#[test]
fn a_key_is_for_its_pair_and_nobody_else_can_fetch_or_burn_it() {
    let mut two = Two::with_keys(2);
    let at_a = two.begin("sae-a", "sae-b", 1).unwrap();
    // Another pair of the same KMEs, the pair the wrong way round, SAEs that are linked with nobody or not here.
    assert_eq!(two.follow("sae-d", "sae-c", &ids(&at_a)), Err(Refusal::NotFound));
    assert_eq!(two.follow("sae-d", "sae-a", &ids(&at_a)), Err(Refusal::NoLink));
    assert_eq!(two.follow("sae-a", "sae-b", &ids(&at_a)), Err(Refusal::NoLink));
    assert_eq!(two.follow("sae-x", "sae-a", &ids(&at_a)), Err(Refusal::NoLink));
    // The SAE that began cannot fetch it once more at its own KME.
    assert_eq!(two.a.follow((&name("sae-a"), &name("sae-b")), &ids(&at_a)), Err(Refusal::NotFound));
    assert_eq!(two.follow("sae-b", "sae-a", &ids(&at_a)).unwrap(), at_a);
}

/// Whatever bit of an id is turned, nothing is given and nothing is burnt.
#[test]
fn an_id_that_was_changed_finds_nothing() {
    let mut two = Two::with_keys(1);
    let at_a = two.begin("sae-a", "sae-b", 1).unwrap();
    let digits = hex::decode(at_a[0].id.to_hex()).unwrap();
    for bit in 0..128 {
        let mut changed = digits.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let id = DeliveryId::from_hex(&hex::encode(changed)).unwrap();
        assert_eq!(two.follow("sae-b", "sae-a", &[id]), Err(Refusal::NotFound), "bit {bit}");
    }
    assert_eq!(two.follow("sae-b", "sae-a", &ids(&at_a)).unwrap(), at_a);
}

#[test]
fn a_request_with_one_wrong_id_gives_nothing_and_burns_nothing() {
    let mut two = Two::with_keys(4);
    let at_a = two.begin("sae-a", "sae-b", 2).unwrap();
    let of_others = two.begin("sae-c", "sae-d", 1).unwrap();
    let (mine, others) = (ids(&at_a), ids(&of_others));
    assert_eq!(two.follow("sae-b", "sae-a", &[mine[0], others[0]]), Err(Refusal::NotFound));
    assert_eq!(two.follow("sae-b", "sae-a", &[mine[0], mine[0]]), Err(Refusal::Twice));
    assert_eq!(two.follow("sae-b", "sae-a", &[]), Err(Refusal::Number));
    assert_eq!(two.follow("sae-b", "sae-a", &[mine[0]; 5]), Err(Refusal::Number));
    assert_eq!(two.follow("sae-b", "sae-a", &mine).unwrap(), at_a);
    assert_eq!(two.follow("sae-d", "sae-c", &others).unwrap(), of_others);
}

#[test]
fn a_request_outside_the_limits_is_refused_and_nothing_is_spent() {
    let mut two = Two::with_keys(4);
    let (a, b) = (name("sae-a"), name("sae-b"));
    for bits in [0, 8, 56, 250, 1032, u32::MAX] {
        assert_eq!(two.a.begin(NOW, (&a, &b), 1, bits), Err(Refusal::Size), "{bits}");
    }
    for number in [0, 5, u32::MAX] {
        assert_eq!(two.a.begin(NOW, (&a, &b), number, 256), Err(Refusal::Number), "{number}");
    }
    assert_eq!(two.a.begin(NOW, (&a, &a), 1, 256), Err(Refusal::NoLink));
    assert_eq!(two.a.begin(NOW, (&a, &name("sae-d")), 1, 256), Err(Refusal::NoLink));
    assert_eq!(two.stored(0), 4);
}

/// At any moment: what was given is not given after a restart, what was not given still is.
#[test]
fn a_restart_gives_nothing_twice_and_loses_nothing() {
    let mut two = Two::with_keys(4);
    let first = two.begin("sae-a", "sae-b", 2).unwrap();
    two.restart(0);
    let second = two.begin("sae-a", "sae-b", 2).unwrap();
    assert!(ids(&first).iter().all(|id| !ids(&second).contains(id)));
    assert_eq!(two.begin("sae-a", "sae-b", 1), Err(Refusal::NotReady));
    two.restart(1);
    assert_eq!(two.follow("sae-b", "sae-a", &ids(&first)).unwrap(), first);
    two.restart(1);
    assert_eq!(two.follow("sae-b", "sae-a", &ids(&first)), Err(Refusal::NotFound));
    assert_eq!(two.follow("sae-b", "sae-a", &ids(&second)).unwrap(), second);
}

/// The order is: out of storage, then out of the server. Where storage fails nothing leaves, then or later.
#[test]
fn where_storage_fails_nothing_leaves_any_more() {
    let mut two = Two::with_keys(3);
    let at_a = two.begin("sae-a", "sae-b", 1).unwrap();
    two.disks.iter().for_each(|disk| disk.0.borrow_mut().fails = true);
    assert_eq!(two.begin("sae-a", "sae-b", 1), Err(Refusal::Broken));
    assert_eq!(two.follow("sae-b", "sae-a", &ids(&at_a)), Err(Refusal::Broken));
    two.disks.iter().for_each(|disk| disk.0.borrow_mut().fails = false);
    assert_eq!(two.begin("sae-a", "sae-b", 1), Err(Refusal::Broken), "not before a restart");
    assert!(two.a.is_broken() && two.b.is_broken());
    assert!(two.a.take_in(kept(99, BOB, Part::Made)).is_err());
    two.restart(1);
    assert_eq!(two.follow("sae-b", "sae-a", &ids(&at_a)).unwrap(), at_a, "it was never given");
}

/// The client tells a received key again until it is said to be in safe hands.
#[test]
fn a_key_that_is_told_again_is_taken_in_once_and_given_to_nobody_before_it_is_opened() {
    let mut two = Two::with_keys(1);
    let at_a = two.begin("sae-a", "sae-b", 1).unwrap();
    assert_eq!(two.b.take_in(kept(1, ALICE, Part::Received)).unwrap(), Arrival::Known);
    two.restart(1);
    assert_eq!(two.b.take_in(kept(1, ALICE, Part::Received)).unwrap(), Arrival::Known);
    assert_eq!(two.follow("sae-b", "sae-a", &ids(&at_a)).unwrap(), at_a);

    let Arrival::Stored(slot) = two.a.take_in(kept(7, BOB, Part::Made)).unwrap() else { panic!() };
    assert_eq!(two.begin("sae-a", "sae-b", 1), Err(Refusal::NotReady));
    two.a.open(slot);
    assert_eq!(two.begin("sae-a", "sae-b", 1).unwrap().len(), 1);
}

#[test]
fn only_confirmed_keys_of_the_right_length_from_known_peers_are_taken_in() {
    let mut two = Two::with_keys(0);
    assert_eq!(two.a.take_in(kept(1, ALICE, Part::Made)).unwrap(), Arrival::Foreign, "not a peer of A");
    let secret = |len| KeyBytes::copied_from(&[1; 64][..len]).unwrap();
    let key = |len| OutputKey::new(KeyId::new([1; 16]), 0, Assurance::Computational, secret(len));
    for key in [key(KEY_LEN), key(16).confirmed(), key(64).confirmed()] {
        let kept = Kept { peer: BOB, part: Part::Made, key };
        assert_eq!(two.a.take_in(kept).unwrap(), Arrival::Unusable);
    }
    assert_eq!(two.stored(0), 0);
}

#[test]
fn where_nobody_fetches_the_oldest_key_goes() {
    let mut two = Two::with_keys(3);
    let first = two.begin("sae-a", "sae-b", 3).unwrap();
    for _ in 0..6 {
        two.make();
    }
    assert_eq!(two.stored(1), 8);
    assert_eq!(two.follow("sae-b", "sae-a", &ids(&first[..1])), Err(Refusal::NotFound));
    assert_eq!(two.follow("sae-b", "sae-a", &ids(&first[1..])).unwrap(), first[1..]);
}

/// An SAE that begins keys and fetches none would drive the keys of others out.
#[test]
fn an_sae_begins_so_many_keys_a_minute_and_no_other_pays_for_it() {
    let mut two = Two::with_keys(0);
    let mut begin = |sae: &str, slave: &str, millis: u64| {
        two.make();
        two.a.begin(Instant::from_millis(millis), (&name(sae), &name(slave)), 1, 256).map(|_| ())
    };
    for _ in 0..20 {
        assert_eq!(begin("sae-a", "sae-b", 5), Ok(()));
    }
    assert_eq!(begin("sae-a", "sae-b", 5), Err(Refusal::TooMany));
    assert_eq!(begin("sae-c", "sae-d", 5), Ok(()));
    assert_eq!(begin("sae-a", "sae-b", 3004), Err(Refusal::TooMany));
    assert_eq!(begin("sae-a", "sae-b", 3005), Ok(()), "one in three seconds");
    assert_eq!(begin("sae-a", "sae-b", 3005), Err(Refusal::TooMany));
}

#[test]
fn what_is_missing_is_what_was_given() {
    let mut two = Two::with_keys(3);
    assert_eq!(two.a.missing().map(|(tag, _, count)| (tag, count)).collect::<Vec<_>>(), [(BOB, 5)]);
    two.begin("sae-a", "sae-b", 2).unwrap();
    assert_eq!(two.a.missing().next().unwrap().2, 7);
    assert_eq!(two.a.stock(&name("sae-c"), &name("sae-d")).unwrap().1, 1);
    assert_eq!(two.b.missing().next().unwrap().2, 8, "received keys do not count");
}
