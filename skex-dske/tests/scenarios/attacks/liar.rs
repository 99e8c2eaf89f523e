//! One end of a link in the hands of the adversary: a hub that lies, or a client that means ill. It knows what that end
//! was given at its enrolment, and says whatever the test wants, correctly sealed and tagged.

use core::time::Duration;

use skex_core::{Expander, HashSecret, Label, SecretBytes, Suite, extract};
use skex_dske::{ClientTag, MessageTagKey};
use skex_sim::{Address, NodeId};
use skex_wire::dske::{
    AnswerStatus, BlockPosition, Command, CommandBody, Direction, DskeSuiteId, Fetch, Hello, Inner,
    InnerType, LeaseGrant, LeaseRequest, Outer, SealedHeader, ShareMessage, Terms, tag_prefix,
};
use skex_wire::{SuiteId, Writer};

use crate::oracle::{aead, epoch_key, nonce};
use crate::world::{Cast, each_alone};

pub struct Liar {
    client: usize,
    hub: usize,
    is_hub: bool,
    honest: NodeId,
    /// Of everything ever sent, what we have read.
    read: usize,
    sealing: SecretBytes<32>,
    opening: SecretBytes<32>,
    sequence: u32,
    /// Until something has come back: a client's salt goes along.
    fresh: Option<[u8; 16]>,
    /// The lease that we may send from.
    next: u32,
    pub end: u32,
}

/// The content of an upload or delivery, but for its block.
#[derive(Clone)]
pub struct Share {
    pub key_id: [u8; 16],
    pub peer: ClientTag,
    pub suite: DskeSuiteId,
    pub threshold: u8,
    pub key_len: u32,
    pub lifetime: u16,
    pub coordinates: Vec<u8>,
    pub secret_tag: [u8; 16],
    pub share: Vec<u8>,
}

impl Share {
    /// What fits no key: it only has the right form, for a 256-bit key of five hubs.
    pub fn junk(key_id: [u8; 16], peer: ClientTag) -> Self {
        let coordinates = vec![1, 2, 3, 4, 5];
        Self {
            key_id,
            peer,
            suite: DskeSuiteId::ITS,
            threshold: 3,
            key_len: 32,
            lifetime: 600,
            coordinates,
            secret_tag: [7; 16],
            share: vec![9; 112],
        }
    }

    pub fn terms(&self) -> Terms<'_> {
        Terms::new(self.suite, self.threshold, self.key_len, self.lifetime, &self.coordinates, &[0]).unwrap()
    }

    /// Elements of its block; under an AEAD those of an epoch, which our liars open for each share.
    pub fn elements(&self) -> u32 {
        match self.suite {
            DskeSuiteId::ITS => skex_wire::dske::block_elements(self.key_len).unwrap(),
            _ => 4,
        }
    }
}

impl Liar {
    /// Hub `hub` is the adversary's from now on. This is its link with `client`, with a session.
    pub fn hub(cast: &mut Cast, hub: usize, client: usize) -> Self {
        Self::try_hub(cast, hub, client).expect("the client says no hello, or does not take our reply")
    }

    /// As [`Self::hub`], where the client may be down.
    pub fn try_hub(cast: &mut Cast, hub: usize, client: usize) -> Option<Self> {
        let (node, honest) = (cast.hubs[hub], cast.clients[client]);
        cast.world.kill(node);
        let mut liar = Self::new(cast, hub, client, true, honest);
        // The client's hellos are repeated every eight seconds at the least, its fetches every fifteen.
        for _ in 0..400 {
            pass(cast, 50);
            let salt =
                liar.sent_to_us(cast).into_iter().rev().find_map(|octets| match Outer::decode(&octets) {
                    Ok(Outer::Hello(hello)) => Some(hello.message.salt),
                    _ => None,
                });
            if let Some(salt) = salt {
                return liar.answer_hello(cast, salt).then_some(liar);
            }
            liar.ask_for_hello(cast);
        }
        None
    }

    /// Client `client` is the adversary's from now on. This is its link with `hub`, with a session.
    pub fn client(cast: &mut Cast, client: usize, hub: usize) -> Self {
        Self::try_client(cast, client, hub).expect("the hub answers no hello, or does not know us")
    }

    /// As [`Self::client`], where the hub may be down.
    pub fn try_client(cast: &mut Cast, client: usize, hub: usize) -> Option<Self> {
        let (node, honest) = (cast.clients[client], cast.hubs[hub]);
        cast.world.kill(node);
        let mut liar = Self::new(cast, hub, client, false, honest);
        let salt = [0x5a; 16];
        cast.adversary_hellos.push(((client, hub), salt));
        let hello = Hello::new(client as u32, salt);
        let octets =
            liar.tagged(Label::DSKE_HELLO, &[], cast, Hello::LEN, |out| hello.encode_untagged(out).unwrap());
        liar.inject(cast, octets);
        pass(cast, 10);
        let reply = liar.sent_to_us(cast).into_iter().find_map(|octets| match Outer::decode(&octets) {
            Ok(Outer::HelloReply(reply)) => Some(reply.message.salt),
            _ => None,
        });
        liar.begin(cast, salt, reply?);
        liar.fresh = Some(salt);
        liar.say(cast, &[InnerType::FETCH.value()]);
        pass(cast, 10);
        if liar.hear(cast).is_empty() {
            return None;
        }
        liar.fresh = None;
        // The first message without the salt: the hub knows now that it was heard.
        liar.fetch(cast);
        Some(liar)
    }

    fn new(cast: &Cast, hub: usize, client: usize, is_hub: bool, honest: NodeId) -> Self {
        let (sealing, opening) = (SecretBytes::zeroed(), SecretBytes::zeroed());
        let read = cast.world.net().sent().len();
        Self {
            client,
            hub,
            is_hub,
            honest,
            read,
            sealing,
            opening,
            sequence: 0,
            fresh: None,
            next: 0,
            end: 0,
        }
    }

    #[must_use]
    fn answer_hello(&mut self, cast: &mut Cast, salt: [u8; 16]) -> bool {
        let ours = [0xa5; 16];
        let reply = Hello::reply(self.client as u32, ours);
        let octets = self.tagged(Label::DSKE_HELLO_REPLY, &salt, cast, Hello::LEN, |out| {
            reply.encode_untagged(out).unwrap();
        });
        self.begin(cast, salt, ours);
        self.inject(cast, octets);
        pass(cast, 10);
        if self.hear(cast).is_empty() {
            return false;
        }
        // Something under the envelope, so that the client knows that it is open.
        self.say(cast, &[InnerType::FETCHED.value(), 0, 0]);
        pass(cast, 10);
        true
    }

    /// What the client said last cannot be opened here: it has to say hello.
    fn ask_for_hello(&self, cast: &mut Cast) {
        let (ours, honest) = (self.ours(cast), self.honest);
        let last = cast.world.net().sent_by(honest).filter(|sent| sent.to == ours).last();
        let Some(Ok(Outer::Sealed(sealed))) = last.map(|sent| Outer::decode(&sent.bytes)) else { return };
        let (tag, client) = (sealed.tag, self.client as u32);
        let octets = self.tagged(Label::DSKE_HELLO_REQUEST, &tag, cast, 21, |out| {
            skex_wire::dske::HelloRequest::new(client).encode_untagged(out).unwrap();
        });
        self.inject(cast, octets);
    }

    fn begin(&mut self, cast: &mut Cast, client_salt: [u8; 16], hub_salt: [u8; 16]) {
        let salts = [client_salt, hub_salt];
        cast.adversary.push(((self.client, self.hub), salts));
        let secret = extract(suite(), salts.as_flattened(), &[&self.initial(cast)]);
        let expander = Expander::new(suite(), &secret);
        let number = (self.client as u32).to_be_bytes();
        let context: [&[u8]; 2] = [&number, cast.hub_ids[self.hub].as_bytes()];
        let up = expander.secret(Label::DSKE_ENVELOPE_TO_HUB, &context);
        let down = expander.secret(Label::DSKE_ENVELOPE_TO_CLIENT, &context);
        (self.sealing, self.opening) = if self.is_hub { (down, up) } else { (up, down) };
        self.sequence = 0;
    }

    fn initial(&self, cast: &Cast) -> [u8; 32] {
        cast.enrolments[self.hub][self.client].initial_key
    }

    /// The table that we send from, as it was at enrolment.
    fn table<'a>(&self, cast: &'a Cast) -> &'a [u8] {
        let enrolment = &cast.enrolments[self.hub][self.client];
        if self.is_hub { &enrolment.downlink } else { &enrolment.uplink }
    }

    fn tagged(
        &self,
        label: Label,
        bound: &[u8],
        cast: &Cast,
        len: usize,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> Vec<u8> {
        let secret: HashSecret = extract(suite(), &[], &[&self.initial(cast)]);
        let key = Expander::new(suite(), &secret).secret::<32>(label, &[cast.hub_ids[self.hub].as_bytes()]);
        let mut octets = vec![0; len];
        let mut out = Writer::new(&mut octets);
        write(&mut out);
        let tag = suite().mac_key(key.expose()).tag(&[bound, out.written()]);
        out.bytes(&tag).unwrap();
        octets
    }

    fn ours(&self, cast: &Cast) -> Address {
        let node = if self.is_hub { cast.hubs[self.hub] } else { cast.clients[self.client] };
        cast.world.net().address(node)
    }

    fn inject(&self, cast: &mut Cast, octets: Vec<u8>) {
        let (from, to, now) = (self.ours(cast), cast.world.net().address(self.honest), cast.now());
        cast.world.net_mut().inject(now, from, to, octets);
    }

    fn sent_to_us(&mut self, cast: &Cast) -> Vec<Vec<u8>> {
        let (ours, honest) = (self.ours(cast), self.honest);
        let sent = cast.world.net().sent();
        let new = sent.iter().skip(self.read).filter(|sent| sent.node == Some(honest) && sent.to == ours);
        let new = new.map(|sent| sent.bytes.clone()).collect();
        self.read = sent.len();
        new
    }

    /// Says `inner` under the envelope.
    pub fn say(&mut self, cast: &mut Cast, inner: &[u8]) {
        let header = SealedHeader::new(self.client as u32, self.fresh, self.sequence);
        self.sequence += 1;
        let mut octets = vec![0; header.len()];
        header.encode(&mut Writer::new(&mut octets)).unwrap();
        octets.extend_from_slice(inner);
        let (aad, body) = octets.split_at_mut(header.len());
        let tag = suite().seal(&self.sealing, &header.nonce(), aad, body).unwrap();
        octets.extend_from_slice(&tag);
        self.inject(cast, octets);
    }

    /// What the honest end said since the last time.
    pub fn hear(&mut self, cast: &Cast) -> Vec<Vec<u8>> {
        let sent = self.sent_to_us(cast);
        let open = |octets: &Vec<u8>| {
            let Ok(Outer::Sealed(sealed)) = Outer::decode(octets) else { return None };
            let mut inner = sealed.ciphertext.to_vec();
            suite().open(&self.opening, &sealed.header.nonce(), sealed.aad, &mut inner, &sealed.tag).ok()?;
            Some(inner)
        };
        sent.iter().filter_map(open).flat_map(|inner| each_alone(&inner)).collect()
    }

    /// Asks for `want` elements. The grant as it came, if there was one.
    pub fn ask(&mut self, cast: &mut Cast, nonce: [u8; 16], mark: u32, want: u32) -> Option<Vec<u8>> {
        let request = LeaseRequest::new(0, nonce, mark, want);
        let mut octets = [0; LeaseRequest::LEN];
        request.encode(&mut Writer::new(&mut octets)).unwrap();
        self.hear(cast);
        self.say(cast, &octets);
        pass(cast, 20);
        let grants = self.hear(cast).into_iter();
        let grant = grants.rev().find(|inner| matches!(Inner::decode(inner), Ok(Inner::LeaseGrant(_))))?;
        let granted = LeaseGrant::decode(&grant).unwrap().message;
        (self.next, self.end) = (granted.start + 2, granted.end);
        Some(grant)
    }

    pub const fn is_hub(&self) -> bool {
        self.is_hub
    }

    /// The next free element of our lease.
    pub const fn next(&self) -> u32 {
        self.next
    }

    /// Sends a share in a block of its own. The block's index.
    pub fn share(&mut self, cast: &mut Cast, share: &Share) -> u32 {
        if self.end - self.next < share.elements() {
            let nonce = [self.end as u8; 16];
            let mark = self.end;
            self.ask(cast, nonce, mark, 4 * share.elements() + 2).expect("a lease");
        }
        let index = self.next;
        self.next += share.elements();
        let octets = self.share_octets(cast, share, index);
        self.say(cast, &octets);
        index
    }

    /// The message of a share as message `number` in the epoch of the block at `index`.
    pub fn sealed_octets(&self, cast: &Cast, share: &Share, index: u32, number: u8) -> Vec<u8> {
        let inner_type = if self.is_hub { InnerType::DELIVERY_SEALED } else { InnerType::UPLOAD_SEALED };
        let position = BlockPosition::in_epoch(0, index, number, 0);
        let peer = *share.peer.as_bytes();
        let message = ShareMessage::new(
            inner_type,
            position,
            share.key_id,
            peer,
            share.terms(),
            share.secret_tag,
            &share.share,
        );
        let message = message.unwrap();
        let mut octets = vec![0; message.encoded_len() - 16];
        message.encode_untagged(&mut Writer::new(&mut octets)).unwrap();
        let direction = if self.is_hub { Direction::DOWNLINK } else { Direction::UPLINK };
        let prefix = tag_prefix(direction, self.client as u32, cast.hub_ids[self.hub].as_bytes());
        let (head, body) = octets.split_at_mut(message.head_len());
        let aad = [&prefix, &*head].concat();
        let table = ((self.client, self.hub), !self.is_hub, 0);
        let key = epoch_key(cast, table, index, share.suite, Label::DSKE_EPOCH_SHARES);
        let tag = aead(share.suite).seal(&key, &nonce(number), &aad, body).unwrap();
        octets.extend_from_slice(&tag);
        octets
    }

    /// The message of a share in the block at `index`.
    pub fn share_octets(&self, cast: &Cast, share: &Share, index: u32) -> Vec<u8> {
        match share.suite {
            DskeSuiteId::ITS => self.one_time_octets(cast, share, index),
            _ => self.sealed_octets(cast, share, index, 0),
        }
    }

    /// The message of a share under the one-time keys of the block at `index`, whatever suite its terms name.
    pub fn one_time_octets(&self, cast: &Cast, share: &Share, index: u32) -> Vec<u8> {
        let table = self.table(cast);
        let at = |element: u32, len: usize| &table[element as usize * 16..element as usize * 16 + len];
        let masked: Vec<u8> = at(index + 4, share.share.len())
            .iter()
            .zip(&share.share)
            .map(|(pad, octet)| pad ^ octet)
            .collect();
        let (inner_type, direction) = if self.is_hub {
            (InnerType::DELIVERY, Direction::DOWNLINK)
        } else {
            (InnerType::UPLOAD, Direction::UPLINK)
        };
        let position = BlockPosition::new(0, index, index);
        let message = ShareMessage::new(
            inner_type,
            position,
            share.key_id,
            *share.peer.as_bytes(),
            share.terms(),
            share.secret_tag,
            &masked,
        );
        let message = message.unwrap();
        let mut octets = vec![0; message.encoded_len()];
        let mut out = Writer::new(&mut octets);
        message.encode_untagged(&mut out).unwrap();
        let prefix = tag_prefix(direction, self.client as u32, cast.hub_ids[self.hub].as_bytes());
        let key = MessageTagKey::from_pad(at(index + 2, 32).try_into().unwrap()).unwrap();
        let tag = key.tag(&[&prefix, out.written()]);
        out.bytes(tag.as_bytes()).unwrap();
        octets
    }

    /// The grant of `start..end` to the honest end, tagged with the key at `key_at` of its table.
    pub fn grant_octets(&self, cast: &Cast, nonce: [u8; 16], start: u32, end: u32, key_at: u32) -> Vec<u8> {
        let enrolment = &cast.enrolments[self.hub][self.client];
        let (table, direction) = if self.is_hub {
            (&enrolment.uplink, Direction::DOWNLINK)
        } else {
            (&enrolment.downlink, Direction::UPLINK)
        };
        let mut octets = vec![0; LeaseGrant::LEN];
        let mut out = Writer::new(&mut octets);
        LeaseGrant::new(0, nonce, start, end).encode_untagged(&mut out).unwrap();
        let prefix = tag_prefix(direction, self.client as u32, cast.hub_ids[self.hub].as_bytes());
        let key = &table[key_at as usize * 16..key_at as usize * 16 + 32];
        let tag = MessageTagKey::from_pad(key.try_into().unwrap()).unwrap().tag(&[&prefix, out.written()]);
        out.bytes(tag.as_bytes()).unwrap();
        octets
    }

    /// A client's command, in the next block of the lease.
    pub fn command(&mut self, cast: &mut Cast, body: CommandBody<'_>) {
        let index = self.next;
        self.next += 4;
        let command = Command::new(BlockPosition::new(0, index, index), body).unwrap();
        let mut octets = vec![0; command.encoded_len()];
        let mut out = Writer::new(&mut octets);
        command.encode_untagged(&mut out).unwrap();
        let prefix = tag_prefix(Direction::UPLINK, self.client as u32, cast.hub_ids[self.hub].as_bytes());
        let key = &self.table(cast)[index as usize * 16 + 32..index as usize * 16 + 64];
        let tag = MessageTagKey::from_pad(key.try_into().unwrap()).unwrap().tag(&[&prefix, out.written()]);
        out.bytes(tag.as_bytes()).unwrap();
        self.say(cast, &octets);
    }

    /// The statuses of the answers that came since the last time.
    pub fn statuses(&mut self, cast: &Cast) -> Vec<AnswerStatus> {
        let status = |inner: &Vec<u8>| match Inner::decode(inner) {
            Ok(Inner::Answer(answer)) => Some(answer.message.status),
            _ => None,
        };
        self.hear(cast).iter().filter_map(status).collect()
    }

    /// The honest end's last request for a lease, of those not heard yet.
    pub fn lease_request(&mut self, cast: &Cast) -> Option<LeaseRequest> {
        lease_request_in(&self.hear(cast))
    }

    /// "Send me what waits."
    pub fn fetch(&mut self, cast: &mut Cast) {
        let mut octets = [0; Fetch::LEN];
        Fetch::new().encode(&mut Writer::new(&mut octets)).unwrap();
        self.say(cast, &octets);
    }
}

/// The last request for a lease among what was heard.
pub fn lease_request_in(heard: &[Vec<u8>]) -> Option<LeaseRequest> {
    heard.iter().rev().find_map(|inner| match Inner::decode(inner) {
        Ok(Inner::LeaseRequest(request)) => Some(request),
        _ => None,
    })
}

/// Lets so many milliseconds pass.
pub fn pass(cast: &mut Cast, millis: u64) {
    cast.world.run_for(Duration::from_millis(millis), 1_000_000);
}

pub fn suite() -> Suite {
    Suite::from_id(SuiteId::SHA256_AES256GCM).unwrap()
}
