//! A client and a hub: their envelope, tables each way, and the epochs that were opened from these. Both machines are
//! made of these.

mod command;
mod share;
mod tables;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;
use skex_core::machine::DiscardReason;
use skex_wire::dske::{
    Direction, LeaseDenied, LeaseGrant, LeaseRequest, Sealed, TAG_PREFIX_LEN, Tagged, tag_prefix,
};

use crate::envelope::{EnvelopeKeys, Session, Side};
use crate::epoch::{ReceivingEpochs, SendingEpochs};
use crate::key::{Origin, Origins, encoded};
use crate::psrd::{GrantError, Granted, Half, NotGranted, Pad, Receiving, Sending};
use crate::unsealed::Unsealed;

pub(crate) use command::SentCommand;
pub(crate) use share::{AnswerKey, Content, PlainAnswer, ReceivedShare, SentShare, Slot, suite_of};
pub(crate) use tables::say_refilled;
pub use tables::{TableError, TableStatus};

/// One end of a link.
#[derive(Debug)]
pub(crate) struct Link<P> {
    side: Side,
    pub(crate) keys: EnvelopeKeys,
    pub(crate) session: Option<Session>,
    /// Sessions that have begun since the start.
    pub(crate) sessions: u32,
    pub(crate) outgoing: Sending<P>,
    pub(crate) incoming: Receiving<P>,
    /// The highest number of a table that was used up and taken away: of the uplink, and of the downlink.
    gone: [Option<u16>; 2],
    /// Whether a lease of a refilled table was ever granted here: durable, and never taken back.
    refilled: bool,
    /// Whether one was under an earlier enrolment, and a key may come still of which a share left so: at a client.
    pub(crate) refilled_before: bool,
    /// Once one was opened in this session.
    epochs: Option<Box<Epochs>>,
}

/// The open epochs of both directions.
#[derive(Default)]
struct Epochs {
    sending: SendingEpochs,
    receiving: ReceivingEpochs,
}

/// The answer to a request for a lease.
pub(crate) enum LeaseAnswer {
    /// The grant, which waits for this checkpoint; the marks have to be stored if it is a new one.
    Granted { inner: Vec<u8>, after: u64 },
    /// Nothing is left.
    Denied { inner: Vec<u8> },
}

impl<P: Pad> Link<P> {
    pub(crate) fn new(side: Side, keys: EnvelopeKeys) -> Self {
        Self {
            side,
            keys,
            session: None,
            sessions: 0,
            outgoing: Sending::new(),
            incoming: Receiving::new(),
            gone: [None; 2],
            refilled: false,
            refilled_before: false,
            epochs: None,
        }
    }

    /// Goes on with a new envelope. Leases and epochs end with the session.
    pub(crate) fn begin(&mut self, session: Session) {
        self.end();
        self.session = Some(session);
        self.sessions = self.sessions.saturating_add(1);
    }

    /// Drops the envelope, and the leases and epochs under it.
    pub(crate) fn end(&mut self) {
        self.session = None;
        self.epochs = None;
        let (sending, receiving) = self.directions();
        let spent = [(sending, self.outgoing.end_session()), (receiving, self.incoming.end_session())];
        for (direction, number) in spent {
            if let Some(slot) = self.gone.get_mut(usize::from(direction.value())) {
                *slot = (*slot).max(number);
            }
        }
    }

    /// Wipes every key in its place: the link is over, and what is moved from here on leaves nothing behind.
    pub(crate) fn forget_keys(&mut self) {
        (self.session, self.epochs) = (None, None);
        self.keys.forget();
    }

    /// Erases all tables. `false`: the storage of one failed.
    #[must_use]
    pub(crate) fn destroy(&mut self) -> bool {
        let outgoing = self.outgoing.destroy();
        self.incoming.destroy() && outgoing
    }

    /// Whether the envelope has sealed as much as it should: a new hello is due.
    pub(crate) fn is_worn_out(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_worn_out)
    }

    /// Seals a datagram of session `number`. `None` if that is over.
    pub(crate) fn seal(&mut self, number: u32, unsealed: Unsealed) -> Option<Vec<u8>> {
        // Test switch: what waited for the store leaves although its session has ended, and tests must then fail.
        if self.sessions != number && !cfg!(skex_without = "unsent") {
            return None;
        }
        self.session.as_mut()?.seal(&self.keys, unsealed)
    }

    /// The number of the present session since the start.
    pub(crate) const fn session_number(&self) -> Option<u32> {
        if self.session.is_some() { Some(self.sessions) } else { None }
    }

    /// Writes the inner message of a datagram over what was in `inner`. On an error that holds nothing that was decrypted.
    pub(crate) fn open(&mut self, sealed: &Sealed<'_>, inner: &mut Vec<u8>) -> Result<(), DiscardReason> {
        self.session.as_mut().ok_or(DiscardReason::Stale)?.open(&self.keys, sealed, inner)
    }

    const fn directions(&self) -> (Direction, Direction) {
        match self.side {
            Side::Client => (Direction::UPLINK, Direction::DOWNLINK),
            Side::Hub => (Direction::DOWNLINK, Direction::UPLINK),
        }
    }

    fn prefix(&self, direction: Direction) -> [u8; TAG_PREFIX_LEN] {
        tag_prefix(direction, self.keys.client().number(), self.keys.hub().as_bytes())
    }

    /// Before what this end sends, under a tag.
    fn sending(&self) -> [u8; TAG_PREFIX_LEN] {
        self.prefix(self.directions().0)
    }

    /// Before what this end receives, under a tag.
    fn receiving(&self) -> [u8; TAG_PREFIX_LEN] {
        self.prefix(self.directions().1)
    }

    /// The request for a lease with room for blocks of `pad_elements`: a new one, or the one that is on its way; with the
    /// checkpoint that it waits for. A new one waits for `after`, which has to carry the marks.
    pub(crate) fn lease_request(
        &mut self,
        pad_elements: u32,
        origins: Origins,
        after: u64,
        rng: &mut dyn CryptoRng,
    ) -> Option<(Vec<u8>, u64)> {
        // One request at a time, whichever table it is for.
        let table = match self.outgoing.asking() {
            Some(_) => self.outgoing.asking(),
            None => self.outgoing.wanting(pad_elements, origins),
        }?;
        let want = table.usual_lease(pad_elements);
        let asked = table.ask(want, after, rng);
        let request = LeaseRequest::new(table.number(), asked.nonce, asked.mark, asked.want);
        Some((encoded(LeaseRequest::LEN, |out| request.encode(out))?, asked.after))
    }

    /// Answers the peer's request. `after` is the checkpoint that will carry the marks.
    pub(crate) fn answer_lease_request(
        &mut self,
        request: &LeaseRequest,
        after: u64,
    ) -> Result<LeaseAnswer, DiscardReason> {
        let none = || DiscardReason::Exhausted;
        let prefix = self.sending();
        let Some(table) = self.incoming.get_mut(request.table) else {
            // It was used up and is gone, or did not come here yet: the sender goes on with another.
            let denied = LeaseDenied::new(request.table, request.nonce, 0);
            let inner = encoded(LeaseDenied::LEN, |out| denied.encode(out)).ok_or_else(none)?;
            return Ok(LeaseAnswer::Denied { inner });
        };
        if table.is_late(&request.nonce, request.mark) {
            return Err(DiscardReason::Stale);
        }
        let granted = table.grant(&request.nonce, request.mark, request.want, after);
        let (high_water, origin) = (table.high_water(), table.origin());
        let (grant, key) = match granted {
            Ok(granted) => granted,
            Err(NotGranted::Late) => return Err(DiscardReason::Stale),
            // The sender asks again: a denial would hold for the session.
            Err(why @ (NotGranted::Full | NotGranted::Pad)) if !self.has_another(request.table, origin) => {
                let is_full = why == NotGranted::Full;
                return Err(if is_full { DiscardReason::Busy } else { DiscardReason::Exhausted });
            }
            Err(_) => {
                if let Some(table) = self.incoming.get_mut(request.table) {
                    table.deny();
                }
                let denied = LeaseDenied::new(request.table, request.nonce, high_water);
                let inner = encoded(LeaseDenied::LEN, |out| denied.encode(out)).ok_or_else(none)?;
                return Ok(LeaseAnswer::Denied { inner });
            }
        };
        self.refilled |= origin == Origin::Refill;
        let message = LeaseGrant::new(request.table, grant.nonce, grant.start, grant.end);
        let inner = encoded(LeaseGrant::LEN, |out| {
            message.encode_untagged(out)?;
            let tag = key.tag(&[&prefix, out.written()]);
            out.bytes(tag.as_bytes())
        });
        Ok(LeaseAnswer::Granted { inner: inner.ok_or_else(none)?, after: grant.after })
    }

    /// Whether the other end could send by another table than this one: of the same origin, and with a storage that works now.
    /// Tables of one disk fail together, and a denial of each would leave none for the session.
    fn has_another(&self, number: u16, origin: Origin) -> bool {
        self.incoming.tables().any(|table| {
            table.number() != number
                && table.origin() == origin
                && !table.is_used_up()
                && !table.is_denied()
                && table.can_be_read()
        })
    }

    /// Takes the peer's grant; what is sent under it waits for checkpoint `after`, which must carry the marks.
    pub(crate) fn lease_granted(
        &mut self,
        grant: &Tagged<'_, LeaseGrant>,
        after: u64,
    ) -> Result<Granted, DiscardReason> {
        let prefix = self.receiving();
        let table = self.outgoing.get_mut(grant.message.table).ok_or(DiscardReason::Unexpected)?;
        table.granted(grant, &prefix, after).map_err(|error| match error {
            GrantError::NotAsked => DiscardReason::Stale,
            GrantError::Refused => DiscardReason::Unexpected,
            GrantError::Unauthentic => DiscardReason::Unauthentic,
            GrantError::Pad => DiscardReason::Exhausted,
        })
    }

    /// The peer grants nothing of this table. `false`: it answers no request that is on its way.
    #[must_use]
    pub(crate) fn lease_denied(&mut self, denied: &LeaseDenied) -> bool {
        self.outgoing.get_mut(denied.table).is_some_and(|table| table.deny(&denied.nonce))
    }
}

impl fmt::Debug for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Epochs(..)")
    }
}
