//! What a responder does: first and third messages in, second and fourth out.

use skex_core::machine::{DiscardReason, Instant, PathId};
use skex_core::{Digest, HashSecret, SecretBytes, Suite};
use skex_wire::unmediated::{
    FirstMessage, LongThirdMessage, SecondMessage, SessionStatus, StaleMessage, TAG_LEN, ThirdMessage,
};

use super::initiator::{equal, first_digest, fourth_tag, guard, rank, third_tag};
use super::output::{Answer, Events, Sends};
use super::timers::{Timer, low_half};
use super::{Answered, Exchange, Peer};
use crate::bytes::written_mac;
use crate::config::Side;
use crate::event::Role;
use crate::record::{Choice, Link, Recovery, Status};
use crate::rules::{Rule, holds};
use crate::schedule::{self, Handshake, MAC_KEY_LEN};

/// Of which epoch an authentic first message is.
enum Origin {
    Current,
    Previous,
}

impl Peer {
    #[inline(never)]
    pub(super) fn on_first(
        &mut self,
        now: Instant,
        from: PathId,
        first: &FirstMessage<'_>,
    ) -> Result<(), DiscardReason> {
        if self.settings.is_recovery && self.state.recovery == Recovery::None && holds(Rule::ShutRecovery) {
            return Err(DiscardReason::Policy);
        }
        if self.wants_cookie(now) && holds(Rule::CookieUnderLoad) {
            let suite = self.suite_of_first(first)?;
            let digest = first_digest(suite, first)?;
            if !self.path_is_proved(now, from, first, suite, &digest) {
                return Err(DiscardReason::Busy);
            }
        }
        let origin = self.verify_first(first)?;
        self.note_first();
        match origin {
            Origin::Current => self.on_current_first(now, from, first),
            Origin::Previous => self.on_previous_first(now, from, first),
        }
    }

    /// The suite of the epoch that the pseudonym of a first message belongs to. No MAC is computed for it.
    fn suite_of_first(&self, first: &FirstMessage<'_>) -> Result<Suite, DiscardReason> {
        if first.pseudonym == self.peer_pseudonym {
            Ok(self.state.suite)
        } else if self.is_of_previous(first) {
            Ok(self.state.previous.suite)
        } else {
            Err(DiscardReason::UnknownPeer)
        }
    }

    /// Whether the pseudonym is the peer's in the epoch before.
    fn is_of_previous(&self, first: &FirstMessage<'_>) -> bool {
        self.state.epoch > 0 && first.pseudonym == self.state.previous.peer
    }

    fn verify_first(&self, first: &FirstMessage<'_>) -> Result<Origin, DiscardReason> {
        let previous = &self.state.previous;
        let mut origin = Err(DiscardReason::UnknownPeer);
        if first.pseudonym == self.peer_pseudonym {
            let verified = verify_first_tag(self.state.suite, &self.peer_mac, first);
            origin = verified.map(|()| Origin::Current);
        }
        if origin.is_err() && self.is_of_previous(first) {
            let verified = verify_first_tag(previous.suite, &previous.peer_mac, first);
            origin = verified.map(|()| Origin::Previous);
        }
        origin
    }

    /// The peer wants a handshake that ends the epoch that we are both in.
    fn on_current_first(
        &mut self,
        now: Instant,
        from: PathId,
        first: &FirstMessage<'_>,
    ) -> Result<(), DiscardReason> {
        if self.state.epoch == u64::MAX {
            return Err(DiscardReason::Exhausted);
        }
        self.heed_first(first);
        if self.state.recovery == Recovery::Wanted && self.state.session.status == Status::Void {
            // If nothing comes of the answer, the recovery is begun here.
            self.wanted = true;
        }
        self.highest_round = self.highest_round.max(rank(first.nonce).0);
        let Some(suite) = self.settings.choose(&first.suites) else {
            // What the message said of the session before may have been heeded all the same.
            return if self.dirty { Ok(()) } else { Err(DiscardReason::Policy) };
        };
        if !self.gives_way(first) {
            return Ok(());
        }
        self.answer(now, from, first, suite, self.choose_mix(first))
    }

    /// What a first message of this epoch says of the session that began it: the peer is here, and has it or not.
    fn heed_first(&mut self, first: &FirstMessage<'_>) {
        let void = first.flags & FirstMessage::VOID != 0 && holds(Rule::HeedVoidFlag);
        if self.is_ahead() {
            self.peer_followed(!void);
        } else if void && self.state.session.status.has_keys() {
            self.end_session();
            self.due.events.insert(Events::PEER_VOID);
            self.commit(Rule::EraseBeforeKey);
        }
        if self.unsaved && holds(Rule::ConfirmBeforeAnswer) {
            self.commit(Rule::ConfirmBeforeAnswer);
        }
    }

    /// Of two first messages that cross, the one of the higher round wins, then of the higher nonce. Who loses ends its
    /// own attempt. So does one that was refused: as things are nothing comes of it, and the peer may ask for room.
    fn gives_way(&mut self, first: &FirstMessage<'_>) -> bool {
        let Exchange::Attempt(own) = &self.exchange else { return true };
        let (ours, theirs) = (rank(&own.nonce), rank(first.nonce));
        let wins = ours > theirs || (ours == theirs && self.state.side == Side::A);
        if wins && !(own.refused && holds(Rule::AskForRoom)) {
            return false;
        }
        self.wanted = true;
        true
    }

    fn answer(
        &mut self,
        now: Instant,
        from: PathId,
        first: &FirstMessage<'_>,
        suite: Suite,
        (choice, block): (Choice, Option<usize>),
    ) -> Result<(), DiscardReason> {
        let void = if self.state.session.status == Status::Void { SecondMessage::VOID } else { 0 };
        let stateless = if self.settings.stateless { SecondMessage::STATELESS } else { 0 };
        let flags = void | stateless;
        let slot = self.slot(now);
        let digest = first_digest(self.state.suite, first)?;
        let nonce = self.responder_nonce(&digest, slot, flags, suite, choice);
        let second = SecondMessage::new(flags, first.attempt(), &nonce, suite.id(), choice.octets());
        let mut master = HashSecret::zeroed(self.state.suite);
        self.secret_of_peers_first(&digest, &second, block, &mut master)?;
        let tag = Handshake::new(self.state.suite, &master).second_tag();
        if holds(Rule::AnswerEndsAttempt) || !matches!(self.exchange, Exchange::Attempt(_)) {
            // Copies of first messages must not put off the end of what was answered first.
            if matches!(self.exchange, Exchange::Attempt(_))
                || self.timers.deadline(Timer::Exchange).is_none()
            {
                self.forget_exchange();
                self.arm_answer();
            }
            // Nobody may go on with a refusal.
            if choice != Choice::Refused {
                self.keep_answer(suite, slot, block, &master);
            }
        }
        self.reply(
            from,
            Sends::SECOND,
            Answer::Second { flags, suite, attempt: first.attempt(), nonce, choice, tag },
        );
        Ok(())
    }

    /// The master secret that a first message of the peer's with this hash and our second one give, written over `master`. Not
    /// inlined: the prepared chain key is to be gone when that secret is prepared.
    #[inline(never)]
    fn secret_of_peers_first(
        &self,
        first: &Digest,
        second: &SecondMessage<'_>,
        block: Option<usize>,
        master: &mut HashSecret,
    ) -> Result<(), DiscardReason> {
        let chain = self.chain_keys();
        self.master_secret_into(&chain, self.state.side.other(), first, second, block, master)
    }

    fn keep_answer(&mut self, suite: Suite, slot: u64, block: Option<usize>, master: &HashSecret) {
        let block = block.and_then(|slot| u8::try_from(slot).ok());
        self.mix_needed |= block.map_or(0, |slot| 1 << slot);
        let empty = HashSecret::zeroed(self.state.suite);
        self.exchange = Exchange::Answered(Answered { suite, slot: low_half(slot), block, master: empty });
        if let Exchange::Answered(answered) = &mut self.exchange {
            answered.master.overwrite(master);
        }
    }

    /// The peer has not followed us yet, or never will: it was rolled back.
    fn on_previous_first(
        &mut self,
        now: Instant,
        from: PathId,
        first: &FirstMessage<'_>,
    ) -> Result<(), DiscardReason> {
        let suite = self.state.previous.suite;
        let digest = first_digest(suite, first)?;
        if self.owes_third() && holds(Rule::StaleOnlyIfFollowed) {
            return self.answer_with_long_third(now, from, first, &digest);
        }
        let stale = StaleMessage::new(first.attempt(), [0; TAG_LEN]);
        let key = &self.state.previous.peer_mac;
        let mut tag = [0; TAG_LEN];
        written_mac(suite, key, &|writer| stale.encode_body(writer), digest.as_bytes(), &mut tag)?;
        self.reply(from, Sends::NOTICE, Answer::Stale(first.attempt(), tag));
        Ok(())
    }

    /// The long third message is larger than what draws it: it goes to a path that was learned, or that a cookie has
    /// proved.
    fn answer_with_long_third(
        &mut self,
        now: Instant,
        from: PathId,
        first: &FirstMessage<'_>,
        digest: &Digest,
    ) -> Result<(), DiscardReason> {
        let known = self.has_learned && self.learned == from;
        let suite = self.state.previous.suite;
        if !known && holds(Rule::ProvePath) && !self.path_is_proved(now, from, first, suite, digest) {
            return Ok(());
        }
        if low_half(now.as_millis()).wrapping_sub(self.healed_at) < self.heal_pause() {
            return Err(DiscardReason::Busy);
        }
        self.healed_at = low_half(now.as_millis());
        self.reply(from, Sends::THIRD_LONG_REPLY, Answer::None);
        Ok(())
    }

    /// Whether a cookie of this time slot or the one before proves that the sender receives what is sent to `from`. If
    /// not, a cookie goes there. Nothing is kept of it.
    fn path_is_proved(
        &mut self,
        now: Instant,
        from: PathId,
        first: &FirstMessage<'_>,
        suite: Suite,
        digest: &Digest,
    ) -> bool {
        let slot = self.slot(now);
        let cookie_of = |slot| schedule::cookie(suite, &self.boot, from.number(), digest, slot);
        if first.cookie.is_some_and(|cookie| {
            [slot, slot.saturating_sub(1)].iter().any(|slot| equal(&cookie_of(*slot), &cookie))
        }) {
            return true;
        }
        let cookie = cookie_of(slot);
        self.reply(from, Sends::NOTICE, Answer::Cookie(first.attempt(), cookie));
        false
    }

    #[inline(never)]
    pub(super) fn on_third(
        &mut self,
        now: Instant,
        from: PathId,
        third: &ThirdMessage<'_>,
    ) -> Result<(), DiscardReason> {
        if third.pseudonym != self.peer_pseudonym {
            return self.on_previous_third(from, third);
        }
        let Exchange::Answered(answered) = &self.exchange else { return Err(DiscardReason::Stale) };
        if !third.extension.is_empty() {
            return Err(DiscardReason::Policy);
        }
        let keys = Handshake::new(self.state.suite, &answered.master);
        verify_third(&keys, third)?;
        let fresh = self.is_recent(answered.slot, now);
        let (suite, block) = (answered.suite, answered.block.map(usize::from));
        self.follow(from, third, &keys, suite, fresh, block)
    }

    #[inline(never)]
    pub(super) fn on_long_third(
        &mut self,
        now: Instant,
        from: PathId,
        long: &LongThirdMessage<'_>,
    ) -> Result<(), DiscardReason> {
        if long.short.pseudonym != self.peer_pseudonym {
            if self.state.epoch > 0 && long.short.pseudonym == self.state.previous.peer {
                verify_guard(self.state.previous.suite, &self.state.previous.peer_mac, long)?;
            }
            return self.on_previous_third(from, &long.short);
        }
        verify_guard(self.state.suite, &self.peer_mac, long)?;
        if !long.short.extension.is_empty() {
            return Err(DiscardReason::Policy);
        }
        let choice = Choice::from_extension(long.second_extension)
            .filter(|choice| *choice != Choice::Refused)
            .ok_or(DiscardReason::Policy)?;
        let mut first = long.first();
        first.tag = first_tag(self.state.suite, &self.peer_mac, &first)?;
        let digest = first_digest(self.state.suite, &first)?;
        let block = self.block_needed(&first, choice)?;
        let keys = {
            let mut master = HashSecret::zeroed(self.state.suite);
            self.secret_of_peers_first(&digest, &long.second(), block, &mut master)?;
            Handshake::new(self.state.suite, &master)
        };
        verify_third(&keys, &long.short)?;
        // Our own second message chose it, so it is compiled in: see `PeerConfig::suites`.
        let suite = Suite::from_id(long.suite).ok_or(DiscardReason::Policy)?;
        let now_slot = self.slot(now);
        let fresh = [now_slot, now_slot.saturating_sub(1)].iter().any(|slot| {
            equal(
                &self.responder_nonce(&digest, *slot, long.second_flags, suite, choice),
                long.responder_nonce,
            )
        });
        let allowed = self.settings.offer.offered().contains(long.suite);
        self.follow(from, &long.short, &keys, suite, fresh && allowed, block)
    }

    /// A third message that we have followed already draws the same fourth one.
    fn on_previous_third(&mut self, from: PathId, third: &ThirdMessage<'_>) -> Result<(), DiscardReason> {
        if self.state.epoch == 0 || third.pseudonym != self.state.previous.peer {
            return Err(DiscardReason::UnknownPeer);
        }
        let Link::Followed { third_tag, .. } = &self.state.link else { return Err(DiscardReason::Stale) };
        if !third.extension.is_empty() || !equal(third_tag, &third.tag) {
            return Err(DiscardReason::Unauthentic);
        }
        self.reply(from, Sends::FOURTH, Answer::None);
        Ok(())
    }

    /// The peer has moved, so we must follow. Only whether the session is good may depend on anything else.
    fn follow(
        &mut self,
        from: PathId,
        third: &ThirdMessage<'_>,
        keys: &Handshake,
        suite: Suite,
        fresh: bool,
        block: Option<usize>,
    ) -> Result<(), DiscardReason> {
        if !fresh && !holds(Rule::FollowAlways) {
            return Err(DiscardReason::Stale);
        }
        let epoch = self.state.epoch.checked_add(1).ok_or(DiscardReason::Exhausted)?;
        let good = fresh || !holds(Rule::StaleIsVoid);
        let (status, session) =
            if good { (SessionStatus::Good, Status::Live) } else { (SessionStatus::Void, Status::Void) };
        let mut tag = [0; TAG_LEN];
        fourth_tag(keys, third.pseudonym, status, &mut tag)?;
        self.move_on(keys, suite, epoch, Role::Responder, session, block);
        self.state.link = Link::Followed { third_tag: third.tag, status, fourth_tag: tag };
        self.learn(from);
        self.commit(Rule::CommitBeforeFourth);
        if good {
            self.due.events.insert(Events::ESTABLISHED);
        } else {
            self.due.events.insert(Events::VOID);
        }
        if (!good && holds(Rule::TellVoid)) || !self.settings.consumer_confirms {
            self.reply(from, Sends::FOURTH, Answer::None);
        }
        Ok(())
    }

    fn responder_nonce(
        &self,
        first: &Digest,
        slot: u64,
        flags: u8,
        suite: Suite,
        choice: Choice,
    ) -> [u8; skex_wire::unmediated::NONCE_LEN] {
        let head = [flags, suite.id().value()];
        #[cfg(test)]
        let slot = if holds(Rule::NonceFromFirst) { slot } else { slot ^ self.limits.firsts_for_tests() };
        let (suite, epoch) = (self.state.suite, self.state.epoch);
        schedule::responder_nonce(suite, &self.boot, epoch, first, slot, head, choice.octets())
    }

    /// Whether `slot` is this one or the one before.
    fn is_recent(&self, slot: u32, now: Instant) -> bool {
        low_half(self.slot(now)).wrapping_sub(slot) <= 1
    }
}

/// The tag of a first message of the peer's.
fn first_tag(
    suite: Suite,
    key: &SecretBytes<MAC_KEY_LEN>,
    first: &FirstMessage<'_>,
) -> Result<[u8; TAG_LEN], DiscardReason> {
    let mut tag = [0; TAG_LEN];
    written_mac(suite, key, &|writer| first.encode_body(writer), &[], &mut tag)?;
    Ok(tag)
}

fn verify_first_tag(
    suite: Suite,
    key: &SecretBytes<MAC_KEY_LEN>,
    first: &FirstMessage<'_>,
) -> Result<(), DiscardReason> {
    if equal(&first_tag(suite, key, first)?, &first.tag) { Ok(()) } else { Err(DiscardReason::Unauthentic) }
}

/// One MAC, so that a forged long third message costs no more.
fn verify_guard(
    suite: Suite,
    key: &SecretBytes<MAC_KEY_LEN>,
    long: &LongThirdMessage<'_>,
) -> Result<(), DiscardReason> {
    let mut expected = [0; TAG_LEN];
    written_mac(suite, key, &|writer| long.encode_body(writer), &[], &mut expected)?;
    if holds(Rule::Guard) && !equal(&guard(expected), &long.guard) {
        return Err(DiscardReason::Unauthentic);
    }
    Ok(())
}

fn verify_third(keys: &Handshake, third: &ThirdMessage<'_>) -> Result<(), DiscardReason> {
    let mut expected = [0; TAG_LEN];
    third_tag(keys, third, &mut expected)?;
    if equal(&expected, &third.tag) { Ok(()) } else { Err(DiscardReason::Unauthentic) }
}
