//! Explains every octet that was sent, from tables, initial keys and what was drawn: by what this program computes
//! itself from the specification. What it cannot explain stops it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use skex_core::{SecretBytes, Suite};
use skex_wire::SuiteId;

use super::world::{Flight, World, coordinate, hub_id, tag};
use crate::dske_envelope::derived;
use crate::field::{interpolate, message_tag, secret_tag};
use crate::file::hex;
use crate::primitives::expand_label;

/// An inner message, opened.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) flight: Flight,
    /// `None`: a hello.
    pub(super) inner: Option<Vec<u8>>,
}

impl Opened {
    /// What the inner message is, or what is in it if it is a SEVERAL.
    fn messages(&self) -> Vec<&[u8]> {
        match self.inner.as_deref() {
            None => Vec::new(),
            Some([SEVERAL, framed @ ..]) => contained(framed),
            Some(inner) => vec![inner],
        }
    }
}

/// The messages in a SEVERAL: each behind its length.
fn contained(mut framed: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while let [high, low, rest @ ..] = framed {
        let (message, behind) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        messages.push(message);
        framed = behind;
    }
    assert!(framed.is_empty() && messages.len() > 1, "a SEVERAL of whole messages");
    messages
}

struct Session {
    link: (usize, usize),
    salts: [Vec<u8>; 2],
    initial: usize,
    keys: [Vec<u8>; 2],
    prk: Vec<u8>,
    used: bool,
}

/// A block, or the epoch that it gave keys to: link, direction, table, index.
type Place = ((usize, usize), u8, u16, u32);

pub(super) struct Witness<'a> {
    world: &'a World,
    suite: Suite,
    sessions: Vec<Session>,
    pub(super) opened: Vec<Opened>,
    /// With the number of elements of the pad.
    blocks: BTreeMap<Place, usize>,
    /// With the suite of the keys.
    epochs: BTreeMap<Place, u8>,
    /// By place and number: a share message's key.
    about: BTreeMap<(Place, u8), usize>,
    /// In the order in which they were asked for; made are only those of which something was drawn.
    keys: Vec<Key>,
    /// Purpose and other end of each draw.
    purposes: Vec<(&'static str, Option<usize>)>,
}

/// A key, as the initiator made it.
#[derive(Default)]
struct Key {
    /// What was drawn: u, key, confirm key, shares.
    drawn: [Vec<u8>; 3],
    /// As the uploads have them.
    shares: BTreeMap<usize, Vec<u8>>,
    origins: Vec<u8>,
    secret_tag: Vec<u8>,
    confirmation: Option<Vec<u8>>,
}

impl Key {
    fn is_made(&self) -> bool {
        !self.drawn[0].is_empty()
    }
}

fn number(octets: &[u8]) -> u32 {
    octets.iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet))
}

const UPLOAD: u8 = 4;
const UPLOAD_SEALED: u8 = 11;
const DELIVERY_SEALED: u8 = 12;
const SEVERAL: u8 = 14;

/// Where the key id of a share message begins.
fn key_id_at(kind: u8) -> usize {
    if kind > UPLOAD_SEALED - 1 { 12 } else { 11 }
}

impl<'a> Witness<'a> {
    pub(super) fn new(world: &'a World) -> Self {
        let mut witness = Self {
            world,
            suite: Suite::from_id(SuiteId::new(world.options.envelope)).expect("compiled in"),
            sessions: Vec::new(),
            opened: Vec::new(),
            blocks: BTreeMap::new(),
            epochs: BTreeMap::new(),
            about: BTreeMap::new(),
            keys: world.asked.iter().map(|_| Key::default()).collect(),
            purposes: vec![("", None); world.draws.len()],
        };
        for (step, flight) in &world.sent {
            let inner = witness.open(*step, flight);
            witness.opened.push(Opened { flight: flight.clone(), inner });
        }
        witness.explain_draws();
        for opened in witness.opened.clone() {
            for message in opened.messages() {
                witness.explain(&opened.flight, message);
            }
        }
        witness.check_keys();
        witness
    }

    // ---- the envelope

    fn link_keys(&self, link: (usize, usize), initial: usize, salts: [&[u8]; 2]) -> [Vec<u8>; 7] {
        let (client, hub) = link;
        derived(self.suite, self.world.initial_keys(link)[initial], &hub_id(hub), client as u32, salts)
    }

    /// Which of the link's initial keys a hello or the like is under: its tag is right under this one alone.
    fn initial_of(&self, link: (usize, usize), octets: &[u8], before: &[u8]) -> usize {
        let (body, tag) = octets.split_at(octets.len() - 16);
        let verifies = |initial: &usize| {
            let [_, hello, reply, request, ..] = self.link_keys(link, *initial, [&[], &[]]);
            let key = match octets[0] {
                0x11 => hello,
                0x12 => reply,
                _ => request,
            };
            crate::primitives::mac(self.suite, &key, &[before, body].concat())[..16] == *tag
        };
        (0..self.world.initial_keys(link).len()).find(verifies).expect("a right tag")
    }

    /// What is inside of a message; its tags are right, or this program ends.
    fn open(&mut self, step: usize, flight: &Flight) -> Option<Vec<u8>> {
        let (octets, link) = (&flight.octets[..], flight.link());
        let client = (link.0 as u32).to_be_bytes();
        assert_eq!(octets[1..5], client, "the client id");
        match octets[0] {
            0x11 => drop(self.initial_of(link, octets, &[])),
            0x12 => {
                let before = self.input(step);
                let salts = [before[5..21].to_vec(), octets[5..21].to_vec()];
                let initial = self.initial_of(link, octets, &salts[0]);
                assert_eq!(self.initial_of(link, &before, &[]), initial, "under the key of the hello");
                let known = |session: &Session| {
                    (session.link, &session.salts, session.initial) == (link, &salts, initial)
                };
                if !self.sessions.iter().any(known) {
                    let [.., prk, up, down] = self.link_keys(link, initial, [&salts[0], &salts[1]]);
                    self.sessions.push(Session { link, salts, initial, keys: [up, down], prk, used: false });
                }
            }
            0x15 => {
                let before = self.input(step);
                let _ = self.initial_of(link, octets, &before[before.len() - 16..]);
            }
            _ => return Some(self.open_sealed(flight)),
        }
        None
    }

    /// The message that was the input of a step.
    fn input(&self, step: usize) -> Vec<u8> {
        let text = self.world.steps[step]["input"]["octets"].as_str().expect("a message");
        (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex")).collect()
    }

    fn open_sealed(&mut self, flight: &Flight) -> Vec<u8> {
        let octets = &flight.octets;
        let head = if octets[0] == 0x14 { 25 } else { 9 };
        for session in self.sessions.iter_mut().rev().filter(|session| session.link == flight.link()) {
            let key = SecretBytes::try_copied_from(&session.keys[usize::from(flight.direction())])
                .expect("32 octets");
            let nonce = [&[0; 8], &octets[head - 4..head]].concat();
            let mut inner = octets[head..octets.len() - 16].to_vec();
            let tag: [u8; 16] = octets[octets.len() - 16..].try_into().expect("16 octets");
            let nonce: [u8; 12] = nonce.try_into().expect("12 octets");
            if self.suite.open(&key, &nonce, &octets[..head], &mut inner, &tag).is_ok() {
                session.used = true;
                return inner;
            }
        }
        panic!("no session opens {}", hex(octets))
    }

    /// The message that a lying hub sends in the place of an honest one.
    pub(super) fn lied(mut self, flight: &Flight, error: &[u8]) -> Vec<u8> {
        let is_sealed = flight.octets[0] == 0x13;
        let Some(mut inner) = is_sealed.then(|| self.open_sealed(flight)).filter(|inner| inner[0] == 5)
        else {
            return flight.octets.clone();
        };
        let share = inner.len() - 16 - error.len();
        inner[share..].iter_mut().zip(error).for_each(|(octet, error)| *octet ^= error);
        self.reseal(flight, &self.retagged(flight, &inner))
    }

    /// A message with another inside, under the session and the number of `flight`, whose other copy nobody gets.
    pub(super) fn reseal(&self, flight: &Flight, inner: &[u8]) -> Vec<u8> {
        let octets = &flight.octets;
        let head = if octets[0] == 0x14 { 25 } else { 9 };
        self.seal(flight, &octets[..head], inner)
    }

    /// A HELLO_REPLY with the tag that it would have under another of the link's initial keys.
    pub(super) fn replied_under(&self, flight: &Flight, initial: usize, salt: &[u8]) -> Vec<u8> {
        let [_, _, reply, ..] = self.link_keys(flight.link(), initial, [&[], &[]]);
        let body = &flight.octets[..21];
        [body, &crate::primitives::mac(self.suite, &reply, &[salt, body].concat())[..16]].concat()
    }

    /// A message sealed under the keys that another of the link's initial keys gives for the salts of its session.
    pub(super) fn sealed_under(mut self, flight: &Flight, initial: usize) -> Vec<u8> {
        let inner = self.open_sealed(flight);
        let of_link = |session: &&Session| session.link == flight.link() && session.used;
        let [ref salt_c, ref salt_h] = self.sessions.iter().rfind(of_link).expect("a session").salts;
        let [.., up, down] = self.link_keys(flight.link(), initial, [salt_c, salt_h]);
        let key = if flight.direction() == 0 { up } else { down };
        let head = if flight.octets[0] == 0x14 { 25 } else { 9 };
        // Another number, which the sender has not used yet.
        let header = crate::file::flipped(&flight.octets[..head], head - 1, 0x20);
        let nonce = [&[0; 8], &header[head - 4..]].concat();
        let (ciphertext, tag) = crate::primitives::seal(self.suite, &key, &nonce, &header, &inner);
        [header, ciphertext, tag.to_vec()].concat()
    }

    fn seal(&self, flight: &Flight, header: &[u8], inner: &[u8]) -> Vec<u8> {
        let of_link = |session: &&Session| session.link == flight.link() && session.used;
        let session = self.sessions.iter().rfind(of_link).expect("a session");
        let nonce = [&[0; 8], &header[header.len() - 4..]].concat();
        let key = &session.keys[usize::from(flight.direction())];
        let (ciphertext, tag) = crate::primitives::seal(self.suite, key, &nonce, header, inner);
        [header, &ciphertext, &tag].concat()
    }

    // ---- one-time data

    fn table(&self, link: (usize, usize), direction: u8, number: u16) -> &[u8] {
        let of_link = |table: &&super::world::Provisioned| {
            ((table.client, table.hub), table.direction, table.number) == (link, direction, number)
        };
        &self.world.tables.iter().find(of_link).expect("a table").octets
    }

    fn elements(&self, place: Place, from: usize, count: usize) -> &[u8] {
        let (link, direction, table, index) = place;
        let start = (index as usize + from) * 16;
        &self.table(link, direction, table)[start..start + 16 * count]
    }

    pub(super) fn prefix(flight: &Flight) -> Vec<u8> {
        let (client, hub) = flight.link();
        [&[flight.direction()][..], &(client as u32).to_be_bytes(), &hub_id(hub)].concat()
    }

    /// The key of the one-time tag at the end of an inner message.
    pub(super) fn tag_key(&self, flight: &Flight, inner: &[u8]) -> Option<Vec<u8>> {
        let (link, way) = (flight.link(), flight.direction());
        let table = inner.get(1..3).map(number).unwrap_or_default() as u16;
        Some(
            match inner[0] {
                2 => self.elements((link, 1 - way, table, number(&inner[19..23])), 0, 2),
                4 | 5 | 30..=33 => self.elements((link, way, table, number(&inner[3..7])), 2, 2),
                6 | 34 => self.elements((link, 1 - way, table, number(&inner[3..7])), 0, 2),
                _ => return None,
            }
            .to_vec(),
        )
    }

    /// An inner message with the tag that it should have.
    pub(super) fn retagged(&self, flight: &Flight, inner: &[u8]) -> Vec<u8> {
        let body = &inner[..inner.len() - 16];
        let key = self.tag_key(flight, inner).expect("a tagged message");
        [body, &message_tag(&key, &[&Self::prefix(flight)[..], body].concat())].concat()
    }

    /// An upload or delivery with the same share in the block behind the one that it uses. Its tag is not right any more.
    pub(super) fn moved(&self, flight: &Flight, inner: &[u8]) -> Vec<u8> {
        let (link, way, index) = (flight.link(), flight.direction(), number(&inner[3..7]));
        let n = usize::from(inner[45]);
        let share = 52 + n + n.div_ceil(8) + 16;
        let length = (inner.len() - 16 - share) / 16;
        let next = index + 4 + length as u32;
        let pads = [index, next].map(|index| self.elements((link, way, 0, index), 4, length));
        let mut moved = [&inner[..3], &next.to_be_bytes(), &inner[7..]].concat();
        for (place, octet) in moved[share..].iter_mut().take(16 * length).enumerate() {
            *octet ^= pads[0][place] ^ pads[1][place];
        }
        moved
    }

    fn epoch_keys(&self, place: Place, suite: u8) -> [Vec<u8>; 2] {
        let ((client, hub), direction, table, index) = place;
        let context = [
            &[direction][..],
            &(client as u32).to_be_bytes(),
            &hub_id(hub),
            &[suite],
            &table.to_be_bytes(),
            &index.to_be_bytes(),
        ]
        .concat();
        let [answer, share] = [0, 2].map(|from| self.elements(place, from, 2));
        [
            expand_label(self.suite, answer, "skex d1 ep answer", &context, 32),
            expand_label(self.suite, share, "skex d1 ep share", &context, 32),
        ]
    }

    /// What a sealed message or answer holds under its own AEAD.
    fn open_epoch(&self, flight: &Flight, inner: &[u8], key: &[u8], suite: u8, length: usize) -> Vec<u8> {
        let aead = if suite == 2 { SuiteId::SHA256_AES256GCM } else { SuiteId::SHA256_CHACHA20POLY1305 };
        let (head, sealed) = inner.split_at(inner.len() - length - 16);
        let aad = [&Self::prefix(flight)[..], head].concat();
        let nonce: [u8; 12] = core::array::from_fn(|i| if i == 11 { inner[7] } else { 0 });
        let mut plain = sealed[..length].to_vec();
        let tag: [u8; 16] = sealed[length..].try_into().expect("16 octets");
        let key = SecretBytes::try_copied_from(key).expect("32 octets");
        let aead = Suite::from_id(aead).expect("compiled in");
        aead.open(&key, &nonce, &aad, &mut plain, &tag).expect("sealed as the specification says");
        plain
    }

    // ---- what was drawn

    fn explain_draws(&mut self) {
        // Keys that were asked for and not made yet: in one step they are made in the order of their ids.
        let mut waiting = BTreeMap::new();
        let mut making = usize::MAX;
        for place in 0..self.world.draws.len() {
            let draw = &self.world.draws[place];
            let is_start = self.world.steps[draw.step]["input"]["type"] == "Start";
            let is_first = place == 0
                || (self.world.draws[place - 1].end, self.world.draws[place - 1].step)
                    != (draw.end, draw.step);
            self.purposes[place] = match draw.octets.len() {
                8 if is_start && is_first => ("instance", None),
                32 if is_start && draw.end >= 2 => ("bootKey", None),
                48 => {
                    (_, making) = waiting.pop_first().expect("a key that was asked for");
                    self.keys[making].drawn[0] = draw.octets.clone();
                    ("tagKey", None)
                }
                _ if place > 0 && self.purposes[place - 1].0 == "tagKey" => {
                    self.keys[making].drawn[1] = draw.octets.clone();
                    ("key", None)
                }
                _ if place > 0 && self.purposes[place - 1].0 == "key" => {
                    self.keys[making].drawn[2] = draw.octets.clone();
                    ("confirmKey", None)
                }
                16 => {
                    let asked = self.world.asked.iter().position(|asked| asked.id == draw.octets);
                    waiting.extend(asked.map(|asked| (draw.octets.clone(), asked)));
                    if asked.is_some() { ("keyId", None) } else { self.short_draw(place) }
                }
                _ => ("share", None),
            };
        }
    }

    /// 16 octets: a salt or a nonce. Which, and for whom, is seen on the wire.
    fn short_draw(&self, place: usize) -> (&'static str, Option<usize>) {
        let draw = &self.world.draws[place];
        for opened in self.opened.iter().filter(|opened| opened.flight.from == draw.end) {
            let octets = &opened.flight.octets;
            if octets[0] == 0x11 && octets[5..21] == draw.octets {
                // Who is given a key in AwaitReply draws nothing.
                let is_given = self.world.steps[draw.step]["input"]["type"] == "InitialKey";
                let is_probe = is_given || draw.connected[opened.flight.to - 2];
                let what = if is_probe { "probe" } else { "salt" };
                return (what, Some(opened.flight.to));
            }
            if opened.inner.as_ref().is_some_and(|inner| inner[0] == 1 && inner[3..19] == draw.octets) {
                return ("nonce", Some(opened.flight.to));
            }
        }
        panic!("a draw without a purpose in step {}", draw.step)
    }

    // ---- inner messages

    fn explain(&mut self, flight: &Flight, inner: &[u8]) {
        let (link, way, kind) = (flight.link(), flight.direction(), inner[0]);
        if let Some(key) = self.tag_key(flight, inner) {
            let (body, tag) = inner.split_at(inner.len() - 16);
            assert_eq!(
                message_tag(&key, &[&Self::prefix(flight)[..], body].concat()),
                tag,
                "a tag of type {kind}"
            );
        }
        match kind {
            UPLOAD | 5 | UPLOAD_SEALED | DELIVERY_SEALED => self.explain_share(flight, inner),
            6 | 13 => {
                let place = (link, 1 - way, number(&inner[1..3]) as u16, number(&inner[3..7]));
                let sealed = kind == 13;
                if sealed {
                    let suite = self.epochs[&place];
                    let [answer, _] = self.epoch_keys(place, suite);
                    self.open_epoch(flight, inner, &answer, suite, 0);
                }
                let head = if sealed { 9 } else { 8 };
                let count = if sealed { inner[7] } else { 0 };
                if inner.len() > head + 16 {
                    let key = self.about[&(place, count)];
                    self.keys[key].confirmation = Some(inner[head..inner.len() - 16].to_vec());
                }
            }
            30..=33 => {
                let place = (link, way, number(&inner[1..3]) as u16, number(&inner[3..7]));
                self.blocks.insert(place, 0);
            }
            _ => {}
        }
    }

    fn explain_share(&mut self, flight: &Flight, inner: &[u8]) {
        let (link, way, kind) = (flight.link(), flight.direction(), inner[0]);
        let is_sealed = kind >= UPLOAD_SEALED;
        let place = (link, way, number(&inner[1..3]) as u16, number(&inner[3..7]));
        let at = key_id_at(kind);
        let asked = self.world.asked.iter().position(|asked| asked.id == inner[at..at + 16]).expect("a key");
        let (n, terms) = (usize::from(inner[at + 34]), at + 41);
        let length = (5 + self.world.asked[asked].wanted.key_len.div_ceil(16) as usize) * 16;
        let share = if is_sealed {
            let suite = inner[at + 32];
            self.epochs.insert(place, suite);
            let [_, key] = self.epoch_keys(place, suite);
            self.open_epoch(flight, inner, &key, suite, length)
        } else {
            self.blocks.insert(place, length / 16);
            let pad = self.elements(place, 4, length / 16);
            let origins = terms + n;
            let sent = &inner[origins + n.div_ceil(8) + 16..inner.len() - 16];
            if sent.is_empty() { pad.to_vec() } else { sent.iter().zip(pad).map(|(a, b)| a ^ b).collect() }
        };
        let count = if is_sealed { inner[7] } else { 0 };
        self.about.insert((place, count), asked);
        let key = &mut self.keys[asked];
        key.origins = inner[terms + n..terms + n + n.div_ceil(8)].to_vec();
        let tag_at = terms + n + n.div_ceil(8);
        key.secret_tag = inner[tag_at..tag_at + 16].to_vec();
        let (_, hub) = link;
        let error = self.world.error(hub).filter(|_| way == 1).unwrap_or_default();
        let share: Vec<u8> =
            share.iter().enumerate().map(|(i, octet)| octet ^ error.get(i).unwrap_or(&0)).collect();
        let before = key.shares.insert(hub, share.clone());
        assert!(before.is_none_or(|before| before == share), "one share a hub");
    }

    // ---- keys

    fn context(&self, place: usize) -> Vec<u8> {
        let (asked, key) = (&self.world.asked[place], &self.keys[place]);
        let wanted = asked.wanted;
        let mut context = vec![1, wanted.suite.id().value()];
        context.extend([&asked.id[..], &tag(asked.initiator), &tag(asked.responder)].concat());
        context.extend([wanted.threshold, self.world.hubs_of(wanted).count() as u8]);
        context.extend(wanted.key_len.to_be_bytes());
        context.extend(wanted.lifetime.to_be_bytes());
        for (i, hub) in self.world.hubs_of(wanted).enumerate() {
            context.extend(hub_id(hub));
            context.extend([coordinate(hub), key.origins[i / 8] >> (i % 8) & 1]);
        }
        context
    }

    fn block(&self, place: usize) -> Vec<u8> {
        let [tag_key, key, confirm] = &self.keys[place].drawn;
        [&tag_key[..], key, &vec![0; key.len().next_multiple_of(16) - key.len()], confirm].concat()
    }

    fn check_keys(&self) {
        for (place, key) in self.keys.iter().enumerate().filter(|(_, key)| key.is_made()) {
            let (block, context) = (self.block(place), self.context(place));
            assert_eq!(secret_tag(&block[..48], &block[48..], &context), key.secret_tag[..], "o");
            let threshold = usize::from(self.world.asked[place].wanted.threshold);
            let points: Vec<(u8, &[u8])> =
                key.shares.iter().map(|(hub, share)| (coordinate(*hub), &share[..])).collect();
            for chosen in points.windows(threshold) {
                assert_eq!(interpolate(chosen, 0), block, "the shares are on one polynomial");
            }
            if let Some(confirmation) = &key.confirmation {
                let (bitmaps, tag) = confirmation.split_at(confirmation.len() - 16);
                assert_eq!(message_tag(&key.drawn[2], &[&context[..], bitmaps].concat()), tag, "B's tag");
            }
            for (id, given) in &self.world.given {
                assert!(
                    *id != self.world.asked[place].id || *given == key.drawn[1],
                    "the key that was drawn"
                );
            }
        }
    }

    // ---- what is written

    /// The steps, with what is inside each message and what each draw was for.
    pub(super) fn steps(&self) -> Vec<Value> {
        let mut steps = self.world.steps.clone();
        for (draw, (what, about)) in self.world.draws.iter().zip(&self.purposes) {
            let draws = steps[draw.step]["draws"].as_array_mut().expect("a list");
            draws.push(json!({
                "what": what,
                "about": about.map(|end| self.world.name(end)),
                "length": draw.octets.len(),
            }));
        }
        let mut opened = self.opened.iter();
        for step in &mut steps {
            for output in step["outputs"].as_array_mut().expect("a list") {
                if output["type"] == "Send" {
                    let sent = opened.next().expect("every message was opened");
                    let fields = output.as_object_mut().expect("an object");
                    let octets = fields.remove("octets").expect("octets");
                    fields.insert("message".into(), message(sent).into());
                    fields.insert("choices".into(), Value::Object(self.choices(sent)));
                    fields.insert("body".into(), sent.inner.as_deref().and_then(body).map(hex).into());
                    fields.insert("messages".into(), self.contained(sent).into());
                    fields.insert("inner".into(), sent.inner.as_deref().map(hex).into());
                    fields.insert("octets".into(), octets);
                }
            }
        }
        steps
    }

    /// The numbers of a message that its sender chose, and that follow from nothing else here.
    fn choices(&self, sent: &Opened) -> Map<String, Value> {
        let mut choices = Map::new();
        let mut put = |name: &str, value: u32| drop(choices.insert(name.into(), value.into()));
        let Some(inner) = &sent.inner else {
            let (link, octets) = (sent.flight.link(), &sent.flight.octets);
            if octets[0] == 0x11 && self.world.initial_keys(link).len() > 1 {
                put("initialKey", self.initial_of(link, octets, &[]) as u32);
            }
            return choices;
        };
        let is_fresh = sent.flight.octets[0] == 0x14;
        put("fresh", u32::from(is_fresh));
        let seq = if is_fresh { 21 } else { 5 };
        put("seq", number(&sent.flight.octets[seq..seq + 4]));
        choices.extend(self.numbers(inner));
        choices
    }

    /// What is in a SEVERAL.
    fn contained(&self, sent: &Opened) -> Option<Vec<Value>> {
        let message = |inner: &[u8]| json!({ "message": name(inner[0]), "choices": self.numbers(inner), "inner": hex(inner) });
        let messages = sent.messages();
        (messages.len() > 1).then(|| messages.into_iter().map(message).collect())
    }

    /// Of the numbers that were chosen, those within the envelope.
    fn numbers(&self, inner: &[u8]) -> Map<String, Value> {
        let mut numbers = Map::new();
        let mut put = |name: &str, value: u32| drop(numbers.insert(name.into(), value.into()));
        let at = |from: usize, length: usize| number(&inner[from..from + length]);
        let kind = inner[0];
        if matches!(kind, 1..=7 | 11..=13 | 30..=34) {
            put("table", at(1, 2));
        }
        if matches!(kind, 4..=7 | 11..=13 | 30..=34) {
            put("index", at(3, 4));
        }
        match kind {
            1 => {
                put("mark", at(19, 4));
                put("want", at(23, 4));
            }
            2 => {
                put("start", at(19, 4));
                put("end", at(23, 4));
            }
            3 => put("mark", at(19, 4)),
            4 | 5 | 30..=33 => put("floor", at(7, 4)),
            11 | 12 => {
                put("number", at(7, 1));
                put("floor", at(8, 4));
            }
            6 | 34 => put("status", at(7, 1)),
            13 => {
                put("number", at(7, 1));
                put("status", at(8, 1));
            }
            10 => put("waiting", at(1, 2)),
            20 => {
                put("direction", at(1, 1));
                put("table", at(2, 2));
                put("elements", at(4, 4));
                put("first", at(8, 4));
                put("count", (inner.len() as u32 - 12) / 16);
            }
            21 => {
                put("direction", at(1, 1));
                put("table", at(2, 2));
                put("next", at(4, 4));
            }
            _ => {}
        }
        if matches!(kind, 4 | 5 | 11 | 12) {
            let at = key_id_at(kind);
            let key = self.world.asked.iter().position(|asked| asked.id == inner[at..at + 16]);
            put("key", key.expect("a key") as u32);
            if kind == UPLOAD {
                put("direct", u32::from(inner.len() < 16 * 7 + 84));
            }
        }
        if kind == 8 {
            let key = self.world.asked.iter().position(|asked| asked.id == inner[1..17]);
            put("key", key.expect("a key") as u32);
        }
        numbers
    }

    pub(super) fn sessions(&self) -> Vec<Value> {
        let value = |session: &Session| {
            let (client, hub) = session.link;
            json!({
                "client": self.world.name(client),
                "hub": self.world.name(hub),
                "saltC": hex(&session.salts[0]),
                "saltH": hex(&session.salts[1]),
                "prk": hex(&session.prk),
                "uplinkKey": hex(&session.keys[0]),
                "downlinkKey": hex(&session.keys[1]),
            })
        };
        self.sessions.iter().filter(|session| session.used).map(value).collect()
    }

    fn at(&self, place: Place) -> Value {
        let ((client, hub), direction, table, index) = place;
        json!({
            "client": self.world.name(client),
            "hub": self.world.name(hub),
            "direction": direction,
            "table": table,
            "index": index,
        })
    }

    pub(super) fn blocks(&self) -> Vec<Value> {
        let value = |(place, pad): (&Place, &usize)| {
            let mut value = self.at(*place);
            value["answerKey"] = hex(self.elements(*place, 0, 2)).into();
            value["messageKey"] = hex(self.elements(*place, 2, 2)).into();
            value["pad"] = hex(self.elements(*place, 4, *pad)).into();
            value
        };
        self.blocks.iter().map(value).collect()
    }

    pub(super) fn epochs(&self) -> Vec<Value> {
        let value = |(place, suite): (&Place, &u8)| {
            let [answer, share] = self.epoch_keys(*place, *suite);
            let mut value = self.at(*place);
            value["suite"] = (*suite).into();
            value["answerKey"] = hex(&answer).into();
            value["shareKey"] = hex(&share).into();
            value
        };
        self.epochs.iter().map(value).collect()
    }

    pub(super) fn keys(&self) -> Vec<Value> {
        let made = self.keys.iter().filter(|key| key.is_made()).count();
        assert!(self.keys[..made].iter().all(Key::is_made), "a key that is not made is behind all that are");
        (0..made).map(|place| self.key(place)).collect()
    }

    pub(super) fn key(&self, place: usize) -> Value {
        let (asked, key) = (&self.world.asked[place], &self.keys[place]);
        let shares: Vec<Value> = key
            .shares
            .iter()
            .map(|(hub, share)| json!({ "coordinate": coordinate(*hub), "share": hex(share) }))
            .collect();
        let confirmation = key.confirmation.as_ref().map(|octets| {
            let bitmap = (octets.len() - 16) / 2;
            json!({
                "origins": hex(&octets[..bitmap]),
                "lying": hex(&octets[bitmap..2 * bitmap]),
                "tag": hex(&octets[2 * bitmap..]),
            })
        });
        json!({
            "keyId": hex(&asked.id),
            "initiator": hex(&tag(asked.initiator)),
            "responder": hex(&tag(asked.responder)),
            "suite": asked.wanted.suite.id().value(),
            "threshold": asked.wanted.threshold,
            "keyLength": asked.wanted.key_len,
            "lifetime": asked.wanted.lifetime,
            "origins": hex(&key.origins),
            "context": hex(&self.context(place)),
            "tagKey": hex(&key.drawn[0]),
            "key": hex(&key.drawn[1]),
            "confirmKey": hex(&key.drawn[2]),
            "block": hex(&self.block(place)),
            "secretTag": hex(&key.secret_tag),
            "shares": shares,
            "confirmation": confirmation,
        })
    }
}

/// The name of a message.
pub(super) fn message(sent: &Opened) -> &'static str {
    match (&sent.inner, sent.flight.octets[0]) {
        (None, 0x11) => "HELLO",
        (None, 0x12) => "HELLO_REPLY",
        (None, _) => "HELLO_REQUEST",
        (Some(inner), _) => name(inner[0]),
    }
}

fn name(kind: u8) -> &'static str {
    match kind {
        1 => "LEASE_REQUEST",
        2 => "LEASE_GRANT",
        3 => "LEASE_DENIED",
        4 => "UPLOAD",
        5 => "DELIVERY",
        6 => "ANSWER",
        7 => "BUSY",
        8 => "CONFIRM",
        9 => "FETCH",
        10 => "FETCHED",
        11 => "UPLOAD_SEALED",
        12 => "DELIVERY_SEALED",
        13 => "ANSWER_SEALED",
        SEVERAL => "SEVERAL",
        20 => "REFILL",
        21 => "REFILLED",
        30 => "LOOKUP",
        31 => "PUBLISH",
        32 => "WITHDRAW",
        33 => "AUTHORISE",
        34 => "OUTCOME",
        other => panic!("a type that is not known here: {other}"),
    }
}

/// What a command asks, and what an outcome found: neither a number, nor computed.
fn body(inner: &[u8]) -> Option<&[u8]> {
    match inner[0] {
        30..=33 => Some(&inner[11..inner.len() - 16]),
        34 => Some(&inner[8..inner.len() - 16]),
        _ => None,
    }
}
