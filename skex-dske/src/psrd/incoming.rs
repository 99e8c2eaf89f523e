//! The receiver's half of a table: it grants leases and opens each block once.

use alloc::boxed::Box;
use core::fmt;

use skex_core::{SecretBytes, SecretVec};
use skex_wire::dske::{MAX_DSKE_KEY_LEN, block_elements};

use super::block::{Block, BlockKeys, KEY_ELEMENTS, has_erased_element, head};
use super::health::Health;
use super::pad::{ELEMENT_LEN, Pad, PadError};
use super::ranges::Ranges;
use super::tables::{Half, Place, RETIRED};
use crate::key::Origin;
use crate::onetime::MessageTagKey;

/// A table that this end receives from.
pub(crate) struct Incoming<P> {
    pad: P,
    number: u16,
    origin: Origin,
    /// Everything below was granted at some time. Durable before the grant leaves.
    high_water: u32,
    /// Where the first lease of this session began: nothing below is opened any more. Before there is one, [`NOTHING`].
    opened_from: u32,
    /// What was used, or is not to be used, above that.
    used: Ranges,
    /// Everything below is erased.
    erased: u32,
    last: Option<Box<Grant>>,
    /// The sender's mark, as the request of that grant said it.
    last_mark: u32,
    /// Blocks whose tag did not verify since the start: for the operator, and to slow a flood down.
    failed_tags: u16,
    health: Health,
    /// [`LEASED`] and [`DENIED`], in one octet: a hub has many tables.
    standing: u8,
}

/// A lease of the table was granted at some time; durable where that says something of keys: of a refilled table.
const LEASED: u8 = 1;

/// A lease was denied: the sender asks for nothing of the table any more in this session.
const DENIED: u8 = 2;

/// A grant as it was given: repeated while the same request is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) nonce: [u8; 16],
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// What it waits for: the checkpoint that carries the new high-water mark.
    pub(crate) after: u64,
}

/// No index of an element: a table has at most 2^32 - 1 of them. (In the place of an `Option`, for a hub has many tables.)
const NOTHING: u32 = u32::MAX;

/// Tags that may fail in a session before blocks are no longer looked at until the next lease. So many
/// tries on one key leave a forgery at 2^-112 for a 256-bit key, at 2^-100 for 1 MiB (draft-skex-dske, "Bounds").
const FAILED_TAGS_BOUND: u16 = 4096;

/// The longest lease: room for four blocks of the longest key, as an honest sender asks for at most
/// (draft-skex-dske, "Leases").
const LONGEST_LEASE: u32 = match block_elements(MAX_DSKE_KEY_LEN) {
    Some(block) => 4 * block + 2,
    None => 0,
};

/// How many elements a grant looks at, at most, to find those that were not erased (8 MiB).
const SPENT_SEARCH: u32 = 1 << 19;

/// How many of them it reads at once (4 KiB).
const RUN: u32 = 256;

impl<P: Pad> Incoming<P> {
    /// A table as it was stored: its durable marks, no lease.
    pub(crate) fn new(pad: P, number: u16, origin: Origin, high_water: u32, erased: u32) -> Self {
        let used = Ranges::default();
        let (opened_from, last) = (NOTHING, None);
        Self {
            pad,
            number,
            origin,
            high_water,
            opened_from,
            used,
            erased,
            last,
            last_mark: 0,
            failed_tags: 0,
            health: Health::default(),
            standing: 0,
        }
    }

    /// Takes down that a lease was denied.
    pub(crate) const fn deny(&mut self) {
        self.standing |= DENIED;
    }

    pub(crate) const fn is_denied(&self) -> bool {
        self.standing & DENIED != 0
    }

    /// As it was stored: whether a lease of it was ever granted.
    pub(crate) const fn with_lease(mut self, leased: bool) -> Self {
        self.standing = if leased { LEASED } else { 0 };
        self
    }

    pub(crate) const fn is_leased(&self) -> bool {
        self.standing & LEASED != 0
    }

    pub(crate) const fn high_water(&self) -> u32 {
        self.high_water
    }

    /// Whether a lease was granted in this session.
    pub(crate) const fn is_open(&self) -> bool {
        self.opened_from != NOTHING
    }

    /// Whether a request was overtaken by one that was granted since: every new request states a higher mark. A grant of it
    /// would lie above the sender's mark, and an older record of ours could sign the same place again.
    pub(crate) fn is_late(&self, nonce: &[u8; 16], mark: u32) -> bool {
        self.last.as_deref().is_some_and(|last| last.nonce != *nonce && mark <= self.last_mark)
    }

    /// Grants up to `want` elements to a sender whose own mark is `mark`, or repeats the grant for the same `nonce`; with the
    /// key of its tag. `after` is the checkpoint that will carry the new high-water mark.
    pub(crate) fn grant(
        &mut self,
        nonce: &[u8; 16],
        mark: u32,
        want: u32,
        after: u64,
    ) -> Result<(Grant, MessageTagKey), NotGranted> {
        if let Some(last) = self.last.as_deref().filter(|last| last.nonce == *nonce).copied() {
            return match self.head(last.start) {
                Ok(key) => Ok((last, key)),
                // The sender has used the grant, and is beyond its head.
                Err(PadError::Erased) => Err(NotGranted::Late),
                Err(error) => Err(error.into()),
            };
        }
        // No room to remember what lies before it, and its head: known before the table is looked through.
        if self.is_open() && !self.used.has_room_for(self.high_water, self.high_water) {
            return Err(NotGranted::Full);
        }
        let want = want.min(LONGEST_LEASE);
        let start = self.unspent(self.high_water.max(mark), want)?.ok_or(NotGranted::Spent)?;
        let end = start.saturating_add(want).min(self.pad.elements());
        let first = start.checked_add(2).ok_or(NotGranted::Spent)?;
        // A lease without room for the smallest block would only burn bytes.
        if end.saturating_sub(first) < KEY_ELEMENTS {
            return Err(NotGranted::Spent);
        }
        // Before anything changes: of a grant that is noted down, the caller has to store the marks.
        let key = self.head(start)?;
        let opened_from = if self.is_open() { self.opened_from } else { start };
        // What was granted before this session is never opened again, in this start or a later one.
        if opened_from > self.erased {
            let rest = opened_from.saturating_sub(self.erased);
            self.health.of(self.pad.erase(self.erased, rest))?;
            self.erased = opened_from;
        }
        // The head is the key of the grant; a gap below it was skipped by the sender.
        if !self.used.insert(self.high_water.max(opened_from), first) {
            return Err(NotGranted::Full);
        }
        self.opened_from = opened_from;
        (self.high_water, self.standing) = (end, LEASED);
        self.failed_tags = 0;
        let grant = Grant { nonce: *nonce, start, end, after };
        (self.last, self.last_mark) = (Some(Box::new(grant)), mark);
        Ok((grant, key))
    }

    /// Whether the storage answers where the next lease would begin.
    pub(crate) fn can_be_read(&self) -> bool {
        let mut element = SecretBytes::<ELEMENT_LEN>::zeroed();
        matches!(self.pad.read(self.high_water, element.expose_mut()), Ok(()) | Err(PadError::Erased))
    }

    /// Where a lease of up to `want` elements can begin, from `start` on, without an erased element in it: above the mark
    /// there are some where an older record was brought back beside a newer table.
    fn unspent(&mut self, start: u32, want: u32) -> Result<Option<u32>, PadError> {
        let limit = self.pad.elements().min(start.saturating_add(SPENT_SEARCH));
        let (mut begin, mut index) = (start, start);
        let mut octets = SecretVec::zeroed(ELEMENT_LEN.saturating_mul(RUN.min(want) as usize));
        while index < begin.saturating_add(want).min(limit) {
            let run = RUN.min(begin.saturating_add(want).min(limit).saturating_sub(index));
            let run_octets = octets.expose_mut().get_mut(..ELEMENT_LEN.saturating_mul(run as usize));
            let run_octets = run_octets.ok_or(PadError::OutOfRange)?;
            match self.health.of(self.pad.read(index, run_octets)) {
                Ok(()) => {
                    for (at, element) in (index..).zip(run_octets.chunks(ELEMENT_LEN)) {
                        if has_erased_element(element) {
                            begin = at.saturating_add(1);
                        }
                    }
                    index = index.saturating_add(run);
                }
                // A table may say so instead of giving zeros, and not where in the run.
                Err(PadError::Erased) => {
                    let end = index.saturating_add(run);
                    while index < end {
                        let element = run_octets.get_mut(..ELEMENT_LEN).ok_or(PadError::OutOfRange)?;
                        let erased = match self.health.of(self.pad.read(index, element)) {
                            Err(PadError::Erased) => true,
                            read => read.map(|()| has_erased_element(element))?,
                        };
                        index = index.saturating_add(1);
                        if erased {
                            begin = index;
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok((begin < limit).then_some(begin))
    }

    /// The key at the head of a lease, for the tag of its grant.
    pub(super) fn head(&mut self, start: u32) -> Result<MessageTagKey, PadError> {
        self.health.of(head(&self.pad, start))
    }

    /// Reads the keys of the block at `index` without using it: the caller verifies its tag, then calls [`Self::take`].
    pub(crate) fn open(&mut self, index: u32, pad_elements: u32) -> Result<BlockKeys, OpenError> {
        let end = index.checked_add(pad_elements).and_then(|end| end.checked_add(KEY_ELEMENTS));
        let end = end.filter(|&end| end <= self.high_water).ok_or(OpenError::NotLeased)?;
        if index < self.opened_from {
            return Err(OpenError::Stale);
        }
        if self.used.overlaps(index, end) {
            return Err(OpenError::Used);
        }
        if self.is_flooded() {
            return Err(OpenError::Flooded);
        }
        let keys = BlockKeys::read(&self.pad, Place { table: self.number, index }, pad_elements);
        Ok(self.health.of(keys)?)
    }

    /// Whether so many tags failed since the last grant that none is looked at before the next.
    pub(crate) const fn is_flooded(&self) -> bool {
        self.failed_tags >= FAILED_TAGS_BOUND
    }

    /// The tag of the block at `index` did not verify: nothing is burnt.
    pub(crate) const fn failed(&mut self) {
        self.failed_tags = self.failed_tags.saturating_add(1);
    }

    /// The block was authentic: it is read, never opened again, and its bytes go.
    pub(crate) fn take(&mut self, keys: BlockKeys) -> Result<Block, OpenError> {
        let (index, end) = keys.range();
        // Before the rest is read, and without a trace: the block is treated as not received.
        if !self.used.has_room_for(index, end) {
            return Err(OpenError::Full);
        }
        let block = self.health.of(keys.with_pad(&self.pad))?;
        // A block of which something is gone would never come again: it counts, though it may not be erased for good.
        if let Err(error) = self.health.of(self.pad.erase(index, block.elements))
            && !self.is_gone(&block)
        {
            return Err(error.into());
        }
        if !self.used.insert(index, end) {
            return Err(OpenError::Full);
        }
        Ok(block)
    }

    /// Whether an erasure that failed has erased of a block what the same message would need.
    fn is_gone(&self, block: &Block) -> bool {
        let pad_elements = block.elements.saturating_sub(KEY_ELEMENTS);
        matches!(Block::read(&self.pad, block.place, pad_elements), Err(PadError::Erased))
    }

    /// The sender will not use anything below `floor` any more.
    pub(crate) fn erase_below(&mut self, floor: u32) {
        if !self.is_open() {
            return;
        }
        let (from, floor) = (self.opened_from, floor.min(self.high_water));
        if floor > self.erased.max(from) && self.used.insert(from, floor) {
            let start = self.erased.max(from);
            if self.health.of(self.pad.erase(start, floor.saturating_sub(start))).is_ok() {
                self.erased = floor;
            }
        }
    }
}

impl<P: Pad> Half for Incoming<P> {
    fn number(&self) -> u16 {
        self.number
    }

    fn origin(&self) -> Origin {
        self.origin
    }

    fn elements(&self) -> u32 {
        self.pad.elements()
    }

    fn mark(&self) -> u32 {
        self.high_water
    }

    fn erased(&self) -> u32 {
        self.erased
    }

    /// Elements that are not granted yet.
    fn remaining(&self) -> u32 {
        self.pad.elements().saturating_sub(self.high_water)
    }

    /// Whether not even the smallest lease can be granted any more.
    fn is_used_up(&self) -> bool {
        self.remaining() < KEY_ELEMENTS.saturating_add(2)
    }

    /// A new session: nothing granted before is opened any more.
    fn end_session(&mut self) {
        self.opened_from = NOTHING;
        self.used.clear();
        self.last = None;
        self.failed_tags = 0;
        self.standing &= LEASED;
    }

    fn retire(&mut self) {
        self.end_session();
        (self.high_water, self.erased) = (RETIRED, 0);
    }

    fn clear(&mut self) -> u16 {
        // A failing erasure costs forward secrecy of bytes that nothing opens any more.
        let rest = self.pad.elements().saturating_sub(self.erased);
        let _ = self.health.of(self.pad.erase(self.erased, rest));
        self.number
    }

    fn health(&self) -> Health {
        self.health
    }

    fn health_mut(&mut self) -> &mut Health {
        &mut self.health
    }

    fn erasable(&mut self) -> (&mut dyn Pad, &mut u32) {
        (&mut self.pad, &mut self.erased)
    }
}

impl<P> fmt::Debug for Incoming<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("number", &self.number)
            .field("high_water", &self.high_water)
            .finish_non_exhaustive()
    }
}

/// Why no lease was granted. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotGranted {
    /// Too little is left.
    Spent,
    /// No room to remember another gap: there is, once what is missing has come.
    Full,
    /// It was, and the grant is used.
    Late,
    /// The table's storage failed.
    Pad,
}

impl From<PadError> for NotGranted {
    fn from(_: PadError) -> Self {
        Self::Pad
    }
}

/// Why a block was not opened. Nothing was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Beyond what was granted.
    NotLeased,
    /// Below the first lease of this session.
    Stale,
    /// Used before, or the head of a lease.
    Used,
    /// Too many tags failed since the last lease.
    Flooded,
    /// No room to remember that it was used.
    Full,
    /// The table's storage failed.
    Pad,
}

impl From<PadError> for OpenError {
    fn from(_: PadError) -> Self {
        Self::Pad
    }
}
