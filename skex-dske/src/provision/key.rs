//! The tags of a provisioning file.

use core::fmt;

use skex_core::{Expander, Label, MacKey, SecretBytes, Suite, extract};
use skex_wire::Writer;

use super::header::{LINK_LEN, encode_link};
use super::{Chunk, LinkIdentity, PROVISION_TAG_LEN, ProvisionError};

/// What tags the chunks of a link's provisioning files, now and later: derived from its initial key.
///
/// The tags tell damaged, altered and foreign pads from the right ones to whoever has the initial key, which came by
/// hand. They are computational, and protect nobody from one who could read the file that enrolled the link.
pub struct ProvisionKey {
    link: [u8; LINK_LEN],
    key: MacKey,
}

/// Direction 1, origin 1, number 2, elements of the table 4, first element of the chunk 4, its elements 4.
const PLACE_LEN: usize = 16;

impl ProvisionKey {
    /// The key of the files of `link`, whose initial key is `initial_key`.
    ///
    /// # Errors
    ///
    /// [`ProvisionError::Suite`].
    pub fn new(link: &LinkIdentity, initial_key: &SecretBytes<32>) -> Result<Self, ProvisionError> {
        let suite = Suite::from_id(link.suite).ok_or(ProvisionError::Suite)?;
        let secret = extract(suite, &[], &[initial_key.expose()]);
        let key = Expander::new(suite, &secret).secret::<32>(Label::DSKE_PROVISION, &[link.hub.as_bytes()]);
        let mut octets = [0; LINK_LEN];
        let written = encode_link(link, &mut Writer::new(&mut octets));
        debug_assert!(written.is_ok());
        Ok(Self { link: octets, key: suite.mac_key(key.expose()) })
    }

    /// The tag that stands behind `octets`, the pad of `chunk`.
    #[must_use]
    pub fn tag(&self, chunk: &Chunk, octets: &[u8]) -> [u8; PROVISION_TAG_LEN] {
        self.key.tag(&[&self.link, &place(chunk), octets])
    }

    /// Makes sure that `octets` are the pad of `chunk`. None of them may be used before.
    ///
    /// # Errors
    ///
    /// [`ProvisionError::Chunk`].
    pub fn verify(
        &self,
        chunk: &Chunk,
        octets: &[u8],
        tag: &[u8; PROVISION_TAG_LEN],
    ) -> Result<(), ProvisionError> {
        let verified = self.key.verify(&[&self.link, &place(chunk), octets], tag);
        if octets.len() != chunk.len() || verified.is_err() {
            return Err(ProvisionError::Chunk { number: chunk.part.number, first: chunk.first });
        }
        Ok(())
    }
}

/// Not the part's own range: a portion keeps the tags of the file that it was cut from.
fn place(chunk: &Chunk) -> [u8; PLACE_LEN] {
    let mut octets = [0; PLACE_LEN];
    let mut out = Writer::new(&mut octets);
    let mut write = || {
        out.u8(chunk.part.direction.value())?;
        out.u8(chunk.part.origin.code().value())?;
        out.u16(chunk.part.number)?;
        out.u32(chunk.part.elements)?;
        out.u32(chunk.first)?;
        out.u32(chunk.elements)
    };
    let written: Result<(), skex_wire::EncodeError> = write();
    debug_assert!(written.is_ok());
    octets
}

impl fmt::Debug for ProvisionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProvisionKey").finish_non_exhaustive()
    }
}
