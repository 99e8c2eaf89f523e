//! The load-bearing rules, by name. Each always holds, except in a test that removes one to see that it is caught.

/// A rule that a test can remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// An end transmits only with what the other end holds.
    TransmitWhatPeerHolds,
    /// The chosen generation never goes back.
    NeverBack,
    /// A generation is retired only after both ends transmit with a higher one.
    RetireAfterBoth,
    /// An older status says nothing.
    HeedNewestStatus,
    /// What is withdrawn stays until the other end knows.
    WithdrawInTwoSteps,
    /// A choice is durable before it is ordered.
    DurableBeforeOrder,
}

#[cfg(not(test))]
pub(super) const fn holds(_: Rule) -> bool {
    true
}

#[cfg(test)]
pub(super) use switch::{holds, without};

#[cfg(test)]
mod switch {
    extern crate std;
    use super::Rule;
    use core::cell::Cell;

    std::thread_local! {
        static REMOVED: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    pub(in crate::rotation) fn holds(rule: Rule) -> bool {
        REMOVED.get() != Some(rule)
    }

    /// Runs `test` without a rule, in this thread.
    pub(in crate::rotation) fn without<T>(rule: Rule, test: impl FnOnce() -> T) -> T {
        REMOVED.set(Some(rule));
        let result = test();
        REMOVED.set(None);
        result
    }
}
