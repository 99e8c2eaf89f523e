//! Tables go to a client over the network: computational for good (docs/draft-skex-dske.md, "Refill").

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use rand_core::CryptoRng;
use skex_core::SecretVec;
use skex_core::machine::{Barrier, DiscardReason, Disposition, Instant, TransmitClass};
use skex_wire::Writer;
use skex_wire::dske::{Direction, Refill, Refilled};

use super::{Hub, HubEvent, Timer};
use crate::backoff::Backoff;
use crate::client::Table;
use crate::id::ClientId;
use crate::key::Origin;
use crate::link::{Link, TableError};
use crate::psrd::{ELEMENT_LEN, Pad};

/// Messages that are on their way at once.
const WINDOW: u32 = 16;

/// Elements of each.
const PART: u32 = 64;
const _: () = assert!(PART as usize == Refill::MAX_ELEMENTS);

/// Tables that wait for one client at once.
const MAX_WAITING: usize = 64;

/// What goes to one client, one table at a time.
pub(super) struct Refills<P> {
    waiting: VecDeque<(Direction, Table<P>)>,
    /// How far the first of them has gone in this session.
    progress: Option<Progress>,
}

struct Progress {
    /// Everything below has come.
    acknowledged: u32,
    /// Everything below was sent.
    sent: u32,
    backoff: Backoff,
    timer: Option<Instant>,
}

impl<P> Refills<P> {
    pub(super) fn new(tables: impl IntoIterator<Item = (Direction, Table<P>)>) -> Self {
        Self { waiting: tables.into_iter().collect(), progress: None }
    }
}

impl<P: Pad> Refills<P> {
    /// Takes a table back that waits or is on its way, if its link has room for it.
    pub(super) fn recall(
        &mut self,
        link: &Link<P>,
        direction: Direction,
        number: u16,
    ) -> Result<Option<Table<P>>, TableError> {
        let is_meant = |(way, table): &(Direction, Table<P>)| (*way, table.number) == (direction, number);
        let Some(place) = self.waiting.iter().position(is_meant) else { return Ok(None) };
        link.check_new(direction, number)?;
        Ok(self.waiting.remove(place).map(|(_, table)| table))
    }

    /// Erases what never came to its client. `false`: the storage of a table failed.
    #[must_use]
    pub(super) fn destroy(self) -> bool {
        erase_all(self.waiting.into_iter().map(|(_, table)| table))
    }
}

impl<P: Pad> Hub<P> {
    /// Sends `table` to `client` over the network, and adds it when the client has it durably. Its octets are fresh, from
    /// this hub's generator, and durable already; at a start before that, the configuration has to hold it
    /// ([`HubConfig::with_table`](crate::HubConfig::with_table)), and it goes on.
    ///
    /// Its origin is [`Origin::Refill`], for good: a key that it carries is as strong as the envelope.
    ///
    /// # Errors
    ///
    /// [`TableError`] says why not. Nothing changed.
    pub fn refill(
        &mut self,
        now: Instant,
        client: ClientId,
        direction: Direction,
        table: Table<P>,
    ) -> Result<(), TableError> {
        let now = self.clock.observe(now);
        if table.origin != Origin::Refill {
            return Err(TableError::Origin);
        }
        self.client(client).ok_or(TableError::UnknownLink)?.link.check_new(direction, table.number)?;
        let refills = self.refills.entry(client).or_insert_with(|| Refills::new([]));
        if refills.waiting.iter().any(|(way, other)| (*way, other.number) == (direction, table.number)) {
            return Err(TableError::Number(table.number));
        }
        if refills.waiting.len() >= MAX_WAITING {
            return Err(TableError::TooMany);
        }
        refills.waiting.push_back((direction, table));
        self.send_refill(now, client);
        Ok(())
    }

    /// A new session begins from the first element; what the client has, it says.
    pub(super) fn end_refill_to(&mut self, id: ClientId) {
        let progress = self.refills.get_mut(&id).and_then(|refills| refills.progress.take());
        if let Some(timer) = progress.and_then(|progress| progress.timer) {
            self.timers.remove(&(timer, Timer::Refill(id)));
        }
    }

    /// Sends what the window has room for.
    pub(super) fn send_refill(&mut self, now: Instant, id: ClientId) {
        let pace = self.limits.pace();
        if !self.client(id).is_some_and(|client| client.confirmed) {
            return;
        }
        let Some(Refills { waiting, progress }) = self.refills.get_mut(&id) else { return };
        let Some((direction, table)) = waiting.front() else { return };
        let progress = progress.get_or_insert_with(|| Progress {
            acknowledged: 0,
            sent: 0,
            backoff: Backoff::new(now, pace),
            timer: None,
        });
        let elements = table.pad.elements();
        let limit = progress.acknowledged.saturating_add(WINDOW.saturating_mul(PART)).min(elements);
        let mut parts = Vec::new();
        while progress.sent < limit {
            let count = limit.saturating_sub(progress.sent).min(PART);
            // Its storage failed: the next repetition tries again.
            let Some(inner) = part(*direction, table, progress.sent, count) else { break };
            parts.push(inner);
            progress.sent = progress.sent.saturating_add(count);
        }
        let due = progress.backoff.due();
        if let Some(before) = progress.timer.replace(due) {
            self.timers.remove(&(before, Timer::Refill(id)));
        }
        self.timers.insert((due, Timer::Refill(id)));
        for inner in parts {
            self.send(id, inner.expose(), Barrier::OPEN, TransmitClass::Request);
        }
    }

    pub(super) fn repeat_refill(&mut self, now: Instant, id: ClientId) {
        let pace = self.limits.pace();
        let Some(progress) = self.refills.get_mut(&id).and_then(|refills| refills.progress.as_mut()) else {
            return;
        };
        progress.timer = None;
        if progress.backoff.take_due(now, pace) {
            // Whole parts, from what has come on.
            let within = progress.acknowledged.checked_rem(PART).unwrap_or(0);
            progress.sent = progress.acknowledged.saturating_sub(within);
        }
        self.send_refill(now, id);
    }

    /// The client says how much has come.
    pub(super) fn on_refilled(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        id: ClientId,
        refilled: &Refilled,
    ) -> Result<Disposition, DiscardReason> {
        let pace = self.limits.pace();
        let refills = self.refills.get_mut(&id).ok_or(DiscardReason::Stale)?;
        let (direction, table) = refills.waiting.front().ok_or(DiscardReason::Stale)?;
        let (direction, number, elements) = (*direction, table.number, table.pad.elements());
        let progress = refills.progress.as_mut().ok_or(DiscardReason::Stale)?;
        if (refilled.direction, refilled.table) != (direction, number) || refilled.next > elements {
            return Err(DiscardReason::Stale);
        }
        if refilled.next < elements {
            if refilled.next == 0 && progress.acknowledged > 0 {
                // It has forgotten what came. The next repetition begins anew: at once, each word would draw a whole window.
                progress.acknowledged = 0;
            } else if refilled.next > progress.acknowledged {
                progress.acknowledged = refilled.next;
                progress.sent = progress.sent.max(refilled.next);
                progress.backoff = Backoff::new(now, pace);
            }
            self.send_refill(now, id);
            return Ok(Disposition::Accepted);
        }
        let table = refills.waiting.pop_front();
        self.end_refill_to(id);
        // Before its marks are durable a crash takes it back, and it is sent once more.
        let (after, tag) = (self.journal.after(), self.roster.tag(id));
        if let (Some((_, table)), Some(client), Some(tag)) = (table, self.client_mut(id), tag) {
            let uplink = direction == Direction::UPLINK;
            if client.link.has_passed(direction, number) {
                // It waited while tables with higher numbers came, and were taken out of service at both ends.
                let erased = erase_all([table]);
                let event = HubEvent::TableRetired { client: tag, uplink, number, erased };
                self.events.push_back((after, event));
            } else if client.link.add_table(direction, table).is_ok() {
                self.events.push_back((after, HubEvent::Refilled { client: tag, uplink, number }));
            }
        }
        self.table_added(id);
        if self.refills.get(&id).is_some_and(|refills| refills.waiting.is_empty()) {
            self.refills.remove(&id);
        }
        self.deliver_waiting(now, rng, id);
        self.send_refill(now, id);
        Ok(Disposition::Accepted)
    }
}

/// Erases tables that are in no link. `false`: the storage of one failed.
#[must_use]
pub(super) fn erase_all<P: Pad>(tables: impl IntoIterator<Item = Table<P>>) -> bool {
    // All of them, also behind one that fails.
    let mut erased = true;
    for mut table in tables {
        erased &= table.pad.erase(0, table.pad.elements()).is_ok();
    }
    erased
}

/// The message that carries `count` elements from `first` on.
fn part<P: Pad>(direction: Direction, table: &Table<P>, first: u32, count: u32) -> Option<SecretVec> {
    let mut pad = SecretVec::zeroed(usize::try_from(count).ok()?.checked_mul(ELEMENT_LEN)?);
    table.pad.read(first, pad.expose_mut()).ok()?;
    let message = Refill::new(direction, table.number, table.pad.elements(), first, pad.expose()).ok()?;
    let mut written = Ok(());
    let inner = SecretVec::from_fn(message.encoded_len(), |octets| {
        written = message.encode(&mut Writer::new(octets));
    });
    written.ok().map(|()| inner)
}
