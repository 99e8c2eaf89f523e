//! What bounds a table.

use core::time::Duration;

/// The bounds of a [`PeerTable`](crate::PeerTable).
#[derive(Clone, Copy, Debug)]
pub struct TableConfig {
    pub(super) max_lanes: u32,
    pub(super) first_messages: u32,
    pub(super) load_window: u64,
    pub(super) forged_thirds: u16,
    pub(super) source_window: u64,
    pub(super) source_buckets: u16,
}

impl TableConfig {
    /// For at most `max_lanes` machines. Each takes the size of a `Peer` and about 300 octets more.
    #[must_use]
    pub const fn new(max_lanes: u32) -> Self {
        Self {
            max_lanes,
            first_messages: 10_000,
            load_window: 1000,
            forged_thirds: 16,
            source_window: 1000,
            source_buckets: 4096,
        }
    }

    /// How many first messages to known pseudonyms are answered in a `window` of time without a cookie, all lanes
    /// together. Once more come, each has to bring a cookie until the window after it is over. 0: always. Default: 10,000
    /// in 1 s.
    #[must_use]
    pub const fn load(mut self, first_messages: u32, window: Duration) -> Self {
        self.first_messages = first_messages;
        self.load_window = millis(window);
        self
    }

    /// How many third messages with a wrong tag are looked at in a `window` of time from one path; further third messages
    /// from there are discarded as busy. At least one is looked at, or a right one would be neither. Default: 16 in 1 s.
    #[must_use]
    pub const fn forged_thirds(mut self, most: u16, window: Duration) -> Self {
        self.forged_thirds = if most == 0 { 1 } else { most };
        self.source_window = millis(window);
        self
    }

    /// How many counters tell paths apart for [`forged_thirds`](Self::forged_thirds), two octets each. Default: 4096.
    #[must_use]
    pub const fn source_buckets(mut self, buckets: u16) -> Self {
        self.source_buckets = buckets;
        self
    }
}

/// At least one.
const fn millis(window: Duration) -> u64 {
    let millis = window.as_millis();
    if millis == 0 {
        return 1;
    }
    if millis > u64::MAX as u128 {
        return u64::MAX;
    }
    #[expect(clippy::cast_possible_truncation, reason = "compared with the limit above")]
    let millis = millis as u64;
    millis
}
