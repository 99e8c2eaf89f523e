//! Both halves of a table against each other.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use skex_wire::Writer;
use skex_wire::dske::{LeaseGrant, MAX_DSKE_KEY_LEN, block_elements};

use super::incoming::Grant;
use super::*;
use crate::key::Origin;

/// A table that is watched from outside. Where `fails` is set it refuses to read what was erased, as it may.
#[derive(Clone)]
struct Watched {
    octets: Rc<RefCell<Vec<u8>>>,
    reads: Rc<Cell<usize>>,
    fails: bool,
    /// Whether its storage fails now.
    broken: Rc<Cell<bool>>,
}

impl Watched {
    fn new(elements: usize) -> Self {
        let mut octets = vec![0; elements * ELEMENT_LEN];
        ChaCha20Rng::seed_from_u64(7).fill_bytes(&mut octets);
        Self {
            octets: Rc::new(RefCell::new(octets)),
            reads: Rc::default(),
            fails: false,
            broken: Rc::default(),
        }
    }

    fn is_erased(&self, element: usize) -> bool {
        self.octets.borrow()[element * ELEMENT_LEN..][..ELEMENT_LEN].iter().all(|octet| *octet == 0)
    }

    /// The elements that are not erased, as ranges.
    fn left(&self) -> Vec<(usize, usize)> {
        let elements = self.elements() as usize;
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        for element in (0..elements).filter(|&element| !self.is_erased(element)) {
            match ranges.last_mut() {
                Some((_, end)) if *end == element => *end += 1,
                _ => ranges.push((element, element + 1)),
            }
        }
        ranges
    }
}

impl Pad for Watched {
    fn elements(&self) -> u32 {
        u32::try_from(self.octets.borrow().len() / ELEMENT_LEN).unwrap()
    }

    fn read(&self, index: u32, out: &mut [u8]) -> Result<(), PadError> {
        self.reads.set(self.reads.get() + 1);
        if self.broken.get() {
            return Err(PadError::Storage);
        }
        let first = index as usize;
        if self.fails && (first..first + out.len() / ELEMENT_LEN).any(|element| self.is_erased(element)) {
            return Err(PadError::Erased);
        }
        out.copy_from_slice(
            self.octets.borrow().get(first * ELEMENT_LEN..).unwrap().get(..out.len()).unwrap(),
        );
        Ok(())
    }

    fn erase(&mut self, index: u32, elements: u32) -> Result<(), PadError> {
        let range = index as usize * ELEMENT_LEN..(index + elements) as usize * ELEMENT_LEN;
        self.octets.borrow_mut().get_mut(range).ok_or(PadError::OutOfRange)?.fill(0);
        Ok(())
    }
}

/// The same table at both ends, from their marks on.
struct Ends {
    sent: Watched,
    sender: Outgoing<Watched>,
    receiver: Incoming<Watched>,
    rng: ChaCha20Rng,
}

impl Ends {
    fn new(elements: usize) -> Self {
        let (sent, received) = (Watched::new(elements), Watched::new(elements));
        Self {
            sender: Outgoing::new(sent.clone(), 0, Origin::OutOfBand, 0, 0),
            receiver: Incoming::new(received, 0, Origin::OutOfBand, 0, 0),
            sent,
            rng: ChaCha20Rng::seed_from_u64(8),
        }
    }

    /// The sender asks for `want`, and the receiver grants at most `most`.
    fn lease(&mut self, want: u32, most: u32) -> Result<Granted, GrantError> {
        let asked = self.sender.ask(want, 1, &mut self.rng);
        let (grant, _) = self.receiver.grant(&asked.nonce, asked.mark, want.min(most), 1).unwrap();
        self.take(&grant)
    }

    fn take(&mut self, grant: &Grant) -> Result<Granted, GrantError> {
        let message = LeaseGrant::new(0, grant.nonce, grant.start, grant.end);
        let mut octets = [0; LeaseGrant::LEN];
        let mut writer = Writer::new(&mut octets);
        message.encode_untagged(&mut writer).unwrap();
        let tag = self.receiver.head(grant.start).unwrap().tag(&[b"prefix", writer.written()]);
        writer.bytes(tag.as_bytes()).unwrap();
        self.sender.granted(&LeaseGrant::decode(&octets).unwrap(), b"prefix", 1)
    }

    fn end_session(&mut self) {
        self.sender.end_session();
        self.receiver.end_session();
    }
}

/// A repetition of a request that the network held back, behind a request that came after it.
#[test]
fn a_request_that_was_overtaken_is_late() {
    let mut ends = Ends::new(1000);
    let first = ends.sender.ask(100, 1, &mut ends.rng);
    assert!(!ends.receiver.is_late(&first.nonce, first.mark));
    assert_eq!(ends.lease(100, 100), Ok(Granted::Whole));
    assert!(!ends.receiver.is_late(&first.nonce, first.mark), "it is repeated");
    let second = ends.sender.ask(100, 1, &mut ends.rng);
    assert!(!ends.receiver.is_late(&second.nonce, second.mark));
    assert_eq!(ends.lease(100, 100), Ok(Granted::Whole));
    assert!(ends.receiver.is_late(&first.nonce, first.mark));
    ends.end_session();
    assert!(!ends.receiver.is_late(&first.nonce, first.mark), "a restored sender may be behind");
}

#[test]
fn what_a_grant_leaves_out_is_erased_at_the_sender() {
    let mut ends = Ends::new(1000);
    assert_eq!(ends.lease(400, 100), Ok(Granted::Part));
    // 2 elements are the grant's key; 100 to 400 was asked for and is lost.
    assert_eq!(ends.sent.left(), [(2, 100), (400, 1000)]);
    assert_eq!(ends.lease(200, 200), Ok(Granted::Whole));
    assert_eq!(ends.sent.left(), [(2, 100), (402, 1000)]);
    // A lease without room for a block, as no honest receiver grants it, is lost as a whole.
    let mut ends = Ends::new(1000);
    let asked = ends.sender.ask(400, 1, &mut ends.rng);
    let crumb = Grant { nonce: asked.nonce, start: 0, end: 5, after: 1 };
    assert_eq!(ends.take(&crumb), Ok(Granted::Part));
    assert_eq!(ends.sent.left(), [(400, 1000)]);
}

#[test]
fn what_was_asked_for_in_vain_is_erased_at_the_sender_with_the_next_answer() {
    let mut ends = Ends::new(1000);
    let abandoned = ends.sender.ask(300, 1, &mut ends.rng);
    assert_eq!((abandoned.mark, ends.sender.mark()), (0, 300));
    ends.end_session();
    // Not before: nothing shows yet that the mark is durable.
    assert_eq!(ends.sent.left(), [(0, 1000)]);
    assert_eq!(ends.lease(100, 100), Ok(Granted::Whole));
    assert_eq!(ends.sent.left(), [(302, 1000)]);
    ends.end_session();
    assert_eq!(ends.sent.left(), [(400, 1000)]);
    // Denied: the same.
    let denied = ends.sender.ask(50, 1, &mut ends.rng);
    assert!(ends.sender.deny(&denied.nonce));
    assert_eq!(ends.sent.left(), [(450, 1000)]);
}

#[test]
fn what_a_start_lost_is_erased_at_the_sender_with_the_first_grant() {
    let mut ends = Ends::new(1000);
    ends.lease(100, 100).unwrap();
    ends.sender.allocate(6).unwrap();
    let (mark, erased) = (ends.sender.mark(), ends.sender.erased());
    assert_eq!((mark, erased), (100, 12));
    ends.sender = Outgoing::new(ends.sent.clone(), 0, Origin::OutOfBand, mark, erased);
    ends.receiver.end_session();
    ends.lease(100, 100).unwrap();
    assert_eq!(ends.sent.left(), [(102, 1000)]);
}

#[test]
fn a_grant_whose_key_is_erased_here_ends_the_request() {
    let mut ends = Ends::new(1000);
    ends.sent.clone().erase(0, 10).unwrap();
    assert_eq!(ends.lease(100, 100), Err(GrantError::Refused));
    // The next one is another one, from behind that.
    assert!(ends.sender.asked().is_none());
    assert_eq!(ends.lease(100, 100), Ok(Granted::Whole));
}

/// Erased ground in a lease is passed over; where nothing else is left in it, another lease is needed, and can be had.
#[test]
fn a_lease_of_erased_ground_needs_another() {
    let mut ends = Ends::new(1000);
    ends.lease(32, 32).unwrap();
    ends.sent.clone().erase(2, 30).unwrap();
    assert!(ends.sender.has_room(6));
    assert!(matches!(ends.sender.allocate(6), Err(AllocateError::NeedsLease)));
    assert!(!ends.sender.has_room(6) && ends.sender.could_have_room(6));
    ends.lease(32, 32).unwrap();
    assert_eq!(ends.sender.allocate(6).unwrap().0.place.index, 34);
}

#[test]
fn a_grant_reads_in_runs_and_skips_what_was_erased() {
    for fails in [false, true] {
        let mut table = Watched::new(6000);
        table.fails = fails;
        let reads = table.reads.clone();
        let mut receiver = Incoming::new(table.clone(), 0, Origin::OutOfBand, 0, 0);
        let (grant, _) = receiver.grant(&[1; 16], 0, 4096, 1).unwrap();
        assert_eq!((grant.start, grant.end), (0, 4096));
        assert_eq!(reads.get(), 16 + 1, "256 elements at a time, and the key");
        // The last erased one counts, wherever in a run it lies.
        for erased in [0, 255, 256, 999] {
            let mut table = Watched::new(6000);
            table.fails = fails;
            table.erase(erased, 1).unwrap();
            let mut receiver = Incoming::new(table, 0, Origin::OutOfBand, 0, 0);
            assert_eq!(receiver.grant(&[1; 16], 0, 4096, 1).unwrap().0.start, erased + 1);
        }
    }
}

/// A sender that wants everything gets four blocks of the longest key.
#[test]
fn no_lease_is_longer_than_four_blocks_of_the_longest_key() {
    let longest = 4 * block_elements(MAX_DSKE_KEY_LEN).unwrap() + 2;
    let table = Watched::new(300_000);
    let sender = Outgoing::new(table.clone(), 0, Origin::OutOfBand, 0, 0);
    // An honest one wants less of keys that long: one of 2^15 octets is half of a usual lease already.
    let long = block_elements(32_768).unwrap();
    assert_eq!(sender.usual_lease(long - 4), long + 2);
    assert!(sender.usual_lease(block_elements(MAX_DSKE_KEY_LEN).unwrap() - 4) < longest);
    let mut receiver = Incoming::new(table, 0, Origin::OutOfBand, 0, 0);
    assert_eq!(receiver.grant(&[1; 16], 0, u32::MAX, 1).unwrap().0.end, longest);
}

/// A key a session: what its end wastes is a few blocks, not a part of the table.
#[test]
fn leases_begin_small_in_every_session_and_double_within_it() {
    let mut ends = Ends::new(65_536);
    let block = block_elements(32).unwrap();
    for expected in [4 * block, 8 * block, 16 * block, 32 * block, 64 * block, 128 * block, 2048, 2048] {
        let want = ends.sender.usual_lease(block - 4);
        assert_eq!(want, expected + 2);
        assert_eq!(ends.lease(want, want), Ok(Granted::Whole));
    }
    ends.end_session();
    assert_eq!(ends.sender.usual_lease(block - 4), 4 * block + 2);
}

/// A portion of the table is at the sender, all of it at the receiver.
#[test]
fn a_sender_uses_what_it_holds_and_goes_on_where_the_next_portion_begins() {
    let mut ends = Ends::new(1000);
    let later = ends.sent.octets.borrow_mut().split_off(500 * ELEMENT_LEN);
    assert_eq!(ends.lease(400, 400), Ok(Granted::Whole));
    assert_eq!(ends.sender.ask(400, 1, &mut ends.rng).want, 100, "no more than is there");
    assert_eq!(ends.lease(100, 100), Ok(Granted::Whole));
    assert_eq!((ends.sender.mark(), ends.sender.is_used_up()), (500, false));
    ends.end_session();
    assert!(ends.sender.is_used_up());
    ends.sent.octets.borrow_mut().extend(later);
    assert_eq!(ends.lease(300, 300), Ok(Granted::Whole));
    assert_eq!(ends.sent.left(), [(502, 1000)]);
    // The receiver granted further than the sender knows: it grants behind that, and the sender takes what is there.
    let mut ends = Ends::new(1000);
    ends.sent.octets.borrow_mut().truncate(500 * ELEMENT_LEN);
    ends.receiver.grant(&[9; 16], 0, 450, 1).unwrap();
    assert_eq!(ends.lease(100, 100), Ok(Granted::Whole));
    assert_eq!(ends.sent.left(), [(452, 500)]);
    // The receiver holds the portion: it grants no further.
    let mut ends = Ends::new(1000);
    let receiver = Watched::new(1000);
    receiver.octets.borrow_mut().truncate(500 * ELEMENT_LEN);
    ends.receiver = Incoming::new(receiver.clone(), 0, Origin::OutOfBand, 0, 0);
    assert_eq!(ends.lease(600, 600), Ok(Granted::Part));
    assert_eq!(ends.receiver.grant(&[1; 16], 500, 100, 1).err(), Some(NotGranted::Spent));
    receiver.octets.borrow_mut().extend(Watched::new(1000).octets.borrow()[500 * ELEMENT_LEN..].iter());
    assert_eq!(ends.receiver.grant(&[2; 16], 600, 100, 1).unwrap().0.start, 600);
}

/// The network took every second one of very many messages. No lease is denied for that, or the table were out of use for the session: it
/// is granted once what is missing has come.
#[test]
fn a_lease_is_not_denied_for_want_of_memory_for_gaps() {
    let mut ends = Ends::new(8000);
    ends.lease(3602, 3602).unwrap();
    let take = |receiver: &mut Incoming<Watched>, block: u32| {
        let keys = receiver.open(2 + 6 * block, 2).unwrap();
        receiver.take(keys).map(drop)
    };
    let taken = (0..600).filter(|block| block % 2 == 1 && take(&mut ends.receiver, *block).is_ok());
    assert_eq!(taken.count(), 255, "the head of the lease is a range of its own");
    let asked = ends.sender.ask(200, 1, &mut ends.rng);
    let ask = |receiver: &mut Incoming<Watched>| receiver.grant(&asked.nonce, asked.mark, asked.want, 1);
    let before = ends.receiver.high_water();
    assert_eq!(ask(&mut ends.receiver).err(), Some(NotGranted::Full));
    assert_eq!(ends.receiver.high_water(), before);
    let missing = (0..600).step_by(2).filter(|block| take(&mut ends.receiver, *block).is_ok());
    assert_eq!(missing.count(), 300);
    let (grant, _) = ask(&mut ends.receiver).unwrap();
    assert_eq!(ends.take(&grant), Ok(Granted::Whole));
}

/// The storage of the receiver's table fails for a while, wherever in the making of a grant: nothing is noted down that is not stored, and
/// the same request is granted afterwards.
#[test]
fn a_storage_that_fails_for_a_while_changes_nothing_and_denies_nothing() {
    let mut ends = Ends::new(1000);
    let broken = Rc::new(Cell::new(true));
    let mut table = Watched::new(1000);
    table.broken = Rc::clone(&broken);
    ends.receiver = Incoming::new(table, 0, Origin::OutOfBand, 0, 0);
    let asked = ends.sender.ask(100, 1, &mut ends.rng);
    let ask = |receiver: &mut Incoming<Watched>| receiver.grant(&asked.nonce, asked.mark, asked.want, 1);
    assert_eq!(ask(&mut ends.receiver).err(), Some(NotGranted::Pad));
    assert!(!ends.receiver.is_open() && ends.receiver.high_water() == 0 && !ends.receiver.is_leased());
    broken.set(false);
    let (grant, _) = ask(&mut ends.receiver).unwrap();
    broken.set(true);
    assert_eq!(ask(&mut ends.receiver).err(), Some(NotGranted::Pad), "a repetition");
    broken.set(false);
    assert_eq!(ask(&mut ends.receiver).unwrap().0, grant);
    assert_eq!(ends.take(&grant), Ok(Granted::Whole));
}
