//! Two real peers, driven step by step, with everything written down.

use core::time::Duration;

use serde_json::{Value, json};
use skex_core::machine::{Destination, Disposition, Instant, Output, PathId};
use skex_core::{KeyId, Label, SecretBytes, Suite};
use skex_sim::Tape;
use skex_unmediated::{Confirmation, Event, MixBlock, MixPolicy, Peer, PeerConfig, RECOVERY_LANE, Side};

use super::super::schedule::{Enrolment, Epoch};
use super::super::{letter, number, other, suite};
use crate::file::hex;

/// The path on which messages arrive where the test says nothing else.
pub(super) const PATH: u64 = 1;

/// What a test chooses.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) initial: u8,
    /// Of a and of b.
    pub(super) suites: [Vec<u8>; 2],
    pub(super) consumer: bool,
    pub(super) stateless: bool,
    pub(super) lane: u8,
    /// Of a and of b.
    pub(super) mix: [MixPolicy; 2],
    /// How many blocks of fresh secret material there are.
    pub(super) blocks: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            initial: 1,
            suites: [vec![1, 2], vec![1, 2]],
            consumer: false,
            stateless: false,
            lane: 0,
            mix: [MixPolicy::Accept; 2],
            blocks: 0,
        }
    }
}

impl Options {
    /// Both ends have one suite and no other.
    pub(super) fn only(suite: Suite) -> Self {
        let suites = vec![number(suite)];
        Self { initial: number(suite), suites: [suites.clone(), suites], ..Self::default() }
    }
}

pub(super) const TRIES: u8 = 5;

/// An end, its store and its source of random octets.
struct End {
    peer: Option<Peer>,
    slots: [Vec<u8>; 2],
    writes: usize,
    tape: Tape,
    boot: Vec<u8>,
    deadline: Option<u64>,
}

/// A message that an end sent.
pub(super) struct Sent {
    pub(super) side: u8,
    /// BK of the sender.
    pub(super) boot: Vec<u8>,
    pub(super) time: u64,
    pub(super) path: Option<u64>,
    pub(super) octets: Vec<u8>,
}

/// A key that an end gave.
pub(super) struct Given {
    pub(super) session: Vec<u8>,
    pub(super) index: u64,
    pub(super) label: String,
    pub(super) context: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// What a recovery gave: the new enrolment secret of the pair, and what the recovery lanes of a and b stored when it had gone
/// through, and after it was concluded.
pub(super) struct Recovered {
    pub(super) secret: Vec<u8>,
    pub(super) ready: [Vec<u8>; 2],
    pub(super) over: [Vec<u8>; 2],
}

pub(super) struct World {
    pub(super) options: Options,
    pub(super) enrolment: Enrolment,
    pub(super) secret: Vec<u8>,
    /// Of the recoveries that enrolled this lane anew.
    pub(super) new_secrets: Vec<Vec<u8>>,
    pub(super) blocks: Vec<Vec<u8>>,
    ends: [End; 2],
    pub(super) now: u64,
    pub(super) steps: Vec<Value>,
    pub(super) sent: Vec<Sent>,
    pub(super) given: Vec<Given>,
    pub(super) records: Vec<Vec<u8>>,
    pub(super) sessions: Vec<(u64, Vec<u8>)>,
    /// Label and context that the next key is for.
    asked: (String, Vec<u8>),
    accepted: bool,
}

impl World {
    /// Two ends before their enrolment; `tapes` are longer than they need.
    pub(super) fn new(options: Options, secret: Vec<u8>, blocks: Vec<Vec<u8>>, tapes: [Vec<u8>; 2]) -> Self {
        let end = |octets| End {
            peer: None,
            slots: [Vec::new(), Vec::new()],
            writes: 0,
            tape: Tape::new(octets),
            boot: Vec::new(),
            deadline: None,
        };
        let enrolment = Enrolment {
            names: [b"alice".to_vec(), b"bob".to_vec()],
            lane: options.lane,
            suite: suite(options.initial),
            context: b"vectors".to_vec(),
        };
        Self {
            options,
            enrolment,
            secret,
            new_secrets: Vec::new(),
            blocks,
            ends: tapes.map(end),
            now: 0,
            steps: Vec::new(),
            sent: Vec::new(),
            given: Vec::new(),
            records: Vec::new(),
            sessions: Vec::new(),
            asked: (String::new(), Vec::new()),
            accepted: false,
        }
    }

    fn end(&mut self, side: u8) -> &mut End {
        &mut self.ends[usize::from(side == b'b')]
    }

    pub(super) fn peer(&mut self, side: u8) -> &mut Peer {
        self.end(side).peer.as_mut().expect("this end is up")
    }

    /// How much of its tape an end used.
    pub(super) fn used(&self, at: usize) -> usize {
        self.ends[at].tape.used()
    }

    /// Whether an end drew these octets in a row.
    pub(super) fn drew(&self, side: u8, octets: &[u8]) -> bool {
        let tape = &self.ends[usize::from(side == b'b')].tape;
        tape.drawn().windows(octets.len()).any(|window| window == octets)
    }

    pub(super) fn slots(&mut self, side: u8) -> [Vec<u8>; 2] {
        self.end(side).slots.clone()
    }

    /// The records that rule.
    pub(super) fn stored(&self) -> [Vec<u8>; 2] {
        self.ends
            .each_ref()
            .map(|end| end.slots.iter().find(|slot| !slot.is_empty()).expect("a record").clone())
    }

    /// The chain key of epoch 0.
    pub(super) fn epoch_0(&self) -> Epoch {
        self.epoch_0_of(&self.secret)
    }

    /// That of an enrolment with this secret.
    pub(super) fn epoch_0_of(&self, secret: &[u8]) -> Epoch {
        let chain_key = self.enrolment.chain_key(secret);
        Epoch { number: 0, suite: self.enrolment.suite, chain_key }
    }

    fn with_config<T>(&mut self, side: u8, run: impl FnOnce(&PeerConfig<'_>, &mut End) -> T) -> T {
        let at = usize::from(side == b'b');
        let suites: Vec<Suite> = self.options.suites[at].iter().map(|id| suite(*id)).collect();
        let [a, b] = &self.enrolment.names;
        let (own_side, own, peer) = if at == 0 { (Side::A, a, b) } else { (Side::B, b, a) };
        let mut config = PeerConfig::new(own_side, own, peer)
            .context(&self.enrolment.context)
            .lane(self.enrolment.lane)
            .initial_suite(self.enrolment.suite)
            .suites(&suites)
            .stateless(self.options.stateless)
            .mix(self.options.mix[at])
            .retransmit(Duration::from_secs(1), TRIES);
        if self.options.consumer {
            config = config.confirmation(Confirmation::Consumer);
        }
        run(&config, &mut self.ends[at])
    }

    /// Enrols both ends.
    pub(super) fn enrol(&mut self) {
        for side in [b'a', b'b'] {
            let before = self.end(side).tape.used();
            let (secret, now) = (self.secret.clone(), Instant::from_millis(self.now));
            self.with_config(side, |config, end| {
                end.peer = Some(Peer::enrol(config, &secret, now, &mut end.tape).expect("good options"));
            });
            self.started(side, before);
            self.finish(side, json!({ "type": "Enrol" }), before);
        }
    }

    /// The end loses its memory and starts again, from what is in its slots.
    pub(super) fn restart(&mut self, side: u8) -> Vec<Vec<u8>> {
        let slots = self.slots(side);
        self.restore(side, slots)
    }

    pub(super) fn restore(&mut self, side: u8, slots: [Vec<u8>; 2]) -> Vec<Vec<u8>> {
        let before = self.end(side).tape.used();
        let now = Instant::from_millis(self.now);
        self.with_config(side, |config, end| {
            let slots = [&slots[0][..], &slots[1][..]];
            end.peer = Some(Peer::restore(config, slots, now, &mut end.tape).expect("good slots"));
        });
        self.started(side, before);
        let input = json!({ "type": "Restore", "slots": slots.each_ref().map(|slot| hex(slot)) });
        self.end(side).slots = slots;
        self.finish(side, input, before)
    }

    fn started(&mut self, side: u8, before: usize) {
        let end = self.end(side);
        end.boot = end.tape.drawn()[before + 8..before + 40].to_vec();
    }

    pub(super) fn establish(&mut self, side: u8) -> Vec<Vec<u8>> {
        let (before, now) = (self.end(side).tape.used(), Instant::from_millis(self.now));
        let End { peer, tape, .. } = self.end(side);
        peer.as_mut().expect("this end is up").establish(now, tape).expect("nothing forbids it");
        self.finish(side, json!({ "type": "Establish" }), before)
    }

    pub(super) fn deliver(&mut self, side: u8, octets: &[u8]) -> Vec<Vec<u8>> {
        let sent = self.deliver_from(PATH, side, octets);
        assert!(self.accepted, "{} discards {}", letter(side), hex(octets));
        sent
    }

    pub(super) fn deliver_from(&mut self, path: u64, side: u8, octets: &[u8]) -> Vec<Vec<u8>> {
        let (before, now) = (self.end(side).tape.used(), Instant::from_millis(self.now));
        let End { peer, tape, .. } = self.end(side);
        let peer = peer.as_mut().expect("this end is up");
        let disposition = peer.handle_message(now, tape, PathId::new(path), octets).expect("never an error");
        self.accepted = disposition == Disposition::Accepted;
        let input =
            json!({ "type": "Message", "path": path, "octets": hex(octets), "accepted": self.accepted });
        self.finish(side, input, before)
    }

    /// An end gets a message that it must discard.
    pub(super) fn refuse(&mut self, side: u8, octets: &[u8]) {
        let sent = self.sent.len();
        let _ = self.deliver_from(PATH, side, octets);
        assert!(!self.accepted, "{} takes {}", letter(side), hex(octets));
        let outputs = &self.steps.last().expect("a step")["outputs"];
        assert!(self.sent.len() == sent && outputs.as_array().is_some_and(Vec::is_empty), "{outputs}");
    }

    /// An end gets a message that it must discard, and of which it tells its application this and nothing else.
    pub(super) fn discard_aloud(&mut self, side: u8, octets: &[u8], event: &str) {
        let sent = self.sent.len();
        let _ = self.deliver_from(PATH, side, octets);
        assert!(!self.accepted, "{} takes {}", letter(side), hex(octets));
        let outputs = &self.steps.last().expect("a step")["outputs"];
        let told = json!([{ "type": "Event", "event": event, "sessionId": null }]);
        assert!(self.sent.len() == sent && *outputs == told, "{outputs}");
    }

    /// The time comes for which the end waits.
    pub(super) fn timeout(&mut self, side: u8) -> Vec<Vec<u8>> {
        let deadline = self.end(side).deadline.expect("it waits for something");
        self.now = self.now.max(deadline);
        let (before, now) = (self.end(side).tape.used(), Instant::from_millis(self.now));
        let End { peer, tape, .. } = self.end(side);
        peer.as_mut().expect("this end is up").handle_timeout(now, tape).expect("never an error");
        self.finish(side, json!({ "type": "Timeout" }), before)
    }

    /// The end is under load from now on, or no more.
    pub(super) fn load(&mut self, side: u8, demanded: bool) {
        let before = self.end(side).tape.used();
        self.peer(side).demand_cookies(demanded);
        self.finish(side, json!({ "type": "Load", "demanded": demanded }), before);
    }

    /// The end is provided with the block of this number.
    pub(super) fn provide(&mut self, side: u8, number: usize) {
        let (before, block) = (self.end(side).tape.used(), self.blocks[number].clone());
        let block = MixBlock::new(SecretBytes::try_copied_from(&block).expect("32 octets"));
        self.peer(side).provide_mix(&block).expect("room");
        self.finish(side, json!({ "type": "Provide", "block": number }), before);
    }

    /// Both are.
    pub(super) fn provide_both(&mut self, number: usize) {
        self.provide(b'a', number);
        self.provide(b'b', number);
    }

    pub(super) fn withdraw(&mut self, side: u8) {
        let before = self.end(side).tape.used();
        self.peer(side).withdraw_mixes();
        self.finish(side, json!({ "type": "Withdraw" }), before);
    }

    /// The operator opens a recovery lane.
    pub(super) fn allow(&mut self, side: u8) {
        let before = self.end(side).tape.used();
        self.peer(side).allow_recovery();
        self.finish(side, json!({ "type": "Allow" }), before);
    }

    /// The other lanes were enrolled with what this recovery lane gave.
    pub(super) fn conclude(&mut self, side: u8) {
        let before = self.end(side).tape.used();
        self.peer(side).conclude_recovery().expect("a recovery");
        self.finish(side, json!({ "type": "Conclude" }), before);
    }

    pub(super) fn enrol_by_recovery(&mut self, side: u8, recovered: &Recovered) {
        if !self.new_secrets.contains(&recovered.secret) {
            self.new_secrets.push(recovered.secret.clone());
        }
        let before = self.end(side).tape.used();
        let record = recovered.ready[usize::from(side == b'b')].clone();
        let lane = self.recovery_lane(side, &record);
        self.peer(side).enrol_by_recovery(&lane).expect("a recovery");
        let input =
            json!({ "type": "EnrolByRecovery", "record": hex(&record), "secret": hex(&recovered.secret) });
        self.finish(side, input, before);
    }

    pub(super) fn release(&mut self, side: u8, recovered: &Recovered) {
        let before = self.end(side).tape.used();
        let record = recovered.over[usize::from(side == b'b')].clone();
        let lane = self.recovery_lane(side, &record);
        self.peer(side).release(&lane).expect("nothing left to do");
        self.finish(side, json!({ "type": "Release", "record": hex(&record) }), before);
    }

    /// The recovery lane of the pair at this end, as it was stored.
    fn recovery_lane(&mut self, side: u8, record: &[u8]) -> Peer {
        let now = Instant::from_millis(self.now);
        let mut lane = self.with_config(side, |config, _| {
            let mut tape = Tape::new([0; 64]);
            Peer::restore(&config.lane(RECOVERY_LANE), [record, &[]], now, &mut tape).expect("a record")
        });
        let Output::Persist(checkpoint) = lane.poll_output() else { panic!("written anew first") };
        let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(())).expect("stored");
        lane.handle_persisted(receipt).expect("its own receipt");
        lane
    }

    pub(super) fn session(&mut self, side: u8) -> KeyId {
        self.peer(side).session().expect("a session").id
    }

    pub(super) fn confirm(&mut self, side: u8) {
        let (before, session) = (self.end(side).tape.used(), self.session(side));
        self.peer(side).confirm(session).expect("the session");
        self.finish(side, json!({ "type": "Confirm", "sessionId": hex(session.as_bytes()) }), before);
    }

    /// The end names an output; its index.
    pub(super) fn name(&mut self, side: u8, label: Label, context: &[u8]) -> u64 {
        let before = self.end(side).tape.used();
        let key = self.peer(side).export_next(label, context).expect("an output");
        let text = core::str::from_utf8(label.as_bytes()).expect("ASCII");
        let octets = key.secret().expose().to_vec();
        let input = json!({
            "type": "Name",
            "label": text,
            "context": hex(context),
            "index": key.index(),
            "key": hex(&octets),
        });
        let session = key.id().as_bytes().to_vec();
        let given = (key.index(), text.to_owned(), context.to_vec());
        self.given.push(Given { session, index: given.0, label: given.1, context: given.2, key: octets });
        self.finish(side, input, before);
        key.index()
    }

    /// The end answers an output that its peer named.
    pub(super) fn answer(&mut self, side: u8, index: u64, label: Label, context: &[u8]) {
        let before = self.end(side).tape.used();
        let session = self.session(side);
        self.peer(side).export_at(session, index, label, context).expect("an output");
        let text = core::str::from_utf8(label.as_bytes()).expect("ASCII");
        let input = json!({ "type": "Answer", "index": index, "label": text, "context": hex(context) });
        self.asked = (text.to_owned(), context.to_vec());
        let given = self.given.len();
        self.finish(side, input, before);
        assert_eq!(self.given.len(), given + 1, "a key");
    }

    /// Both ends get one key that `owner` names.
    pub(super) fn share_key(&mut self, owner: u8, label: Label, context: &[u8]) {
        let index = self.name(owner, label, context);
        self.answer(other(owner), index, label, context);
        let [.., one, two] = &self.given[..] else { panic!("two keys") };
        assert_eq!(one.key, two.key);
    }

    /// Carries out what the end wants, and writes the step down.
    fn finish(&mut self, side: u8, input: Value, before: usize) -> Vec<Vec<u8>> {
        let mut outputs = Vec::new();
        let mut sent = Vec::new();
        let (deadline, epoch) = loop {
            match self.peer(side).poll_output() {
                Output::Persist(checkpoint) => {
                    let record = checkpoint.record().as_bytes().to_vec();
                    outputs.push(json!({ "type": "Store", "record": hex(&record) }));
                    self.records.push(record.clone());
                    let end = self.end(side);
                    let slot = end.writes % 2;
                    end.writes += 1;
                    end.slots[slot] = record;
                    end.slots[1 - slot].clear();
                    let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(())).expect("stored");
                    self.peer(side).handle_persisted(receipt).expect("its own receipt");
                }
                Output::Transmit(transmit) => {
                    let path = match transmit.to {
                        Destination::Path(path) => Some(path.number()),
                        Destination::Peer(_) => None,
                        other => panic!("a destination that is not known here: {other:?}"),
                    };
                    let octets = transmit.payload.as_bytes().to_vec();
                    outputs.push(json!({ "type": "Send", "path": path, "octets": hex(&octets) }));
                    sent.push(octets.clone());
                    let (boot, time) = (self.end(side).boot.clone(), self.now);
                    self.sent.push(Sent { side, boot, time, path, octets });
                }
                Output::Event(event) => outputs.push(self.event(&event)),
                Output::Wait(deadline) => {
                    break (deadline.map(Instant::as_millis), self.peer(side).epoch());
                }
            }
        };
        let end = self.end(side);
        end.deadline = deadline;
        let draws = end.tape.used() - before;
        self.steps.push(json!({
            "end": letter(side),
            "time": self.now,
            "input": input,
            "draws": draws,
            "outputs": outputs,
            "deadline": deadline,
            "epoch": epoch,
        }));
        sent
    }

    fn event(&mut self, event: &Event) -> Value {
        let named = |name: &str, id: Option<&KeyId>| json!({ "type": "Event", "event": name, "sessionId": id.map(|id| hex(id.as_bytes())) });
        match event {
            Event::Established(session) => {
                self.sessions.push((session.epoch, session.id.as_bytes().to_vec()));
                named("established", Some(&session.id))
            }
            Event::Resumed(session) => named("resumed", Some(&session.id)),
            Event::Confirmed(id) => named("confirmed", Some(id)),
            Event::Void(id) => named("void", Some(id)),
            Event::PeerVoid(id) => named("peerVoid", Some(id)),
            Event::Expired(id) => named("expired", Some(id)),
            Event::Unanswered => named("unanswered", None),
            Event::RolledBack => named("rolledBack", None),
            Event::MixStored => named("mixStored", None),
            Event::MixLost => named("mixLost", None),
            Event::MixRefused => named("mixRefused", None),
            Event::KeyReady(key) => {
                let octets = key.secret().expose().to_vec();
                let (label, context) = self.asked.clone();
                let session = key.id().as_bytes().to_vec();
                self.given.push(Given { session, index: key.index(), label, context, key: octets.clone() });
                json!({ "type": "Key", "index": key.index(), "key": hex(&octets) })
            }
            other => panic!("an event that is not known here: {other:?}"),
        }
    }
}
