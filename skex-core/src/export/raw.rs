//! Octets for a consumer that is not listed.

use super::{Consumer, Direction, ExportError, Exporter, KeyName};
use crate::KeyBytes;

/// Octets with a name.
#[derive(Debug, PartialEq, Eq)]
pub struct RawKey {
    name: KeyName,
    key: KeyBytes,
}

impl RawKey {
    /// What names it at both ends.
    #[must_use]
    pub const fn name(&self) -> KeyName {
        self.name
    }

    /// The octets.
    #[must_use]
    pub const fn key(&self) -> &KeyBytes {
        &self.key
    }

    /// The octets, without the name.
    #[must_use]
    pub fn into_key(self) -> KeyBytes {
        self.key
    }
}

impl Exporter {
    /// `len` octets for the use that `context` says, the same at both ends: at most 65 octets less than 2^16. The context
    /// should begin with a name of the consumer that nobody else uses.
    ///
    /// Parameters: the context.
    ///
    /// # Errors
    /// [`ExportError::Used`]; [`ExportError::Length`] where `len` is 0 or above 8160 (64 without the feature `alloc`),
    /// or the context is too long.
    pub fn raw(&mut self, number: u32, context: &[u8], len: usize) -> Result<RawKey, ExportError> {
        if context.len() > MAX_CONTEXT || len > crate::MAX_EXPAND_LEN {
            return Err(ExportError::Length);
        }
        // Before the number is taken: without an allocator a long key does not exist.
        let _room = KeyBytes::from_fn(len, |_| ()).ok_or(ExportError::Length)?;
        let claim = self.claim(Consumer::Raw, Direction::Both, number, context)?;
        let parts = claim.context(&self.origin);
        let mut filled = Ok(());
        let key = KeyBytes::from_fn(len, |out| filled = self.keys.expand(claim.label, &parts, out));
        filled.map_err(|_| ExportError::Length)?;
        let key = key.ok_or(ExportError::Length)?;
        Ok(RawKey { name: KeyName::new(self.name(&claim)), key })
    }
}

/// What stands before it in the info's context takes at most 65 octets.
const MAX_CONTEXT: usize = 65535 - 65;
