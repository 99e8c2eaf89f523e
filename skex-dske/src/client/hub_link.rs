//! A client's side of one link: from the first hello to an open envelope.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use rand_core::CryptoRng;
use skex_core::SecretBytes;
use skex_core::machine::{DiscardReason, Instant, PeerHandle};
use skex_wire::dske::{Hello, HelloRequest, Sealed, Tagged};
use subtle::{Choice, ConstantTimeEq as _};

use super::fetching::Fetching;
use super::refill::Gathering;
use crate::backoff::{Backoff, Pace};
use crate::envelope::{Initial, Session, Side};
use crate::key::Origins;
use crate::link::Link;
use crate::list::ToList as _;
use crate::psrd::Pad;
use crate::share::Coordinate;
use crate::suite::Need;
use crate::unsealed::Unsealed;

/// A link with what only its client knows of it.
#[derive(Debug)]
pub(super) struct Connection<P> {
    pub(super) link: Link<P>,
    pub(super) handle: PeerHandle,
    pub(super) coordinate: Coordinate,
    state: State,
    /// While an envelope rests on the older of two initial keys: a hello under the newer, with this salt, said now and then.
    pub(super) probe: Option<([u8; 16], Backoff)>,
    /// The AEAD tags of the last messages that were sealed under this envelope.
    last_tags: Vec<[u8; 16]>,
    /// The tags that a HELLO_REQUEST for one of these messages can have: made when the first comes, and again after another message. Each that comes
    /// were else 64 MACs, and whoever can send one knows no key.
    pleas: Vec<[u8; 16]>,
    /// The request for an uplink lease that is on its way.
    pub(super) lease_retry: Option<Backoff>,
    pub(super) fetching: Fetching,
    pub(super) low_reported: (bool, bool),
    /// Whether its initial key is another than that of the configuration, or is to be.
    pub(super) key_replaced: bool,
    /// A table that is coming over the network.
    pub(super) refill: Option<Box<Gathering>>,
    /// Whether a publication or an authorisation of this session was given up without its outcome.
    pub(super) unanswered: bool,
}

#[derive(Debug)]
enum State {
    /// HELLO was said, with this salt. Where there are two initial keys, under each in turn: under the older next, or not.
    AwaitReply { salt: [u8; 16], retry: Backoff, older: bool },
    /// The envelope is open, and nothing has come back under it: our salt goes along. After a few fetches without an
    /// answer a new hello is due: an older attempt of ours, held back on the way, may have taken our place at the hub.
    Fresh { fetches: u8 },
    /// Open, and known to be open at the hub.
    Open,
}

/// Fetches that a fresh envelope gets, each after twice the time: nearly eight seconds in all by default.
const FRESH_FETCHES: u8 = 5;

/// Messages by which a hub can say that it does not know this envelope: more than a busy client sends in a round trip.
const LAST_TAGS: usize = 64;

impl<P: Pad> Connection<P> {
    /// A link after a start: it begins with a hello.
    pub(super) fn new(
        link: Link<P>,
        handle: PeerHandle,
        coordinate: Coordinate,
        now: Instant,
        pace: Pace,
        rng: &mut dyn CryptoRng,
    ) -> Self {
        let mut salt = [0; 16];
        rng.fill_bytes(&mut salt);
        let retry = Backoff::unsaid(now, pace);
        Self {
            link,
            handle,
            coordinate,
            state: State::AwaitReply { salt, retry, older: false },
            probe: None,
            last_tags: Vec::new(),
            pleas: Vec::new(),
            lease_retry: None,
            fetching: Fetching::new(now, 0),
            low_reported: (false, false),
            key_replaced: false,
            refill: None,
            unanswered: false,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.state, State::AwaitReply { .. })
    }

    /// Whether a share can be sent at once, by a table of `origins`.
    pub(super) fn has_room(&self, need: Need, origins: Origins) -> bool {
        self.is_open() && self.link.has_room(need, origins)
    }

    /// Whether the hub has answered under the envelope.
    pub(super) const fn is_confirmed(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Counts a fetch under an envelope that nothing has come back under. `false`: enough of them, start anew.
    #[must_use]
    pub(super) const fn may_fetch(&mut self) -> bool {
        let State::Fresh { fetches } = &mut self.state else { return true };
        *fetches = fetches.saturating_add(1);
        *fetches <= FRESH_FETCHES
    }

    /// Drops the envelope and says hello anew, with a new salt.
    pub(super) fn restart(&mut self, now: Instant, pace: Pace, rng: &mut dyn CryptoRng) {
        let mut salt = [0; 16];
        rng.fill_bytes(&mut salt);
        let retry = Backoff::unsaid(now, pace);
        self.link.end();
        // The hub answered a burst of messages one by one: those answers must not end the next envelope too.
        self.forget_tags();
        self.lease_retry = None;
        self.state = State::AwaitReply { salt, retry, older: false };
        self.probe = None;
    }

    /// The hello, if it is due, and the checkpoint that it waits for.
    pub(super) fn hello_due(&mut self, now: Instant, pace: Pace) -> Option<(Vec<u8>, u64)> {
        let keys = &self.link.keys;
        let (salt, which) = match &mut self.state {
            State::AwaitReply { salt, retry, older } => {
                if !retry.take_due(now, pace) {
                    return None;
                }
                let which = if *older || !keys.has_next() { Initial::Current } else { Initial::Next };
                *older = !*older;
                (*salt, which)
            }
            State::Fresh { .. } | State::Open => {
                let (salt, retry) = self.probe.as_mut()?;
                (retry.take_due(now, pace).then_some(*salt)?, Initial::Next)
            }
        };
        Some((keys.hello(which, salt)?, keys.after(which)))
    }

    /// There is another initial key: the hub is asked now and then whether it has it too.
    pub(super) fn begin_probe(&mut self, now: Instant, pace: Pace, rng: &mut dyn CryptoRng) {
        let rests_on_older = self.link.session.as_ref().is_some_and(|session| !session.rests_on_next());
        if self.is_open() && self.link.keys.has_next() && self.probe.is_none() && rests_on_older {
            let mut salt = [0; 16];
            rng.fill_bytes(&mut salt);
            self.probe = Some((salt, Backoff::unsaid(now, pace)));
        }
    }

    /// Says the hello sooner than at the next interval: somebody waits for this hub.
    pub(super) fn hurry(&mut self, now: Instant, pace: Pace) {
        if let State::AwaitReply { retry, .. } = &mut self.state {
            retry.hurry(now, pace);
        }
    }

    /// When there is something to do: a hello, a fetch, a request for a lease.
    pub(super) fn deadline(&self) -> Instant {
        let first = match (&self.state, &self.probe) {
            (State::AwaitReply { retry, .. }, _) => retry.due(),
            (_, Some((_, retry))) => retry.due().min(self.fetching.due()),
            (_, None) => self.fetching.due(),
        };
        self.lease_retry.as_ref().map_or(first, |retry| retry.due().min(first))
    }

    /// The hub's salt: the envelope opens.
    pub(super) fn on_hello_reply(
        &mut self,
        now: Instant,
        reply: &Tagged<'_, Hello>,
    ) -> Result<(), DiscardReason> {
        let keys = &self.link.keys;
        // An open envelope is given up for none but one under the newer initial key.
        let (salt, candidates) = match (&self.state, &self.probe) {
            (State::AwaitReply { salt, .. }, _) => (*salt, keys.candidates().list()),
            (_, Some((salt, _))) => (*salt, vec![Initial::Next]),
            (_, None) => return Err(DiscardReason::Unexpected),
        };
        let verifies = |which: &Initial| keys.verifies_hello_reply(*which, &salt, reply);
        let which = candidates.into_iter().find(verifies).ok_or(DiscardReason::Unauthentic)?;
        let session = keys.session(which, Side::Client, salt, &reply.message.salt);
        self.probe = None;
        self.lease_retry = None;
        self.link.begin(session);
        self.forget_tags();
        self.unanswered = false;
        self.state = State::Fresh { fetches: 0 };
        let [spread, ..] = salt;
        self.fetching = Fetching::new(now, spread);
        Ok(())
    }

    /// Whether the hub really could not open one of the last messages that were sent to it.
    pub(super) fn verifies_hello_request(
        &mut self,
        request: &Tagged<'_, HelloRequest>,
    ) -> Result<(), DiscardReason> {
        if !self.is_open() {
            return Err(DiscardReason::Unexpected);
        }
        if self.pleas.is_empty() && !self.last_tags.is_empty() {
            self.pleas = self.link.keys.hello_request_tags(&self.last_tags);
        }
        let is_said = self.pleas.iter().fold(Choice::from(0), |said, plea| said | plea.ct_eq(&request.tag));
        if is_said.into() { Ok(()) } else { Err(DiscardReason::Unauthentic) }
    }

    fn forget_tags(&mut self) {
        self.last_tags.clear();
        self.pleas.clear();
    }

    /// Another initial key is to take the place of the present one. `false`: it is there already.
    #[must_use]
    pub(super) fn replace_initial_key(&mut self, key: SecretBytes<32>, after: u64) -> bool {
        let replaced = self.link.keys.replace(key, after);
        if replaced {
            self.pleas.clear();
            self.key_replaced = true;
            self.probe = None;
            // An envelope under a key that was to be the next one proves nothing of this one.
            let _ = self.link.session.as_mut().is_some_and(Session::proves_next);
        }
        replaced
    }

    /// Writes the inner message of a datagram under the envelope over what was in `inner`.
    pub(super) fn open(&mut self, sealed: &Sealed<'_>, inner: &mut Vec<u8>) -> Result<(), DiscardReason> {
        if sealed.header.salt.is_some() {
            return Err(DiscardReason::Unexpected);
        }
        self.link.open(sealed, inner)?;
        if let State::Fresh { fetches } = self.state {
            self.fetching.opened(fetches);
        }
        self.state = State::Open;
        Ok(())
    }

    /// Whether what was just opened proves that the hub has the next initial key: the older one goes then.
    pub(super) fn proves_next_initial_key(&mut self) -> bool {
        let proven = self.link.session.as_mut().is_some_and(Session::proves_next) && self.link.keys.promote();
        if proven {
            self.pleas.clear();
        }
        proven
    }

    /// Seals what is ready to leave, if the session that it is of is still there.
    pub(super) fn seal(&mut self, session: u32, unsealed: Unsealed) -> Option<Vec<u8>> {
        let datagram = self.link.seal(session, unsealed)?;
        self.last_tags.truncate(LAST_TAGS - 1);
        self.last_tags.insert(0, *datagram.last_chunk()?);
        self.pleas.clear();
        Some(datagram)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use alloc::vec;

    use chacha20::ChaCha20Rng;
    use chacha20::rand_core::SeedableRng;
    use skex_core::Suite;
    use skex_core::machine::{Destination, Disposition, Output, PathId};
    use skex_wire::SuiteId;
    use skex_wire::dske::Outer;

    use super::*;
    use crate::client::negotiation::tests::{link, table};
    use crate::client::{Client, ClientConfig};
    use crate::envelope::EnvelopeKeys;
    use crate::id::{ClientId, ClientTag, HubId};
    use crate::key::Origin;
    use crate::psrd::MemoryPad;

    /// What a client says to its first hub.
    fn said(client: &mut Client<MemoryPad>) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        loop {
            match client.poll_output() {
                Output::Persist(checkpoint) => {
                    let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap();
                    client.handle_persisted(receipt).unwrap();
                }
                Output::Transmit(transmit) if transmit.to == Destination::Peer(PeerHandle::new(1)) => {
                    said.push(transmit.payload);
                }
                Output::Wait(_) => return said,
                _ => {}
            }
        }
    }

    /// Whoever sends HELLO_REQUESTs and knows no key makes no more work than each message of the client's own: what one can say is known until the next, or
    /// until there is another initial key. The hub's is recognized all the same.
    #[test]
    fn a_flood_of_pleas_costs_as_much_as_one() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let links = [1, 2].map(|hub| link(hub, table(0, Origin::OutOfBand, 64)));
        let config = ClientConfig::new(ClientTag::new([9; 16]), links.into(), vec![]).unwrap();
        let (mut now, path) = (Instant::from_millis(0), PathId::new(1));
        let mut client = Client::restore(config, [] as [&[u8]; 0], now, &mut rng).unwrap();
        let suite = Suite::from_id(SuiteId::SHA256_AES256GCM).unwrap();
        let (number, hub) = (ClientId::new(0), HubId::new([1; 16]));
        let mut keys = EnvelopeKeys::new(suite, SecretBytes::copied_from(&[1; 32]), number, hub);
        let hellos = said(&mut client);
        let Outer::Hello(hello) = Outer::decode(&hellos[0]).unwrap() else { panic!("a hello") };
        let reply = keys.hello_reply(Initial::Current, &hello.message.salt, [5; 16]).unwrap();
        let _ = client.handle_message(now, &mut rng, path, &reply).unwrap();
        let mut sent = said(&mut client);
        assert_eq!(sent.len(), 1);
        let forged = keys.hello_request(&[0; 16]).unwrap();
        let mut flood = |client: &mut Client<MemoryPad>, now| {
            let handled = client.handle_message(now, &mut rng, path, &forged).unwrap();
            assert_eq!(handled, Disposition::Discarded(DiscardReason::Unauthentic));
            client.links[0].pleas.clone()
        };
        let first = flood(&mut client, now);
        assert_eq!(first.len(), 1);
        // As if they were made of nothing but what is there.
        client.links.get_mut(0).unwrap().last_tags[0] = [7; 16];
        assert_eq!(flood(&mut client, now), first);
        client.links.get_mut(0).unwrap().last_tags[0] = *sent[0].last_chunk().unwrap();
        now = now.saturating_add(core::time::Duration::from_millis(250));
        client.handle_timeout(now, &mut ChaCha20Rng::seed_from_u64(2)).unwrap();
        sent.extend(said(&mut client));
        assert_eq!((sent.len(), flood(&mut client, now).len()), (2, 2));
        let next = || SecretBytes::copied_from(&[8; 32]);
        client.replace_initial_key(now, &mut ChaCha20Rng::seed_from_u64(3), hub, next()).unwrap();
        assert_eq!(flood(&mut client, now).len(), 4);
        assert!(keys.replace(next(), 0));
        let plea = keys.hello_request(sent[0].last_chunk().unwrap()).unwrap();
        assert_eq!(client.handle_message(now, &mut rng, path, &plea).unwrap(), Disposition::Accepted);
        assert!(!client.links[0].is_open() && client.links[0].pleas.is_empty());
    }
}
