//! How a link rotates.

use core::time::Duration;

use crate::machine::PeerHandle;

/// How a link rotates.
#[derive(Debug, Clone, Copy)]
pub struct RotationConfig {
    pub(super) machine: [u8; 8],
    pub(super) peer: PeerHandle,
    pub(super) reinstall: bool,
    pub(super) grace: Duration,
    pub(super) repeat: Duration,
    pub(super) overdue: Duration,
}

impl RotationConfig {
    /// A link's rotation: `machine` names its records, `peer` is where statuses go. Grace 10 seconds, a status repeated
    /// each second until it is answered, overdue after 60 seconds.
    #[must_use]
    pub const fn new(machine: [u8; 8], peer: PeerHandle) -> Self {
        Self {
            machine,
            peer,
            reinstall: true,
            grace: Duration::from_secs(10),
            repeat: Duration::from_secs(1),
            overdue: Duration::from_secs(60),
        }
    }

    /// Whether a key that the consumer lost may be installed again. Never where the consumer counts packets under the key
    /// from 1 on (static MACsec): nonces would repeat.
    #[must_use]
    pub const fn reinstall(mut self, allowed: bool) -> Self {
        self.reinstall = allowed;
        self
    }

    /// How long an old generation stays after both ends have moved, for what is under way. WireGuard
    /// needs none: a session needs its key no more once it is made.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How often a status is repeated until it is answered: each millisecond at most.
    #[must_use]
    pub const fn repeat(mut self, repeat: Duration) -> Self {
        self.repeat = repeat;
        self
    }

    /// After how long an unfinished rotation is told of.
    #[must_use]
    pub const fn overdue(mut self, overdue: Duration) -> Self {
        self.overdue = overdue;
        self
    }
}
