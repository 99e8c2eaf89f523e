//! IKEv2: a post-quantum preshared key and its identifier (RFC 8784, RFC 9867).

use super::{Consumer, Direction, ExportError, Exporter, KeyName, TextName};
use crate::SecretBytes;

/// The type of the identifier: it names one PPK (RFC 8784, section 5.1).
pub const PPK_ID_FIXED: u8 = 2;

/// A PPK of 32 octets with its PPK_ID, for both RFC 8784 and RFC 9867.
///
/// Require the PPK at both ends: where it is optional and one end lacks it, the SA comes up without it, in silence.
#[derive(Debug, PartialEq, Eq)]
pub struct IkePpk {
    id: TextName,
    ppk: SecretBytes<32>,
}

impl IkePpk {
    /// Octets of [`Self::identity`].
    pub const IDENTITY_LEN: usize = 1 + Self::ID_LEN;

    const ID_LEN: usize = 5 + 32 + DOMAIN.len();

    /// The PPK_ID: `skex-`, 32 hex digits, `@skex.invalid` (50 octets). Implementations that parse identities take it
    /// for a mail address and keep it octet by octet; a responder can allow `*@skex.invalid`.
    #[must_use]
    pub const fn id(&self) -> TextName {
        self.id
    }

    /// The PPK.
    #[must_use]
    pub const fn ppk(&self) -> &SecretBytes<32> {
        &self.ppk
    }

    /// What the notification PPK_IDENTITY carries (RFC 8784, section 3): the type, then the PPK_ID.
    #[must_use]
    pub fn identity(&self) -> [u8; Self::IDENTITY_LEN] {
        let mut data = [0; Self::IDENTITY_LEN];
        let typed = core::iter::once(&PPK_ID_FIXED).chain(self.id.as_bytes());
        for (to, from) in data.iter_mut().zip(typed) {
            *to = *from;
        }
        data
    }
}

// Reserved, so nobody's (RFC 2606).
const DOMAIN: &[u8] = b"@skex.invalid";

impl Exporter {
    /// A PPK for both directions. Parameters: none.
    ///
    /// # Errors
    /// [`ExportError::Used`].
    pub fn ikev2_ppk(&mut self, number: u32) -> Result<IkePpk, ExportError> {
        let claim = self.claim(Consumer::Ikev2, Direction::Both, number, &[])?;
        let id = TextName::new(KeyName::new(self.name(&claim)), DOMAIN);
        Ok(IkePpk { id, ppk: self.secret(&claim) })
    }
}

#[cfg(test)]
mod tests {
    use crate::export::{End, PPK_ID_FIXED, tests::exporter};

    #[test]
    fn the_identity_is_its_type_and_a_name_that_parses_as_a_mail_address() {
        let ppk = exporter(End::A).ikev2_ppk(0).unwrap();
        let identity = ppk.identity();
        assert_eq!(identity[0], PPK_ID_FIXED);
        assert_eq!(&identity[1..], ppk.id().as_bytes());
        let (local, domain) =
            ppk.id().as_str().split_once('@').map(|(l, d)| (l.len(), d == "skex.invalid")).unwrap();
        assert!(local == 37 && domain);
        assert_eq!(ppk.id().as_bytes().len(), 50);
    }
}
