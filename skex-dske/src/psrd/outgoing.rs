//! The sender's half of a table: it alone allocates, and only inside leases.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;
use skex_core::SecretBytes;
use skex_wire::dske::{LeaseGrant, Tagged};

use super::block::{Block, KEY_ELEMENTS, head};
use super::health::Health;
use super::pad::{Pad, PadError};
use super::tables::{Half, Place, RETIRED};
use crate::key::Origin;
use crate::onetime::{MessageTagKey, Tag};

/// A table that this end sends from.
pub(crate) struct Outgoing<P> {
    pad: P,
    number: u16,
    origin: Origin,
    /// The end of the last lease that this end asked for. Durable before the request leaves: whatever the receiver may
    /// have signed for it, and forgotten since, lies below what this end asks for next.
    mark: u32,
    /// Below this nothing is left but in leases. What lies between here and the mark was asked for, and has not been granted
    /// or is lost; it is erased when the next answer shows that the mark above it is durable.
    erased: u32,
    /// In the order in which they are used; the first is the current one.
    leases: Box<[Lease]>,
    asked: Option<Box<Asked>>,
    /// How often the next lease doubles: so many were granted in this session.
    doublings: u8,
    /// The receiver said that nothing is left. Advisory: it holds for this session and moves no mark.
    denied: bool,
    /// Blocks whose message may still be retransmitted, ascending.
    unsettled: Vec<u32>,
    health: Health,
    behind: Behind,
}

/// Whether the peer has granted more than this end knows to have asked for: then its store was brought back from a copy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    No,
    Untold,
    Told,
}

/// Room for more than 256 messages of a 256-bit key (11 elements each).
const LEASE_ELEMENTS: u32 = 4096;

struct Lease {
    next: u32,
    end: u32,
    /// What leaves under this lease waits for this checkpoint: the one that carries the new mark.
    after: u64,
}

/// A request for a lease that is on its way: retries repeat it.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) nonce: [u8; 16],
    pub(crate) mark: u32,
    pub(crate) want: u32,
    /// It leaves, and leaves again, only behind this checkpoint, which carries the mark that it moves.
    pub(crate) after: u64,
}

impl<P: Pad> Outgoing<P> {
    /// A table as it was stored: its durable `mark`, no lease. Everything below `erased` is erased; what lies between was
    /// lost with the last start.
    pub(crate) fn new(pad: P, number: u16, origin: Origin, mark: u32, erased: u32) -> Self {
        Self {
            pad,
            number,
            origin,
            mark,
            erased,
            leases: Box::default(),
            asked: None,
            doublings: 0,
            denied: false,
            unsettled: Vec::new(),
            health: Health::default(),
            behind: Behind::No,
        }
    }

    /// Elements that no lease has been granted of: a request that is on its way has not spent what it asks for.
    fn unasked(&self) -> u32 {
        let mark = self.asked.as_ref().map_or(self.mark, |asked| asked.mark);
        self.pad.elements().saturating_sub(mark)
    }

    /// Whether a block for `pad_elements` can be had without another lease.
    pub(crate) fn has_room(&self, pad_elements: u32) -> bool {
        let elements = pad_elements.saturating_add(KEY_ELEMENTS);
        self.leases.iter().any(|lease| lease.end.saturating_sub(lease.next) >= elements)
    }

    /// Whether a block for `pad_elements` could ever be had, given another lease.
    pub(crate) fn could_have_room(&self, pad_elements: u32) -> bool {
        // A lease spends two elements on its own tag.
        let needed = pad_elements.saturating_add(KEY_ELEMENTS).saturating_add(2);
        self.has_room(pad_elements) || !self.denied && self.unasked() >= needed
    }

    /// The next block, and the checkpoint that its message has to wait for. Its bytes are erased here: they live on
    /// in the block alone.
    pub(crate) fn allocate(&mut self, pad_elements: u32) -> Result<(Block, u64), AllocateError> {
        if !self.could_have_room(pad_elements) {
            return Err(AllocateError::Exhausted);
        }
        let elements = pad_elements.saturating_add(KEY_ELEMENTS);
        loop {
            let last = self.leases.len() <= 1;
            let Some(lease) = self.leases.first_mut() else { return Err(AllocateError::NeedsLease) };
            let index = lease.next;
            let end = index.saturating_add(elements);
            if end <= lease.end {
                if self.health.fails() {
                    // What lies before it is erased. While that cannot be said once more, each block would be lost that is tried.
                    self.health.of(self.pad.erase(index.saturating_sub(1), 1))?;
                }
                let after = lease.after;
                lease.next = end;
                let block = Block::read(&self.pad, Place { table: self.number, index }, pad_elements);
                let block = match self.health.of(block) {
                    Err(PadError::Erased) => continue,
                    block => block?,
                };
                self.health.of(self.pad.erase(index, elements))?;
                if self.unsettled.is_empty() {
                    self.unsettled.reserve_exact(1);
                }
                self.unsettled.push(index);
                return Ok((block, after));
            }
            if last {
                return Err(AllocateError::NeedsLease);
            }
            // What is left of this lease is too short; the next one has begun.
            let rest = end.min(lease.end).saturating_sub(index);
            self.health.of(self.pad.erase(index, rest))?;
            let mut leases = core::mem::take(&mut self.leases).into_vec();
            leases.remove(0);
            self.leases = leases.into_boxed_slice();
        }
    }

    /// No message of the block at `index` will be sent again.
    pub(crate) fn settle(&mut self, index: u32) {
        self.unsettled.retain(|&unsettled| unsettled != index);
        // What a burst took is given back.
        if self.unsettled.is_empty() {
            self.unsettled.shrink_to(1);
        }
    }

    /// Everything below this element is over: the receiver may erase it.
    pub(crate) fn floor(&self) -> u32 {
        let next = self.leases.first().map_or(self.mark, |lease| lease.next);
        self.unsettled.first().copied().unwrap_or(next)
    }

    /// How much to ask for at once. A session that makes one key and ends wastes little of the table; in one that goes on, each
    /// lease is twice the last, until a lease, which costs a durable write at each end, serves many messages.
    pub(crate) fn usual_lease(&self, pad_elements: u32) -> u32 {
        let block = pad_elements.saturating_add(KEY_ELEMENTS);
        // Four, but of long ones fewer.
        let blocks = LEASE_ELEMENTS.checked_div(block).unwrap_or(0).clamp(1, 4);
        let least = block.saturating_mul(blocks);
        let grown = least.saturating_mul(1_u32.checked_shl(self.doublings.into()).unwrap_or(u32::MAX));
        let share_of_table = (self.pad.elements() / 32).min(LEASE_ELEMENTS);
        grown.min(share_of_table.max(least)).saturating_add(2)
    }

    /// The request that is on its way, or a new one for `want` elements. A new one moves the mark, which checkpoint
    /// `after` has to carry.
    pub(crate) fn ask(&mut self, want: u32, after: u64, rng: &mut dyn CryptoRng) -> Asked {
        if let Some(asked) = &self.asked {
            return **asked;
        }
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        // Never more than is here: of a table that comes in portions, the receiver may hold more.
        let want = want.min(self.pad.elements().saturating_sub(self.mark));
        let asked = Asked { nonce, mark: self.mark, want, after };
        self.mark = self.mark.saturating_add(want).min(self.pad.elements());
        self.asked = Some(Box::new(asked));
        asked
    }

    /// The request that is on its way.
    pub(crate) fn asked(&self) -> Option<&Asked> {
        self.asked.as_deref()
    }

    /// Takes a grant: checks it against the request and the table, then opens the lease behind checkpoint
    /// `after`, which has to carry the new mark.
    pub(crate) fn granted(
        &mut self,
        grant: &Tagged<'_, LeaseGrant>,
        prefix: &[u8],
        after: u64,
    ) -> Result<Granted, GrantError> {
        let Tagged { message: grant, untagged, tag, .. } = grant;
        let asked =
            self.asked.as_ref().filter(|asked| asked.nonce == grant.nonce).ok_or(GrantError::NotAsked)?;
        let first = grant.start.checked_add(2).ok_or(GrantError::Refused)?;
        let fits = grant.start >= asked.mark
            && first < grant.end.min(self.pad.elements())
            && grant.end.saturating_sub(grant.start) <= asked.want;
        if !fits {
            return Err(GrantError::Refused);
        }
        let mut key = SecretBytes::<32>::zeroed();
        self.health.of(self.pad.read(grant.start, key.expose_mut()))?;
        let Ok(key) = MessageTagKey::from_pad(key.expose()) else {
            // Erased here: an older record was brought back beside a newer table. The request can never be granted; the next
            // one asks from the mark that this one has moved.
            self.asked = None;
            return Err(GrantError::Refused);
        };
        if !key.verify(&[prefix, untagged], &Tag::from_bytes(*tag)) {
            return Err(GrantError::Unauthentic);
        }
        // Each grant ends at the mark that its request has moved, or below, and that was durable.
        if grant.start > asked.mark && self.behind == Behind::No {
            self.behind = Behind::Untold;
        }
        // What lies between the last lease and this one was granted to an earlier start of this end, or asked for in vain; what
        // lies behind it was asked for and not granted. Both are lost: the mark above them is durable, or there were no grant.
        let mut erased = self.health.of(self.pad.erase(self.erased, first.saturating_sub(self.erased)));
        // Of a table that comes in portions, what is here.
        let end = grant.end.min(self.pad.elements());
        let usable = end.saturating_sub(first) >= SMALLEST_BLOCK;
        let lost = if usable { end } else { first };
        let rest = self.mark.max(end).min(self.pad.elements()).saturating_sub(lost);
        if erased.is_ok() {
            erased = self.health.of(self.pad.erase(lost, rest));
        }
        // Without the key at its head the grant could not be taken when it is repeated, and each that is asked for instead is lost like it. None of
        // what was to be erased was ever used.
        if let Err(error) = erased
            && !matches!(head(&self.pad, grant.start), Err(PadError::Erased))
        {
            return Err(error.into());
        }
        let whole = grant.end.saturating_sub(grant.start) == asked.want || grant.end >= self.pad.elements();
        self.mark = self.mark.max(grant.end);
        (self.asked, self.erased) = (None, self.mark);
        self.doublings = self.doublings.saturating_add(1);
        if usable {
            // There is mostly one, and a hub has many tables.
            let mut leases = core::mem::take(&mut self.leases).into_vec();
            leases.push(Lease { next: first, end, after });
            self.leases = leases.into_boxed_slice();
        }
        Ok(if whole { Granted::Whole } else { Granted::Part })
    }

    /// Whether this end's store is older than what the receiver knows; said once.
    pub(crate) fn is_behind(&mut self) -> bool {
        let untold = self.behind == Behind::Untold;
        if untold {
            self.behind = Behind::Told;
        }
        untold
    }

    /// The receiver says that nothing is left. `false`: it answers no request that is on its way.
    #[must_use]
    pub(crate) fn deny(&mut self, nonce: &[u8; 16]) -> bool {
        if self.asked.as_ref().is_none_or(|asked| asked.nonce != *nonce) {
            return false;
        }
        (self.asked, self.denied) = (None, true);
        // The mark above it is durable, or the receiver had nothing to deny.
        if self.health.of(self.pad.erase(self.erased, self.mark.saturating_sub(self.erased))).is_ok() {
            self.erased = self.mark;
        }
        true
    }
}

impl<P: Pad> Half for Outgoing<P> {
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
        self.mark
    }

    fn erased(&self) -> u32 {
        self.leases.first().map_or(self.erased, |lease| lease.next)
    }

    /// Elements that are neither used nor skipped.
    fn remaining(&self) -> u32 {
        let leased = self.leases.iter().map(|lease| lease.end.saturating_sub(lease.next));
        leased.fold(self.unasked(), u32::saturating_add)
    }

    /// Whether not even the smallest block can be had any more.
    fn is_used_up(&self) -> bool {
        let smallest = SMALLEST_BLOCK.saturating_sub(KEY_ELEMENTS);
        !self.has_room(smallest) && self.unasked() < SMALLEST_BLOCK.saturating_add(2) && self.asked.is_none()
    }

    fn end_session(&mut self) {
        for lease in core::mem::take(&mut self.leases) {
            // A failing erasure costs forward secrecy of unused bytes only; the mark keeps them from being used.
            let _ = self.health.of(self.pad.erase(lease.next, lease.end.saturating_sub(lease.next)));
        }
        (self.asked, self.denied, self.doublings) = (None, false, 0);
        self.unsettled.clear();
    }

    fn retire(&mut self) {
        self.leases = Box::default();
        self.asked = None;
        self.unsettled.clear();
        // What the leases had is not erased yet; and only what is to be erased is told of.
        (self.mark, self.erased) = (RETIRED, 0);
    }

    fn clear(&mut self) -> u16 {
        // A failing erasure costs forward secrecy of unused bytes only.
        let rest = self.pad.elements().saturating_sub(self.mark);
        let _ = self.health.of(self.pad.erase(self.mark, rest));
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

impl<P> fmt::Debug for Outgoing<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("number", &self.number)
            .field("mark", &self.mark)
            .finish_non_exhaustive()
    }
}

/// Why no block was allocated. Nothing was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AllocateError {
    /// Another lease is needed first.
    NeedsLease,
    /// The table has not enough left for this block.
    Exhausted,
    /// The table's storage failed.
    Pad(PadError),
    /// No such message can be made: its suite is not compiled in.
    Message,
}

impl From<PadError> for AllocateError {
    fn from(error: PadError) -> Self {
        Self::Pad(error)
    }
}

/// How much of what was asked for was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Granted {
    /// All of it, or all that the table has.
    Whole,
    /// Less: the next request is not made at once, or a lying receiver could keep this end asking and storing.
    Part,
}

/// The elements of the smallest block: an epoch's.
const SMALLEST_BLOCK: u32 = KEY_ELEMENTS;

/// Why a grant opened no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrantError {
    /// It answers no request that is on its way.
    NotAsked,
    /// It does not fit the request or the table, or reaches below our mark.
    Refused,
    /// Its tag did not verify.
    Unauthentic,
    /// The table's storage failed.
    Pad,
}

impl From<PadError> for GrantError {
    fn from(_: PadError) -> Self {
        Self::Pad
    }
}
