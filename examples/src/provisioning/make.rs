//! A provisioning file is made, the same for both ends.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use rand_core::Rng as _;
use skex_core::SecretBytes;
use skex_dske::{Chunk, Provision, ProvisionKey, TablePart};
use skex_wire::dske::Direction;
use zeroize::Zeroizing;

use super::{copied, identity_of_table, link_name};
use crate::entropy::Entropy;
use crate::store::atomic::{parent, private, sync_directory, write_private};
use crate::store::{Partial, TableWriter, TablesIn, table_name};

/// The two ends of a provisioning file that have no names yet.
pub(crate) struct Made<'a>(Vec<(Partial, &'a Path)>);

impl Made<'_> {
    /// Gives them their names, durably. That of this end comes last: a hub that runs looks for it.
    pub(crate) fn take_names(self) -> Result<()> {
        self.0.into_iter().rev().try_for_each(|(partial, name)| {
            partial.create().with_context(|| format!("cannot give {} its name", name.display()))?;
            sync_directory(parent(name))
        })
    }
}

/// Writes a provisioning file with fresh pads for the end `here`, and for the other end to `out`; neither may exist. Where that fails,
/// nothing of them stays.
pub(crate) fn make<'a>(
    provision: &Provision,
    initial_key: &SecretBytes<32>,
    here: &'a Path,
    out: Option<&'a Path>,
    entropy: &mut Entropy,
) -> Result<Made<'a>> {
    let (mut made, mut ends) = (Vec::new(), Vec::new());
    for path in [here].into_iter().chain(out) {
        let cannot = || format!("cannot make {}", path.display());
        let partial = Partial::of(path).with_context(cannot)?;
        ends.push(Receiving::File(partial.file().try_clone().with_context(cannot)?, path));
        made.push((partial, path));
    }
    pour(provision, initial_key, &mut ends, entropy)?;
    ends.iter().try_for_each(Receiving::sync)?;
    Ok(Made(made))
}

/// Where an end of a link gets its keys and tables.
pub(crate) enum End<'a> {
    /// In a provisioning file at this path, which must not exist.
    File(&'a Path),
    /// In the directory, which has nothing of the link yet, under the name of the link there.
    Directory(&'a Path, &'a str),
}

/// Gives the ends of a new link their keys, and tables with fresh pads. Durable once the file system was synced: for directories
/// that nobody looks into before.
pub(crate) fn lay(
    provision: &Provision,
    initial_key: &SecretBytes<32>,
    ends: &[End<'_>],
    entropy: &mut Entropy,
) -> Result<()> {
    let mut receiving = Vec::new();
    for end in ends {
        receiving.push(match end {
            End::File(path) => Receiving::file(path)?,
            End::Directory(directory, name) => {
                let table = |part: &TablePart| {
                    let path = directory.join(table_name(name, part.direction, part.number));
                    Ok((*part, TableWriter::open(&path, identity_of_table(&provision.link, part), 0)?))
                };
                let own = Provision::new(provision.link, Some(copied(initial_key)), Vec::new())?;
                write_private(&directory.join(link_name(name)), own.encode().expose())?;
                Receiving::Tables(provision.parts.iter().map(table).collect::<Result<_>>()?)
            }
        });
    }
    pour(provision, initial_key, &mut receiving, entropy)?;
    receiving.into_iter().try_for_each(Receiving::finish)
}

/// An end of a link that is being written.
enum Receiving<'a> {
    File(File, &'a Path),
    Tables(Vec<(TablePart, TableWriter)>),
}

impl<'a> Receiving<'a> {
    fn file(path: &'a Path) -> Result<Self> {
        let file = private(OpenOptions::new().write(true).create_new(true)).open(path);
        Ok(Self::File(file.with_context(|| format!("cannot make {}", path.display()))?, path))
    }

    /// What comes before all chunks, or, of a file, behind one.
    fn write(&mut self, octets: &[u8]) -> Result<()> {
        match self {
            Self::File(file, path) => {
                file.write_all(octets).with_context(|| format!("cannot write {}", path.display()))
            }
            Self::Tables(_) => Ok(()),
        }
    }

    fn take(&mut self, chunk: &Chunk, octets: &[u8], tag: &[u8]) -> Result<()> {
        match self {
            Self::File(..) => self.write(octets).and_then(|()| self.write(tag)),
            Self::Tables(tables) => {
                let table = tables.iter().find(|(part, _)| *part == chunk.part);
                table.map_or(Ok(()), |(_, table)| table.write(chunk.first, octets))
            }
        }
    }

    fn sync(&self) -> Result<()> {
        match self {
            Self::File(file, path) => {
                file.sync_all().with_context(|| format!("cannot sync {}", path.display()))
            }
            Self::Tables(_) => Ok(()),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::File(..) => Ok(()),
            Self::Tables(tables) => {
                tables.into_iter().try_for_each(|(part, table)| table.finish_unsynced(part.end))
            }
        }
    }
}

/// Draws the tables, the same for all `ends`.
fn pour(
    provision: &Provision,
    initial_key: &SecretBytes<32>,
    ends: &mut [Receiving<'_>],
    entropy: &mut Entropy,
) -> Result<()> {
    let key = ProvisionKey::new(&provision.link, initial_key)?;
    ends.iter_mut().try_for_each(|end| end.write(provision.encode().expose()))?;
    for chunk in provision.chunks() {
        let mut octets = Zeroizing::new(vec![0; chunk.len()]);
        entropy.fill_bytes(&mut octets);
        let tag = key.tag(&chunk, &octets);
        ends.iter_mut().try_for_each(|end| end.take(&chunk, &octets, &tag))?;
    }
    Ok(())
}

/// The number of the next table of a link, the same in both directions.
pub(crate) fn next_number(directory: &Path, name: &str) -> Result<u16> {
    let (there, mut newest) = (TablesIn::directory(directory)?, None);
    for direction in [Direction::UPLINK, Direction::DOWNLINK] {
        newest = newest.max(there.numbers(name, direction).last().copied());
    }
    newest.map_or(Some(0), |newest: u16| newest.checked_add(1)).context("this link has had all its tables")
}
