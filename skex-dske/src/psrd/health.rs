//! Whether the storage of a table works.

use super::pad::PadError;

/// What has failed of a table's storage since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Health {
    failure: Option<PadError>,
    told: bool,
}

impl Health {
    /// Remembers the first failure. That something was erased before is none: the ledger goes on behind it.
    pub(crate) fn of<T>(&mut self, done: Result<T, PadError>) -> Result<T, PadError> {
        if let Err(error) = &done
            && *error != PadError::Erased
        {
            self.failure.get_or_insert(*error);
        }
        done
    }

    pub(crate) const fn failure(self) -> Option<PadError> {
        self.failure
    }

    /// A failure, once.
    pub(crate) const fn untold(&mut self) -> Option<PadError> {
        if core::mem::replace(&mut self.told, self.failure.is_some()) { None } else { self.failure }
    }
}
