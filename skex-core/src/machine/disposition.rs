//! What became of a message.

/// What a machine did with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a discarded message is worth counting"]
#[non_exhaustive]
pub enum Disposition {
    /// It was authentic and taken into account.
    Accepted,
    /// It changed nothing but a counter.
    Discarded(DiscardReason),
}

/// Why a message was discarded. For the operator's eyes: nothing of it is told to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DiscardReason {
    /// The bytes are not a message of this protocol and version.
    Malformed,
    /// It names a peer, a client or a pseudonym that is not known here.
    UnknownPeer,
    /// A tag did not verify.
    Unauthentic,
    /// It was handled before.
    Duplicate,
    /// It is from an earlier attempt, session or lease, or its freshness has run out.
    Stale,
    /// It is authentic or well formed and does not fit the state.
    Unexpected,
    /// Our own policy does not allow it.
    Policy,
    /// Too much of its kind lately, or too much waits to be stored.
    Busy,
    /// Something that it needs is used up.
    Exhausted,
}

impl DiscardReason {
    /// Every reason, in the order in which [`DiscardCounters::iter`] gives them.
    pub const ALL: [Self; 9] = [
        Self::Malformed,
        Self::UnknownPeer,
        Self::Unauthentic,
        Self::Duplicate,
        Self::Stale,
        Self::Unexpected,
        Self::Policy,
        Self::Busy,
        Self::Exhausted,
    ];

    const fn index(self) -> usize {
        self as usize
    }
}

/// How many messages were discarded, by reason. Counts stop at their maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiscardCounters([u32; DiscardReason::ALL.len()]);

impl DiscardCounters {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        Self([0; DiscardReason::ALL.len()])
    }

    /// Counts one and gives the disposition to return.
    // A small machine has it once, and not at each place where something is dropped.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn discard(&mut self, reason: DiscardReason) -> Disposition {
        if let Some(count) = self.0.get_mut(reason.index()) {
            *count = count.saturating_add(1);
        }
        Disposition::Discarded(reason)
    }

    /// How many were discarded for `reason`.
    #[must_use]
    pub fn count(&self, reason: DiscardReason) -> u32 {
        self.0.get(reason.index()).copied().unwrap_or_default()
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DiscardReason, u32)> + '_ {
        DiscardReason::ALL.into_iter().zip(self.0)
    }
}
