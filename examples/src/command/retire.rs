//! A table of a link is taken out of service, at a hub or a client that runs or not.
//!
//! The order is an empty file in the directory, whose name says it all: whoever holds the directory's lock carries it out, and removes
//! it once the machine has made it durable. After a crash between, the machine knows the table as retired, and that is as good.
//! A table whose storage failed is told of in another empty file, until a start has erased it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use skex_wire::dske::Direction;

use crate::provisioning::{RETIRE, UNERASED, about_table, await_order, orders};
use crate::store::atomic::create_private;
use crate::store::{DirectoryLock, TablesIn, erase, way};

/// Which table of a link.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// The number of a table for messages of the client to the hub.
    #[arg(long, value_name = "TABLE")]
    uplink: Option<u16>,
    /// The number of a table for messages of the hub to the client.
    #[arg(long, value_name = "TABLE")]
    downlink: Option<u16>,
}

impl Which {
    fn table(&self) -> (Direction, u16) {
        let downlink = (Direction::DOWNLINK, self.downlink.unwrap_or_default());
        self.uplink.map_or(downlink, |number| (Direction::UPLINK, number))
    }
}

/// Gives the order, and waits until it is carried out.
pub(super) fn order(
    directory: &Path,
    link: &str,
    which: &Which,
    carry_out: impl FnMut(&DirectoryLock) -> Result<()>,
) -> Result<()> {
    let (direction, number) = which.table();
    let there = TablesIn::directory(directory)?;
    let numbers = there.numbers(link, direction);
    if !numbers.contains(&number) {
        let there: Vec<String> = numbers.iter().map(u16::to_string).collect();
        bail!(
            "{} has no {} table {number} of the link with {link}; it has {}",
            directory.display(),
            way(direction),
            if there.is_empty() { "none".to_owned() } else { there.join(", ") }
        );
    }
    let order = about_table(directory, link, (direction, number), RETIRE);
    if !order.exists() {
        create_private(&order, &[])?;
    }
    await_order(directory, &order, carry_out)?;
    let table = format!("{} table {number} of the link with {link}", way(direction));
    if about_table(directory, link, (direction, number), UNERASED).exists() {
        bail!(
            "{table} is out of service here, but not erased: its storage failed. A start erases it once the storage works; or destroy \
             it by other means. Take it out of service at the other end of the link too"
        );
    }
    println!("{table} is out of service here, and erased");
    println!("  do the same at the other end of the link");
    Ok(())
}

/// Notes down whether a table that is out of service is erased, for who gave the order.
pub(super) fn note_erasure(
    directory: &Path,
    link: &str,
    table: (Direction, u16),
    erased: bool,
) -> Result<()> {
    let note = about_table(directory, link, table, UNERASED);
    match (erased, note.exists()) {
        (true, true) => erase(&note),
        (false, false) => create_private(&note, &[]),
        _ => Ok(()),
    }
}

/// An order: link, table, and the file.
type Order = (String, (Direction, u16), PathBuf);

/// The orders that lie in a directory.
pub(super) fn waiting(directory: &Path) -> Result<Vec<Order>> {
    let read = |path: PathBuf| {
        let said = (|| {
            let (rest, number) = path.file_stem()?.to_str()?.rsplit_once('.')?;
            let (link, direction) = rest.rsplit_once('.')?;
            let known = [Direction::UPLINK, Direction::DOWNLINK];
            let direction = known.into_iter().find(|known| way(*known) == direction)?;
            Some((link.to_owned(), (direction, number.parse().ok()?)))
        })();
        let (link, table) = said.with_context(|| format!("{} is no order: remove it", path.display()))?;
        Ok((link, table, path))
    };
    orders(directory, RETIRE)?.into_iter().map(read).collect()
}
