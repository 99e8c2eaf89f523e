//! A datagram before it is sealed: one message under the envelope, or several (docs/draft-skex-dske.md, "Several messages in one").

use alloc::vec::Vec;

use skex_wire::dske::{InnerType, MAX_SEVERAL_LEN, SealedHeader, Several, TAG_LEN};
use skex_wire::{EncodeError, Writer};
use zeroize::Zeroizing;

use crate::key::append;

/// Room for the header of an envelope, and what comes behind it, which is wiped if it is never sealed: a refill is in clear here.
pub(crate) struct Unsealed {
    /// Whether the client's salt goes along.
    fresh: bool,
    octets: Zeroizing<Vec<u8>>,
}

impl Unsealed {
    /// The message of `len` octets that `write` writes.
    pub(crate) fn of(
        fresh: bool,
        len: usize,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Option<Self> {
        let mut octets = Zeroizing::new(Vec::new());
        octets.reserve_exact(header_len(fresh).saturating_add(len).saturating_add(TAG_LEN));
        octets.resize(header_len(fresh), 0);
        append(&mut octets, len, write)?;
        Some(Self { fresh, octets })
    }

    pub(crate) const fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The message, or SEVERAL.
    fn inner(&self) -> &[u8] {
        self.octets.get(header_len(self.fresh)..).unwrap_or_default()
    }

    /// Takes a further message along, if it and what is there may share an envelope, and the datagram has at most `longest` octets
    /// then. `false`: nothing changed.
    #[must_use]
    pub(crate) fn take_along(
        &mut self,
        len: usize,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
        longest: usize,
    ) -> bool {
        let (header, before) = (header_len(self.fresh), self.octets.len());
        let inner = self.inner();
        let is_several = inner.first() == Some(&InnerType::SEVERAL.value());
        let first = if is_several { 0 } else { Several::HEAD_LEN.saturating_add(Several::FRAME_LEN) };
        let added = first.saturating_add(Several::FRAME_LEN).saturating_add(len);
        let (Ok(own), Ok(others)) = (u16::try_from(inner.len()), u16::try_from(len)) else { return false };
        if !(is_several || Several::admits(inner))
            || inner.len().saturating_add(added) > MAX_SEVERAL_LEN
            || before.saturating_add(added).saturating_add(TAG_LEN) > longest
        {
            return false;
        }
        // Grown once, to all that it may become.
        self.octets.reserve_exact(longest.min(MAX_SEVERAL_LEN).saturating_sub(before));
        self.octets.extend_from_slice(&others.to_be_bytes());
        let start = self.octets.len();
        let admitted = append(&mut self.octets, len, write).is_some()
            && self.octets.get(start..).is_some_and(Several::admits);
        if !admitted {
            self.octets.truncate(before);
            return false;
        }
        if !is_several {
            let [high, low] = own.to_be_bytes();
            let head = [InnerType::SEVERAL.value(), high, low];
            self.octets.extend_from_slice(&head);
            if let Some(inner) = self.octets.get_mut(header..) {
                inner.rotate_right(head.len());
            }
        }
        true
    }

    /// The octets, with room for a header before the messages and for a tag behind them.
    pub(crate) fn into_octets(mut self) -> Vec<u8> {
        self.octets.extend_from_slice(&[0; TAG_LEN]);
        core::mem::take(&mut self.octets)
    }
}

const fn header_len(fresh: bool) -> usize {
    if fresh { SealedHeader::FRESH_LEN } else { SealedHeader::LEN }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use skex_wire::dske::Inner;

    use super::*;

    const LONGEST: usize = 1232;

    fn of(fresh: bool, message: &[u8]) -> Unsealed {
        Unsealed::of(fresh, message.len(), |out| out.bytes(message)).unwrap()
    }

    fn take_along(unsealed: &mut Unsealed, message: &[u8], longest: usize) -> bool {
        unsealed.take_along(message.len(), |out| out.bytes(message), longest)
    }

    fn messages(unsealed: &Unsealed) -> Vec<&[u8]> {
        match Inner::decode(unsealed.inner()).unwrap() {
            Inner::Several(several) => several.messages().collect(),
            _ => [unsealed.inner()].into(),
        }
    }

    #[test]
    fn messages_about_keys_share_an_envelope_in_their_order() {
        for fresh in [false, true] {
            let busy = |table| [7, 0, table, 0, 0, 0, 1];
            let mut unsealed = of(fresh, &busy(0));
            for table in 1..4 {
                assert!(take_along(&mut unsealed, &busy(table), LONGEST));
            }
            assert_eq!(messages(&unsealed), [busy(0), busy(1), busy(2), busy(3)]);
            let octets = unsealed.into_octets();
            assert_eq!(octets.len(), header_len(fresh) + 1 + 4 * (2 + 7) + TAG_LEN);
            assert!(octets.capacity() <= LONGEST);
        }
    }

    #[test]
    fn a_datagram_is_filled_to_its_bound_and_no_further() {
        let busy = [7, 0, 0, 0, 0, 0, 1];
        let whole = header_len(false) + 1 + 2 * (2 + 7) + TAG_LEN;
        assert!(!take_along(&mut of(false, &busy), &busy, whole - 1));
        assert!(take_along(&mut of(false, &busy), &busy, whole));
        // Whatever the bound is, a SEVERAL has one.
        let mut unsealed = of(false, &busy);
        while take_along(&mut unsealed, &busy, usize::MAX) {}
        assert_eq!(unsealed.inner().len(), 1 + (MAX_SEVERAL_LEN - 1) / 9 * 9);
        let _ = messages(&unsealed);
    }

    #[test]
    fn what_may_not_be_in_several_goes_alone_and_changes_nothing() {
        let (busy, fetch) = ([7, 0, 0, 0, 0, 0, 1], [9]);
        assert!(!take_along(&mut of(false, &fetch), &busy, LONGEST));
        let mut unsealed = of(false, &busy);
        assert!(!take_along(&mut unsealed, &fetch, LONGEST));
        assert!(!unsealed.take_along(7, |out| out.u8(7), LONGEST), "another length");
        assert_eq!(messages(&unsealed), [busy]);
        assert!(take_along(&mut unsealed, &busy, LONGEST));
        assert!(!take_along(&mut unsealed, &fetch, LONGEST));
        assert_eq!(messages(&unsealed), [busy, busy]);
    }
}
