//! An unmediated pair, and the keys that it makes.

use core::time::Duration;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::child::Child;
use super::show::{KeyLine, Show};
use super::through_hubs::{Network, utf8};
use super::{Stage, this_program};
use crate::driver::Traffic;
use crate::report::{KeyReport, Report};

pub(super) struct Pair<'a> {
    stage: Stage<'a>,
    alice: Child,
    bob: Child,
    bob_directory: PathBuf,
    /// What each had sent when the last key was there: alice, bob.
    sent: [Traffic; 2],
    handshakes: u32,
    usual_time: Duration,
}

const ALICE: &str = "alice";
const BOB: &str = "bob";

impl<'a> Pair<'a> {
    /// Both clients enrol with their own copy of a key that they made through hubs.
    pub(super) fn enrol(stage: Stage<'a>, network: &Network, key_id: &str) -> Result<Self> {
        let directory = stage.directory;
        let (alice, bob) = (directory.join("alice-with-bob"), directory.join("bob-with-alice"));
        enrol_end(&alice, "a", ALICE, BOB, &network.key_file(ALICE, key_id))?;
        enrol_end(&bob, "b", BOB, ALICE, &network.key_file(BOB, key_id))?;
        let mut pair = Self {
            stage,
            alice: start(stage, &alice)?,
            bob: start(stage, &bob)?,
            bob_directory: bob,
            sent: [Traffic::default(); 2],
            handshakes: 0,
            usual_time: Duration::ZERO,
        };
        pair.introduce()?;
        Ok(pair)
    }

    /// Each learns where the other listens.
    fn introduce(&mut self) -> Result<()> {
        let (alice, bob) = (self.alice.address.clone(), self.bob.address.clone());
        self.alice.order(&format!("peer {bob}"))?;
        self.bob.order(&format!("peer {alice}"))
    }

    /// Handshakes one after the other, begun by either end in turn.
    pub(super) fn handshakes(&mut self, count: u32, show: &mut Show) -> Result<()> {
        let mut keys = Vec::new();
        for number in 0..count {
            let key = self.handshake(number % 2 == 0)?;
            show.progress(&format!("handshake {}", self.handshakes));
            show.count(&key)?;
            keys.push(key);
        }
        if let Some(first) = keys.first() {
            show.row(first)?;
            self.usual_time = Duration::from_micros(first.micros);
        }
        show.summary(&keys)
    }

    fn handshake(&mut self, alice_begins: bool) -> Result<KeyLine> {
        let (initiator, responder) =
            if alice_begins { (&mut self.alice, &mut self.bob) } else { (&mut self.bob, &mut self.alice) };
        initiator.order("connect")?;
        let first = initiator.next_key(true)?;
        let second = responder.next_key(false)?;
        self.line(first, &second)
    }

    fn line(&mut self, first: KeyReport, second: &KeyReport) -> Result<KeyLine> {
        anyhow::ensure!(first.key_id == second.key_id, "the two ends speak of different sessions");
        let (mut messages, mut octets) = (0_u64, 0_u64);
        for (end, before) in [&first, second].into_iter().zip(self.sent_of(&second.peer)) {
            let now = end.traffic;
            messages = messages.saturating_add(now.sent_messages.saturating_sub(before.sent_messages));
            octets = octets.saturating_add(now.sent_octets.saturating_sub(before.sent_octets));
            *before = now;
        }
        let line = KeyLine {
            event: "key",
            protocol: "unmediated",
            key_id: first.key_id,
            initiator: second.peer.clone(),
            responder: first.peer,
            initiator_fingerprint: first.fingerprint,
            responder_fingerprint: second.fingerprint.clone(),
            hubs_good: Vec::new(),
            hubs_silent: Vec::new(),
            hubs_lying: Vec::new(),
            bytes_on_wire: octets,
            psrd_bytes: 0,
            micros: first.micros,
            messages,
        };
        self.handshakes = self.handshakes.saturating_add(1);
        Ok(line)
    }

    /// What the initiator and the responder had sent when the last key was there.
    fn sent_of(&mut self, initiator: &str) -> [&mut Traffic; 2] {
        let [alice, bob] = &mut self.sent;
        if initiator == ALICE { [alice, bob] } else { [bob, alice] }
    }

    /// Alice begins a handshake, bob is killed half a handshake later, and started again on what was durable.
    pub(super) fn kill_in_the_middle(&mut self, show: &mut Show) -> Result<()> {
        show.progress("bob is killed in the middle of a handshake");
        self.alice.order("connect")?;
        std::thread::sleep(self.usual_time.mul_f32(0.5));
        self.bob.kill()?;
        let mut killed = core::mem::replace(&mut self.bob, start(self.stage, &self.bob_directory)?);
        self.introduce()?;
        let first = self.alice.next_key(true)?;
        // Bob has the key of this session once. He may have told it before he was killed; or have stored its erasure,
        // and been killed before he told it: then it is gone, as it must be.
        let told = self.bob.until("what became of the handshake", |report| match report {
            Report::Key(key) if key.key_id == first.key_id => Some(Some(key.clone())),
            Report::Gone { key_id } if *key_id == first.key_id => Some(None),
            _ => None,
        })?;
        let mut told_before = || {
            let told = killed.until("a key", |report| match report {
                Report::Key(key) if key.key_id == first.key_id => Some(key.clone()),
                _ => None,
            });
            told.ok()
        };
        let told_by_killed = if told.is_none() { told_before() } else { None };
        let told_by_new = told.is_some();
        if told_by_new {
            // The new process counts from zero; what the killed one sent last, nobody knows.
            self.sent[1] = Traffic::default();
        }
        show.line("\n  bob was killed (kill -9) in the middle of a handshake, and started again")?;
        match told.or(told_by_killed) {
            Some(second) => {
                let key = self.line(first, &second)?;
                show.count(&key)?;
                show.row(&key)?;
            }
            None => {
                show.line("  he had erased the key of that handshake already, so it was not given twice")?
            }
        }
        if !told_by_new {
            self.sent[1] = Traffic::default();
        }
        show.line("")
    }
}

fn start(stage: Stage<'_>, directory: &Path) -> Result<Child> {
    Child::start(stage, directory, ["peer", "--dir", utf8(directory)?, "steered", "--bind", "127.0.0.1:0"])
}

fn enrol_end(directory: &Path, role: &str, id: &str, peer: &str, secret: &Path) -> Result<()> {
    let enrolled = this_program()?
        .args(["peer", "--dir", utf8(directory)?, "enrol", "--role", role, "--id", id, "--peer-id", peer])
        .args(["--secret-file", utf8(secret)?, "--erase-secret"])
        .output()
        .context("cannot start another process")?;
    if !enrolled.status.success() {
        bail!("{id} could not be enrolled: {}", String::from_utf8_lossy(&enrolled.stderr).trim());
    }
    Ok(())
}
