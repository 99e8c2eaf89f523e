//! Empty files about the tables of a link, whose names say it all.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use skex_wire::dske::Direction;

use super::orders;
use crate::store::atomic::sync_directory;
use crate::store::way;

/// The end of the name of an order to take a table out of service.
pub(crate) const RETIRE: &str = "retire";

/// The end of the name of a file that says of a table that it was to be erased, and is not.
pub(crate) const UNERASED: &str = "unerased";

/// A file about a table.
pub(crate) fn about_table(directory: &Path, link: &str, table: (Direction, u16), kind: &str) -> PathBuf {
    let (direction, number) = table;
    directory.join(format!("{link}.{}.{number}.{kind}", way(direction)))
}

/// Removes what was left about the tables of an enrolment that is over: those of the next have the same numbers.
pub(crate) fn forget_tables(directory: &Path, name: &str) -> Result<()> {
    for kind in [RETIRE, UNERASED] {
        for path in orders(directory, kind)? {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let link = stem.rsplitn(3, '.').nth(2);
            if link == Some(name) {
                remove(&path)?;
            }
        }
    }
    Ok(())
}

/// Removes a file without a secret, if it is there, durably.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_directory),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
    }
}
