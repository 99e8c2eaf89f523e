//! Blocks of fresh secret material, which heal a pair after a compromise.
//!
//! A lane holds at most two, in its own record: so a block that was offered or chosen is there as long as the epoch in
//! which a third message may need it, whatever crashes. Only the move to the next epoch erases one.

use core::fmt;

use skex_core::{OutputKey, SecretBytes};
use skex_wire::unmediated::MIX_OFFERS;
use skex_wire::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

use crate::error::MixError;
use crate::rules::{Rule, holds};
use crate::schedule::MIX_LEN;

/// Octets that the longest record has for blocks.
pub(crate) const BLOCKS: usize = MIX_OFFERS * (1 + MIX_LEN);

/// Whether handshakes mix in fresh secret material. Each end has its own policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MixPolicy {
    /// None is offered or chosen.
    Never,
    /// It is, whenever both ends hold the same block.
    Accept,
    /// There is no new session without.
    Require,
}

/// Fresh secret material: 32 octets that both ends got elsewhere (from DSKE, from QKD, from a pool), uniform, used for
/// nothing else, and known to nobody who may have stolen the state of an end.
///
/// Both ends provide the same block with [`Peer::provide_mix`](crate::Peer::provide_mix). It needs no name: the ends
/// recognise it by what it is.
pub struct MixBlock(SecretBytes<MIX_LEN>);

impl MixBlock {
    /// A block of these octets.
    #[must_use]
    pub const fn new(octets: SecretBytes<32>) -> Self {
        Self(octets)
    }
}

impl TryFrom<OutputKey> for MixBlock {
    type Error = MixError;

    /// A key of another key establishment, used up here: it must have 32 octets.
    fn try_from(key: OutputKey) -> Result<Self, MixError> {
        SecretBytes::try_copied_from(key.secret().expose()).map(Self).ok_or(MixError::Length)
    }
}

impl fmt::Debug for MixBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MixBlock(..)")
    }
}

/// The blocks that a lane holds.
pub(crate) struct Blocks {
    octets: [SecretBytes<MIX_LEN>; MIX_OFFERS],
    standing: [Standing; MIX_OFFERS],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The slot is free.
    Free,
    /// It may be offered and chosen.
    Active,
    /// It may not. It is held all the same: a third message may need it.
    Withdrawn,
}

const ACTIVE: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Blocks {
    pub(crate) const fn none() -> Self {
        Self { octets: [const { SecretBytes::zeroed() }; MIX_OFFERS], standing: [Standing::Free; MIX_OFFERS] }
    }

    /// Takes a block in; `false` where it is there already. One that was withdrawn counts again. Where both slots are
    /// taken it replaces one that was withdrawn and is not `needed` (bit n for slot n).
    pub(crate) fn add(&mut self, block: &MixBlock, needed: u8) -> Result<bool, MixError> {
        let found = self.held().find(|(_, held)| **held == block.0).map(|(slot, _)| slot);
        if let Some(standing) = found.and_then(|slot| self.standing.get_mut(slot)) {
            let is_new = *standing == Standing::Withdrawn;
            *standing = Standing::Active;
            return Ok(is_new);
        }
        let of = |wanted| self.standing.iter().enumerate().filter(move |(_, standing)| **standing == wanted);
        let free = of(Standing::Free).next();
        let replaced = of(Standing::Withdrawn).find(|(slot, _)| needed & (1 << slot) == 0);
        let (slot, _) = free.or(replaced).ok_or(MixError::Full)?;
        if let (Some(octets), Some(standing)) = (self.octets.get_mut(slot), self.standing.get_mut(slot)) {
            octets.overwrite(&block.0);
            *standing = Standing::Active;
        }
        Ok(true)
    }

    /// None is offered or chosen any more; `false` where none was.
    pub(crate) fn withdraw(&mut self) -> bool {
        let mut any = false;
        for (octets, standing) in self.octets.iter_mut().zip(&mut self.standing) {
            if *standing != Standing::Active {
                continue;
            }
            any = true;
            *standing = Standing::Withdrawn;
            if !holds(Rule::KeepBlock) {
                octets.wipe();
                *standing = Standing::Free;
            }
        }
        any
    }

    /// No slot is free, and nothing in them counts.
    pub(crate) fn are_all_withdrawn(&self) -> bool {
        self.standing.iter().all(|standing| *standing == Standing::Withdrawn)
    }

    /// The lane moved to its next epoch: what it used is erased, and what was withdrawn.
    pub(crate) fn move_on(&mut self, used: Option<usize>) {
        for (slot, (octets, standing)) in self.octets.iter_mut().zip(&mut self.standing).enumerate() {
            if *standing == Standing::Withdrawn || used == Some(slot) {
                octets.wipe();
                *standing = Standing::Free;
            }
        }
    }

    pub(crate) fn get(&self, slot: usize) -> Option<&SecretBytes<MIX_LEN>> {
        let standing = self.standing.get(slot)?;
        self.octets.get(slot).filter(|_| *standing != Standing::Free)
    }

    /// All that are held, by their slots.
    pub(crate) fn held(&self) -> impl Iterator<Item = (usize, &SecretBytes<MIX_LEN>)> {
        (0..MIX_OFFERS).filter_map(|slot| Some((slot, self.get(slot)?)))
    }

    /// Those that may be offered and chosen.
    pub(crate) fn active(&self) -> impl Iterator<Item = (usize, &SecretBytes<MIX_LEN>)> {
        self.held().filter(|(slot, _)| self.standing.get(*slot) == Some(&Standing::Active))
    }

    pub(crate) fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        for (octets, standing) in self.octets.iter().zip(&self.standing) {
            match standing {
                Standing::Free => continue,
                Standing::Active => writer.u8(ACTIVE)?,
                Standing::Withdrawn => writer.u8(WITHDRAWN)?,
            }
            writer.bytes(octets.expose())?;
        }
        Ok(())
    }

    /// Reads what [`Self::write`] wrote, to the end of the record.
    pub(crate) fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        for (octets, standing) in self.octets.iter_mut().zip(&mut self.standing) {
            if reader.is_empty() {
                break;
            }
            *standing = match reader.u8()? {
                ACTIVE => Standing::Active,
                WITHDRAWN => Standing::Withdrawn,
                _ => return Err(reader.error(DecodeErrorKind::BadValue)),
            };
            reader.read_into(octets.expose_mut())?;
        }
        Ok(())
    }
}
