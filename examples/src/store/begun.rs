//! Whether all that a machine stored is there. A machine without its log takes itself for a new one, and would use pre-shared random
//! data a second time.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::LogContents;
use super::table::was_used;

/// Refuses logs, by their names in the directory, of which one has no record although the machine ran before: by its `skex.json`, or
/// by its tables if that is one from before its first start.
pub(crate) fn check_begun<'a>(
    directory: &Path,
    has_started: bool,
    logs: impl IntoIterator<Item = (&'a str, &'a LogContents)>,
) -> Result<()> {
    let lost = logs.into_iter().filter(|(_, contents)| contents.count() == 0);
    let lost: Vec<&str> = lost.map(|(name, _)| name).collect();
    if lost.is_empty() || !has_started && !has_used_table(directory)? {
        return Ok(());
    }
    bail!(
        "{} of {} is missing or has no record, and this directory was in use: a start without it would use pre-shared random data \
         twice. Bring it back as it was last, never an older copy; if it is lost, provision anew in another directory",
        lost.join(", "),
        directory.display()
    )
}

fn has_used_table(directory: &Path) -> Result<bool> {
    let look = || format!("cannot look into {}", directory.display());
    for entry in fs::read_dir(directory).with_context(look)? {
        let path = entry.with_context(look)?.path();
        if path.extension().is_some_and(|kind| kind == "table") && was_used(&path)? {
            return Ok(true);
        }
    }
    Ok(false)
}
