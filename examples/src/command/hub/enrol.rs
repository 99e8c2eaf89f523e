//! `skex hub enrol`: a client is enrolled while the hub runs, or not: anew after a revocation, or for the first time.
//!
//! The order is the provisioning file itself, in the hub's directory under another name. Whoever holds the directory's lock writes
//! the client into `skex.json`, then gives the file its usual name, then takes it in: a crash anywhere between leaves enough
//! for the next start to go on, and the machine finds the client in its configuration.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use skex_core::SecretBytes;
use skex_dske::{ClientId, Hub, HubError, LinkIdentity, Origin, Provision};
use skex_wire::SuiteId;

use super::{LyingPad, Own, Running, hub_client, revoke};
use crate::command::provision::{both_tables, carry, check_name, elements, take_in};
use crate::config::{Accepts, HubClientFile, HubFile, Id, coordinate, load, replace};
use crate::entropy::Entropy;
use crate::provisioning::{Known, await_order, check, forget_tables, import, make, orders};
use crate::report::Reporter;
use crate::store::DirectoryLock;
use crate::store::atomic::{check_private, sync_directory};

const ORDER: &str = "enrol";

pub(super) fn run(
    directory: &Path,
    name: &str,
    tag: Option<&str>,
    table_size: u64,
    out: &Path,
) -> Result<()> {
    let file: HubFile = load(directory)?;
    check_name(name)?;
    if file.enrolled().any(|client| client.name == name) {
        bail!("{name} is a client of {} already; to enrol it anew, revoke it before", file.name);
    }
    let before = file.clients.iter().rev().find(|client| client.name == name);
    let tag = match (tag, before) {
        (Some(tag), _) => parse_tag(tag)?,
        (None, Some(client)) => client.tag,
        (None, None) => bail!(
            "{name} never was a client of {}: give its client tag with --tag, as it stands in its own skex.json",
            file.name
        ),
    };
    if let Some(client) = file.enrolled().find(|client| client.tag == tag) {
        bail!("{} has this client tag at {}: revoke it before", client.name, file.name);
    }
    let order = directory.join(format!("{name}.{ORDER}"));
    if order.exists() {
        bail!("an order to enrol {name} waits in {}: start the hub, or remove it", order.display());
    }
    check_private(out)?;
    let number =
        u32::try_from(file.clients.len()).context("this hub has had all the clients that it can have")?;
    let link = LinkIdentity {
        hub: file.id.hub(),
        coordinate: coordinate(file.coordinate)?,
        tag: tag.client(),
        client: ClientId::new(number),
        suite: SuiteId::SHA256_AES256GCM,
    };
    write(&link, table_size, &order, out)?;
    await_order(directory, &order, |lock| without_hub(directory, lock))?;
    println!("{name} is enrolled at {} under the number {number}", file.name);
    carry(out, name);
    println!("  what {name} has of an earlier enrolment here is erased then");
    Ok(())
}

fn parse_tag(text: &str) -> Result<Id> {
    let mut octets = [0; 16];
    let read = hex::decode_to_slice(text, &mut octets);
    read.ok().with_context(|| format!("{text} is no client tag, which has 32 hexadecimal digits"))?;
    Ok(Id(octets))
}

/// The file for the client, and the order, which takes its name last.
fn write(link: &LinkIdentity, table_size: u64, order: &Path, out: &Path) -> Result<()> {
    let mut entropy = Entropy::open()?;
    let initial_key = SecretBytes::<32>::generate(&mut entropy);
    let own = SecretBytes::copied_from(initial_key.expose());
    let provision =
        Provision::new(*link, Some(own), both_tables(0, Origin::OutOfBand, elements(table_size)))?;
    make(&provision, &initial_key, order, Some(out), &mut entropy)?.take_names()
}

/// The machine finds the client at its next start.
fn without_hub(directory: &Path, _lock: &DirectoryLock) -> Result<()> {
    let reporter = Reporter::new(false);
    for order in orders(directory, ORDER)? {
        note_down(directory, &order)?;
    }
    let file: HubFile = load(directory)?;
    take_in(directory, &file.links()?, &revoke::leaving(directory, &file)?, reporter)
}

/// Before a start: what a running hub would do. What cannot be done is complained about, and the hub starts.
pub(super) fn finish_earlier(directory: &Path, reporter: Reporter) -> Result<()> {
    for order in orders(directory, ORDER)? {
        if let Err(error) = note_down(directory, &order) {
            reporter.note(format!("{error:#}"))?;
        }
    }
    Ok(())
}

/// Writes the client into skex.json and makes the order a provisioning file. Done twice, it is done once.
fn note_down(directory: &Path, order: &Path) -> Result<(String, PathBuf)> {
    let name = order.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let mut file: HubFile = load(directory)?;
    // The tag is the file's own here: that no other client has it is seen below.
    let link = {
        let told = crate::provisioning::identity(order)?;
        let known = Known { hub: file.id.hub(), coordinate: coordinate(file.coordinate)?, tag: told.tag };
        check(order, &known)?
    };
    let number = usize::try_from(link.client.number()).unwrap_or(usize::MAX);
    let is_it =
        |client: &HubClientFile| client.name == name && client.tag.client() == link.tag && !client.revoked;
    match file.clients.get(number) {
        Some(client) if is_it(client) => {}
        None if number == file.clients.len()
            && !file.enrolled().any(|client| client.name == name || client.tag.client() == link.tag) =>
        {
            // What a crash left of the enrolment of before must not be taken for this one's.
            revoke::finish_earlier(directory, &file)?;
            revoke::forget_order(directory, &name)?;
            forget_tables(directory, &name)?;
            let before = file.clients.iter().rev().find(|client| client.name == name);
            let others = || Accepts::From(file.enrolled().map(|client| client.name.clone()).collect());
            let accepts_keys_from = before.map_or_else(others, |client| client.accepts_keys_from.clone());
            let tag = Id(*link.tag.as_bytes());
            file.clients.push(HubClientFile { name: name.clone(), tag, accepts_keys_from, revoked: false });
            replace(directory, &file)?;
        }
        _ => bail!(
            "{} enrols under a number that is another's by now: remove it, and enrol {name} again",
            order.display()
        ),
    }
    let waiting = directory.join(format!("{name}.enrolled.provision"));
    fs::rename(order, &waiting).with_context(|| format!("cannot rename {}", order.display()))?;
    sync_directory(directory)?;
    Ok((name, waiting))
}

impl Running {
    /// Carries out the orders that lie in the directory. What cannot be done is complained about once, and the hub goes on.
    pub(super) fn take_enrolments(&mut self) -> Result<()> {
        for order in orders(&self.directory, ORDER)? {
            if self.refused.contains(&order) {
                continue;
            }
            if let Err(error) = self.enrol(&order) {
                self.reporter.note(format!("{error:#}"))?;
                self.refused.push(order);
            }
        }
        Ok(())
    }

    fn enrol(&mut self, order: &Path) -> Result<()> {
        let (name, waiting) = note_down(&self.directory, order)?;
        let file: HubFile = load(&self.directory)?;
        let links = file.links()?;
        import(&self.directory, &links, &waiting)?;
        let client = file.enrolled().find(|client| client.name == name).context("it was written")?;
        let known = links.iter().find(|(link, _)| *link == name).context("it was written")?;
        let own = Own::of(&self.directory, &file, &self.lie, true)?;
        let (client, _) = hub_client(&own, client, &known.1)?;
        let (number, own_name) = (client.client, name.clone());
        let enrol = move |hub: &mut Hub<LyingPad>| {
            hub.enrol(client, &[own_name.as_bytes()])?;
            Ok::<_, HubError>(hub.roster())
        };
        let roster = self.shards.call(number, move |hub, _, _| enrol(hub))??;
        // That of its own shard is this one already.
        let told =
            self.shards.each(move |driver| driver.call(|hub, _, _| hub.enrolled_elsewhere(&roster)))?;
        told.into_iter().collect::<Result<(), _>>()?;
        self.links = links;
        self.reporter.note(format!("{name} is enrolled"))
    }
}
