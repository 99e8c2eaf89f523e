//! Whether the storage of a table works.

use super::pad::PadError;

/// What has failed of a table's storage since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Health {
    failure: Option<PadError>,
    /// [`TOLD`] and [`FAILS`], in one octet: a hub has many tables.
    flags: u8,
}

/// The failure was told.
const TOLD: u8 = 1;

/// The last access failed.
const FAILS: u8 = 2;

impl Health {
    /// Remembers the first failure. That something was erased before is none: the ledger goes on behind it.
    pub(crate) fn of<T>(&mut self, done: Result<T, PadError>) -> Result<T, PadError> {
        match &done {
            Err(error) if *error != PadError::Erased => {
                self.failure.get_or_insert(*error);
                self.flags |= FAILS;
            }
            _ => self.flags &= !FAILS,
        }
        done
    }

    /// The first failure since the start.
    pub(crate) const fn failure(self) -> Option<PadError> {
        self.failure
    }

    /// Whether the last access failed.
    pub(crate) const fn fails(self) -> bool {
        self.flags & FAILS != 0
    }

    /// A failure, once.
    pub(crate) const fn untold(&mut self) -> Option<PadError> {
        if self.flags & TOLD != 0 {
            return None;
        }
        if self.failure.is_some() {
            self.flags |= TOLD;
        }
        self.failure
    }
}
