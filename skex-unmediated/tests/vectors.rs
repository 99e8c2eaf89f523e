//! The published exchanges and records, against real peers through their public interface: each end gets what the file
//! says, draws what the file says, and must do what the file says, octet by octet.
#![cfg(feature = "all-suites")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use core::time::Duration;

use skex_core::machine::{Destination, DiscardReason, Disposition, Instant, Output, PathId};
use skex_core::record::RecordError;
use skex_core::{KeyId, Label, SecretBytes, Suite};
use skex_sim::Tape;
use skex_testvectors::unmediated_records::{self, RestoreGroup, RestoreTest};
use skex_testvectors::unmediated_transcripts::{self, End, ExchangeTest, Input, Step};
use skex_testvectors::{Hex, Layer, Verdict};
use skex_unmediated::{
    Confirmation, Event, MixBlock, MixPolicy, Peer, PeerConfig, RECOVERY_LANE, RestoreError, Side,
};
use skex_wire::SuiteId;

/// The recovery lane of the pair at this end, as it was stored.
fn recovery_lane(config: &PeerConfig<'_>, record: &Hex, now: Instant) -> Peer {
    let slots = [record.as_bytes(), &[]];
    let mut lane = Peer::restore(&config.lane(RECOVERY_LANE), slots, now, &mut Tape::new([0; 64])).unwrap();
    let Output::Persist(checkpoint) = lane.poll_output() else { panic!("written anew first") };
    let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap();
    lane.handle_persisted(receipt).unwrap();
    lane
}

fn suite(number: u8) -> Suite {
    Suite::from_id(SuiteId::new(number)).expect("a suite of the vectors")
}

fn label(text: &str) -> Label {
    *Label::ALL.iter().find(|label| label.as_bytes() == text.as_bytes()).expect("a label")
}

fn id(octets: &Hex) -> KeyId {
    KeyId::new(octets.array().unwrap())
}

fn side(letter: &str) -> Side {
    if letter == "a" { Side::A } else { Side::B }
}

fn policy(name: &str) -> MixPolicy {
    match name {
        "never" => MixPolicy::Never,
        "accept" => MixPolicy::Accept,
        "require" => MixPolicy::Require,
        other => panic!("no policy {other}"),
    }
}

/// One end of an exchange.
struct Player<'a> {
    peer: Option<Peer>,
    tape: Tape,
    config: PeerConfig<'a>,
    blocks: &'a [Hex],
    slots: [Vec<u8>; 2],
    writes: usize,
}

impl<'a> Player<'a> {
    fn new(test: &'a ExchangeTest, end: &'a End, suites: &'a [Suite]) -> Self {
        let (a, b) = (test.name_a.as_bytes(), test.name_b.as_bytes());
        let (own, peer) = if end.side == "a" { (a, b) } else { (b, a) };
        let mut config = PeerConfig::new(side(&end.side), own, peer)
            .context(test.context.as_bytes())
            .lane(test.lane)
            .initial_suite(suite(test.initial_suite))
            .suites(suites)
            .stateless(end.stateless)
            .mix(policy(&end.mix))
            .retransmit(Duration::from_secs(1), end.tries);
        if end.consumer_confirms {
            config = config.confirmation(Confirmation::Consumer);
        }
        let tape = Tape::new(end.random.as_bytes());
        Self { peer: None, tape, config, blocks: &test.blocks, slots: [Vec::new(), Vec::new()], writes: 0 }
    }

    fn play(&mut self, secret: &Hex, step: &Step, place: &str) -> Option<DiscardReason> {
        let (now, before) = (Instant::from_millis(step.time), self.tape.used());
        let mut discarded = None;
        match &step.input {
            Input::Enrol {} => {
                let peer = Peer::enrol(&self.config, secret.as_bytes(), now, &mut self.tape);
                self.peer = Some(peer.unwrap());
            }
            Input::Restore { slots } => {
                let octets = slots.each_ref().map(Hex::as_bytes);
                self.peer = Some(Peer::restore(&self.config, octets, now, &mut self.tape).unwrap());
                self.slots = octets.map(<[u8]>::to_vec);
            }
            input => discarded = self.give(input, now, place),
        }
        self.drain(step, place);
        assert_eq!(self.tape.used() - before, step.draws as usize, "{place}: octets drawn");
        assert_eq!(self.peer().epoch(), step.epoch, "{place}: epoch");
        discarded
    }

    fn peer(&mut self) -> &mut Peer {
        self.peer.as_mut().expect("this end is up")
    }

    fn give(&mut self, input: &Input, now: Instant, place: &str) -> Option<DiscardReason> {
        let peer = self.peer.as_mut().expect("this end is up");
        match input {
            Input::Load { demanded } => peer.demand_cookies(*demanded),
            Input::Establish {} => peer.establish(now, &mut self.tape).unwrap(),
            Input::Provide { block } => {
                let block = self.blocks[*block as usize].as_bytes();
                peer.provide_mix(&MixBlock::new(SecretBytes::try_copied_from(block).unwrap())).unwrap();
            }
            Input::Allow {} => peer.allow_recovery(),
            Input::Conclude {} => peer.conclude_recovery().unwrap(),
            Input::EnrolByRecovery { record, .. } => {
                peer.enrol_by_recovery(&recovery_lane(&self.config, record, now)).unwrap();
            }
            Input::Release { record } => peer.release(&recovery_lane(&self.config, record, now)).unwrap(),
            Input::Withdraw {} => peer.withdraw_mixes(),
            Input::Timeout {} => peer.handle_timeout(now, &mut self.tape).unwrap(),
            Input::Confirm { session_id } => peer.confirm(id(session_id)).unwrap(),
            Input::Message { path, octets, accepted } => {
                let from = PathId::new(*path);
                let done = peer.handle_message(now, &mut self.tape, from, octets.as_bytes()).unwrap();
                assert_eq!(done == Disposition::Accepted, *accepted, "{place}: {done:?}");
                if let Disposition::Discarded(reason) = done {
                    return Some(reason);
                }
            }
            Input::Name { label: text, context, index, key } => {
                let found = peer.export_next(label(text), context.as_bytes()).unwrap();
                assert_eq!((found.index(), found.secret().expose()), (*index, key.as_bytes()), "{place}");
            }
            Input::Answer { index, label: text, context } => {
                let session = peer.session().unwrap().id;
                peer.export_at(session, *index, label(text), context.as_bytes()).unwrap();
            }
            other => panic!("{place}: an input that is not known here: {other:?}"),
        }
        None
    }

    /// Of a handshake with which this end has moved nothing is in its memory or store that rebuilds a key: neither the chain key
    /// that was left, nor what came between it and the next, nor what was mixed in.
    fn assert_nothing_is_left(&self, test: &ExchangeTest) {
        let Some(peer) = &self.peer else { return };
        assert!(self.holds(self.stored_chain_key()), "{}: the scan finds what is there", test.name);
        for handshake in test.handshakes.iter().filter(|handshake| handshake.epoch < peer.epoch()) {
            let secrets =
                [Some(&handshake.chain_key), Some(&handshake.master_secret), handshake.mix_key.as_ref()];
            // A block that was provided again is there again.
            let provided =
                |block: &&Hex| test.steps.iter().filter(|step| provides(step, test, block)).count() <= 2;
            for secret in secrets.into_iter().flatten().chain(handshake.block.as_ref().filter(provided)) {
                assert!(
                    !self.holds(secret.as_bytes()),
                    "{}: a secret of epoch {}",
                    test.name,
                    handshake.epoch
                );
            }
        }
    }

    fn stored_chain_key(&self) -> &[u8] {
        let record = self.slots.iter().find(|slot| slot.first() == Some(&b'S')).unwrap();
        &record[55..87]
    }

    /// Whether any eight octets of `secret` in a row are in the machine's memory or in its store.
    fn holds(&self, secret: &[u8]) -> bool {
        let peer: *const Peer = self.peer.as_ref().unwrap();
        // SAFETY: the octets of a live value, read one by one; padding reads as whatever is there.
        let memory: Vec<u8> =
            (0..size_of::<Peer>()).map(|at| unsafe { peer.cast::<u8>().add(at).read_volatile() }).collect();
        let parts: std::collections::HashSet<&[u8]> = secret.windows(8).collect();
        [&memory, &self.slots[0], &self.slots[1]]
            .into_iter()
            .any(|octets| octets.windows(8).any(|window| parts.contains(window)))
    }

    /// What the end does must be what the file says.
    fn drain(&mut self, step: &Step, place: &str) {
        use unmediated_transcripts::Output as Wanted;
        let mut outputs = step.outputs.iter();
        loop {
            let output = self.peer().poll_output();
            if let Output::Wait(deadline) = output {
                assert_eq!(outputs.next(), None, "{place}: and nothing more");
                assert_eq!(deadline.map(Instant::as_millis), step.deadline, "{place}: deadline");
                return;
            }
            let found = match output {
                Output::Persist(checkpoint) => {
                    let record = checkpoint.record().as_bytes().to_vec();
                    self.slots[self.writes % 2].clone_from(&record);
                    self.slots[1 - self.writes % 2].clear();
                    self.writes += 1;
                    let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap();
                    self.peer().handle_persisted(receipt).unwrap();
                    ("Store", None, record, None)
                }
                Output::Transmit(transmit) => {
                    let path = match transmit.to {
                        Destination::Path(path) => Some(path.number()),
                        _ => None,
                    };
                    ("Send", path, transmit.payload.as_bytes().to_vec(), None)
                }
                Output::Event(Event::KeyReady(key)) => {
                    ("Key", Some(key.index()), key.secret().expose().to_vec(), None)
                }
                Output::Event(event) => ("Event", None, Vec::new(), Some(named(&event))),
                other => panic!("{place}: an output that is not known here: {other:?}"),
            };
            let wanted = match outputs.next() {
                Some(Wanted::Store { record }) => ("Store", None, record.as_bytes().to_vec(), None),
                Some(Wanted::Send { path, octets }) => ("Send", *path, octets.as_bytes().to_vec(), None),
                Some(Wanted::Key { index, key }) => ("Key", Some(*index), key.as_bytes().to_vec(), None),
                Some(Wanted::Event { event, session_id }) => {
                    ("Event", None, Vec::new(), Some((event.clone(), session_id.as_ref().map(id))))
                }
                other => panic!("{place}: {} instead of {other:?}", found.0),
            };
            assert_eq!(found, wanted, "{place}");
        }
    }
}

fn provides(step: &Step, test: &ExchangeTest, block: &Hex) -> bool {
    matches!(step.input, Input::Provide { block: number } if test.blocks[number as usize] == *block)
}

/// An event as the files call it.
fn named(event: &Event) -> (String, Option<KeyId>) {
    let (name, session) = match event {
        Event::Established(session) => ("established", Some(session.id)),
        Event::Resumed(session) => ("resumed", Some(session.id)),
        Event::Confirmed(id) => ("confirmed", Some(*id)),
        Event::Void(id) => ("void", Some(*id)),
        Event::PeerVoid(id) => ("peerVoid", Some(*id)),
        Event::Expired(id) => ("expired", Some(*id)),
        Event::Unanswered => ("unanswered", None),
        Event::RolledBack => ("rolledBack", None),
        Event::MixStored => ("mixStored", None),
        Event::MixLost => ("mixLost", None),
        Event::MixRefused => ("mixRefused", None),
        other => panic!("an event that is not known here: {other:?}"),
    };
    (name.to_owned(), session)
}

fn layer_of(reason: DiscardReason) -> Layer {
    match reason {
        DiscardReason::Malformed => Layer::Decode,
        DiscardReason::Unauthentic => Layer::Authenticate,
        DiscardReason::Policy => Layer::Policy,
        _ => Layer::State,
    }
}

/// All that a test of the file says, played by two peers.
fn play(test: &ExchangeTest) {
    let suites: Vec<Vec<Suite>> =
        test.ends.iter().map(|end| end.suites.iter().map(|number| suite(*number)).collect()).collect();
    let mut players = [0, 1].map(|at| Player::new(test, &test.ends[at], &suites[at]));
    let mut last = None;
    for (number, step) in test.steps.iter().enumerate() {
        let place = format!("{} {}, step {number}", test.tc_id, test.name);
        last = players[usize::from(step.end == "b")].play(&test.secret, step, &place);
    }
    assert_eq!(last.map(layer_of), test.refused_by, "{} {}", test.tc_id, test.name);
    for player in &players {
        player.assert_nothing_is_left(test);
        assert!(player.tape.is_used_up(), "{}: all was drawn", test.tc_id);
    }
}

#[test]
fn both_ends_do_in_every_exchange_what_the_vectors_say() {
    let (mut played, mut messages) = (0, 0);
    for group in unmediated_transcripts::load().unwrap().test_groups {
        let unmediated_transcripts::TestGroup::Exchange(group) = group else { panic!("an unknown group") };
        for test in &group.tests {
            play(test);
            played += 1;
            messages += test.steps.iter().filter(|step| matches!(step.input, Input::Message { .. })).count();
        }
    }
    assert!(played > 70 && messages > 200, "only {played} exchanges with {messages} messages");
}

#[test]
fn an_exchange_with_one_octet_of_randomness_changed_is_another_exchange() {
    let mut file = unmediated_transcripts::load().unwrap();
    let unmediated_transcripts::TestGroup::Exchange(group) = &mut file.test_groups[0] else {
        panic!("an unknown group")
    };
    let test = &mut group.tests[0];
    let mut random = test.ends[1].random.as_bytes().to_vec();
    // In BK: the responder's nonce follows from it.
    random[20] ^= 1;
    test.ends[1].random = Hex::new(random);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let played = std::panic::catch_unwind(|| play(test));
    std::panic::set_hook(hook);
    let why = *played.expect_err("the second message differs").downcast::<String>().unwrap();
    assert!(why.contains("Send"), "{why}");
}

#[test]
fn peers_are_restored_from_the_records_of_the_vectors_and_from_no_others() {
    for group in unmediated_records::load().unwrap().test_groups {
        let unmediated_records::TestGroup::Restore(group) = group else { panic!("an unknown group") };
        for test in &group.tests {
            restore(&group, test, "this version");
        }
    }
}

/// What each released version stored, in skex-testvectors/released. What is written anew has today's form.
#[test]
fn peers_are_restored_from_the_records_of_every_released_version() {
    let released =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../skex-testvectors/released")).unwrap();
    let mut restored = 0;
    for version in released {
        let path = version.unwrap().path().join("unmediated.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let file: skex_testvectors::File<unmediated_records::TestGroup> =
            serde_json::from_str(&text).unwrap();
        for group in file.test_groups {
            let unmediated_records::TestGroup::Restore(mut group) = group else { panic!("an unknown group") };
            group.tests.retain(|test| test.result == Verdict::Valid);
            for test in &mut group.tests {
                test.rewritten = None;
            }
            group.tests.iter().for_each(|test| restore(&group, test, &path.display().to_string()));
            restored += group.tests.len();
        }
    }
    assert!(restored >= 40, "only {restored}");
}

fn restore(group: &RestoreGroup, test: &RestoreTest, version: &str) {
    let (a, b) = (group.name_a.as_bytes(), group.name_b.as_bytes());
    let (own, peer) = if group.side == "a" { (a, b) } else { (b, a) };
    let config = PeerConfig::new(side(&group.side), own, peer)
        .context(group.context.as_bytes())
        .lane(group.lane)
        .initial_suite(suite(group.initial_suite));
    let mut tape = Tape::new([0x11; 52]);
    let slots = test.slots.each_ref().map(Hex::as_bytes);
    let restored = Peer::restore(&config, slots, Instant::ZERO, &mut tape);
    let place = format!("{version}, {} {}", test.tc_id, test.name);
    let mut restored = match restored {
        Ok(restored) => restored,
        Err(error) => {
            assert_eq!(Some(refused_by(error)), test.refused_by, "{place}: {error}");
            return;
        }
    };
    assert_eq!(test.result, Verdict::Valid, "{place}");
    let state = test.state.as_ref().unwrap();
    assert_eq!(restored.epoch(), state.epoch, "{place}");
    assert_eq!(restored.suite(), suite(state.suite), "{place}");
    assert_eq!(restored.is_ahead(), test.sends.is_some(), "{place}");
    let active = state.blocks.iter().filter(|held| !held.withdrawn).count();
    assert_eq!(restored.mix_blocks(), active, "{place}");
    let has_keys = (1..=2).contains(&state.session_status);
    assert_eq!(
        restored.session().map(|session| session.id),
        has_keys.then(|| id(&state.session_id)),
        "{place}"
    );
    let Output::Persist(checkpoint) = restored.poll_output() else { panic!("{place}: written anew first") };
    if let Some(rewritten) = &test.rewritten {
        assert_eq!(checkpoint.record().as_bytes(), rewritten.as_bytes(), "{place}");
    }
    assert!(
        matches!(restored.poll_output(), Output::Wait(_)),
        "{place}: nothing leaves before it is durable"
    );
    let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap();
    restored.handle_persisted(receipt).unwrap();
    let sends = match restored.poll_output() {
        Output::Transmit(transmit) => Some(transmit.payload.as_bytes().to_vec()),
        _ => None,
    };
    // Where a recovery is wanted, a first message leaves too.
    let sends = sends.filter(|octets| octets[0] == 0x15);
    assert_eq!(sends.as_deref(), test.sends.as_ref().map(Hex::as_bytes), "{place}");
}

fn refused_by(error: RestoreError) -> Layer {
    match error {
        RestoreError::Record(RecordError::Checksum) => Layer::Authenticate,
        RestoreError::Record(
            RecordError::ForeignMachine | RecordError::WrongKind | RecordError::Conflict,
        )
        | RestoreError::NotEnrolled
        | RestoreError::WrongSide => Layer::State,
        RestoreError::Suite => Layer::Policy,
        _ => Layer::Decode,
    }
}
