//! Hubs that a client goes on without, and takes in again.

use std::path::Path;

use anyhow::{Result, bail};

use super::take_orders;
use crate::config::{ClientFile, ClientHubFile, coordinate, load, replace};
use crate::provisioning::{Known, erase_link};
use crate::store::DirectoryLock;

/// A client needs two.
const FEWEST: usize = 2;

pub(super) fn leave(directory: &Path, name: &str, forget: bool) -> Result<()> {
    let _lock = DirectoryLock::acquire(directory)?;
    let mut file: ClientFile = load(directory)?;
    if let Some(place) = file.hubs.iter().position(|hub| hub.name == name) {
        if file.hubs.len() <= FEWEST {
            bail!("{} has {} hubs, and a client needs {FEWEST}", file.name, file.hubs.len());
        }
        let hub = file.hubs.remove(place);
        file.without.push(hub);
    }
    let Some(hub) = file.without.iter_mut().find(|hub| hub.name == name) else {
        bail!("{} has no hub {name}", file.name);
    };
    hub.forgotten |= forget;
    let hub = ClientHubFile { name: hub.name.clone(), address: hub.address.clone(), ..*hub };
    replace(directory, &file)?;
    // The machine has it durably before anything is erased: a crash between is finished by the same command.
    take_orders(directory)?;
    if hub.forgotten {
        let coordinate = coordinate(hub.coordinate)?;
        erase_link(directory, name, &Known { hub: hub.id.hub(), coordinate, tag: file.tag.client() })?;
    }
    println!("{} goes on without {name}", file.name);
    if hub.forgotten {
        println!("  its initial key and its tables are erased here");
    }
    println!("  tell whoever looks {} up: `skex client --dir {} publish`", file.name, directory.display());
    Ok(())
}

pub(super) fn take_back(directory: &Path, name: &str) -> Result<()> {
    let _lock = DirectoryLock::acquire(directory)?;
    let mut file: ClientFile = load(directory)?;
    if file.hubs.iter().any(|hub| hub.name == name) {
        bail!("{name} is among the hubs of {}", file.name);
    }
    let Some(place) = file.without.iter().position(|hub| hub.name == name) else {
        bail!("{} has done without no hub {name}", file.name);
    };
    let mut hub = file.without.remove(place);
    let was_forgotten = core::mem::take(&mut hub.forgotten);
    file.hubs.push(hub);
    replace(directory, &file)?;
    println!("{} has {name} among its hubs again", file.name);
    if was_forgotten {
        println!(
            "  it was forgotten: carry the file of another enrolment (`skex hub enrol`) into {}",
            directory.display()
        );
    }
    println!("  tell whoever looks {} up: `skex client --dir {} publish`", file.name, directory.display());
    Ok(())
}
