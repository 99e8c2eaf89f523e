//! `skex hub revoke`: the enrolment of a client ends, whether the hub runs or not.
//!
//! The order is a file in the hub's directory, and whoever holds the directory's lock carries it out. First the machine makes it
//! durable and erases the tables, then `skex.json` says it, then the initial key goes, and the order last: a crash anywhere
//! between leaves enough for the next start to go on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use skex_dske::{ClientTag, HubError};

use super::Running;
use crate::config::{HubFile, load, replace};
use crate::provisioning::{Known, await_order, enrolment, erase_link, orders};
use crate::store::atomic::create_private;
use crate::store::{DirectoryLock, erase};

const ORDER: &str = "revoke";

pub(super) fn run(directory: &Path, name: &str) -> Result<()> {
    let file: HubFile = load(directory)?;
    let order = order_of(directory, name);
    if !file.enrolled().any(|client| client.name == name) {
        if file.clients.iter().any(|client| client.name == name) {
            bail!("{name} is revoked already at {}", file.name);
        }
        let known: Vec<&str> = file.enrolled().map(|client| client.name.as_str()).collect();
        bail!("{name} is no client of {}: it has {}", file.name, known.join(", "));
    }
    if !order.exists() {
        create_private(&order, &[])?;
    }
    await_order(directory, &order, |lock| without_hub(directory, lock))?;
    println!(
        "{name} is revoked at {}: its keys, its tables and what waited for it are erased here",
        file.name
    );
    println!("  revoke it at each other hub too");
    Ok(())
}

/// Does what the hub would do.
fn without_hub(directory: &Path, _lock: &DirectoryLock) -> Result<()> {
    let file: HubFile = load(directory)?;
    let mut hub = Running::apart(directory, &file)?;
    for order in orders(directory, ORDER)? {
        hub.revoke(&order)?;
    }
    // What the log held of the client goes with the old log.
    hub.shards.each(|driver| driver.call(|hub, _, _| hub.compact())).map(drop)
}

/// The clients that orders revoke. A hub that starts is given nothing of them, in case that it lacks a key or a table, and revokes them then.
pub(super) fn leaving(directory: &Path, file: &HubFile) -> Result<BTreeSet<String>> {
    let mut names: BTreeSet<String> = orders(directory, ORDER)?.iter().map(|order| name_of(order)).collect();
    names.retain(|name| file.enrolled().any(|client| client.name == *name));
    Ok(names)
}

/// Whom an order revokes.
fn name_of(order: &Path) -> String {
    order.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned()
}

/// Erases what a crash left of clients that skex.json says were revoked.
pub(super) fn finish_earlier(directory: &Path, file: &HubFile) -> Result<()> {
    for client in file.clients.iter().filter(|client| client.revoked) {
        // The files of a name are those of the client that has it now.
        if file.enrolled().any(|other| other.name == client.name || other.tag == client.tag) {
            continue;
        }
        let coordinate = crate::config::coordinate(file.coordinate)?;
        let known = Known { hub: file.id.hub(), coordinate, tag: client.tag.client() };
        erase_link(directory, &client.name, &known)?;
    }
    Ok(())
}

/// Removes an order that was carried out, and that a crash left there.
pub(super) fn forget_order(directory: &Path, name: &str) -> Result<()> {
    erase(&order_of(directory, name))
}

fn order_of(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.{ORDER}"))
}

impl Running {
    /// Carries out the orders that lie in the directory. What cannot be done is complained about once, and the hub goes on.
    pub(super) fn take_revocations(&mut self) -> Result<()> {
        for order in orders(&self.directory, ORDER)? {
            if self.refused.contains(&order) {
                continue;
            }
            if let Err(error) = self.revoke(&order) {
                self.reporter.note(format!("{error:#}"))?;
                self.refused.push(order);
            }
        }
        Ok(())
    }

    fn revoke(&mut self, order: &Path) -> Result<()> {
        let name = name_of(order);
        // Whom the machine has revoked at its start is no client any more.
        self.tell_events()?;
        if let Some((_, known)) = self.links.iter().find(|(link, _)| *link == name) {
            let enrolment = enrolment(&self.directory, &name, known);
            let client = enrolment
                .with_context(|| format!("{name} is revoked when this hub starts again"))?
                .link
                .client;
            // Told to each shard, and again after a crash, until all of them have it.
            let revoked =
                self.shards.each(move |driver| driver.call(|hub, now, _| hub.revoke(now, client)))?;
            let revoked = revoked.into_iter().fold(Err(HubError::UnknownClient), Result::or);
            // A crash between the machine's record and skex.json: the machine told it at this start, too.
            let finished = self.tell_events();
            finished?;
            if self.is_enrolled(&name) {
                revoked?;
                bail!("the revocation of {name} is not durable yet");
            }
        }
        let file: HubFile = load(&self.directory)?;
        if !file.clients.iter().any(|client| client.name == name && client.revoked) {
            bail!("{} names no client of this hub: remove it", order.display());
        }
        erase(order)
    }

    fn is_enrolled(&self, name: &str) -> bool {
        self.links.iter().any(|(link, _)| link == name)
    }

    /// The machine has made it durable and erased the tables.
    pub(super) fn finish_revocation(&mut self, tag: ClientTag) -> Result<()> {
        // Read anew: the operator may have edited it since the start.
        let mut file: HubFile = load(&self.directory)?;
        let clients = &mut file.clients;
        let client = clients.iter_mut().find(|client| client.tag.client() == tag && !client.revoked);
        client.ok_or_else(|| anyhow!("skex.json lacks a client that was enrolled"))?.revoked = true;
        replace(&self.directory, &file)?;
        if let Some((name, known)) = self.links.iter().find(|(_, known)| known.tag == tag) {
            erase_link(&self.directory, name, known)?;
            self.reporter.note(format!("{name} is revoked"))?;
        }
        self.links.retain(|(_, known)| known.tag != tag);
        Ok(())
    }
}
