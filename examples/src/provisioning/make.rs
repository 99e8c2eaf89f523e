//! A provisioning file is made, the same for both ends.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use rand_core::Rng as _;
use skex_core::SecretBytes;
use skex_dske::{Provision, ProvisionKey};
use skex_wire::dske::Direction;
use zeroize::Zeroizing;

use crate::entropy::Entropy;
use crate::store::TablesIn;
use crate::store::atomic::private;

/// Writes a provisioning file with fresh pads to all of `paths`, which must not exist. Durable when this returns, except for the
/// names of the files.
pub(crate) fn make(
    provision: &Provision,
    initial_key: &SecretBytes<32>,
    paths: &[&Path],
    entropy: &mut Entropy,
) -> Result<()> {
    let key = ProvisionKey::new(&provision.link, initial_key)?;
    let mut files = Vec::new();
    for path in paths {
        let file = private(OpenOptions::new().write(true).create_new(true)).open(path);
        files.push((file.with_context(|| format!("cannot make {}", path.display()))?, *path));
    }
    let mut write = |octets: &[u8]| -> Result<()> {
        files.iter_mut().try_for_each(|(file, path): &mut (File, &Path)| {
            file.write_all(octets).with_context(|| format!("cannot write {}", path.display()))
        })
    };
    write(provision.encode().expose())?;
    for chunk in provision.chunks() {
        let mut octets = Zeroizing::new(vec![0; chunk.len()]);
        entropy.fill_bytes(&mut octets);
        write(&octets)?;
        write(&key.tag(&chunk, &octets))?;
    }
    for (file, path) in &files {
        file.sync_all().with_context(|| format!("cannot sync {}", path.display()))?;
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
