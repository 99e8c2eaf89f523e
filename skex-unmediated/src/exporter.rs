//! The exporter: one one-way chain a direction, whose outputs are indexed and erased one by one.
//!
//! ```text
//!   OK_i   = Expand(XC_i, "skex u1 output", uint64(i))
//!   XC_i+1 = Expand(XC_i, "skex u1 next", uint64(i)), then XC_i is erased
//!   key    = Expand(OK_i, consumer's label, uint64(index) | context), then OK_i is erased
//! ```
//!
//! The chain of the outputs that this end names lives in memory only: the record of the handshake reserves all of it
//! at once, so nothing can be named twice, whatever happens, and naming costs no write. The chain of the outputs that
//! the peer names is durable, with the keys of skipped indices.

use skex_core::{Expander, HashSecret, KeyBytes, Label, MAX_HASH_LEN, SecretBytes, Suite};
use skex_wire::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

use crate::config::Side;
use crate::error::ExportError;
use crate::rules::{Rule, holds};

/// How far the indices of one chain may be used out of order, at most and unless the configuration says less.
pub const WINDOW: usize = MAX_WINDOW as usize;

/// [`WINDOW`], as the configuration counts.
pub(crate) const MAX_WINDOW: u8 = 8;

/// Outputs of one chain, at most.
pub const MAX_OUTPUTS: u32 = 1 << 16;

/// The top bit of an index names the owner of the chain: set for side b.
const OWNER_B: u64 = 1 << 63;

/// Which end named the output `index`.
#[must_use]
pub const fn index_owner(index: u64) -> Side {
    if index & OWNER_B == 0 { Side::A } else { Side::B }
}

pub(crate) const fn index_of(owner: Side, number: u32) -> u64 {
    let base = match owner {
        Side::A => 0,
        Side::B => OWNER_B,
    };
    base | number as u64
}

/// The number of `index` in its chain.
pub(crate) fn number_of(index: u64) -> Result<u32, ExportError> {
    u32::try_from(index & !OWNER_B).ok().filter(|number| *number < MAX_OUTPUTS).ok_or(ExportError::TooFar)
}

/// Key OK of output `number`, and the next link written over `link` where `advance` is set.
fn output(suite: Suite, link: &mut HashSecret, number: u32, advance: bool) -> HashSecret {
    let keys = Expander::new(suite, link);
    let index = u64::from(number).to_be_bytes();
    let output = keys.hash_secret(Label::UNMEDIATED_EXPORT_OUTPUT, &[&index]);
    if advance {
        keys.hash_secret_into(Label::UNMEDIATED_EXPORT_NEXT, &[&index], link);
    }
    output
}

/// The octets for the consumer.
pub(crate) fn derive(
    suite: Suite,
    output: &HashSecret,
    index: u64,
    label: Label,
    context: &[u8],
) -> HashSecret {
    Expander::new(suite, output).hash_secret(label, &[&index.to_be_bytes(), context])
}

/// As long as the hash of the suite.
pub(crate) fn key_bytes(secret: &HashSecret) -> Result<KeyBytes, ExportError> {
    KeyBytes::copied_from(secret.expose()).ok_or(ExportError::Exhausted)
}

/// The chain of the outputs that this end names. In memory only.
pub(crate) struct NamingChain {
    link: HashSecret,
    next: u32,
    answered: u32,
    window: u8,
    live: bool,
}

impl NamingChain {
    /// None yet, or none since the start.
    pub(crate) fn none(suite: Suite) -> Self {
        Self { link: HashSecret::zeroed(suite), next: 0, answered: 0, window: MAX_WINDOW, live: false }
    }

    /// How many outputs may be unanswered.
    pub(crate) const fn set_window(&mut self, window: u8) {
        self.window = window;
    }

    /// The slot for the first link of a new chain.
    pub(crate) const fn begin(&mut self) -> &mut HashSecret {
        self.next = 0;
        self.answered = 0;
        self.live = true;
        &mut self.link
    }

    pub(crate) fn wipe(&mut self) {
        self.link.wipe();
        self.live = false;
    }

    pub(crate) const fn is_live(&self) -> bool {
        self.live
    }

    /// Whether [`Self::name`] would give an output.
    pub(crate) fn may_name(&self) -> Result<(), ExportError> {
        if !self.live {
            return Err(ExportError::Restarted);
        }
        if self.next >= MAX_OUTPUTS {
            return Err(ExportError::Exhausted);
        }
        let unanswered = self.next.saturating_sub(self.answered);
        if unanswered >= u32::from(self.window) && holds(Rule::NameWithinWindow) {
            return Err(ExportError::WindowFull);
        }
        Ok(())
    }

    /// The next output of `owner`, and its index.
    pub(crate) fn name(&mut self, suite: Suite, owner: Side) -> Result<(u64, HashSecret), ExportError> {
        self.may_name()?;
        let output = output(suite, &mut self.link, self.next, true);
        let index = index_of(owner, self.next);
        self.next = self.next.saturating_add(1);
        Ok((index, output))
    }

    /// The peer answered under output `index`.
    pub(crate) fn note_answer(&mut self, index: u64) -> Result<(), ExportError> {
        let number = number_of(index)?;
        if number >= self.next {
            return Err(ExportError::TooFar);
        }
        self.answered = self.answered.max(number.saturating_add(1));
        Ok(())
    }
}

/// The chain of the outputs that the peer names. Durable.
pub(crate) struct AnsweringChain {
    link: HashSecret,
    position: u32,
    // Bit n: slot n holds the key of a skipped index.
    kept: u8,
    reach: u8,
    window: [SecretBytes<MAX_HASH_LEN>; WINDOW],
}

/// Where the key of an output is.
enum Place {
    Kept(usize),
    Ahead,
}

impl AnsweringChain {
    pub(crate) fn none(suite: Suite) -> Self {
        Self {
            link: HashSecret::zeroed(suite),
            position: 0,
            kept: 0,
            reach: MAX_WINDOW,
            window: [const { SecretBytes::zeroed() }; WINDOW],
        }
    }

    /// How far indices may be ahead of the position, or behind it. Keys that are further behind are erased.
    pub(crate) fn set_window(&mut self, window: u8) {
        self.reach = window;
        self.erase_out_of_reach();
    }

    /// The slot for the first link of a new chain.
    pub(crate) fn begin(&mut self) -> &mut HashSecret {
        self.wipe();
        self.position = 0;
        &mut self.link
    }

    pub(crate) fn wipe(&mut self) {
        self.link.wipe();
        self.kept = 0;
        for slot in &mut self.window {
            slot.wipe();
        }
    }

    /// Key OK of `index`, without any change.
    pub(crate) fn peek(&self, suite: Suite, index: u64) -> Result<HashSecret, ExportError> {
        let number = number_of(index)?;
        match self.place(number)? {
            Place::Kept(slot) => self.kept_key(suite, slot),
            Place::Ahead => {
                let mut link = HashSecret::zeroed(suite);
                link.overwrite(&self.link);
                for skipped in self.position..number {
                    let _ = output(suite, &mut link, skipped, true);
                }
                Ok(output(suite, &mut link, number, false))
            }
        }
    }

    /// Key OK of `index`, which is erased here. Keys of indices that are skipped are kept.
    pub(crate) fn take(&mut self, suite: Suite, index: u64) -> Result<HashSecret, ExportError> {
        let number = number_of(index)?;
        if let Place::Kept(slot) = self.place(number)? {
            let key = self.kept_key(suite, slot);
            if holds(Rule::OneOutputAnIndex) {
                self.erase(slot);
            }
            return key;
        }
        while self.position < number {
            let skipped = output(suite, &mut self.link, self.position, true);
            let slot = slot_of(self.position);
            if let Some(place) = self.window.get_mut(slot) {
                place.wipe();
                copy(skipped.expose(), place.expose_mut());
                self.kept |= 1 << slot;
            }
            self.position = self.position.saturating_add(1);
        }
        let key = output(suite, &mut self.link, number, true);
        self.erase(slot_of(number));
        self.position = number.saturating_add(1);
        self.erase_out_of_reach();
        Ok(key)
    }

    /// Lets the consumer's key of an output that was taken wait in the slot of its index, which is free, until its
    /// erasure is durable. No record holds it.
    pub(crate) fn put_released(&mut self, number: u32, key: &HashSecret) {
        if let Some(place) = self.window.get_mut(slot_of(number)) {
            copy(key.expose(), place.expose_mut());
        }
    }

    /// The key that waits, which is gone here.
    pub(crate) fn take_released(&mut self, number: u32) -> Option<KeyBytes> {
        let place = self.window.get_mut(slot_of(number))?;
        let key = KeyBytes::copied_from(place.expose().get(..self.link.len())?);
        place.wipe();
        key
    }

    fn place(&self, number: u32) -> Result<Place, ExportError> {
        if let Some(ahead) = number.checked_sub(self.position) {
            return if ahead < u32::from(self.reach) { Ok(Place::Ahead) } else { Err(ExportError::TooFar) };
        }
        let slot = slot_of(number);
        let behind = self.position.saturating_sub(number);
        if behind <= u32::from(self.reach) && self.kept & (1 << slot) != 0 {
            Ok(Place::Kept(slot))
        } else {
            Err(ExportError::Used)
        }
    }

    fn kept_key(&self, suite: Suite, slot: usize) -> Result<HashSecret, ExportError> {
        let octets = self.window.get(slot).and_then(|key| key.expose().get(..suite.hash_len()));
        octets.and_then(|octets| HashSecret::try_copied_from(suite, octets)).ok_or(ExportError::Used)
    }

    fn erase_out_of_reach(&mut self) {
        let oldest = self.position.saturating_sub(u32::from(MAX_WINDOW));
        let within = self.position.saturating_sub(u32::from(self.reach));
        for number in oldest..within {
            self.erase(slot_of(number));
        }
    }

    fn erase(&mut self, slot: usize) {
        self.kept &= !(1 << slot);
        if let Some(place) = self.window.get_mut(slot) {
            place.wipe();
        }
    }

    pub(crate) fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.bytes(self.link.expose())?;
        writer.u32(self.position)?;
        writer.u8(self.kept)?;
        for (slot, key) in self.window.iter().enumerate() {
            if self.kept & (1 << slot) != 0 {
                writer.bytes(key.expose().get(..self.link.len()).unwrap_or_default())?;
            }
        }
        Ok(())
    }

    /// Reads what [`Self::write`] wrote, over this chain.
    pub(crate) fn read(&mut self, suite: Suite, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.link.overwrite(&HashSecret::zeroed(suite));
        reader.read_into(self.link.expose_mut())?;
        self.position = reader.u32()?;
        self.kept = reader.u8()?;
        // An output is kept only below the position.
        let skipped = 1_u32.checked_shl(self.position).map_or(u32::MAX, |bit| bit.wrapping_sub(1));
        if self.position > MAX_OUTPUTS || u32::from(self.kept) & !skipped != 0 {
            return Err(reader.error(DecodeErrorKind::BadValue));
        }
        for (slot, key) in self.window.iter_mut().enumerate() {
            if self.kept & (1 << slot) != 0 {
                reader.read_into(key.expose_mut().get_mut(..suite.hash_len()).unwrap_or_default())?;
            }
        }
        Ok(())
    }
}

const fn slot_of(number: u32) -> usize {
    number as usize % WINDOW
}

fn copy(from: &[u8], to: &mut [u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite() -> Suite {
        Suite::all().next().unwrap()
    }

    fn chains() -> (NamingChain, AnsweringChain) {
        let (mut naming, mut answering) = (NamingChain::none(suite()), AnsweringChain::none(suite()));
        naming.begin().expose_mut().fill(7);
        answering.begin().expose_mut().fill(7);
        (naming, answering)
    }

    #[test]
    fn both_ends_get_the_same_outputs_in_any_order_within_the_window_and_each_once() {
        let (mut naming, mut answering) = chains();
        let named: [(u64, HashSecret); WINDOW] =
            core::array::from_fn(|_| naming.name(suite(), Side::B).unwrap());
        assert_eq!(naming.may_name(), Err(ExportError::WindowFull));
        for at in [7, 0, 3, 1, 2, 6, 5, 4] {
            let (index, key) = &named[at];
            assert_eq!(index_owner(*index), Side::B);
            assert_eq!(answering.peek(suite(), *index).unwrap(), *key, "peek {at}");
            assert_eq!(answering.take(suite(), *index).unwrap(), *key, "take {at}");
            assert_eq!(answering.take(suite(), *index).unwrap_err(), ExportError::Used);
            assert_eq!(answering.peek(suite(), *index).unwrap_err(), ExportError::Used);
        }
        assert_eq!(answering.kept, 0);
        naming.note_answer(named[7].0).unwrap();
        assert_eq!(naming.name(suite(), Side::B).unwrap().0, OWNER_B | 8);
    }

    #[test]
    fn indices_beyond_the_window_are_too_far_and_behind_it_gone() {
        let (_, mut answering) = chains();
        assert_eq!(answering.take(suite(), 8).unwrap_err(), ExportError::TooFar);
        assert_eq!(answering.take(suite(), u64::from(u32::MAX)).unwrap_err(), ExportError::TooFar);
        assert_eq!(answering.position, 0, "a far index moves nothing");
        answering.take(suite(), 7).unwrap();
        answering.take(suite(), 8).unwrap();
        assert_eq!(answering.take(suite(), 0).unwrap_err(), ExportError::Used, "index 0 has left the window");
        answering.take(suite(), 1).unwrap();
        answering.take(suite(), 16).unwrap();
        assert_eq!(answering.take(suite(), 8).unwrap_err(), ExportError::Used);
        answering.take(suite(), 9).unwrap();
    }

    #[test]
    fn nothing_that_is_kept_is_an_output_that_was_taken() {
        let (_, mut answering) = chains();
        let taken = answering.take(suite(), 5).unwrap();
        let later = answering.peek(suite(), 6).unwrap();
        assert!(answering.window.iter().all(|kept| kept.expose()[..32] != taken.expose()[..32]));
        assert_ne!(answering.link, taken);
        assert_ne!(later, taken);
        answering.take(suite(), 2).unwrap();
        assert!(answering.window[2].expose().iter().all(|octet| *octet == 0));
    }
}
