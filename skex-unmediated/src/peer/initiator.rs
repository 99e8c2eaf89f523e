//! What an initiator does: first and third message, and what answers them.

use rand_core::CryptoRng;
use skex_core::machine::{DiscardReason, Instant, PathId};
use skex_core::{Digest, Expander, HashSecret, KeyId, SecretBytes, Suite};
use skex_wire::unmediated::{
    CookieMessage, FirstMessage, FourthMessage, GUARD_LEN, LongThirdMessage, MAX_MESSAGE, MIX_OFFER_LEN,
    NONCE_LEN, Pseudonym, SecondMessage, SessionStatus, StaleMessage, TAG_LEN, ThirdMessage,
};
use skex_wire::{SuiteId, Writer};
use subtle::ConstantTimeEq;

use super::mixing::extension;
use super::output::{Events, Sends};
use super::timers::Timer;
use super::{Attempt, Exchange, Peer};
use crate::bytes::{with_written, written_digest, written_mac};
use crate::config::Side;
use crate::event::Role;
use crate::mix::MixPolicy;
use crate::record::{Choice, Link, Recovery, SessionState, Status, Third};
use crate::rules::{Rule, holds};
use crate::schedule::{self, Context, Handshake};

/// Octets of the random part of an initiator's nonce; the round follows.
const RANDOM_LEN: usize = 12;

/// The round in an initiator's nonce, and its random part: the order in which first messages win.
pub(super) fn rank(nonce: &[u8; NONCE_LEN]) -> (u32, [u8; RANDOM_LEN]) {
    let [random @ .., a, b, c, d] = *nonce;
    (u32::from_be_bytes([a, b, c, d]), random)
}

impl Peer {
    /// Begins an attempt. It replaces whatever was answered before.
    pub(super) fn start_attempt(&mut self, now: Instant, rng: &mut dyn CryptoRng) {
        if !self.may_start() {
            self.wanted = false;
            return;
        }
        self.forget_exchange();
        let mut nonce = [0; NONCE_LEN];
        if let Some((random, round)) = nonce.split_at_mut_checked(RANDOM_LEN) {
            rng.fill_bytes(random);
            round.copy_from_slice(&self.round.to_be_bytes());
        }
        let flags = if self.state.session.status == Status::Void { FirstMessage::VOID } else { 0 };
        let mix_slots = self.mix_slots();
        let Some(tag) = self.first_tag(flags, mix_slots, &nonce) else { return };
        self.exchange = Exchange::Attempt(Attempt {
            nonce,
            flags,
            sent: 0,
            mix_slots,
            tag,
            cookie: None,
            cookie_taken: false,
            refused: false,
        });
        self.wanted = true;
        self.due.sends.insert(Sends::FIRST);
        self.timers.set(Timer::Exchange, now.saturating_add_millis(self.wait_after(0)));
    }

    /// Sends the first message again, with the same bytes, or gives up.
    pub(super) fn repeat_first(&mut self, now: Instant) {
        let Exchange::Attempt(attempt) = &mut self.exchange else { return };
        attempt.sent = attempt.sent.saturating_add(1);
        attempt.cookie_taken = false;
        let sent = attempt.sent;
        if sent >= self.settings.tries {
            self.forget_exchange();
            self.wanted = false;
            self.due.events.insert(Events::UNANSWERED);
            return;
        }
        self.due.sends.insert(Sends::FIRST);
        if self.is_ahead() {
            // Nobody answers in this epoch: the peer may still be in the one before.
            self.repeat_third(now);
        }
        self.timers.set(Timer::Exchange, now.saturating_add_millis(self.wait_after(sent)));
    }

    #[inline(never)]
    pub(super) fn on_second(
        &mut self,
        _now: Instant,
        from: PathId,
        second: &SecondMessage<'_>,
    ) -> Result<(), DiscardReason> {
        let attempt = *self.attempt_of(second).ok_or(DiscardReason::Stale)?;
        let choice = Choice::from_extension(second.extension).ok_or(DiscardReason::Policy)?;
        let block = self.chosen_of(&attempt, choice)?;
        let mix_offer = self.mix_offer(attempt.mix_slots, &attempt.nonce);
        let mut guard_key = SecretBytes::zeroed();
        let keys = {
            let mut master = HashSecret::zeroed(self.state.suite);
            let secrets = (&mut master, &mut guard_key);
            self.secrets_of_second(&attempt, mix_offer.as_ref(), second, block, secrets)?;
            Handshake::new(self.state.suite, &master)
        };
        if !equal(&keys.second_tag(), &second.tag) {
            return Err(DiscardReason::Unauthentic);
        }
        if holds(Rule::ChosenWasOffered) && !self.settings.offer.offered().contains(second.suite) {
            return Err(DiscardReason::Policy);
        }
        let requires = self.settings.mix == MixPolicy::Require && holds(Rule::RequireBlock);
        if (choice == Choice::Refused && holds(Rule::HeedRefusal)) || (block.is_none() && requires) {
            self.on_mix_refused(&attempt);
            return Err(DiscardReason::Policy);
        }
        let next = Suite::from_id(second.suite).ok_or(DiscardReason::Policy)?;
        let epoch = self.state.epoch.checked_add(1).ok_or(DiscardReason::Exhausted)?;
        self.keep_third(&attempt, mix_offer, (second, choice), &keys, &guard_key)?;
        self.move_on(&keys, next, epoch, Role::Initiator, Status::Unconfirmed, block);
        self.learn(from);
        self.commit(Rule::CommitBeforeThird);
        let form =
            if second.flags & SecondMessage::STATELESS == 0 { Sends::THIRD } else { Sends::THIRD_LONG };
        self.due.sends.insert(form);
        if self.settings.consumer_confirms {
            self.due.events.insert(Events::ESTABLISHED);
        }
        self.arm_heal();
        Ok(())
    }

    /// The master secret that our first message and the second give, and the key of our guard tag, written in place. On a small
    /// stack the prepared chain key, which both need, is to be gone when the master secret is prepared.
    #[inline(never)]
    fn secrets_of_second(
        &self,
        attempt: &Attempt,
        mix_offer: Option<&[u8; MIX_OFFER_LEN]>,
        second: &SecondMessage<'_>,
        block: Option<usize>,
        (master, guard_key): (&mut HashSecret, &mut SecretBytes<{ schedule::MAC_KEY_LEN }>),
    ) -> Result<(), DiscardReason> {
        let digest = first_digest(self.state.suite, &self.own_first(attempt, extension(mix_offer)))?;
        let chain = self.chain_keys();
        self.master_secret_into(&chain, self.state.side, &digest, second, block, master)?;
        guard_key.overwrite(&schedule::mac_key(&chain, self.state.side, self.state.epoch));
        Ok(())
    }

    /// The attempt that a second message with this reference may answer.
    fn attempt_of(&self, second: &SecondMessage<'_>) -> Option<&Attempt> {
        let named = |attempt: &&Attempt| FirstMessage::attempt_of(&attempt.nonce) == second.attempt;
        #[cfg(test)]
        if !holds(Rule::CurrentAttemptOnly)
            && let Some(late) = self.late.as_ref().filter(named)
        {
            return Some(late);
        }
        match &self.exchange {
            Exchange::Attempt(attempt) => Some(attempt).filter(named),
            _ => None,
        }
    }

    pub(super) fn on_fourth(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: PathId,
        fourth: &FourthMessage,
    ) -> Result<(), DiscardReason> {
        let Link::Ahead(third) = &self.state.link else { return Err(DiscardReason::Stale) };
        if fourth.pseudonym != self.state.previous.own {
            return Err(DiscardReason::UnknownPeer);
        }
        let good = fourth.status == SessionStatus::Good;
        let expected = if good { &third.good_tag } else { &third.void_tag };
        if !equal(expected, &fourth.tag) {
            return Err(DiscardReason::Unauthentic);
        }
        self.learn(from);
        self.peer_followed(good || !holds(Rule::HeedStatus));
        self.begin_again(now, rng);
        Ok(())
    }

    /// The peer is in our epoch. What confirms a good session need not be written at once: until it is, a restart only
    /// asks again. On the recovery lane it is, for the other lanes are enrolled on the strength of it.
    pub(super) fn peer_followed(&mut self, good: bool) {
        self.state.link = Link::None;
        self.unsaved = true;
        self.timers.stop(Timer::Heal);
        if self.state.session.status == Status::Unconfirmed && good {
            self.state.session.status = Status::Live;
            if self.settings.is_recovery {
                self.state.recovery = Recovery::None;
                if holds(Rule::ConfirmRecovery) {
                    self.commit(Rule::ConfirmRecovery);
                }
            }
            self.arm_session_life();
            self.fulfil_wish();
            if self.settings.consumer_confirms {
                self.due.events.insert(Events::CONFIRMED);
            } else {
                self.due.events.insert(Events::ESTABLISHED);
            }
        } else if self.state.session.status.has_keys() && !good {
            self.end_session();
            // Whoever waited for it is told so, and has not yielded.
            self.wanted = false;
            self.due.events.insert(Events::VOID);
            self.commit(Rule::EraseBeforeKey);
        }
        // Otherwise nothing is told: it was over, or known as good before the start. What is wanted is another.
    }

    /// After the fourth message: a session is wanted, and the one of this epoch is not it; or the handshake of a recovery lane came
    /// to nothing at both ends, and this one began it.
    fn begin_again(&mut self, now: Instant, rng: &mut dyn CryptoRng) {
        let is_void = self.state.session.status == Status::Void;
        let is_due = self.wanted || (is_void && self.state.recovery == Recovery::Wanted);
        if is_due && matches!(self.exchange, Exchange::Idle) {
            self.start_attempt(now, rng);
        }
    }

    /// The session that is confirmed is the one that was wanted: no attempt goes on beside it, or begins.
    pub(super) fn fulfil_wish(&mut self) {
        self.wanted = false;
        if matches!(self.exchange, Exchange::Attempt(_)) {
            self.forget_exchange();
        }
    }

    /// Nothing authenticates a cookie: one is taken between two repetitions, and goes out with each until another is.
    pub(super) fn on_cookie(&mut self, message: &CookieMessage) -> Result<(), DiscardReason> {
        let Exchange::Attempt(current) = &mut self.exchange else { return Err(DiscardReason::Stale) };
        if message.attempt != FirstMessage::attempt_of(&current.nonce) {
            return Err(DiscardReason::Stale);
        }
        if current.cookie_taken && holds(Rule::OneCookie) {
            return Err(DiscardReason::Busy);
        }
        current.cookie = Some(message.cookie);
        current.cookie_taken = true;
        Ok(())
    }

    #[inline(never)]
    pub(super) fn on_stale(&mut self, stale: &StaleMessage) -> Result<(), DiscardReason> {
        let Exchange::Attempt(attempt) = self.exchange else { return Err(DiscardReason::Stale) };
        if stale.attempt != FirstMessage::attempt_of(&attempt.nonce) && holds(Rule::ProveStale) {
            return Err(DiscardReason::Stale);
        }
        let mix_offer = self.mix_offer(attempt.mix_slots, &attempt.nonce);
        let first = self.own_first(&attempt, extension(mix_offer.as_ref()));
        let digest = first_digest(self.state.suite, &first)?;
        let (suite, key) = (self.state.suite, self.own_mac_key());
        let mut expected = [0; TAG_LEN];
        written_mac(suite, &key, &|writer| stale.encode_body(writer), digest.as_bytes(), &mut expected)?;
        if !equal(&expected, &stale.tag) && holds(Rule::ProveStale) {
            return Err(DiscardReason::Unauthentic);
        }
        self.forget_exchange();
        self.wanted = false;
        self.rolled_back = true;
        self.due.events.insert(Events::ROLLED_BACK);
        if holds(Rule::StopRolledBack) {
            self.stop();
        }
        Ok(())
    }

    /// The peer has left this epoch and its session, and is not behind: nothing of it is given or owed here any more.
    fn stop(&mut self) {
        if self.state.session.status.has_keys() || self.is_ahead() {
            self.end_session();
            self.state.link = Link::None;
            self.timers.stop(Timer::Heal);
            self.commit(Rule::EraseBeforeKey);
        }
    }

    /// Enters the next epoch in memory: chain key, session and exporter, everything of the old one overwritten, and
    /// the block erased that was mixed in.
    pub(super) fn move_on(
        &mut self,
        keys: &Handshake,
        next: Suite,
        epoch: u64,
        role: Role,
        status: Status,
        block: Option<usize>,
    ) {
        self.end_session();
        self.due.events.forget_session();
        let previous = &mut self.state.previous;
        previous.suite = self.state.suite;
        previous.own = self.own_pseudonym;
        previous.peer = self.peer_pseudonym;
        previous.peer_mac.overwrite(&self.peer_mac);
        self.state.session =
            SessionState { id: KeyId::new(keys.session_id()), status, role, mixed: block.is_some() };
        self.state.blocks.move_on(block);
        self.mix_needed = 0;
        self.state.epoch = epoch;
        self.state.suite = next;
        keys.chain_into(next, &mut self.state.chain);
        if status.has_keys() {
            let side = self.state.side;
            if self.settings.is_recovery {
                // One chain is for both ends: nobody but its initiator names anything, and that once.
                let initiator = if role == Role::Initiator { side } else { side.other() };
                keys.export_into(initiator, next, self.state.answering.begin());
            } else {
                keys.export_into(side, next, self.naming.begin());
                keys.export_into(side.other(), next, self.state.answering.begin());
            }
            self.arm_session_life();
        }
        self.after_move(role, status);
        self.enter_epoch();
        self.forget_firsts();
        self.forget_exchange();
        self.timers.stop(Timer::Heal);
        self.wanted = false;
        self.consumer_confirmed = false;
        self.begin_rounds();
    }

    /// Keeps what the third message of our attempt needs, and the fourth ones that would answer it.
    #[inline(never)]
    fn keep_third(
        &mut self,
        attempt: &Attempt,
        mix_offer: Option<[u8; MIX_OFFER_LEN]>,
        (second, choice): (&SecondMessage<'_>, Choice),
        keys: &Handshake,
        guard_key: &SecretBytes<{ schedule::MAC_KEY_LEN }>,
    ) -> Result<(), DiscardReason> {
        let own = self.own_pseudonym;
        let mut third = Third {
            first_flags: attempt.flags,
            initiator_nonce: attempt.nonce,
            offer: self.settings.offer,
            second_flags: second.flags,
            responder_nonce: *second.nonce,
            tag: [0; TAG_LEN],
            guard: [0; GUARD_LEN],
            good_tag: [0; TAG_LEN],
            void_tag: [0; TAG_LEN],
            mix_offer,
            choice,
        };
        third_tag(keys, &ThirdMessage::new(own, &[], [0; TAG_LEN]), &mut third.tag)?;
        fourth_tag(keys, own, SessionStatus::Good, &mut third.good_tag)?;
        fourth_tag(keys, own, SessionStatus::Void, &mut third.void_tag)?;
        // Made where it is written, so that it is gone when the tag is computed.
        let write = |writer: &mut Writer<'_>| long_third(&third, own, second.suite).encode_body(writer);
        let mut tag = [0; TAG_LEN];
        written_mac(self.state.suite, guard_key, &write, &[], &mut tag)?;
        third.guard = guard(tag);
        self.state.link = Link::Ahead(third);
        Ok(())
    }

    /// The first message of an attempt of ours, the same each time. Not inlined: it is made in three places.
    #[inline(never)]
    pub(super) fn own_first<'a>(&'a self, attempt: &'a Attempt, extension: &'a [u8]) -> FirstMessage<'a> {
        let offered = self.settings.offer.offered();
        let mut first =
            FirstMessage::new(attempt.flags, self.own_pseudonym, &attempt.nonce, offered, extension);
        first.tag = attempt.tag;
        first.cookie = attempt.cookie;
        first
    }

    /// The tag of a first message of ours. Computed once an attempt.
    fn first_tag(&self, flags: u8, mix_slots: u8, nonce: &[u8; NONCE_LEN]) -> Option<[u8; TAG_LEN]> {
        let mix_offer = self.mix_offer(mix_slots, nonce);
        let (offered, extension) = (self.settings.offer.offered(), extension(mix_offer.as_ref()));
        let first = FirstMessage::new(flags, self.own_pseudonym, nonce, offered, extension);
        // Always: it fits.
        let mut tag = [0; TAG_LEN];
        written_mac(
            self.state.suite,
            &self.own_mac_key(),
            &|writer| first.encode_body(writer),
            &[],
            &mut tag,
        )
        .ok()?;
        Some(tag)
    }

    /// The key of our own first messages. It is not kept: few are sent.
    fn own_mac_key(&self) -> SecretBytes<{ schedule::MAC_KEY_LEN }> {
        schedule::mac_key(&self.chain_keys(), self.state.side, self.state.epoch)
    }

    pub(super) fn chain_keys(&self) -> Expander {
        Expander::new(self.state.suite, &self.state.chain)
    }

    /// The master secret of the handshake that `initiator` began with a first message of this hash, and into which the
    /// block in this slot is mixed; written over `master`.
    pub(super) fn master_secret_into(
        &self,
        chain: &Expander,
        initiator: Side,
        first: &Digest,
        second: &SecondMessage<'_>,
        block: Option<usize>,
        master: &mut HashSecret,
    ) -> Result<(), DiscardReason> {
        let second = written_digest::<SHORT>(self.state.suite, &|writer| second.encode_body(writer), &[])?;
        let context = Context { binding: &self.binding, epoch: self.state.epoch, initiator };
        let block = block.and_then(|slot| self.state.blocks.get(slot));
        schedule::master_secret_into(self.state.suite, chain, &context, first, &second, block, master);
        Ok(())
    }
}

/// The hash of a first message, without its cookie.
pub(super) fn first_digest(suite: Suite, first: &FirstMessage<'_>) -> Result<Digest, DiscardReason> {
    written_digest::<MAX_MESSAGE>(suite, &|writer| first.encode_body(writer), &first.tag)
}

/// Room for the body of a second message with an extension that is none or one octet, of a third one without any, and of a fourth.
const SHORT: usize = 64;

/// The tag of a third message without an extension, written to `tag`.
#[inline(never)]
pub(super) fn third_tag(
    keys: &Handshake,
    third: &ThirdMessage<'_>,
    tag: &mut [u8; TAG_LEN],
) -> Result<(), DiscardReason> {
    with_written::<SHORT, _>(&|writer| third.encode_body(writer), |body| *tag = keys.third_tag(body))
}

/// The long third message of `own`, which left its epoch for one of `suite`.
pub(super) fn long_third(third: &Third, own: Pseudonym, suite: SuiteId) -> LongThirdMessage<'_> {
    let extension = extension(third.mix_offer.as_ref());
    let offered = third.offer.offered();
    let first = FirstMessage::new(third.first_flags, own, &third.initiator_nonce, offered, extension);
    let choice = third.choice.octets();
    let second =
        SecondMessage::new(third.second_flags, first.attempt(), &third.responder_nonce, suite, choice);
    let mut long = LongThirdMessage::new(ThirdMessage::new(own, &[], third.tag), &first, &second);
    long.guard = third.guard;
    long
}

/// The tag of the fourth message for `initiator`, written to `tag`.
#[inline(never)]
pub(super) fn fourth_tag(
    keys: &Handshake,
    initiator: Pseudonym,
    status: SessionStatus,
    tag: &mut [u8; TAG_LEN],
) -> Result<(), DiscardReason> {
    let fourth = FourthMessage::new(initiator, status, [0; TAG_LEN]);
    with_written::<SHORT, _>(&|writer| fourth.encode_body(writer), |body| *tag = keys.fourth_tag(body))
}

/// The guard tag: the front of a tag.
pub(super) fn guard(tag: [u8; TAG_LEN]) -> [u8; GUARD_LEN] {
    core::array::from_fn(|at| tag.get(at).copied().unwrap_or_default())
}

/// In constant time.
pub(super) fn equal(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}
