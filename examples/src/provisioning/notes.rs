//! Empty files about the tables of a link, whose names say it all.

use std::path::{Path, PathBuf};

use anyhow::Result;
use skex_wire::dske::Direction;

use super::orders;
use crate::store::{erase_all, way};

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
    let mut files = orders(directory, RETIRE)?;
    files.extend(orders(directory, UNERASED)?);
    files.retain(|path| {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        stem.rsplitn(3, '.').nth(2) == Some(name)
    });
    erase_all(files.iter().map(PathBuf::as_path))
}
