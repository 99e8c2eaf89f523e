//! Fresh secret material for a pair: blocks from files, which heal it after a theft.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use skex_core::SecretBytes;
use skex_unmediated::{MixBlock, MixPolicy};

use crate::store::{erase_all, read_unspent};

/// What a run of an end is told of fresh secret material.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct Mixing {
    /// A file of 32 random octets, or a key of `skex client`, that the other end is given too: it is mixed into the next
    /// handshake, and locks out whoever stole this directory before. At most two are held.
    #[arg(long, value_name = "FILE")]
    block: Vec<PathBuf>,
    /// Overwrite and remove the files of the blocks once they are stored.
    #[arg(long, requires = "block")]
    erase_blocks: bool,
    /// Make no session without a block that both ends have.
    #[arg(long)]
    require_block: bool,
    /// Before anything else, withdraw the blocks that are held: the other end never got them.
    #[arg(long)]
    withdraw_blocks: bool,
}

impl Mixing {
    pub(super) const fn policy(&self) -> MixPolicy {
        if self.require_block { MixPolicy::Require } else { MixPolicy::Accept }
    }

    pub(super) const fn withdraws(&self) -> bool {
        self.withdraw_blocks
    }

    /// The blocks, each with the file that it comes from.
    pub(super) fn blocks(&self) -> Result<Vec<(&Path, MixBlock)>> {
        self.block.iter().map(|path| Ok((path.as_path(), read(path)?))).collect()
    }

    /// Erases the files, if that is wished: the blocks are durable elsewhere. The names of those that are still there.
    pub(super) fn after_storing(&self) -> Result<&[PathBuf]> {
        if self.erase_blocks {
            erase_all(self.block.iter().map(PathBuf::as_path))?;
            return Ok(&[]);
        }
        Ok(&self.block)
    }
}

fn read(path: &Path) -> Result<MixBlock> {
    let name = path.display();
    let octets = read_unspent(path, 33)?.with_context(|| {
        format!(
            "the block {name} was stored before, and is erased: leave it out, or give both ends another one"
        )
    })?;
    let block = SecretBytes::try_copied_from(&octets);
    Ok(MixBlock::new(block.with_context(|| {
        format!("{name} is no block: give a file of 32 random octets, the same at both ends")
    })?))
}
