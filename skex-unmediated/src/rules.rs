//! The load-bearing rules, by name. Each always holds, except in a test that removes one to see that it is caught.

/// A rule of the specification that a test can remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Answering a first message ends our own attempt.
    AnswerEndsAttempt,
    /// A second message is accepted for the current attempt only.
    #[cfg(test)]
    CurrentAttemptOnly,
    /// The confirmation of an epoch is durable before a second message under it leaves.
    ConfirmBeforeAnswer,
    /// The initiator's move is durable before the third message leaves.
    CommitBeforeThird,
    /// The responder's move is durable before the fourth message or a key leaves.
    CommitBeforeFourth,
    /// Who is ahead keeps the third message until the peer has followed.
    KeepThird,
    /// The responder's nonce follows from the first message: a copy draws the same answer.
    #[cfg(test)]
    NonceFromFirst,
    /// A third message that is not fresh moves the epoch all the same.
    FollowAlways,
    /// A third message that is not fresh makes a void session.
    StaleIsVoid,
    /// A responder whose session is void says so in a fourth message, even where the consumer confirms.
    TellVoid,
    /// A session that nobody confirms expires.
    ExpireUnconfirmed,
    /// An initiator heeds the status in the fourth message.
    HeedStatus,
    /// The void flag of a first or second message ends the session here too.
    HeedVoidFlag,
    /// The consumer's confirmation does not end the duty to heal.
    HealAfterConfirmation,
    /// An index gives one output only.
    OneOutputAnIndex,
    /// No more outputs are named than the window holds unanswered.
    NameWithinWindow,
    /// A key leaves after its erasure is durable.
    EraseBeforeKey,
    /// After a fruitless yield the round rises above what was seen.
    RoundRises,
    /// A long third message has a guard tag, checked first.
    Guard,
    /// The long third message goes to paths that were learned or proved.
    ProvePath,
    /// One cookie is taken between two repetitions.
    OneCookie,
    /// Under load a first message without a cookie draws a cookie, before any MAC is verified.
    CookieUnderLoad,
    /// A path is learned from authentic second to fourth messages only.
    LearnAuthentic,
    /// A restored peer is silent until what it read is durable again.
    RewriteOnRestore,
    /// A retired epoch's first message does not draw a stale notice while the third message is owed.
    StaleOnlyIfFollowed,
    /// A block of fresh secret material is held until the lane moves on, even if it was withdrawn.
    KeepBlock,
    /// A block is durable before it is offered or chosen.
    StoreBlock,
    /// Whoever requires fresh secret material goes on with nothing less.
    RequireBlock,
    /// A second message that says that the responder requires a block, and none is in common, moves nobody.
    HeedRefusal,
    /// Who requires fresh secret material and has no room for it asks the peer whether it is in this epoch still.
    AskForRoom,
    /// A third message that needs a block that is lost is told to the application.
    TellLostBlock,
    /// So many third messages with a wrong tag are looked at in a second, and no more.
    LimitThirds,
    /// The recovery lane answers no first message that nobody allowed.
    ShutRecovery,
    /// That a recovery is wanted or allowed, and its secret until all lanes are enrolled, outlives a restart.
    RecoveryIsDurable,
    /// That a recovery has gone through is durable before another lane is enrolled with it.
    ConfirmRecovery,
    /// The session of a recovery lane does not expire.
    RecoveryNeverExpires,
    /// A recovery whose session is void leaves the recovery lane open.
    VoidIsNoRecovery,
    /// A lane that a recovery enrolled is silent until the secret is erased.
    HoldRecovered,
    /// An end that was rolled back and knows it gives no more keys, and heeds nothing.
    StopRolledBack,
    /// Only a notice that is bound to the current first message proves that this end was rolled back.
    ProveStale,
    /// The suite that was chosen must have been offered.
    ChosenWasOffered,
}

#[cfg(not(test))]
pub(crate) const fn holds(_: Rule) -> bool {
    true
}

#[cfg(test)]
pub(crate) use switch::{holds, without};

#[cfg(test)]
mod switch {
    extern crate std;
    use super::Rule;
    use core::cell::Cell;

    std::thread_local! {
        static REMOVED: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    pub(crate) fn holds(rule: Rule) -> bool {
        REMOVED.get() != Some(rule)
    }

    /// Runs `test` with `rule` removed, on this thread.
    pub(crate) fn without<T>(rule: Rule, test: impl FnOnce() -> T) -> T {
        struct Restore(Option<Rule>);
        impl Drop for Restore {
            fn drop(&mut self) {
                REMOVED.set(self.0);
            }
        }
        let _restore = Restore(REMOVED.replace(Some(rule)));
        test()
    }
}
