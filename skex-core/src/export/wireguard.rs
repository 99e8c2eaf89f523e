//! WireGuard: the preshared key of a peer (Noise_IKpsk2).

use super::{Consumer, Direction, ExportError, Exporter, KeyName};
use crate::SecretBytes;

/// A preshared key of 32 octets.
///
/// WireGuard carries no name of it: the ends agree on the switch by other means. A key of zeros would mean "none";
/// it does not occur, no more than any other guess does.
#[derive(Debug, PartialEq, Eq)]
pub struct WireguardPsk {
    name: KeyName,
    psk: SecretBytes<32>,
}

impl WireguardPsk {
    /// What names it at both ends, outside WireGuard.
    #[must_use]
    pub const fn name(&self) -> KeyName {
        self.name
    }

    /// The preshared key: 64 hex digits in the UAPI, base64 for the program `wg`.
    #[must_use]
    pub const fn psk(&self) -> &SecretBytes<32> {
        &self.psk
    }
}

impl Exporter {
    /// A preshared key for both directions. Parameters: none.
    ///
    /// # Errors
    /// [`ExportError::Used`].
    pub fn wireguard(&mut self, number: u32) -> Result<WireguardPsk, ExportError> {
        let claim = self.claim(Consumer::WireGuard, Direction::Both, number, &[])?;
        Ok(WireguardPsk { name: KeyName::new(self.name(&claim)), psk: self.secret(&claim) })
    }
}
